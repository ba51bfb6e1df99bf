"""When a report is made, and when it is counted once more.

A report is made six hours after its last day is over: by then the roll-ups have that day as a whole, and nearly all
callbacks of it have come. For five weeks it is counted anew at that hour of each day, and made again when its figures have
changed. A receipt is waited for 72 hours and an answer counts for 72 hours, so that a week would do for what comes by itself;
the rest is for an archive of the last month that somebody imports. A day costs forty reports, some seconds.
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
KEPT_UP_DAYS = (
    35  # what is older stays as it was told; without a version it is counted when somebody asks for it
)


@dataclass(frozen=True, slots=True)
class Kept:
    """The latest version of a report, and when its figures were last found to be right."""

    last_day: date
    confirmed_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A report to be counted."""

    kind: str
    last_day: date


def list_days(now: datetime, zone: ZoneInfo, recorded_since: datetime) -> list[date]:
    """Return the days that may be due, oldest first: those that are over and not too long past."""
    today, began = now.astimezone(zone).date(), recorded_since.astimezone(zone).date()
    days = [today - DAY * back for back in range(KEPT_UP_DAYS, 0, -1)]
    return [day for day in days if day >= began and _ends(day, zone) > find_midnight(day, zone)]


def list_due(
    days: Sequence[date], kept: Mapping[tuple[str, date], Kept], now: datetime, zone: ZoneInfo
) -> list[Due]:
    """Return the reports that are due, the oldest day first and a day before the week that it ends."""
    today = now.astimezone(zone).date()
    hours = [find_midnight(day, zone) + READY_AFTER for day in (today - 2 * DAY, today - DAY, today)]
    last_hour = max(hour for hour in hours if hour <= now)
    due = []
    for day in days:
        if _ends(day, zone) + READY_AFTER > last_hour:
            continue
        for kind in (DAILY, WEEKLY) if day.isoweekday() == DAYS_OF_WEEK else (DAILY,):
            found = kept.get((kind, day))
            if found is None or found.confirmed_at < last_hour:
                due.append(Due(kind, day))
    return due


def _ends(day: date, zone: ZoneInfo) -> datetime:
    return find_midnight(day + DAY, zone)
