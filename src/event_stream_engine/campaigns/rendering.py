"""Stand-in until the content branch lands."""

from dataclasses import dataclass
from typing import Any


class Unsendable(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Content:
    body: str
    content_sid: str | None
    content_variables: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rendered:
    body: str
    variables: dict[str, str] | None


def render_content(content: Content, phone: str, attributes: dict[str, Any]) -> Rendered:
    try:
        return Rendered(content.body.format(**attributes), None)
    except KeyError as error:
        raise Unsendable("placeholder_missing") from error
