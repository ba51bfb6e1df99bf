"""The engine's own processes: who is alive, since when, and for how much of the time."""

import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from importlib.metadata import version
from uuid import UUID

from psycopg.types.json import Jsonb

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.ingest.intake import Spooled

SQL = load_queries(__package__)
NEEDED_KINDS = ("web", "worker")
VERSION = version("event-stream-engine")
BEAT_SECONDS = 2.0
# Three beats may be late. With the page's own steps (WATCH_SECONDS, vitals.js) a loss is seen within 13 s.
MISSING_AFTER = timedelta(seconds=8)


@dataclass(frozen=True, slots=True)
class Process:
    """A process and its last sign of life. `spooled` counts the events it holds on disk, `spooled_since` their time there.

    `provider`: who it hands messages to, None: nobody. `loops`: when each last came round.
    """

    id: UUID
    kind: str
    started_at: datetime
    beat_at: datetime
    spooled: int
    spool_bytes: int = 0
    spool_limit_bytes: int | None = None
    spooled_since: datetime | None = None
    provider: str | None = None
    loops: dict[str, str] = field(default_factory=dict)
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    version: str = VERSION


@dataclass(frozen=True, slots=True)
class Uptime:
    """Minutes of a window in which every needed process gave a sign of life, of those since the first record."""

    since: datetime
    minutes_up: int
    minutes: int


def refresh(process: Process, now: datetime, spooled: Spooled) -> Process:
    """Return what a web process tells of itself now."""
    return replace(
        process,
        beat_at=now,
        spooled=spooled.events,
        spooled_since=spooled.since,
        spool_bytes=spooled.used_bytes,
        spool_limit_bytes=spooled.limit_bytes,
    )


async def beat(conn: Connection, process: Process) -> None:
    """Give a sign of life for this process and mark the minute."""
    await SQL.beat.execute(conn, asdict(process) | {"loops": Jsonb(process.loops), "now": process.beat_at})


async def list_processes(conn: Connection) -> list[Process]:
    """Return every process that gave a sign of life within a day and did not take leave."""
    return await SQL.list_processes.many(conn, Process)


async def list_live(conn: Connection, now: datetime) -> list[Process]:
    return [process for process in await list_processes(conn) if is_live(process, now)]


def is_live(process: Process, now: datetime) -> bool:
    return process.beat_at >= now - MISSING_AFTER


async def find_last_seen(conn: Connection, kind: str) -> datetime | None:
    """Return the last minute in which a process of a kind gave a sign of life."""
    at: datetime | None = await SQL.find_last_minute.value(conn, {"kind": kind})
    return at


def find_ready_since(processes: list[Process]) -> datetime | None:
    """Return when the engine last became ready: when the last of the needed kinds appeared; None when one is missing."""
    started = [
        min((process.started_at for process in processes if process.kind == kind), default=None)
        for kind in NEEDED_KINDS
    ]
    return None if None in started else max(at for at in started if at is not None)


async def list_uptime(conn: Connection, edges: Sequence[datetime]) -> list[Uptime]:
    """Return the measured full minutes of windows that follow each other; those before the first record are left out.

    Shape: `edges` are where each window begins, and the end of the last one.
    """
    minutes = [edge.replace(second=0, microsecond=0) for edge in edges]
    return await SQL.list_uptime.many(conn, Uptime, {"edges": minutes, "kinds": list(NEEDED_KINDS)})


async def end(conn: Connection, process_id: UUID) -> None:
    """Take leave in good order."""
    await SQL.end_process.execute(conn, {"id": process_id})
