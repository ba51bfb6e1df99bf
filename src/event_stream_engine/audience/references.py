"""A person's id where the number must not stand: in lists, links and cursors.

The number is enciphered under the engine's key, always to the same text, and nobody without the key can make or read
one: a keyed hash of the number is both its seal and the start of the key stream (the construction of SIV, RFC 5297,
from HMAC-SHA256 alone, because the standard library has no cipher).
"""

import base64
import binascii
import hmac
from hashlib import sha256

from event_stream_engine.kernel.phone import is_e164

_SEAL_BYTES = 16
_NUMBER_BYTES = 15
_LENGTH = 42


def make_reference(secret_key: str, phone: str) -> str:
    """Return the id of the person with this number: 42 letters, digits, `-` and `_`."""
    plain = phone[1:].encode().ljust(_NUMBER_BYTES)
    seal = _digest(secret_key, b"seal:" + plain)
    return base64.urlsafe_b64encode(seal + _encipher(secret_key, seal, plain)).rstrip(b"=").decode()


def read_reference(secret_key: str, text: str) -> str | None:
    """Return the number behind an id, None when it is none of ours."""
    if len(text) != _LENGTH:
        return None
    try:
        raw = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    seal = raw[:_SEAL_BYTES]
    plain = _encipher(secret_key, seal, raw[_SEAL_BYTES:])
    if not hmac.compare_digest(seal, _digest(secret_key, b"seal:" + plain)):
        return None
    phone = "+" + plain.decode("ascii").rstrip()
    return phone if is_e164(phone) else None


def _encipher(secret_key: str, seal: bytes, text: bytes) -> bytes:
    stream = _digest(secret_key, b"stream:" + seal)
    return bytes(byte ^ key for byte, key in zip(text, stream, strict=False))


def _digest(secret_key: str, text: bytes) -> bytes:
    return hmac.digest(secret_key.encode(), b"reference:" + text, sha256)[:_SEAL_BYTES]
