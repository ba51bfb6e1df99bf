"""Readings of the engine itself: processes, hosts, requests, the log, the database."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version

from event_stream_engine.analytics.totals import Distribution
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring import processes
from event_stream_engine.monitoring.health import load_health
from event_stream_engine.monitoring.instruments import Labels, Readings, Sample
from event_stream_engine.monitoring.postgres_pools import load_pools
from event_stream_engine.stream import log

SQL = load_queries(__package__)
UPTIME = timedelta(days=7)
# Metrics of `resource_rollups` by the instrument that shows them.
_HOST_READINGS = {
    "cpu_percent": "ese_host_cpu_ratio",
    "memory_percent": "ese_host_memory_ratio",
    "disk_percent": "ese_host_disk_ratio",
    "disk_free_bytes": "ese_host_disk_free_bytes",
}
_PROCESS_READINGS = {
    "cpu_percent": "ese_processes_cpu_ratio",
    "memory_bytes": "ese_processes_memory_bytes",
    "open_files": "ese_processes_open_files",
}


@dataclass(frozen=True, slots=True)
class _RequestTotal:
    route: str
    method: str
    status_class: str
    requests: int
    microseconds: int
    sketch: list[int]


@dataclass(frozen=True, slots=True)
class _PipelineTotal:
    stage: str
    dead: int
    microseconds: int
    sketch: list[int]


@dataclass(frozen=True, slots=True)
class _Resource:
    host: str
    kind: str
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class _Database:
    bytes: int
    commits: int
    rollbacks: int
    blocks_hit: int
    blocks_read: int
    deadlocks: int


def alone(value: Sample) -> dict[Labels, Sample]:
    return {(): value}


def by(counts: Mapping[str, float]) -> dict[Labels, Sample]:
    return {(label,): count for label, count in counts.items()}


def age(now: datetime, at: datetime | None) -> dict[Labels, Sample]:
    return alone(0.0 if at is None else max(0.0, (now - at).total_seconds()))


async def read_engine(conn: Connection, now: datetime) -> Readings:
    health = await load_health(conn, now)
    live = await processes.list_live(conn, now)
    uptime = await processes.list_uptime(conn, [now - UPTIME, now])
    minutes = sum(day.minutes for day in uptime)
    build = (
        version("event-stream-engine"),
        platform.python_version(),
        await SQL.find_server_version.value(conn),
    )
    kinds = {kind: sum(process.kind == kind for process in live) for kind in processes.NEEDED_KINDS}
    pools = await load_pools(conn, Window(now, now), now)
    return {
        "ese_build_info": {build: 1},
        "ese_ready": alone(int(health.ready_since is not None)),
        "ese_ready_seconds": age(now, health.ready_since),
        "ese_uptime_ratio": alone(sum(day.minutes_up for day in uptime) / minutes) if minutes else {},
        "ese_processes": by(kinds),
        "ese_projector_lag_events": alone(health.lag_events),
        "ese_projector_lag_seconds": alone(health.lag_seconds),
        "ese_spool_events": alone(health.spooled),
        "ese_dead_letters": alone(health.dead_letters),
        "ese_database_connections": alone(health.connections),
        "ese_database_connections_limit": alone(health.most_connections),
        "ese_pool_connections": by({"active": pools.active, "idle": pools.idle, "max": pools.largest}),
        "ese_pool_waiting_requests": alone(pools.waiting),
    }  # fmt: skip


async def read_requests(conn: Connection) -> Readings:
    requests: dict[Labels, Sample] = {}
    routes: dict[Labels, list[_RequestTotal]] = {}
    for row in await SQL.list_request_totals.many(conn, _RequestTotal):
        requests[row.route, row.method, row.status_class] = row.requests
        routes.setdefault((row.route, row.method), []).append(row)
    times: dict[Labels, Sample] = {
        route: Distribution([row.sketch for row in rows], sum(row.microseconds for row in rows) / 1e6)
        for route, rows in routes.items()
    }
    return {"ese_http_requests_total": requests, "ese_http_request_seconds": times}


async def read_resources(conn: Connection, now: datetime) -> Readings:
    found: Readings = {name: {} for name in (*_HOST_READINGS.values(), *_PROCESS_READINGS.values())}
    asked = {"now": now, "beating_since": now - processes.MISSING_AFTER}
    for row in await SQL.list_resources.many(conn, _Resource, asked):
        is_host = row.kind == "host"
        name = (_HOST_READINGS if is_host else _PROCESS_READINGS).get(row.metric)
        if name is not None:
            value = row.value / 100 if row.metric.endswith("_percent") else row.value
            found[name][(row.host,) if is_host else (row.host, row.kind)] = value
    return found


async def read_log(conn: Connection) -> Readings:
    stages = await SQL.list_pipeline_totals.many(conn, _PipelineTotal)
    place = await log.load_place(conn)
    webhooks: dict[Labels, Sample] = {}
    for total in await log.list_intake_totals(conn):
        outcome, _, reason = total.outcome.partition(": ")
        if (
            outcome != "spooled"
        ):  # a way that some of the others took: the labels are to add up to all that came
            webhooks[total.event_type, outcome, reason] = total.events
    return {
        "ese_webhooks_total": webhooks,
        "ese_webhook_processing_seconds": {
            (row.stage,): Distribution([row.sketch], row.microseconds / 1e6) for row in stages
        },
        "ese_webhooks_dead_total": alone(sum(row.dead for row in stages)),
        "ese_events_projected_total": alone(place.events),
    }


async def read_database(conn: Connection) -> Readings:
    """Read what PostgreSQL counts of this database; it begins anew when its statistics are reset."""
    found = await SQL.load_database_counters.one(conn, _Database)
    return {
        "ese_database_bytes": alone(found.bytes),
        "ese_database_transactions_total": by({"committed": found.commits, "rolled_back": found.rollbacks}),
        "ese_database_blocks_total": by({"hit": found.blocks_hit, "read": found.blocks_read}),
        "ese_database_deadlocks_total": alone(found.deadlocks),
    }
