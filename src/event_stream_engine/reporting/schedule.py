"""When a report is made, and when it is looked at once more.

A report is made six hours after its last day is over: by then the roll-ups have that day as a whole, and nearly all
callbacks of it have come. For a week after it is counted anew each day, and made again when its figures have changed: a
receipt is waited for 72 hours, an answer counts for 72 hours, and an outage over a long weekend has been caught up by then.
So a report has at most nine versions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.calendar import find_midnight
from event_stream_engine.analytics.rollups import SETTLED_AFTER
from event_stream_engine.reporting.days import DAY, DAYS_OF_WEEK
from event_stream_engine.reporting.report import DAILY, WEEKLY

READY_AFTER = SETTLED_AFTER
RESTATED_DAYS = 7
# After an absence of the workers; what is older is counted when somebody asks for it.
CAUGHT_UP_DAYS = 35


@dataclass(frozen=True, slots=True)
class Kept:
    """The latest version of a report."""

    last_day: date
    version: int
    confirmed_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A report to be counted; `version`: the latest there is, 0 when there is none."""

    kind: str
    last_day: date
    version: int


def list_days(now: datetime, zone: ZoneInfo, recorded_since: datetime) -> list[date]:
    """Return the days that may be due, oldest first: those that are over and not too long past."""
    today, began = now.astimezone(zone).date(), recorded_since.astimezone(zone).date()
    days = [today - DAY * back for back in range(CAUGHT_UP_DAYS, 0, -1)]
    return [day for day in days if day >= began and _ends(day, zone) > find_midnight(day, zone)]


def list_due(
    days: Sequence[date], kept: Mapping[tuple[str, date], Kept], now: datetime, zone: ZoneInfo
) -> list[Due]:
    """Return the reports that are due, the oldest day first and a day before the week that it ends."""
    due = []
    for day in days:
        for kind in (DAILY, WEEKLY) if day.isoweekday() == DAYS_OF_WEEK else (DAILY,):
            found = kept.get((kind, day))
            looked_at = _find_last_look(day, now, zone)
            if looked_at is not None and (found is None or found.confirmed_at < looked_at):
                due.append(Due(kind, day, found.version if found else 0))
    return due


def _find_last_look(day: date, now: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the last moment at which the report of a day was to be counted."""
    looks = [_ends(day + DAY * later, zone) + READY_AFTER for later in range(RESTATED_DAYS + 1)]
    return max((look for look in looks if look <= now), default=None)


def _ends(day: date, zone: ZoneInfo) -> datetime:
    return find_midnight(day + DAY, zone)
