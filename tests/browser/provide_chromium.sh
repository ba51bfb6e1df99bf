#!/bin/sh
# The browser tests drive Debian's Chromium. Root gets it installed, everybody else is told how.
set -eu
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium for the browser tests…"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null
    apt-get install -qq -y --no-install-recommends chromium >/dev/null
else
    echo "The browser tests need Chromium. Install it, on Debian with: sudo apt-get install chromium" >&2
    exit 1
fi
