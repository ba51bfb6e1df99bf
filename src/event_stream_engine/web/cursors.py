"""Places in a list, as the text a program sends back to go on from there."""

import base64
import binascii
from collections.abc import Callable
from typing import Any

import orjson

from event_stream_engine.kernel.errors import Invalid


def write_cursor(*place: object) -> str:
    """Make a cursor of the values that tell a place."""
    return base64.urlsafe_b64encode(orjson.dumps([str(value) for value in place])).rstrip(b"=").decode()


def read_cursor(text: str, *kinds: Callable[[str], Any]) -> tuple[Any, ...]:
    """Read a cursor back; `kinds` make the values of its texts. Errors: Invalid."""
    try:
        place = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        return tuple(kind(value) for kind, value in zip(kinds, place, strict=True))
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise Invalid("This cursor is none of ours. Begin again without it.", "cursor") from None
