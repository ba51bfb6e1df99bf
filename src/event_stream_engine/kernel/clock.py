"""Time as an argument, so that a test can hold it still."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the present instant, aware and in UTC."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class SettableClock:
    """A clock that stands until told to move; for the simulator and tests."""

    def __init__(self, at: datetime) -> None:
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        return self._at

    def set(self, at: datetime) -> None:
        self._at = at.astimezone(UTC)

    def advance(self, by: timedelta) -> None:
        self._at += by


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant as aware UTC.

    Errors: ValueError when the text is no instant or carries no zone.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it like 2026-03-02T00:00:00Z")
    return instant.astimezone(UTC)


def format_instant(at: datetime) -> str:
    """Write an instant as ISO 8601 in UTC with `Z`, microseconds only when there are any."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
