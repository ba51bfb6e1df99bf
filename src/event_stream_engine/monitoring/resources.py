"""What the engine's processes and hosts use: samples into roll-ups, and figures and series out of them."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
from psycopg.types.json import Jsonb

from event_stream_engine.analytics.scope import list_bins
from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres_disk import note_disk
from event_stream_engine.monitoring.processes import MISSING_AFTER, Process
from event_stream_engine.monitoring.redis_server import RedisLook, RedisProbe
from event_stream_engine.monitoring.sampling import Sample, Sampler

SQL = load_queries(__package__)
SAMPLE_SECONDS = 10.0
MINUTES_KEPT = timedelta(days=3)
QUARTERS_KEPT = timedelta(days=400)  # 0.4 MB a day for a host with three processes
MINUTE, QUARTER = timedelta(minutes=1), timedelta(minutes=15)
MOST_USES = 100  # hosts and processes
NOBODY = "No process of the engine has measured it in the last minute."
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Utilization:
    """What is used now, of the last full minute and the running one. A figure that is None has its reason in `unknown`."""

    cpu_usage_percent: float | None
    memory_usage_mb: float | None
    disk_io_ops_sec: float | None
    unknown: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Used:
    cpu_percent: float | None
    memory_bytes: float | None
    disk_operations_per_second: float | None
    reasons: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """What a host (`kind` host, `pid` 0) or a process used in a window, by metric.

    Shape: `limits` has what it may use and whose limit that is, and under `unknown` why a figure is missing.
    """

    host: str
    kind: str
    pid: int
    seen_at: datetime
    means: dict[str, float]
    peaks: dict[str, float]
    limits: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ResourcePoint:
    """A metric of a host, or of all its processes of a kind together, in one step of a series."""

    host: str
    kind: str
    metric: str
    bin: datetime
    mean: float
    peak: float


@dataclass(frozen=True, slots=True)
class Resources:
    uses: list[ResourceUse]
    points: list[ResourcePoint]
    bins: list[datetime]


async def load_resources(
    conn: Connection, window: Window, step: timedelta, zone: ZoneInfo, now: datetime
) -> Resources:
    """Return what was used in a window, in full buckets: minutes while they are kept, else quarter-hours."""
    has_minutes = step < QUARTER and window.since >= now - MINUTES_KEPT
    grain, length = ("minute", MINUTE) if has_minutes else ("quarter", QUARTER)
    bins = list_bins(window, max(step, length), zone)
    # Also the bucket in which the window begins: the first minutes of an engine are in one.
    values = {"grain": grain, "since": window.since - length, "until": window.until}
    return Resources(
        await SQL.list_resource_uses.many(conn, ResourceUse, values | {"most": MOST_USES}),
        await SQL.list_resource_points.many(conn, ResourcePoint, values | {"bins": bins}),
        bins,
    )


async def add_sample(conn: Connection, process_id: UUID, kind: str, at: datetime, sample: Sample) -> None:
    """Add what a process found of itself and its host."""
    found = [("host", name, value) for name, value in sample.host.items()]
    found += [(kind, name, value) for name, value in sample.process.items()]
    await SQL.add_sample.execute(
        conn,
        {
            "at": at,
            "host": sample.host_name,
            "pid": sample.pid,
            "kinds": [kind for kind, _, _ in found],
            "metrics": [name for _, name, _ in found],
            "values": [float(value) for _, _, value in found],
            "process_id": process_id,
            "limits": Jsonb(sample.limits | {"unknown": sample.unknown}),
        },
    )


async def load_utilization(conn: Connection, now: datetime) -> Utilization:
    """Return the processor of the busiest host, the memory of all our processes, the disk operations of all hosts."""
    used = await SQL.load_utilization.one(conn, _Used, {"now": now, "beating_since": now - MISSING_AFTER})
    figures = {
        "cpu_usage_percent": used.cpu_percent,
        "memory_usage_mb": None if used.memory_bytes is None else used.memory_bytes / 1024**2,
        "disk_io_ops_sec": used.disk_operations_per_second,
    }
    reasons = used.reasons or {}
    faults = {
        "cpu_usage_percent": reasons.get("host.cpu_percent"),
        "memory_usage_mb": reasons.get("process.memory_bytes"),
        "disk_io_ops_sec": reasons.get("host.disk_reads_per_second"),
    }
    return Utilization(
        **{name: None if value is None else round(value, 2) for name, value in figures.items()},
        unknown={name: faults[name] or NOBODY for name, value in figures.items() if value is None},
    )


async def note_redis(conn: Connection, at: datetime, found: RedisLook) -> None:
    """Keep what was found of Redis, and since when it is there or away."""
    await SQL.note_redis.execute(conn, asdict(found) | {"now": at})


async def drop_old_resources(conn: Connection, now: datetime) -> None:
    """Forget what is kept no longer."""
    await SQL.drop_old_resources.execute(
        conn, {"minutes_until": now - MINUTES_KEPT, "quarters_until": now - QUARTERS_KEPT}
    )


async def run_sampler(
    settings: Settings, url: str, process: Process, clock: Clock, stopping: asyncio.Event
) -> None:
    """Sample until told to stop, at the same instants in every process, so that their samples can be added up."""
    sampler = await asyncio.to_thread(Sampler, settings.data_dir)
    probe = None if settings.redis_url is None else RedisProbe(settings.redis_url)
    while not stopping.is_set():
        at = clock.now()
        sample = await asyncio.to_thread(sampler.look)
        redis = None if probe is None else await probe.look()
        try:
            # A session of its own each time: an idle one would hold a connection for one statement in ten seconds.
            async with await connect(url, "ese-sampler", statement_timeout_ms=5000) as conn:
                await add_sample(conn, process.id, process.kind, at, sample)
                await note_disk(conn, at)
                if redis is not None:
                    await note_redis(conn, at, redis)
        except psycopg.Error as error:
            _logger.warning("resources could not be noted: %s", type(error).__name__)
        with suppress(TimeoutError):
            async with asyncio.timeout(SAMPLE_SECONDS - clock.now().timestamp() % SAMPLE_SECONDS):
                await stopping.wait()
