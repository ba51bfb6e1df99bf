"""Half-open windows of time and how they fall into roll-up buckets.

Coarse buckets are quarter-hours, because every zone offset in use is a multiple of fifteen minutes: local hours and
local days of any zone are then whole sums of buckets (docs/decisions/0003).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

MINUTE = timedelta(minutes=1)
QUARTER = timedelta(minutes=15)
DAY = timedelta(days=1)
_EPOCH = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


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


@dataclass(frozen=True, slots=True)
class Pieces:
    """A window cut so that each part is read where it is cheapest and still exact.

    `quarters` holds whole quarter-hours, `minutes` the whole minutes on its two sides, `raw` what is left: under one
    minute at each end. Empty parts have since == until.
    """

    quarters: Window
    minutes: tuple[Window, Window]
    raw: tuple[Window, Window]


def floor_to(at: datetime, step: timedelta) -> datetime:
    return at - (at - _EPOCH) % step


def ceil_to(at: datetime, step: timedelta) -> datetime:
    floor = floor_to(at, step)
    return floor if floor == at else floor + step


def cut(window: Window) -> Pieces:
    """Cut a window into whole quarter-hours, whole minutes and the rest."""
    first_minute, last_minute = ceil_to(window.since, MINUTE), floor_to(window.until, MINUTE)
    if first_minute > last_minute:  # inside one minute
        nothing = Window(window.until, window.until)
        return Pieces(nothing, (nothing, nothing), (window, nothing))
    raw = (Window(window.since, first_minute), Window(last_minute, window.until))
    first_quarter, last_quarter = ceil_to(first_minute, QUARTER), floor_to(last_minute, QUARTER)
    if first_quarter > last_quarter:  # inside one quarter-hour
        nothing = Window(last_minute, last_minute)
        return Pieces(nothing, (Window(first_minute, last_minute), nothing), raw)
    minutes = (Window(first_minute, first_quarter), Window(last_quarter, last_minute))
    return Pieces(Window(first_quarter, last_quarter), minutes, raw)
