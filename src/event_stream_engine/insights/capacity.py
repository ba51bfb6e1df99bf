"""Capacity: what is used at present, where it is going in three months, and when the disk is full."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import dropwhile, pairwise
from statistics import fmean
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.delivery import list_parts, list_sent
from event_stream_engine.analytics.demographics import list_signups
from event_stream_engine.analytics.scope import Scope, list_bins, local_midnight
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.projection import (
    HORIZON_DAYS,
    LAST_WEEK,
    LEAST_DAYS,
    MOST_DAYS,
    Estimate,
    Projection,
    project,
)
from event_stream_engine.insights.scaling import Load, Scaling, load_load, recommend
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres_buckets import cover
from event_stream_engine.monitoring.postgres_disk import Disk, explain_no_disk, find_disk
from event_stream_engine.monitoring.postgres_tables import (
    DatabaseSize,
    Table,
    list_tables,
    load_database_size,
)

SQL = load_queries(__package__)
PRESENT_DAYS = 7  # a whole week, so that no weekday counts twice
FURTHEST_DAYS = 365  # beyond a year a straight line says nothing
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_NO_FULL_DAY = "No full day has passed since the first message. Come back tomorrow."
_NO_GROWTH = "The database has not been looked at for a whole day yet: a worker looks once a minute."


@dataclass(frozen=True, slots=True)
class History:
    """Full days of a figure, oldest first, from the first one that had any, and where they are going."""

    begins_on: date
    days: list[float]
    projection: Projection | None


@dataclass(frozen=True, slots=True)
class Storage:
    """`sizes`: of the database at the end of each day. Growth is that of one day, `full_in_days` from now on.

    `full_in_days` and `full_in_days_at_earliest`: None when not within a year, or not known.
    """

    size: DatabaseSize
    growth_bytes_per_day: float | None
    disk: Disk | None
    sizes: History
    growth: History
    full_in_days: int | None
    full_in_days_at_earliest: int | None


@dataclass(frozen=True, slots=True)
class Projected:
    """What is expected in three months; None: too little history."""

    daily_volume: Estimate | None
    storage_bytes: Estimate | None
    additional_users: Estimate | None


@dataclass(frozen=True, slots=True)
class Capacity:
    """`window`: the full days of present use. `senders`: how many senders had messages in them."""

    as_of: datetime
    window: Window
    daily_message_volume: float | None
    peak_hourly_rate: int | None
    peak_hour_at: datetime | None
    senders: int
    volume: History
    signups: History
    storage: Storage
    tables: list[Table]
    projected: Projected
    load: Load
    scaling: list[Scaling]
    unknown: dict[str, str]


@dataclass(frozen=True, slots=True)
class _SizeDay:
    day: datetime
    bytes: int


async def load_capacity(conn: Connection, zone: ZoneInfo, now: datetime) -> Capacity:
    """Return present use, projection and what to scale; the cost is bounded by days, not by traffic."""
    today = local_midnight(now, zone)
    window = Window(_days_before(today, PRESENT_DAYS, zone), today)
    whole = Window(_days_before(today, MOST_DAYS, zone), today)
    days = list_bins(whole, _DAY, zone)
    volume = _make_history(days, await list_sent(conn, Scope(whole), days, _DAY), zone)
    came = [point.users for point in await list_signups(conn, whole, _DAY, zone)]
    signups = _make_history(days, came, zone)
    has_begun = bool(volume.days) or not await _has_sent(conn, Window(today, now))
    hours = list_bins(window, _HOUR, zone)
    by_hour = await list_sent(conn, Scope(window), hours, _HOUR)
    peak = max(by_hour) if has_begun else None
    daily = fmean(volume.days[-PRESENT_DAYS:] or [0.0]) if has_begun else None
    storage = await _load_storage(conn, now)
    senders = await list_parts(conn, Scope(Window(window.since, now)), "sender")
    projected = _project_all(volume, signups, storage)
    load = await load_load(conn, Window(now - timedelta(days=PRESENT_DAYS), now), now)
    growth = projected.daily_volume.value / daily if projected.daily_volume and daily else None
    return Capacity(
        as_of=now,
        window=window,
        daily_message_volume=daily,
        peak_hourly_rate=peak,
        peak_hour_at=hours[by_hour.index(peak)] if peak else None,
        senders=len(senders),
        volume=volume,
        signups=signups,
        storage=storage,
        tables=await list_tables(conn, cover(window, now), now),
        projected=projected,
        load=load,
        scaling=recommend(
            load,
            growth=growth,
            disk=storage.disk,
            full_in_days=storage.full_in_days_at_earliest,
            now=now,
            zone=zone,
        ),
        unknown=await _explain(conn, has_begun=has_begun, storage=storage, volume=volume, signups=signups),
    )


async def _has_sent(conn: Connection, window: Window) -> bool:
    return any(await list_sent(conn, Scope(window), [window.since], _DAY))


async def _load_storage(conn: Connection, now: datetime) -> Storage:
    size = await load_database_size(conn, now)
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    asked = {"since": today - timedelta(days=MOST_DAYS + 1), "until": today}
    found = await SQL.list_size_days.many(conn, _SizeDay, asked)
    sizes = _fill_gaps(found)
    grown = [later - earlier for earlier, later in pairwise(sizes)]
    begins_on = found[0].day.date() if found else today.date()
    growth = History(begins_on + _DAY, grown, project(grown))
    disk = await find_disk(conn, now)
    free = disk.free_bytes if disk else None
    return Storage(
        size=size,
        growth_bytes_per_day=size.growth_bytes_per_day(now),
        disk=disk,
        sizes=History(begins_on, sizes, None),
        growth=growth,
        full_in_days=find_full_day(growth.projection, free, at_earliest=False),
        full_in_days_at_earliest=find_full_day(growth.projection, free, at_earliest=True),
    )


def find_full_day(growth: Projection | None, free_bytes: int | None, *, at_earliest: bool) -> int | None:
    """Return in how many days the free bytes are used up, as expected or by the high end of the interval.

    None: not within a year, or not known.
    """
    if growth is None or free_bytes is None:
        return None
    for days in range(1, FURTHEST_DAYS + 1):
        mean = growth.estimate_mean(1, days)
        if (mean.high if at_earliest else mean.value) * days >= free_bytes:
            return days
    return None


def _make_history(bins: Sequence[datetime], counts: Sequence[int], zone: ZoneInfo) -> History:
    """Begin with the first day that had any: before it nothing was there to be counted."""
    days = list(dropwhile(lambda count: not count, map(float, counts)))
    began = bins[len(bins) - len(days)] if days else bins[-1]
    return History(began.astimezone(zone).date(), days, project(days, least=0.0))


def _fill_gaps(found: Sequence[_SizeDay]) -> list[float]:
    """Return the size of every day; between two looks it is taken to have grown evenly."""
    sizes = [float(found[0].bytes)] if found else []
    for earlier, later in pairwise(found):
        days = (later.day - earlier.day) // _DAY
        step = (later.bytes - earlier.bytes) / days
        sizes += [earlier.bytes + step * number for number in range(1, days + 1)]
    return sizes


def _days_before(midnight: datetime, days: int, zone: ZoneInfo) -> datetime:
    return local_midnight(midnight - days * _DAY + 12 * _HOUR, zone)


def _project_all(volume: History, signups: History, storage: Storage) -> Projected:
    daily = _estimate(volume, *LAST_WEEK)
    grown, came = (_estimate(one, 1, HORIZON_DAYS) for one in (storage.growth, signups))
    return Projected(
        daily_volume=daily,
        storage_bytes=None if grown is None else sum_up(grown, HORIZON_DAYS, storage.size.bytes),
        additional_users=None if came is None else sum_up(came, HORIZON_DAYS, 0),
    )


def _estimate(history: History, first: int, last: int) -> Estimate | None:
    return None if history.projection is None else history.projection.estimate_mean(first, last)


def sum_up(mean: Estimate, days: int, begins_with: int) -> Estimate:
    """Return what there is after some days of a mean."""
    ends = (max(0.0, begins_with + value * days) for value in (mean.value, mean.low, mean.high))
    return Estimate(*ends)


async def _explain(
    conn: Connection, *, has_begun: bool, storage: Storage, volume: History, signups: History
) -> dict[str, str]:
    """Return why figures are not known, by their place in the answer."""
    use = "capacity_metrics.current_utilization"
    ahead = "capacity_metrics.projected_growth.3_month_projection"
    reasons: dict[str, str] = {}
    if not has_begun:
        reasons |= {f"{use}.daily_message_volume": _NO_FULL_DAY, f"{use}.peak_hourly_rate": _NO_FULL_DAY}
    if storage.growth_bytes_per_day is None:
        reasons[f"{use}.database_growth_mb_day"] = _NO_GROWTH
    if storage.disk is None:
        reasons[f"{use}.storage_usage_percent"] = await explain_no_disk(conn)
    for name, history, what in (
        ("daily_volume", volume, "messages"),
        ("storage_needs_gb", storage.growth, "growth of the database"),
        ("additional_users", signups, "signups"),
    ):
        if history.projection is None:
            reasons[f"{ahead}.{name}"] = (
                f"Too little history: {len(history.days)} full days of {what}, and a projection needs {LEAST_DAYS}."
            )
    return reasons
