"""Where a channel leads: an address with secrets in it, checked, masked, and encrypted for the database."""

import asyncio
import base64
import hmac
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import apprise
from apprise.plugins import N_MGR
from cryptography.fernet import Fernet, InvalidToken

from event_stream_engine.kernel.errors import Invalid, Unavailable
from event_stream_engine.notifications.addresses import Network, check_host

APPRISE, ALERTMANAGER = "apprise", "alertmanager"
KINDS = (APPRISE, ALERTMANAGER)
LONGEST_TARGET = 2000
_EXAMPLES = (
    "mailtos://user:password@example.com?to=oncall@example.com, slack://token_a/token_b/token_c/#channel,"
    " jsons://example.com/hook"
)
_LOCAL = frozenset(("blink1", "dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"))
# The library writes addresses it cannot read into its log, whole.
logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Target:
    """An address that may be sent to. `shown` is what may be seen of it."""

    url: str
    shown: str


async def check_target(kind: str, url: str, private: Sequence[Network]) -> Target:
    """Read and check an address as a person gives it. Errors: Invalid (`kind`, `target`)."""
    url = url.strip()
    if kind not in KINDS:
        raise Invalid(f"There is no kind {kind!r}. Use one of {', '.join(KINDS)}.", "kind")
    if not url or len(url) > LONGEST_TARGET or not url.isprintable():
        raise Invalid(f"Give an address of 1 to {LONGEST_TARGET} characters, like {_EXAMPLES}.", "target")
    shown, host = (
        _read_alertmanager(url) if kind == ALERTMANAGER else await asyncio.to_thread(_read_apprise, url)
    )
    if host is not None:
        await check_host(host, private)
    return Target(url, shown)


def _read_alertmanager(url: str) -> tuple[str, str | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise Invalid(
            "Write the address of an Alertmanager like https://alertmanager.example.com:9093, without query.",
            "target",
        )
    return _show(parts.scheme, parts.hostname, port), parts.hostname


def _read_apprise(url: str) -> tuple[str, str | None]:
    scheme = url.partition("://")[0].lower()
    if "://" not in url or not re.fullmatch(r"[a-z0-9.+-]+", scheme):
        raise Invalid(f"The address needs a scheme, like {_EXAMPLES}.", "target")
    if scheme in _LOCAL:
        raise Invalid(f"{scheme} shows notices on the engine's own machine, where nobody looks.", "target")
    known = scheme in N_MGR
    plugin = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if plugin is None and scheme in ("http", "https"):
        raise Invalid(f"A webhook of your own is written json{scheme[4:]}://host/path.", "target")
    if plugin is None and not known:
        raise Invalid(f"There is no service {scheme!r}. Write an address like {_EXAMPLES}.", "target")
    if plugin is None:
        raise Invalid(
            f"Something is missing from this {scheme} address. How each service is written: https://appriseit.com/services/",
            "target",
        )
    if "{host}" not in "".join(plugin.templates) or not plugin.host:
        # A service with an address of its own: what stands for a host here is a token, which no name server is to see.
        return f"{scheme}://…", None
    host = getattr(plugin, "smtp_host", None) or plugin.host
    return _show(scheme, plugin.host, plugin.port), host.strip("[]")


def _show(scheme: str, host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{scheme}://{host}{f':{port}' if port else ''}"


def seal_target(secret_key: str, url: str) -> bytes:
    """Encrypt an address for the database."""
    return _make_fernet(secret_key).encrypt(url.encode())


def open_target(secret_key: str, sealed: bytes) -> str:
    """Decrypt an address. Errors: Unavailable when it was encrypted under another key."""
    try:
        return _make_fernet(secret_key).decrypt(sealed).decode()
    except InvalidToken:
        raise Unavailable(
            "The address was encrypted under another ESE_SECRET_KEY. Enter the address of this channel again."
        ) from None


def _make_fernet(secret_key: str) -> Fernet:
    return Fernet(
        base64.urlsafe_b64encode(hmac.digest(secret_key.encode(), b"notification targets", "sha256"))
    )


def hide_secrets(text: str, target: str) -> str:
    """Take out of a text whatever it repeats of an address beyond scheme, host and port."""
    _, _, rest = target.partition("://")
    place = re.split(r"[/?#]", rest)[0].rpartition("@")[2].lower()
    parts = {part for form in (rest, unquote(rest)) for part in re.split(r"[/:@?&=#,\s]+", form)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= 4 and part.lower() not in place:
            text = text.replace(part, "…")
    return text
