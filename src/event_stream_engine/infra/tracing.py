"""Spans of OpenTelemetry, or nothing at all: nothing is imported, made or kept until `infra/telemetry.py` puts a tracer here.

Attributes hold ids and counts, never numbers or words of people. Of an exception only the type is told, because its text
may hold both.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

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
_begin: Callable[..., Any] | None = None
_find_ids: Callable[[], tuple[str, str] | None] = lambda: None


def use(begin: Callable[..., Any] | None, find_ids: Callable[[], tuple[str, str] | None]) -> None:
    """Set who makes spans, as a context manager, and who knows the present one; None for nobody."""
    global _begin, _find_ids  # noqa: PLW0603 - one process has one tracer, and a span costs nothing without
    _begin, _find_ids = begin, find_ids


def is_on() -> bool:
    return _begin is not None


def find_ids() -> tuple[str, str] | None:
    """Return trace and span id of the present span as hexadecimal."""
    return _find_ids()


def span(
    name: str, attributes: Attributes | None = None, *, kind: str = "internal", carrier: Mapping[str, str] | None = None
) -> AbstractContextManager[Span]:
    """Run a block in a span. `kind`: internal, server, client; `carrier`: headers with the caller's traceparent."""
    return _NOTHING if _begin is None else _told(_begin, name, attributes or {}, kind, carrier)


@contextmanager
def _told(
    begin: Callable[..., Any], name: str, attributes: Attributes, kind: str, carrier: Mapping[str, str] | None
) -> Iterator[Span]:
    with begin(name, attributes, kind, carrier) as begun:
        try:
            yield begun
        except BaseException as error:
            begun.fail(type(error).__name__)
            raise
