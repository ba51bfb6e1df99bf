"""Is everything all right now: the six key figures with their past, and the document's health objects."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.consent import count_users
from event_stream_engine.analytics.counts import MessageCounts
from event_stream_engine.analytics.delivery import (
    Delivery,
    DeliveryPoint,
    count_messages,
    list_delivery_points,
    load_delivery,
)
from event_stream_engine.analytics.scope import Scope, coarsest_grain, list_bins
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import change_percent, percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.health import Health, load_health
from event_stream_engine.monitoring.parts import MB, HealthRow
from event_stream_engine.monitoring.processes import Uptime, list_uptime

SQL = load_queries(__package__)
UPTIME_DAYS = 7
NOT_YET = {
    "requests": "Requests are not measured in this version.",
}


@dataclass(frozen=True, slots=True)
class Kpi:
    """One key figure; the catalogue has its name, unit and formula.

    `points` is its past, oldest first; `value` None has a `reason`.
    """

    slug: str
    value: float | None
    reason: str | None
    change: float | None
    change_unit: str
    change_is_good: bool | None
    points: list[float | None]
    numerator: int | None
    denominator: int | None
    window: Window | None


@dataclass(frozen=True, slots=True)
class Dashboard:
    as_of: datetime
    window: Window
    kpis: list[Kpi]
    delivery: Delivery
    points: list[DeliveryPoint]
    health: list[HealthRow]
    system_health: dict[str, float | None]
    performance_metrics: dict[str, float | None]
    unknown: dict[str, str]


@dataclass(frozen=True, slots=True)
class _UserChange:
    bin: datetime
    users: int
    opt_ins: int


@dataclass(frozen=True, slots=True)
class _ActiveCampaigns:
    instant: datetime
    campaigns: int


async def load_dashboard(
    conn: Connection, window: Window, step: timedelta, zone: ZoneInfo, now: datetime
) -> Dashboard:
    """Read everything the dashboard shows for one window, with series of one step, as of now."""
    health = await load_health(conn, now)
    users = await count_users(conn)
    campaigns = await SQL.count_running_campaigns.value(conn)
    scope = Scope(window)
    delivery = await load_delivery(conn, scope, now)
    before = await count_messages(conn, Scope(window.before()))
    points = await list_delivery_points(conn, scope, step, zone)
    bins = list_bins(window, step, zone)
    changes = await SQL.list_user_changes.many(
        conn,
        _UserChange,
        {"bins": bins, "ends": window.until, "until": now, "coarsest": coarsest_grain(step)},
    )
    active = await SQL.list_active_campaigns.many(conn, _ActiveCampaigns, {"instants": bins})
    uptime = await list_uptime(conn, [now - timedelta(days=day) for day in range(UPTIME_DAYS, -1, -1)])
    unknown = {
        "performance_metrics.average_response_time_ms": NOT_YET["requests"],
        "performance_metrics.requests_per_minute": NOT_YET["requests"],
        "performance_metrics.error_rate_percent": NOT_YET["requests"],
    }
    if health.redis_unknown is not None:
        unknown["system_health.redis_memory_usage_mb"] = health.redis_unknown
    if health.ready_since is None:
        unknown["system_health.system_uptime_hours"] = (
            "A needed process is missing, so the engine is not ready."
        )
    if health.webhook_processing_ms is None:
        unknown["performance_metrics.webhook_processing_time_ms"] = "No webhook came in the last 5 minutes."
    return Dashboard(
        as_of=now,
        window=window,
        kpis=[
            _describe_campaigns(campaigns, active, bins),
            *_describe_users(users, changes, bins),
            _describe_volume(delivery.counts, before, points, window),
            _describe_delivery_rate(delivery.counts, before, points, window),
            _describe_uptime(uptime, now),
        ],
        delivery=delivery,
        points=points,
        health=health.rows,
        system_health=_system_health(users, campaigns, health, now),
        performance_metrics={
            "average_response_time_ms": None,
            "requests_per_minute": None,
            "error_rate_percent": None,
            "webhook_processing_time_ms": health.webhook_processing_ms
            and round(health.webhook_processing_ms, 1),
        },
        unknown=unknown,
    )


def _system_health(
    users: dict[str, int], campaigns: int, health: Health, now: datetime
) -> dict[str, float | None]:
    uptime = (
        None if health.ready_since is None else round((now - health.ready_since).total_seconds() / 3600, 2)
    )
    return {
        "active_campaigns": campaigns,
        "total_users": sum(users.values()),
        "opted_in_users": users["OPT_IN"],
        "opted_out_users": users["OPT_OUT"] + users["STOP"],
        "system_uptime_hours": uptime,
        "database_connections": health.connections,
        "redis_memory_usage_mb": health.redis_memory_bytes and round(health.redis_memory_bytes / MB, 2),
    }


def _describe_campaigns(running: int, active: list[_ActiveCampaigns], bins: list[datetime]) -> Kpi:
    counted = {row.instant: row.campaigns for row in active}
    points: list[float | None] = [*(counted.get(at, 0) for at in bins), running]
    return Kpi(
        slug="active_campaigns",
        value=running,
        reason=None,
        change=running - (points[0] or 0),
        change_unit="",
        change_is_good=None,  # a campaign that ended is no bad news
        points=points,
        numerator=None,
        denominator=None,
        window=None,
    )


def _describe_users(users: dict[str, int], changes: list[_UserChange], bins: list[datetime]) -> list[Kpi]:
    """Reckon the past back from the present: what it was = what it is - what came since."""
    by_bin = {change.bin: change for change in changes}
    total, opted_in = sum(users.values()), users["OPT_IN"]
    totals, rates = [total], [percent(opted_in, total)]
    for at in reversed(bins):
        change = by_bin.get(at)
        if change is not None:
            total, opted_in = total - change.users, opted_in - change.opt_ins
        totals.append(total)
        rates.append(percent(opted_in, total))
    totals.reverse()
    rates.reverse()
    rate, earlier = rates[-1], rates[0]
    points: list[float | None] = [*totals]
    return [
        Kpi(
            slug="total_users",
            value=totals[-1],
            reason=None,
            change=totals[-1] - totals[0],
            change_unit="",
            change_is_good=None if totals[-1] == totals[0] else totals[-1] > totals[0],
            points=points,
            numerator=None,
            denominator=None,
            window=None,
        ),
        Kpi(
            slug="opt_in_rate",
            value=rate,
            reason="There are no users yet." if rate is None else None,
            change=None if rate is None or earlier is None else round(rate - earlier, 2),
            change_unit="",
            change_is_good=None if rate is None or earlier is None or rate == earlier else rate > earlier,
            points=rates,
            numerator=users["OPT_IN"],
            denominator=totals[-1],
            window=None,
        ),
    ]


def _describe_volume(
    counts: MessageCounts, before: MessageCounts, points: list[DeliveryPoint], window: Window
) -> Kpi:
    return Kpi(
        slug="message_volume",
        value=counts.sent,
        reason=None,
        change=change_percent(counts.sent, before.sent),
        change_unit="%",
        change_is_good=None,  # more is neither good nor bad by itself
        points=[point.sent for point in points],
        numerator=None,
        denominator=None,
        window=window,
    )


def _describe_delivery_rate(
    counts: MessageCounts, before: MessageCounts, points: list[DeliveryPoint], window: Window
) -> Kpi:
    rate, earlier = counts.delivery_rate_percent, before.delivery_rate_percent
    change = None if rate is None or earlier is None else round(rate - earlier, 2)
    return Kpi(
        slug="delivery_rate",
        value=rate,
        reason="No message was sent in this period." if rate is None else None,
        change=change,
        change_unit="",
        change_is_good=change > 0 if change else None,
        points=[point.delivery_rate_percent for point in points],
        numerator=counts.delivered,
        denominator=counts.sent,
        window=window,
    )


def _describe_uptime(days: list[Uptime], now: datetime) -> Kpi:
    up, minutes = sum(day.minutes_up for day in days), sum(day.minutes for day in days)
    rate = percent(up, minutes)
    return Kpi(
        slug="system_uptime",
        value=rate,
        reason="Not one full minute has been recorded yet." if rate is None else None,
        change=None,
        change_unit="",
        change_is_good=None,
        points=[percent(day.minutes_up, day.minutes) for day in days],
        numerator=up,
        denominator=minutes,
        window=Window(now - timedelta(days=UPTIME_DAYS), now),
    )
