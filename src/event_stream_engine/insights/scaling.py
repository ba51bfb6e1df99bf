"""What to scale: advice that follows from a figure that was measured, and none where nothing is near its limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.pipeline import Pipeline, load_pipeline
from event_stream_engine.monitoring.postgres_disk import Disk

SQL = load_queries(__package__)
# Limits, each below the one at which an alert would fire, so that there is time to act.
BUSY_PERCENT = 70.0  # of the processor, in one quarter-hour of twenty; queues grow steeply beyond it
PROJECTED_BUSY_PERCENT = 85.0
LEAST_QUARTERS = 20  # one of twenty cannot be told of fewer
FULL_MEMORY_PERCENT = 80.0
FULL_DISK_PERCENT = 80.0
WAITED_PERCENT = 1.0  # of requests for a connection, when there were at least so many:
LEAST_REQUESTS = 1000
APPLIED_SECONDS = 10.0  # from receipt to effect, one webhook in twenty; the alert comes at 30
STORED_MS = 500.0  # until a webhook is answered; the provider gives up after 15 s
OTHERS_PERCENT = 10.0  # of the time somebody else's statement runs
REDIS_MS = 10.0
HORIZON = timedelta(days=91)
_LEAST_COUNTED = timedelta(days=1)
_REDIS_FRESH = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Scaling:
    """A piece of advice. `figure` names what was measured; it reached `value`, and `limit` is what it should keep below.

    `unit`: of both, `%`, `ms`, `s`, `days` or `webhooks`.
    """

    slug: str
    text: str
    figure: str
    value: float
    limit: float
    unit: str


@dataclass(frozen=True, slots=True)
class PoolWaits:
    requests: int
    waited: int
    failed: int
    busiest_wait_ms: float | None


@dataclass(frozen=True, slots=True)
class HostLoad:
    """`busy`: what quarter-hours reach that are busier than 95 of 100; `busiest`: the highest, at `busiest_at`."""

    host: str
    metric: str
    busy: float
    busiest: float
    busiest_at: datetime


@dataclass(frozen=True, slots=True)
class OtherQueries:
    """What statements of other roles cost since PostgreSQL began to count."""

    seconds: float
    began_at: datetime


@dataclass(frozen=True, slots=True)
class Redis:
    latency_ms: float | None
    fault: str | None
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Load:
    """What the engine's parts had to bear in the last days. `others`: None where statements are not counted; `redis`: None where
    it is not used."""

    pool: PoolWaits
    hosts: Sequence[HostLoad]
    pipeline: Pipeline
    others: OtherQueries | None
    redis: Redis | None

    def find_busiest(self, metric: str) -> HostLoad | None:
        found = [one for one in self.hosts if one.metric == metric]
        return max(found, key=lambda one: one.busy, default=None)


async def load_load(conn: Connection, window: Window, now: datetime) -> Load:
    """Return what the engine's parts had to bear in a window."""
    asked = {"since": window.since, "until": window.until}
    return Load(
        pool=await SQL.load_pool_waits.one(conn, PoolWaits, asked),
        hosts=await SQL.list_host_loads.many(conn, HostLoad, asked | {"least": LEAST_QUARTERS}),
        pipeline=await load_pipeline(conn, window, now),
        others=await SQL.find_other_queries.maybe(conn, OtherQueries),
        redis=await SQL.find_redis.maybe(conn, Redis, {"since": now - _REDIS_FRESH}),
    )


def recommend(
    load: Load,
    *,
    growth: float | None,
    disk: Disk | None,
    full_in_days: int | None,
    now: datetime,
    zone: ZoneInfo,
) -> list[Scaling]:
    """Return advice, the most pressing first: what fails already, what fills up, what is slow.

    `growth`: projected volume / present volume; `full_in_days`: at the earliest; None: not known.
    """
    found = (
        _advise_pool(load.pool),
        _advise_spool(load.pipeline),
        _advise_disk(disk, full_in_days, now, zone),
        _advise_processor(load.find_busiest("cpu_percent"), growth),
        _advise_memory(load.find_busiest("memory_percent")),
        _advise_projector(load.pipeline),
        _advise_intake(load.pipeline),
        _advise_replica(load.others, now, zone),
        _advise_redis(load.redis, now),
    )
    return [one for one in found if one is not None]


def _advise_pool(pool: PoolWaits) -> Scaling | None:
    waited = percent(pool.waited, pool.requests)
    is_slow = pool.requests >= LEAST_REQUESTS and waited is not None and waited >= WAITED_PERCENT
    if waited is None or not (is_slow or pool.failed):
        return None
    busiest = (
        ""
        if pool.busiest_wait_ms is None
        else f", {pool.busiest_wait_ms:,.0f} ms on average in the worst quarter-hour"
    )
    failed = f" {pool.failed:,} got none." if pool.failed else ""
    return Scaling(
        "pool",
        "Run another web process, which brings a pool of its own:"
        f" {waited:.1f} % of requests waited for a database connection in the last 7 days{busiest}.{failed}",
        "requests that waited for a connection",
        waited,
        WAITED_PERCENT,
        "%",
    )


