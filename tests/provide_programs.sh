#!/bin/sh
# The tests drive real programs of Debian: a browser, and what stands beside an engine in production. Root gets the
# missing ones installed, everybody else is told how.
set -eu
# program:package
WANTED="chromium:chromium prometheus:prometheus promtool:prometheus prometheus-alertmanager:prometheus-alertmanager redis-server:redis-server"

missing=""
for each in $WANTED; do
    command -v "${each%%:*}" >/dev/null || missing="$missing ${each#*:}"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "The tests need programs that are missing. Install them, on Debian with: sudo apt-get install$missing" >&2
    exit 1
fi
echo "Installing for the tests:$missing"
export DEBIAN_FRONTEND=noninteractive
# No service is to be started: the tests start their own, on free ports.
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
    trap 'rm -f "$guard"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
fi
apt-get update -qq >/dev/null
# shellcheck disable=SC2086 - several packages
apt-get install -qq -y --no-install-recommends $missing >/dev/null
