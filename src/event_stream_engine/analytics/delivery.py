"""Is it arriving: messages by status, delivery rate, delivery time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.counts import MessageCounts
from event_stream_engine.analytics.durations import Durations, load_durations
from event_stream_engine.analytics.scope import Scope, coarsest_grain, list_bins
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import percent, sketch_percentiles
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
UNKNOWN_AFTER = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class Delivery:
    """`delivery_unknown`: SENT for longer than 72 h. `stages`: the queue at the provider, and the carrier."""

    counts: MessageCounts
    delivery_unknown: int
    times: Durations
    stages: dict[str, Durations]


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
class Part:
    """The messages of one country, channel, sender or campaign."""

    name: str
    counts: MessageCounts


@dataclass(frozen=True, slots=True)
class _NamedCounts(MessageCounts):
    name: str


@dataclass(frozen=True, slots=True)
class _BinCount:
    bin: datetime
    sent: int
    delivered: int
    failed: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class _BinSketch:
    bin: datetime
    places: list[int]
    counts: list[int]


async def count_messages(conn: Connection, scope: Scope) -> MessageCounts:
    """Count the messages of a scope by their present status."""
    return await SQL.count_messages.one(conn, MessageCounts, scope.parameters())


async def load_delivery(conn: Connection, scope: Scope, as_of: datetime) -> Delivery:
    """Count the messages of a scope, and how long they took."""
    durations = await load_durations(conn, scope)
    times = durations.pop("delivery")
    return Delivery(
        counts=await count_messages(conn, scope),
        delivery_unknown=await _count_unknown(conn, scope, as_of),
        times=times,
        stages=durations,
    )


async def _count_unknown(conn: Connection, scope: Scope, as_of: datetime) -> int:
    until = min(scope.window.until, as_of - UNKNOWN_AFTER)
    if until <= scope.window.since:
        return 0
    old = replace(scope, window=Window(scope.window.since, until))
    return (await count_messages(conn, old)).now_sent


async def list_parts(conn: Connection, scope: Scope, dimension: str) -> list[Part]:
    """Count the messages of a scope by campaign, channel, country or sender, most messages first."""
    asked = scope.parameters(dimension) | {"dimension": dimension}
    rows = await SQL.count_messages_by.many(conn, _NamedCounts, asked)
    return [Part(row.name, row) for row in sorted(rows, key=lambda row: (-row.messages, row.name))]


async def list_sent(conn: Connection, scope: Scope, bins: Sequence[datetime], step: timedelta) -> list[int]:
    """Count the messages sent in each bin of a step; the bins cover the window, see `list_bins`."""
    parameters = {**scope.parameters(), "bins": bins, "coarsest": coarsest_grain(step)}
    sent = {row.bin: row.sent for row in await SQL.list_bin_counts.many(conn, _BinCount, parameters)}
    return [sent.get(at, 0) for at in bins]


async def list_delivery_points(
    conn: Connection, scope: Scope, step: timedelta, zone: ZoneInfo
) -> list[DeliveryPoint]:
    """Return one point for each bin of the window, also for the empty ones.

    A bin that the window cuts counts only what lies inside the window.
    """
    bins = list_bins(scope.window, step, zone)
    parameters = {**scope.parameters(), "bins": bins, "coarsest": coarsest_grain(step)}
    counts = {row.bin: row for row in await SQL.list_bin_counts.many(conn, _BinCount, parameters)}
    sketches = {
        row.bin: dict(zip(row.places, row.counts, strict=True))
        for row in await SQL.list_bin_times.many(conn, _BinSketch, parameters)
    }
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
