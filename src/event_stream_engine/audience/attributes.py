"""What may be kept of a person beside number and consent: a JSON object within limits."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from event_stream_engine.kernel.errors import Invalid

MOST_ATTRIBUTES = 64
LONGEST_NAME = 100
LARGEST_BYTES = 16 * 1024
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # an escape, and not an escaped backslash before u0000


def check_attributes(attributes: Mapping[str, Any]) -> str:
    """Return attributes as JSON text.

    Errors: Invalid when there are too many, a name is bad, or they are too large or cannot be stored.
    """
    if len(attributes) > MOST_ATTRIBUTES:
        raise Invalid(
            f"A person has at most {MOST_ATTRIBUTES} attributes, these are {len(attributes)}.", "attributes"
        )
    for name in attributes:
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise Invalid(f"An attribute's name has 1 to {LONGEST_NAME} printable characters.", "attributes")
    try:
        text = orjson.dumps(attributes)
    except TypeError as error:  # also a lone surrogate, or an integer beyond 64 bits
        raise Invalid(f"The attributes cannot be stored as JSON: {error}.", "attributes") from None
    if len(text) > LARGEST_BYTES:
        raise Invalid(
            f"Attributes take at most {LARGEST_BYTES // 1024} kB as JSON, these {len(text):,} bytes.",
            "attributes",
        )
    if _NUL.search(text):
        raise Invalid("A NUL character cannot be stored. Take it out.", "attributes")
    return text.decode()
