"""The calendar of the workspace's zone: when each local day and month began, for roll-ups by day and month."""

from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from zoneinfo import ZoneInfo

from event_stream_engine.analytics import rollups
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.messaging import deliveries

SQL = load_queries(__package__)
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2101, 1, 1)  # what lies outside is counted by quarter-hours


def list_local_days(zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """Return when each local day began, and its month, in ascending order.

    A day that was skipped is not there. Of two midnights of one day the first counts; where there was none, the instant
    at which the day came about.
    """
    days: dict[datetime, datetime] = {}
    month_began = at = FIRST_DAY
    while at < LAST_DAY:
        month_began = at if at.day == 1 else month_began
        days.setdefault(find_midnight(at, zone), find_midnight(month_began, zone))
        at += timedelta(days=1)
    return sorted(days.items())


def find_midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which a local day began; of two midnights the first."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


async def find_timezone(conn: Connection) -> str:
    """Return the zone that days are counted in, '' before the first calendar."""
    timezone: str = await SQL.find_timezone.value(conn)
    return timezone


async def refresh_calendar(conn: Connection, zone: ZoneInfo) -> bool:
    """Bring the calendar to a zone and the present tz database, in a transaction of its own; return whether it changed.

    Days and months are settled anew then.
    """
    days = list_local_days(zone)
    digest = sha256(repr((zone.key, days)).encode()).hexdigest()
    if await SQL.is_calendar.value(conn, {"calendar": digest}):
        return False
    await SQL.lock_calendar.execute(conn)
    is_first = not await find_timezone(conn)
    await SQL.empty_calendar.execute(conn)
    columns = {"starts_at": [day for day, _ in days], "month_starts_at": [month for _, month in days]}
    await SQL.fill_calendar.execute(conn, columns)
    await SQL.name_calendar.execute(conn, {"timezone": zone.key, "calendar": digest})
    await rollups.forget_days(conn)
    if is_first:  # messages of a version without these roll-ups, if there are any
        await rollups.prepare_connection(conn)
        await deliveries.prepare_connection(conn)
        await deliveries.note_all(conn)
        await rollups.add_message_changes(conn)
    return True
