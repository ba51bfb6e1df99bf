"""Days and weeks of the workspace's zone: which a report may cover, and what it is compared with."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.calendar import find_midnight
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
DAY = timedelta(days=1)
DAYS_OF_WEEK = 7


@dataclass(frozen=True, slots=True)
class Span:
    """Local days, both within, and those of the same number before. `is_so_far`: the last is not over.

    `compared_with` is None when it is not wholly recorded. `recorded_since` None: nothing is recorded yet.
    """

    first: date
    last: date
    window: Window
    compared_with: Window | None
    is_so_far: bool
    recorded_since: datetime | None


async def find_recorded_since(conn: Connection) -> datetime | None:
    """Return the first moment of which anything is known."""
    at: datetime | None = await SQL.find_recorded_since.value(conn)
    return at


async def load_span(conn: Connection, last: date, days: int, now: datetime, zone: ZoneInfo) -> Span:
    """Return some days up to one, with what is known of them. Errors: Invalid naming `date`, of a week `ending`."""
    first, field = last - (days - 1) * DAY, "date" if days == 1 else "ending"
    recorded_since = await find_recorded_since(conn)
    today = now.astimezone(zone).date()
    earliest = today if recorded_since is None else min(today, recorded_since.astimezone(zone).date())
    if last > today:
        raise Invalid(
            f"{last} is in the future: it is {today} in {zone.key}. Ask for a day up to today.", field
        )
    if last < earliest:
        what = "nothing is recorded yet" if recorded_since is None else f"records begin on {earliest}"
        raise Invalid(f"Of {last} nothing is known: {what}. Ask for a later day.", field)
    window = _cover(first, last, zone)
    if find_midnight(last, zone) == window.until:
        raise Invalid(
            f"There was no {last} in {zone.key}: the calendar skipped it. Ask for another day.", field
        )
    before = _cover(first - days * DAY, first - DAY, zone)
    is_so_far = now < window.until
    if is_so_far:  # a fair comparison is one with as much of the days before
        before = Window(before.since, min(before.until, before.since + (now - window.since)))
    is_recorded = before.length > timedelta(0) and before.since >= find_midnight(earliest, zone)
    return Span(first, last, window, before if is_recorded else None, is_so_far, recorded_since)


def _cover(first: date, last: date, zone: ZoneInfo) -> Window:
    return Window(find_midnight(first, zone), find_midnight(last + DAY, zone))


async def choose_day(conn: Connection, now: datetime, zone: ZoneInfo) -> date:
    """Return yesterday, and today when nothing was recorded before."""
    return await _choose(conn, now.astimezone(zone).date() - DAY, now, zone)


async def choose_week(conn: Connection, now: datetime, zone: ZoneInfo) -> date:
    """Return the last Sunday that is over, and today when nothing was recorded before."""
    today = now.astimezone(zone).date()
    return await _choose(conn, today - DAY * (today.weekday() + 1), now, zone)


async def _choose(conn: Connection, wanted: date, now: datetime, zone: ZoneInfo) -> date:
    recorded_since = await find_recorded_since(conn)
    is_known = recorded_since is not None and recorded_since.astimezone(zone).date() <= wanted
    return wanted if is_known else now.astimezone(zone).date()
