"""One reading of all instruments: what they show now, from the database, the same in every process."""

import asyncio
import math
import platform
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from itertools import accumulate

from event_stream_engine.analytics.campaign_progress import count_campaigns
from event_stream_engine.analytics.compliance import load_compliance
from event_stream_engine.analytics.consent import count_users
from event_stream_engine.analytics.counts import STATUSES
from event_stream_engine.analytics.delivery import count_messages
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.analytics.totals import Distribution, load_totals
from event_stream_engine.audit.chain import load_chain_status
from event_stream_engine.infra.database import Connection, Pool, snapshot
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.stats import GAMMA
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring import processes
from event_stream_engine.monitoring.health import load_health
from event_stream_engine.stream import log

SQL = load_queries(__package__)
WINDOWS = {"1h": timedelta(hours=1), "24h": timedelta(hours=24)}
CAMPAIGN_STATES = ("draft", "scheduled", "running", "paused", "completed", "cancelled")
UPTIME = timedelta(days=7)
FRESH_SECONDS = 2.0  # however many scrape, each web process reads the database no more often
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
Labels = tuple[str, ...]
Sample = float | Distribution
Readings = dict[str, dict[Labels, Sample]]


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
class _Outbox:
    waiting: int
    oldest_due_at: datetime | None


class Readout:
    """The last reading of one process. Who asks while the next is being taken waits for it."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._lock = asyncio.Lock()
        self._readings: Readings = {}
        self._fresh_until = 0.0

    async def read(self) -> Readings:
        """Return a reading that is at most FRESH_SECONDS old."""
        async with self._lock:
            if time.monotonic() >= self._fresh_until:
                async with self._pool.connection() as conn, snapshot(conn):
                    self._readings = await read_instruments(conn, self._clock.now())
                self._fresh_until = time.monotonic() + FRESH_SECONDS
            return self._readings


async def read_instruments(conn: Connection, now: datetime) -> Readings:
    """Read every instrument, by name and values of its labels; in one snapshot, a few milliseconds."""
    return {
        **await _read_engine(conn, now),
        **await _read_resources(conn, now),
        **await _read_log(conn),
        **await _read_requests(conn),
        **await _read_messages(conn, now),
        **await _read_campaigns(conn, now),
        **await _read_compliance(conn, now),
    }


async def try_hold_export(conn: Connection) -> bool:
    """Become the only one that exports, for as long as the connection lasts; again when it already is."""
    return bool(await SQL.try_hold_export.value(conn))


def count_up_to(bounds: Sequence[float], distribution: Distribution) -> list[int]:
    """Count what is not above each bound, to within the sketch's 1 %, and at last all."""
    last_places = [round(math.log(bound) / math.log(GAMMA)) for bound in bounds]
    counts = [0] * (len(bounds) + 1)
    for place, count in distribution.sketch.items():
        counts[bisect_left(last_places, place)] += count
    return list(accumulate(counts))


def _alone(value: Sample) -> dict[Labels, Sample]:
    return {(): value}


def _read_sketch(elements: list[int]) -> dict[int, int]:
    """Return a sketch by place, from elements place * 2^40 + count (`sketch_of` in the migrations)."""
    return {element >> 40: element & 0xFF_FFFF_FFFF for element in elements}


def _by(counts: Mapping[str, float]) -> dict[Labels, Sample]:
    return {(label,): count for label, count in counts.items()}


def _age(now: datetime, at: datetime | None) -> dict[Labels, Sample]:
    return _alone(0.0 if at is None else max(0.0, (now - at).total_seconds()))


async def _read_engine(conn: Connection, now: datetime) -> Readings:
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
    return {
        "ese_build_info": {build: 1},
        "ese_ready": _alone(health.ready_since is not None),
        "ese_ready_seconds": _age(now, health.ready_since),
        "ese_uptime_ratio": _alone(sum(day.minutes_up for day in uptime) / minutes) if minutes else {},
        "ese_processes": _by(kinds),
        "ese_projector_lag_events": _alone(health.lag_events),
        "ese_projector_lag_seconds": _alone(health.lag_seconds),
        "ese_spool_events": _alone(health.spooled),
        "ese_dead_letters": _alone(health.dead_letters),
        "ese_database_connections": _alone(health.connections),
        "ese_database_connections_limit": _alone(health.most_connections),
    }  # fmt: skip


