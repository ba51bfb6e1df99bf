"""Is the engine itself all right: database, projector, processes, spool, dead letters."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.monitoring import outward, processes
from event_stream_engine.stream import log

SQL = load_queries(__package__)
LATE_AFTER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class HealthRow:
    """One part of the engine. `state`: ok, warning, failed."""

    name: str
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class Health:
    """What was measured: `lag_events` stops counting at 10,000, `ready_since` is None while a process is missing."""

    rows: list[HealthRow]
    connections: int
    ready_since: datetime | None
    lag_events: int
    lag_seconds: float
    spooled: int
    dead_letters: int
    webhook_processing_ms: float | None


@dataclass(frozen=True, slots=True)
class _Database:
    connections: int
    most_connections: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class _Lag:
    events: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Pipeline:
    events: int
    microseconds: int
    slowest: int


async def load_health(conn: Connection, now: datetime) -> Health:
    """Measure the engine's parts as they are now."""
    began = time.perf_counter()
    database = await SQL.load_database.one(conn, _Database)
    database_ms = (time.perf_counter() - began) * 1000
    place = await log.load_place(conn)
    lag = await SQL.load_lag.one(conn, _Lag, {"xid": place.xid, "id": place.id})
    lag_seconds = max(0.0, (now - lag.oldest_at).total_seconds()) if lag.oldest_at else 0.0
    live = await processes.list_live(conn, now)
    spooled = sum(process.spooled for process in live)
    pipeline = await SQL.load_pipeline.one(conn, _Pipeline, {"since": now - timedelta(minutes=5)})
    return Health(
        rows=[
            _describe_database(database, database_ms),
            _describe_lag(lag, lag_seconds),
            *(_describe_kind(kind, live, now) for kind in processes.NEEDED_KINDS),
            HealthRow(
                "Spool",
                "warning" if spooled else "ok",
                f"{spooled:,} events wait on disk" if spooled else "empty",
            ),
            HealthRow(
                "Dead letters",
                "warning" if database.dead_letters else "ok",
                f"{database.dead_letters:,} to look at; `ese replay`" if database.dead_letters else "none",
            ),
            HealthRow("Notifications", *await outward.describe_channels(conn)),
            HealthRow("Dead-man's switch", *await outward.describe_deadman(conn, now)),
        ],
        connections=database.connections,
        ready_since=processes.find_ready_since(live),
        lag_events=lag.events,
        lag_seconds=lag_seconds,
        spooled=spooled,
        dead_letters=database.dead_letters,
        webhook_processing_ms=pipeline.microseconds / pipeline.events / 1000 if pipeline.events else None,
    )


def _describe_database(database: _Database, latency_ms: float) -> HealthRow:
    crowded = database.connections > database.most_connections * 0.8
    text = f"{latency_ms:.1f} ms · {database.connections} of {database.most_connections} connections"
    return HealthRow("Database", "warning" if crowded else "ok", text)


def _describe_lag(lag: _Lag, seconds: float) -> HealthRow:
    count = f"{lag.events:,}{' or more' if lag.events >= 10_000 else ''} events"
    late = lag.events > 0 and seconds > LATE_AFTER_SECONDS
    return HealthRow("Event lag", "warning" if late else "ok", f"{count} · {seconds:.1f} s")


def _describe_kind(kind: str, live: list[processes.Process], now: datetime) -> HealthRow:
    name = "Web" if kind == "web" else "Workers"
    beats = [process.beat_at for process in live if process.kind == kind]
    if not beats:
        command = "ese serve" if kind == "web" else "ese work"
        return HealthRow(name, "failed", f"none is running: start `{command}`")
    age = max(0, round((now - max(beats)).total_seconds()))
    return HealthRow(name, "ok", f"{len(beats)} running · beat {age} s ago")
