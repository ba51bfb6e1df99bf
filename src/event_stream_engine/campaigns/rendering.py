"""Templates filled with a person's values: `{name}`, `{name|default}`, `{{` and `}}` for the braces themselves.

A value that is missing and has no default is never a hole in the text: the message is not sent.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.messaging.encoding import count_segments, find_foreign_character

LONGEST_BODY = 1600  # 21617 beyond it
LONGEST_APPROVED_BODY = 1024  # of a WhatsApp template
LONGEST_NAME = 100


class Unsendable(Exception):
    """Why a message to this person cannot be made: `reason` is a word for the decision, `detail` for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Placeholder:
    name: str
    default: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """What a template says. `content_variables` are an approved WhatsApp template's: number → text."""

    body: str
    content_sid: str | None
    content_variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text for one person; `variables` only with a content SID."""

    body: str
    variables: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Size:
    """What a text costs. `foreign_character` is the first one that GSM-7 lacks, which makes the whole text UCS-2."""

    characters: int
    longest: int
    encoding: str
    segments: int
    foreign_character: str | None
    foreign_name: str | None
    foreign_position: int | None


def render_content(content: Content, phone: str, attributes: Mapping[str, Any]) -> Rendered:
    """Fill a template with a person's attributes, and `{phone}` with the number.

    Errors: Unsendable with placeholder_missing, too_long or empty.
    """
    values = {**attributes, "phone": phone}
    missing: dict[str, None] = {}
    body = _fill(parse_template(content.body), values, missing)
    variables = None
    if content.content_sid is not None:
        variables = {
            # Line breaks and rows of spaces in a variable are refused (63013).
            number: " ".join(_fill(parse_template(text), values, missing).split())
            for number, text in content.content_variables.items()
        }
    if missing:
        raise Unsendable("placeholder_missing", f"no value for {', '.join(missing)}")
    longest = LONGEST_BODY if content.content_sid is None else LONGEST_APPROVED_BODY
    if len(body) > longest:
        raise Unsendable("too_long", f"{len(body)} characters where {longest} are allowed")
    if not body.strip() or not all((variables or {"": body}).values()):
        raise Unsendable("empty", "nothing is left of the text")
    return Rendered(body, variables)


def _fill(parts: Sequence[str | Placeholder], values: Mapping[str, Any], missing: dict[str, None]) -> str:
    filled = []
    for part in parts:
        if isinstance(part, str):
            filled.append(part)
            continue
        text = _write(values.get(part.name))
        if text.strip():
            filled.append(text)
        elif part.default is None:
            missing[part.name] = None
        else:
            filled.append(part.default)
    return "".join(filled)


def _write(value: Any) -> str:
    """Return a JSON value as a person would write it, empty when there is no such form."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f"{value:.15g}" if isinstance(value, float) else str(value)  # %g alone makes 19999.99 a 20000


@lru_cache(maxsize=1024)
def parse_template(text: str) -> tuple[str | Placeholder, ...]:
    """Split a template into texts and placeholders. Errors: Invalid saying where it is wrong."""
    parts: list[str | Placeholder] = []
    literal, place = "", 0
    while place < len(text):
        character = text[place]
        if character in "{}" and text[place : place + 2] == character * 2:
            literal += character
            place += 2
        elif character == "}":
            raise Invalid(
                f"A }} at character {place + 1} closes nothing. Write }}}} for the brace itself.", "body"
            )
        elif character == "{":
            end = text.find("}", place)
            if end < 0:
                raise Invalid(
                    f"The {{ at character {place + 1} is not closed. Write {{{{ for the brace itself.", "body"
                )
            name, bar, default = text[place + 1 : end].partition("|")
            name = name.strip()
            if not 1 <= len(name) <= LONGEST_NAME or "{" in name + default:
                raise Invalid(
                    f"The placeholder at character {place + 1} has no usable name. Write {{first_name}}, or"
                    " {first_name|friend} with a default.",
                    "body",
                )
            if literal:
                parts.append(literal)
            literal = ""
            parts.append(Placeholder(name, default if bar else None))
            place = end + 1
        else:
            literal += character
            place += 1
    if literal:
        parts.append(literal)
    return tuple(parts)


def list_placeholders(content: Content) -> list[Placeholder]:
    """Return the placeholders of a template in the order they are met, each name once."""
    found: dict[str, Placeholder] = {}
    for text in (content.body, *content.content_variables.values()):
        for part in parse_template(text):
            if isinstance(part, Placeholder):
                found.setdefault(part.name, part)
    return list(found.values())


def measure_text(text: str, *, is_approved: bool = False) -> Size:
    """Return what a text costs on the SMS channel, and which character makes it cost more."""
    position, character = find_foreign_character(text) or (None, None)
    return Size(
        len(text),
        LONGEST_APPROVED_BODY if is_approved else LONGEST_BODY,
        "GSM-7" if character is None else "UCS-2",
        count_segments(text),
        character,
        None if character is None else unicodedata.name(character, f"U+{ord(character):04X}"),
        position,
    )
