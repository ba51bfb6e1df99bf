"""Is it arriving: messages by status, delivery rate, delivery time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.scope import Scope, list_bins
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import percent, sketch_percentiles

SQL = load_queries(__package__)
DELIVERED_STATUSES = ("DELIVERED", "READ")
FAILED_STATUSES = ("FAILED", "UNDELIVERED")
PERCENTS = (50, 75, 90, 95, 99)
UNKNOWN_AFTER = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class DeliveryTimes:
    """From acceptance (external: first `sent`) to first `delivered`. `percentiles`: p50 … p99 in seconds, ±1 %."""

    count: int
    average_seconds: float | None
    fastest_seconds: float | None
    slowest_seconds: float | None
    percentiles: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Delivery:
    recipients: int
    attempted: int
    sent: int
    delivered: int
    failed: int
    conflicts: int
    delivery_unknown: int
    by_status: dict[str, int]
    by_channel: dict[str, int]
    delivery_rate_percent: float | None
    error_rate_percent: float | None
    times: DeliveryTimes


@dataclass(frozen=True, slots=True)
class DeliveryPoint:
    """One bin of a series, by the moment its messages were sent."""

    at: datetime
    sent: int
    delivered: int
    in_flight: int
    failed: int
    delivery_rate_percent: float | None
    p50_seconds: float | None
    p95_seconds: float | None


@dataclass(frozen=True, slots=True)
class _StatusCount:
    status: str
    channel: str
    messages: int
    sent: int
    conflicts: int


@dataclass(frozen=True, slots=True)
class _SketchRow:
    idx: int
    messages: int
    microseconds: int
    fastest: int
    slowest: int


@dataclass(frozen=True, slots=True)
class _BinCount:
    bin: datetime
    sent: int
    delivered: int
    failed: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class _BinSketchRow:
    bin: datetime
    idx: int
    messages: int


async def load_delivery(conn: Connection, scope: Scope, as_of: datetime) -> Delivery:
    """Count the messages of a scope by their present status."""
    rows = await SQL.count_by_status.many(conn, _StatusCount, scope.parameters())
    by_status: dict[str, int] = {}
    by_channel: dict[str, int] = {}
    for row in rows:
        by_status[row.status] = by_status.get(row.status, 0) + row.messages
        by_channel[row.channel] = by_channel.get(row.channel, 0) + row.messages
    recipients, sent = sum(row.messages for row in rows), sum(row.sent for row in rows)
    delivered = sum(by_status.get(status, 0) for status in DELIVERED_STATUSES)
    failed = sum(by_status.get(status, 0) for status in FAILED_STATUSES)
    horizon = as_of - UNKNOWN_AFTER
    unknown: int = await SQL.count_in_status.value(
        conn, {**scope.parameters(), "status": "SENT", "until": min(scope.window.until, horizon)}
    )
    return Delivery(
        recipients=recipients,
        attempted=recipients,
        sent=sent,
        delivered=delivered,
        failed=failed,
        conflicts=sum(row.conflicts for row in rows),
        delivery_unknown=unknown,
        by_status=by_status,
        by_channel=by_channel,
        delivery_rate_percent=percent(delivered, sent),
        error_rate_percent=percent(failed, recipients),
        times=await _load_times(conn, scope),
    )


async def _load_times(conn: Connection, scope: Scope) -> DeliveryTimes:
    rows = await SQL.list_delivery_times.many(conn, _SketchRow, scope.parameters())
    count = sum(row.messages for row in rows)
    return DeliveryTimes(
        count=count,
        average_seconds=sum(row.microseconds for row in rows) / count / 1e6 if count else None,
        fastest_seconds=min(row.fastest for row in rows) / 1e6 if count else None,
        slowest_seconds=max(row.slowest for row in rows) / 1e6 if count else None,
        percentiles=sketch_percentiles({row.idx: row.messages for row in rows}, PERCENTS),
    )


async def list_delivery_points(
    conn: Connection, scope: Scope, step: timedelta, zone: ZoneInfo
) -> list[DeliveryPoint]:
    """Return one point for each bin of the window, also for the empty ones.

    A bin that the window cuts counts only what lies inside the window.
    """
    bins = list_bins(scope.window, step, zone)
    parameters = {**scope.parameters(), "bins": bins}
    counts = {row.bin: row for row in await SQL.list_bin_counts.many(conn, _BinCount, parameters)}
    sketches: dict[datetime, dict[int, int]] = {}
    for row in await SQL.list_bin_times.many(conn, _BinSketchRow, parameters):
        sketches.setdefault(row.bin, {})[row.idx] = row.messages
    points = []
    for at in bins:
        found = counts.get(at, _BinCount(at, 0, 0, 0, 0))
        times = sketch_percentiles(sketches.get(at, {}), (50, 95))
        points.append(
            DeliveryPoint(
                at=at,
                sent=found.sent,
                delivered=found.delivered,
                in_flight=found.in_flight,
                failed=found.failed,
                delivery_rate_percent=percent(found.delivered, found.sent),
                p50_seconds=times["p50"],
                p95_seconds=times["p95"],
            )
        )
    return points
