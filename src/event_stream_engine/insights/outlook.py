"""The days behind and ahead that capacity is reckoned from, one after the other, for charts and answers. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.insights.capacity import Capacity, History, sum_up
from event_stream_engine.insights.projection import HORIZON_DAYS, Estimate

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PastDay:
    """What a full day had; None: from before the figure's first day. Bytes are those at the end of the day in UTC."""

    on: date
    messages: float | None
    new_users: float | None
    database_bytes: float | None


@dataclass(frozen=True, slots=True)
class DayAhead:
    """What a day is expected to have; None: too little history."""

    on: date
    messages: Estimate | None
    database_bytes: Estimate | None


def list_past(found: Capacity, zone: ZoneInfo) -> list[PastDay]:
    """Return the days since the first figure began, oldest first."""
    histories = (found.volume, found.signups, found.storage.sizes)
    begun = [history.begins_on for history in histories if history.days]
    if not begun:
        return []
    on, today, days = min(begun), found.as_of.astimezone(zone).date(), []
    while on < today:
        days.append(PastDay(on, *(_find(history, on) for history in histories)))
        on += _DAY
    return days


def list_ahead(found: Capacity, zone: ZoneInfo) -> list[DayAhead]:
    """Return the days of the projection from today on, without any where there is too little history for all figures."""
    volume, growth = found.volume.projection, found.storage.growth.projection
    if volume is None and growth is None:
        return []
    today = found.as_of.astimezone(zone).date()
    return [
        DayAhead(
            on=today + (number - 1) * _DAY,
            messages=None if volume is None else volume.estimate_day(number),
            database_bytes=None
            if growth is None
            else sum_up(growth.estimate_mean(1, number), number, found.storage.size.bytes),
        )
        for number in range(1, HORIZON_DAYS + 1)
    ]


def find_full_on(found: Capacity, days: int | None) -> date | None:
    """Return the day on which the disk is full in so many days."""
    return None if days is None else (found.as_of.astimezone(UTC) + days * _DAY).date()


def _find(history: History, on: date) -> float | None:
    place = (on - history.begins_on).days
    return history.days[place] if 0 <= place < len(history.days) else None