async def _read_requests(conn: Connection) -> Readings:
    requests: dict[Labels, Sample] = {}
    times: dict[Labels, Sample] = {}
    for row in await SQL.list_request_totals.many(conn, _RequestTotal):
        requests[row.route, row.method, row.status_class] = row.requests
        sketch, seconds = _read_sketch(row.sketch), row.microseconds / 1e6
        before = times.get((row.route, row.method))
        if isinstance(before, Distribution):
            sketch, seconds = Counter(sketch) + Counter(before.sketch), seconds + before.seconds
        times[row.route, row.method] = Distribution(sketch, seconds)
    return {"ese_http_requests_total": requests, "ese_http_request_seconds": times}


async def _read_resources(conn: Connection, now: datetime) -> Readings:
    found: Readings = {name: {} for name in (*_HOST_READINGS.values(), *_PROCESS_READINGS.values())}
    asked = {"now": now, "beating_since": now - processes.MISSING_AFTER}
    for row in await SQL.list_resources.many(conn, _Resource, asked):
        is_host = row.kind == "host"
        name = (_HOST_READINGS if is_host else _PROCESS_READINGS).get(row.metric)
        if name is not None:
            value = row.value / 100 if row.metric.endswith("_percent") else row.value
            found[name][(row.host,) if is_host else (row.host, row.kind)] = value
    return found


async def _read_log(conn: Connection) -> Readings:
    stages = await SQL.list_pipeline_totals.many(conn, _PipelineTotal)
    place = await log.load_place(conn)
    webhooks: dict[Labels, Sample] = {}
    for total in await log.list_intake_totals(conn):
        outcome, _, reason = total.outcome.partition(": ")
        webhooks[total.event_type, outcome, reason] = total.events
    return {
        "ese_webhooks_total": webhooks,
        "ese_webhook_processing_seconds": {
            (row.stage,): Distribution(_read_sketch(row.sketch), row.microseconds / 1e6) for row in stages
        },
        "ese_webhooks_dead_total": _alone(sum(row.dead for row in stages)),
        "ese_events_projected_total": _alone(place.events),
    }


async def _read_messages(conn: Connection, now: datetime) -> Readings:
    totals = await load_totals(conn)
    statuses: dict[Labels, Sample] = {}
    sent: dict[Labels, Sample] = {}
    for name, length in WINDOWS.items():
        counts = await count_messages(conn, Scope(Window(now - length, now)))
        statuses |= {(name, status): counts.by_status.get(status, 0) for status in STATUSES}
        sent[name,] = counts.sent
    return {
        "ese_messages_sent_total": _alone(totals.sent),
        "ese_messages_delivered_total": _alone(totals.delivered),
        "ese_messages_read_total": _alone(totals.read),
        "ese_messages_failed_total": _by(totals.failed),
        "ese_delivery_seconds": _alone(totals.delivery),
        "ese_recent_messages": statuses,
        "ese_recent_messages_sent": sent,
        "ese_users": _by(await count_users(conn)),
        "ese_consent_transitions_total": {
            tuple(states.split(">")): count for states, count in totals.consent.items()
        },
        "ese_inbound_messages_total": _by(totals.inbound),
    }


async def _read_campaigns(conn: Connection, now: datetime) -> Readings:
    found = await count_campaigns(conn)
    outbox = await SQL.load_outbox.one(conn, _Outbox)
    return {
        "ese_campaigns": _by({state: found.get(state, 0) for state in CAMPAIGN_STATES}),
        "ese_outbox_messages": _alone(outbox.waiting),
        "ese_outbox_overdue_seconds": _age(now, outbox.oldest_due_at),
    }


async def _read_compliance(conn: Connection, now: datetime) -> Readings:
    found = await load_compliance(conn, Window(now - WINDOWS["24h"], now), None)
    sides = [side for side in (found.campaigns, found.replies) if side is not None]
    chain = await load_chain_status(conn)
    kinds = {
        "consent": sum(side.unconsented for side in sides),
        "quiet_hours": sum(side.quiet for side in sides),
        "zone_unknown": sum(side.zone_unknown for side in sides),
        "rate": sum(side.over_limit for side in sides),
        "missing": sum(side.missing for side in sides),
    }
    return {
        "ese_recent_compliance_violations": _by(kinds),
        "ese_compliance_lag_seconds": _age(now, found.oldest_unchecked_at),
        "ese_audit_unsealed_entries": _alone(chain.unsealed),
        "ese_audit_lag_seconds": _age(now, chain.oldest_unsealed_at),
    }
