"""The pools of connections of all web processes, as these note them with their signs of life."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.processes import MISSING_AFTER

SQL = load_queries(__package__)
WAITS_OVER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Pools:
    """`idle` are ready in the pool, `waiting` are requests in its queue. `requests` and `wait_ms` are of the last five minutes,
    `failed` (requests that got no connection) and `lost` (connections that were dead or could not be made) of the window."""

    processes: int
    size: int
    idle: int
    largest: int
    waiting: int
    requests: int
    wait_ms: int
    failed: int
    lost: int

    @property
    def active(self) -> int:
        return self.size - self.idle

    @property
    def mean_wait_ms(self) -> float | None:
        return self.wait_ms / self.requests if self.requests else None


async def note_pool(conn: Connection, process_id: UUID, stats: Mapping[str, int], now: datetime) -> None:
    """Note how a process's pool is doing. `stats`: what `psycopg_pool` says of it."""
    counters = ("requests_num", "requests_queued", "requests_wait_ms", "requests_errors")
    lost = sum(stats.get(name, 0) for name in ("connections_lost", "connections_errors", "returns_bad"))
    await SQL.note_pool.execute(
        conn,
        {
            "process_id": process_id,
            "now": now,
            "size": stats["pool_size"],
            "idle": stats["pool_available"],
            "largest": stats["pool_max"],
            "waiting": stats["requests_waiting"],
            # psycopg_pool leaves out what has not happened yet.
            "counters": [*(stats.get(name, 0) for name in counters), lost],
        },
    )


async def load_pools(conn: Connection, window: Window, now: datetime) -> Pools:
    values = {"alive_since": now - MISSING_AFTER, "waits_since": now - WAITS_OVER}
    return await SQL.load_pools.one(conn, Pools, values | {"since": window.since, "until": window.until})
