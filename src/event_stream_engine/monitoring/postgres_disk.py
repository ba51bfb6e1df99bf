"""The disk that PostgreSQL lives on. A process sees it when the server's process for its own connection runs on the same host."""

import asyncio
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

import psutil

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import percent

SQL = load_queries(__package__)
FRESH = timedelta(minutes=2)
_CLOCKS_DIFFER_SECONDS = 5  # the kernel and PostgreSQL reckon the start of a process differently
_WRITTEN_EVERY = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Disk:
    """`free_bytes`: for PostgreSQL; what the file system keeps for root is neither used nor free."""

    host: str
    total_bytes: int
    free_bytes: int
    measured_at: datetime

    @property
    def used_percent(self) -> float | None:
        return percent(self.total_bytes - self.free_bytes, self.total_bytes)


@dataclass(frozen=True, slots=True)
class _Server:
    pid: int
    started_at: datetime
    data_directory: str | None


async def note_disk(conn: Connection, at: datetime) -> None:
    """Note how full the disk is, when PostgreSQL runs on this host and says where its data are."""
    server = await SQL.find_own_server.one(conn, _Server)
    usage = await asyncio.to_thread(_measure, server)
    if usage is not None:
        total, free = usage
        await SQL.note_disk.execute(
            conn,
            {
                "at": at,
                "host": socket.gethostname(),
                "total_bytes": total,
                "free_bytes": free,
                "unless_since": at - _WRITTEN_EVERY,
            },
        )


async def find_disk(conn: Connection, now: datetime) -> Disk | None:
    """Return the disk as it was last seen, None when nobody has of late."""
    return await SQL.find_disk.maybe(conn, Disk, {"since": now - FRESH})


async def explain_no_disk(conn: Connection) -> str:
    """Say why nobody has seen the disk, and what to do."""
    server = await SQL.find_own_server.one(conn, _Server)
    if server.data_directory is None:
        return (
            f"{conn.info.user} may not know where PostgreSQL keeps its data. As a superuser:"
            f" GRANT pg_read_all_settings TO {conn.info.user};"
        )
    return (
        "PostgreSQL runs on a host, or in a container, whose disk no process of the engine sees. Run a worker beside it, or watch"
        " that disk there."
    )


def _measure(server: _Server) -> tuple[int, int] | None:
    """Return bytes of the disk and those free; None when the server's process is not one of this host."""
    if server.data_directory is None:
        return None
    try:
        process = psutil.Process(server.pid)
        if abs(process.create_time() - server.started_at.timestamp()) > _CLOCKS_DIFFER_SECONDS:
            return None  # the process of that number here is another one
        usage = psutil.disk_usage(server.data_directory)
    except (psutil.Error, OSError):
        return None
    return usage.total, usage.free
