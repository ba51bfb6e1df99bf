"""The courier: one message to one address through the library `apprise`, in a process of its own.

The library blocks, and gives neither deadline nor reason. Alone in a process it can be ended when it hangs, its log
says why it failed, and every connection it makes is judged by the address it really goes to: neither a name that
resolves to something else by now nor a redirect leads to where no notification may go.

Shape: reads `{url, title, body, html, tone, private: [network]}` as JSON from standard input, writes `{result, answer}`.
"""

import json
import logging
import socket
import sys
from ipaddress import ip_network
from typing import Any

import apprise
import requests
from apprise.common import NotifyFormat, NotifyType, PersistentStoreMode
from apprise.plugins.email import base as letters
from requests.adapters import HTTPAdapter

from event_stream_engine.notifications.addresses import Network, is_allowed
from event_stream_engine.notifications.targets import hide_secrets

_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn")
# Services that deliver mail; others that know HTML know a few marks of it.
MAIL = frozenset(
    [
        "mailto",
        "mailtos",
        "mailgun",
        "sendgrid",
        "ses",
        "smtp2go",
        "sparkpost",
        "postmark",
        "azure",
        "o365",
        "resend",
        "brevo",
        "mailersend",
        "acs",
        "groundmail",
        "sendpulse",
    ]
)
LONGEST_BODY = 200  # of what a receiver answers, as far as it is told on


class _Log(logging.Handler):
    """Keeps what the library says of a failure."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        # On the level for debugging stand whole payloads too; only the reason of a lost connection is of use.
        if record.levelno >= logging.WARNING or "Exception" in line:
            self.lines.append(line)


def guard_process(private: list[Network]) -> None:
    """Refuse, for the rest of this process, connections to addresses that are not allowed, and other processes."""

    def judge(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _PROCESSES:
            raise PermissionError("a courier starts no other process")
        if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            return
        sock, address = arguments[0], arguments[-1]
        is_network = sock.family in (socket.AF_INET, socket.AF_INET6)
        if address is not None and not (is_network and is_allowed(str(address[0]), private)):
            raise PermissionError(f"{address[0] if is_network else 'this'} is not a public address")

    sys.addaudithook(judge)


def deliver(order: dict[str, Any]) -> tuple[str, str]:
    """Hand the message over; return what came of it and what was answered."""
    answers: list[requests.Response] = []
    build_response = HTTPAdapter.build_response

    def note_response(self: HTTPAdapter, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        answers.append(build_response(self, req, resp))
        return answers[-1]

    HTTPAdapter.build_response = note_response  # type: ignore[method-assign]
    said = _Log()
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(said)
    logger.propagate = False
    asset = apprise.AppriseAsset(app_id="Event Stream Engine", storage_mode=PersistentStoreMode.MEMORY)
    plugin = apprise.Apprise.instantiate(order["url"], asset=asset, suppress_exceptions=True)
    if plugin is None:
        return "refused", "this version of apprise cannot read the address"
    body, body_format = order["body"], NotifyFormat.TEXT
    if order["html"] and order["url"].partition(":")[0].lower() in MAIL:
        # The text beside the HTML is ours, not what the library makes of a table.
        letters.convert_between = lambda *_: order["body"]  # type: ignore[attr-defined]
        body, body_format = order["html"], NotifyFormat.HTML
    services = apprise.Apprise(asset=asset)
    services.add(plugin)
    is_taken = bool(
        services.notify(
            body, order["title"], notify_type=NotifyType(order["tone"]), body_format=body_format.value
        )
    )
    if not answers:
        # Of an exception within exceptions the innermost is the reason.
        reason = said.lines[-1].rpartition("Caused by ")[2] if said.lines else "no connection"
        return ("delivered", "taken") if is_taken else ("postponed", reason)
    last = answers[-1]
    told = f"HTTP {last.status_code} {last.reason}"
    if is_taken:
        return "delivered", told
    is_final = 400 <= last.status_code < 500 and last.status_code not in (408, 429)
    return "refused" if is_final else "postponed", f"{told}: {last.text[:LONGEST_BODY]}".rstrip(": ")


def main() -> None:
    order = json.load(sys.stdin)
    guard_process([ip_network(network) for network in order["private"]])
    result, answer = deliver(order)
    json.dump({"result": result, "answer": hide_secrets(answer, order["url"])}, sys.stdout)


if __name__ == "__main__":
    main()
