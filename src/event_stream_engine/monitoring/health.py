"""Is the engine itself all right: what is measured of each of its parts. `parts.py` says what that means."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.analytics.compliance import find_oldest_unchecked
from event_stream_engine.audit.chain import load_chain_status
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.monitoring import outward, parts, processes
from event_stream_engine.monitoring.parts import Database, HealthRow, Lag, RedisState, Unsent
from event_stream_engine.stream import log

SQL = load_queries(__package__)
REDIS_FRESH = timedelta(seconds=45)  # four samples
MOVING = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Health:
    """What was measured: `lag_events` stops counting at 10,000, `ready_since` is None while a process is missing."""

    rows: list[HealthRow]
    connections: int
    most_connections: int
    ready_since: datetime | None
    lag_events: int
    lag_seconds: float
    spooled: int
    dead_letters: int
    webhook_processing_ms: float | None
    redis_memory_bytes: int | None
    redis_unknown: str | None


@dataclass(frozen=True, slots=True)
class _Pipeline:
    events: int
    microseconds: int
    slowest: int


async def load_health(conn: Connection, now: datetime) -> Health:
    """Measure the engine's parts as they are now."""
    began = time.perf_counter()
    database = await SQL.load_database.one(conn, Database)
    database_ms = (time.perf_counter() - began) * 1000
    place = await log.load_place(conn)
    lag = await SQL.load_lag.one(conn, Lag, {"xid": place.xid, "id": place.id})
    known = await processes.list_processes(conn)
    live = [process for process in known if processes.is_live(process, now)]
    unsent = await SQL.list_unsent.many(conn, Unsent, {"now": now, "moving_since": now - MOVING})
    chain = await load_chain_status(conn)
    oldest_unchecked_at = await find_oldest_unchecked(conn)
    redis = await SQL.find_redis.maybe(conn, RedisState, {"fresh_since": now - REDIS_FRESH})
    pipeline = await SQL.load_pipeline.one(conn, _Pipeline, {"since": now - timedelta(minutes=5)})
    return Health(
        rows=[
            parts.describe_database(database, database_ms),
            *[await _describe_kind(conn, kind, known, now) for kind in processes.NEEDED_KINDS],
            parts.describe_loops(live, now),
            parts.describe_lag(lag, now),
            parts.describe_unsent(unsent, now),
            parts.describe_spool(live),
            parts.describe_dead_letters(database),
            *parts.describe_provider(live),
            parts.describe_sealing(chain.unsealed, chain.oldest_unsealed_at, now),
            parts.describe_checking(oldest_unchecked_at, now),
            parts.describe_redis(redis),
            await outward.describe_channels(conn),
            await outward.describe_deadman(conn, now),
        ],
        connections=database.connections,
        most_connections=database.most_connections,
        ready_since=processes.find_ready_since(live),
        lag_events=lag.events,
        lag_seconds=parts.seconds_since(lag.oldest_at, now),
        spooled=sum(process.spooled for process in live),
        dead_letters=database.dead_letters,
        webhook_processing_ms=pipeline.microseconds / pipeline.events / 1000 if pipeline.events else None,
        redis_memory_bytes=None if redis is None else redis.memory_bytes,
        redis_unknown="not configured" if redis is None else redis.fault,
    )


async def _describe_kind(
    conn: Connection, kind: str, known: list[processes.Process], now: datetime
) -> HealthRow:
    of_kind = [process for process in known if process.kind == kind]
    live = [process for process in of_kind if processes.is_live(process, now)]
    if live:
        return parts.describe_processes(kind, live, now)
    last = max((process.beat_at for process in of_kind), default=None)
    return parts.describe_missing(kind, last or await processes.find_last_seen(conn, kind))