def _advise_spool(pipeline: Pipeline) -> Scaling | None:
    detoured = pipeline.spooled + pipeline.refused
    if not detoured:
        return None
    refused = f", and {pipeline.refused:,} were refused" if pipeline.refused else ""
    return Scaling(
        "spool",
        f"Give PostgreSQL faster disks, and a standby that takes over: {pipeline.spooled:,} webhooks of the last 7 days went by way of"
        f" the disk because it did not take them within a second{refused}.",
        "webhooks that PostgreSQL did not take at once",
        detoured,
        0,
        "webhooks",
    )


def _advise_disk(
    disk: Disk | None, full_in_days: int | None, now: datetime, zone: ZoneInfo
) -> Scaling | None:
    if full_in_days is not None and timedelta(days=full_in_days) <= HORIZON:
        on = (now + timedelta(days=full_in_days)).astimezone(zone).date()
        return Scaling(
            "disk",
            f"Enlarge the disk of PostgreSQL before {on.isoformat()}: at the high end of the projected growth it is full then.",
            "days until the disk is full, at the earliest",
            full_in_days,
            HORIZON.days,
            "days",
        )
    used = disk.used_percent if disk else None
    if used is None or used < FULL_DISK_PERCENT:
        return None
    return Scaling(
        "disk",
        f"Enlarge the disk of PostgreSQL: {used:.1f} % of it is used.",
        "disk used",
        used,
        FULL_DISK_PERCENT,
        "%",
    )


def _advise_processor(host: HostLoad | None, growth: float | None) -> Scaling | None:
    if host is None:
        return None
    projected = host.busy * max(1.0, growth or 1.0)
    if host.busy >= BUSY_PERCENT:
        return Scaling(
            "processor",
            f"Give {host.host} more cores, or run web and worker on another host beside it: in one quarter-hour of twenty its"
            f" processor was {host.busy:.0f} % busy or more.",
            "processor of the busiest host",
            round(host.busy, 1),
            BUSY_PERCENT,
            "%",
        )
    if projected >= PROJECTED_BUSY_PERCENT:
        return Scaling(
            "processor",
            f"Plan more cores than those of {host.host}: busy times take {host.busy:.0f} % of its processor now, and {growth:.1f}"
            f" times the messages in three months would take {projected:.0f} %.",
            "processor of the busiest host, projected",
            round(projected, 1),
            PROJECTED_BUSY_PERCENT,
            "%",
        )
    return None


def _advise_memory(host: HostLoad | None) -> Scaling | None:
    if host is None or host.busy < FULL_MEMORY_PERCENT:
        return None
    return Scaling(
        "memory",
        f"Give {host.host} more memory: in one quarter-hour of twenty {host.busy:.0f} % of it or more was used.",
        "memory of the fullest host",
        round(host.busy, 1),
        FULL_MEMORY_PERCENT,
        "%",
    )


def _advise_projector(pipeline: Pipeline) -> Scaling | None:
    p95 = pipeline.applied.percentiles_ms["p95"]
    if p95 is None or p95 < APPLIED_SECONDS * 1000:
        return None
    return Scaling(
        "projector",
        f"Give the worker's host and PostgreSQL faster cores and disks: one webhook in twenty took {p95 / 1000:.0f} s or longer"
        " from receipt to figures. Only one worker projects at a time, so a second one would not help.",
        "time from receipt to effect, 95th percentile",
        round(p95 / 1000, 1),
        APPLIED_SECONDS,
        "s",
    )


def _advise_intake(pipeline: Pipeline) -> Scaling | None:
    p95 = pipeline.stored.percentiles_ms["p95"]
    if p95 is None or p95 < STORED_MS:
        return None
    return Scaling(
        "intake",
        f"Run another web process on a host of its own: one webhook in twenty took {p95:,.0f} ms or longer to be stored and answered.",
        "time until a webhook is stored, 95th percentile",
        round(p95, 1),
        STORED_MS,
        "ms",
    )


def _advise_replica(others: OtherQueries | None, now: datetime, zone: ZoneInfo) -> Scaling | None:
    if others is None or now - others.began_at < _LEAST_COUNTED:
        return None
    share = 100 * others.seconds / (now - others.began_at).total_seconds()
    if share < OTHERS_PERCENT:
        return None
    return Scaling(
        "replica",
        "Add a read replica for people's queries and name it in ESE_REPORTING_DATABASE_URL: statements of other roles have run"
        f" {share:.0f} % of the time since {others.began_at.astimezone(zone).date().isoformat()}.",
        "time in statements of other roles",
        round(share, 1),
        OTHERS_PERCENT,
        "%",
    )


def _advise_redis(redis: Redis | None, now: datetime) -> Scaling | None:
    if redis is None:
        return None
    if redis.fault is not None:
        minutes = (now - redis.changed_at).total_seconds() / 60
        return Scaling(
            "redis",
            f"Give Redis a replica that takes over: it has been away for {minutes:,.0f} minutes ({redis.fault}).",
            "minutes that Redis has been away",
            round(minutes, 1),
            0,
            "min",
        )
    if redis.latency_ms is None or redis.latency_ms < REDIS_MS:
        return None
    return Scaling(
        "redis",
        f"Move Redis nearer to the engine: it takes {redis.latency_ms:.0f} ms to answer.",
        "time of an answer of Redis",
        round(redis.latency_ms, 1),
        REDIS_MS,
        "ms",
    )
