"""Half-open windows of time."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Window:
    """`[since, until)`, both aware UTC."""

    since: datetime
    until: datetime

    @property
    def length(self) -> timedelta:
        return self.until - self.since

    def before(self) -> "Window":
        """Return the window of the same length that ends where this one begins."""
        return Window(self.since - self.length, self.since)
