"""What if there were more messages, more or fewer senders, or less of the log were kept: present use, reckoned anew. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.capacity import Capacity, find_full_day

SQL = load_queries(__package__)
LOG = "events"
# Their rows come with messages; what the others hold grows with people and time.
_OF_MESSAGES = frozenset({LOG, "messages", "inbound_events", "audit_log", "audit_batches"})


@dataclass(frozen=True, slots=True)
class Assumptions:
    """`volume_factor`: times the messages of today. `senders`: None for as many as now. `retention_days`: of the log; None: all."""

    volume_factor: float = 1.0
    senders: int | None = None
    retention_days: int | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """What present use would be. A figure that rests on one that is not known is None.

    `log_bytes`: what the log takes in the long run when only so many days are kept; `log_freed_bytes`: what goes at once.
    """

    assumptions: Assumptions
    daily_volume: float | None
    peak_hourly_rate: float | None
    growth_bytes_per_day: float | None
    processor_percent: float | None
    senders: int
    sender_rate_per_second: float | None
    full_in_days: int | None
    log_bytes: float | None
    log_freed_bytes: int | None


@dataclass(frozen=True, slots=True)
class _LogSize:
    bytes: int
    older_bytes: int


async def reckon(conn: Connection, found: Capacity, assumptions: Assumptions, now: datetime) -> Scenario:
    """Return present use under assumptions."""
    volume = assumptions.volume_factor
    grown = {table.state.relation: table.growth_bytes_per_day for table in found.tables}
    of_messages = sum(grown.get(name) or 0.0 for name in _OF_MESSAGES)
    log_growth, growth = grown.get(LOG), found.storage.growth_bytes_per_day
    more = (volume - 1) * max(0.0, of_messages)
    log_bytes, freed = None, None
    if assumptions.retention_days is not None:
        first_kept = (now - timedelta(days=assumptions.retention_days)).date()
        freed = (await SQL.load_log_size.one(conn, _LogSize, {"until": first_kept})).older_bytes
        if log_growth is not None:
            log_bytes = max(0.0, log_growth) * volume * assumptions.retention_days
            more -= max(0.0, log_growth) * volume  # in the long run each day takes the place of another
    peak = None if found.peak_hourly_rate is None else found.peak_hourly_rate * volume
    senders = assumptions.senders or found.senders
    host, disk, projection = (
        found.load.find_busiest("cpu_percent"),
        found.storage.disk,
        found.storage.growth.projection,
    )
    return Scenario(
        assumptions=assumptions,
        daily_volume=None if found.daily_message_volume is None else found.daily_message_volume * volume,
        peak_hourly_rate=peak,
        growth_bytes_per_day=None if growth is None else growth + more,
        processor_percent=None if host is None else host.busy * volume,
        senders=senders,
        sender_rate_per_second=None if peak is None or not senders else peak / 3600 / senders,
        full_in_days=find_full_day(
            projection and replace(projection, level=projection.level + more),
            None if disk is None else disk.free_bytes + (freed or 0),
            at_earliest=False,
        ),
        log_bytes=log_bytes,
        log_freed_bytes=freed,
    )
