"""The engine's own processes: who is alive, since when, and for how much of the time."""

import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
NEEDED_KINDS = ("web", "worker")
BEAT_SECONDS = 5.0
MISSING_AFTER = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Process:
    """A process and its last sign of life. `spooled` counts the events it holds on disk."""

    id: UUID
    kind: str
    started_at: datetime
    beat_at: datetime
    spooled: int


@dataclass(frozen=True, slots=True)
class Uptime:
    """Minutes of a window in which every needed process gave a sign of life, of those since the first record."""

    since: datetime
    minutes_up: int
    minutes: int


async def beat(conn: Connection, process: Process) -> None:
    """Give a sign of life for this process and mark the minute."""
    await SQL.beat.execute(
        conn, {**asdict(process), "host": socket.gethostname(), "pid": os.getpid(), "now": process.beat_at}
    )


async def list_live(conn: Connection, now: datetime) -> list[Process]:
    return await SQL.list_live_processes.many(conn, Process, {"since": now - MISSING_AFTER})


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
