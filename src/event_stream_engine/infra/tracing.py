"""Spans of OpenTelemetry, or nothing at all: nothing is imported, made or kept until `infra/telemetry.py` puts a tracer here.

Attributes hold ids and counts, never numbers or words of people. Of an exception only the type is told, because its text
may hold both.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    def note(self, attributes: Attributes) -> None:
        """Add what is known only later."""

    def rename(self, name: str) -> None: ...

    def fail(self, reason: str) -> None:
        """Mark as failed."""


class _Nothing:
    def note(self, attributes: Attributes) -> None: ...

    def rename(self, name: str) -> None: ...

    def fail(self, reason: str) -> None: ...


_NOTHING: AbstractContextManager[Span] = nullcontext(_Nothing())
Begin = Callable[[str, Attributes, str, Mapping[str, str] | None], AbstractContextManager[Span]]
_begin: Begin | None = None
_find_ids: Callable[[], tuple[str, str] | None] | None = None


def use(begin: Begin | None, find_ids: Callable[[], tuple[str, str] | None] | None) -> None:
    """Set who makes spans, as a context manager, and who knows the present one; None for nobody."""
    global _begin, _find_ids
    _begin, _find_ids = begin, find_ids


def is_on() -> bool:
    return _begin is not None


def find_ids() -> tuple[str, str] | None:
    """Return trace and span id of the present span as hexadecimal."""
    return None if _find_ids is None else _find_ids()


def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: str = "internal",
    carrier: Mapping[str, str] | None = None,
) -> AbstractContextManager[Span]:
    """Run a block in a span. `kind`: internal, server, client; `carrier`: headers with the caller's traceparent."""
    return _NOTHING if _begin is None else _begin(name, attributes or {}, kind, carrier)
