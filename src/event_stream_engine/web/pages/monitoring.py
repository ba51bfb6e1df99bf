"""`/monitoring`: is everything all right now?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Annotated, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics.delivery import (
    Delivery,
    DeliveryPoint,
    list_delivery_points,
    load_delivery,
)
from event_stream_engine.analytics.failures import Failures, load_failures
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.stats import change_percent
from event_stream_engine.monitoring import feed
from event_stream_engine.monitoring.dashboard import load_dashboard
from event_stream_engine.web import charts
from event_stream_engine.web.formats import (
    format_duration,
    format_moment,
    format_number,
    format_percent,
)
from event_stream_engine.web.periods import PERIODS, Period, read_period
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(include_in_schema=False)

THRESHOLD_PERCENT = 90.0
FEED_LENGTH = 30
_SETTLED_SHARE = 0.02  # with fewer than this in flight, a rate can hardly change any more

# What the feed calls a kind of event, and the mark it gets.
KINDS = {
    "message_sent": ("in-flight", "sent"),
    "message_delivered": ("delivered", "delivered"),
    "message_read": ("delivered", "read"),
    "message_failed": ("failed", "failed"),
    "message_undelivered": ("failed", "undelivered"),
    "inbound_message": ("in-flight", "inbound"),
    "consent_started": ("delivered", "opted in"),
    "consent_stopped": ("warning", "opted out"),
    "campaign_started": ("accent", "campaign started"),
}
_POINT_COLUMNS = (
    ("From", "text"),
    ("Sent", "number"),
    ("Delivered", "number"),
    ("In flight", "number"),
    ("Failed", "number"),
    ("Rate %", "number"),
    ("p50", "number"),
    ("p95", "number"),
)
_BLANK_EVENT = {
    "id": "",
    "timestamp": "",
    "event_type": "",
    "campaign_name": None,
    "recipient": None,
    "from_phone": None,
    "detail": "",
}


@dataclass(frozen=True, slots=True)
class Chart:
    """A definition with what it shows; `summary` is for who cannot see it."""

    spec: charts.Spec
    rows: list[dict[str, Any]]
    summary: str


@router.get("/monitoring")
async def show_monitoring(request: Request, period: Annotated[Period, Depends(read_period)]) -> Response:
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    scope = Scope(period.window)
    async with resources.pool.connection() as conn, snapshot(conn):
        dashboard = await load_dashboard(conn, period.window, period.step, zone, now)
        delivery = await load_delivery(conn, scope, now)
        points = await list_delivery_points(conn, scope, period.step, zone)
        failures = await load_failures(conn, scope)
        events = [feed.describe_event(event) for event in await feed.list_latest(conn, FEED_LENGTH)]
    chosen = {"since": format_instant(period.window.since), "until": format_instant(period.window.until)}
    return render(
        request,
        "monitoring.html",
        period=period,
        periods=PERIODS,
        as_of=dashboard.as_of,
        zone=zone,
        public_url=resources.settings.public_url,
        dashboard=dashboard,
        failures=failures,
        failure_summary=summarise_failures(failures, delivery),
        totals=(
            ("delivered", "delivered", sum(point.delivered for point in points)),
            ("in-flight", "in flight", sum(point.in_flight for point in points)),
            ("failed", "failed", sum(point.failed for point in points)),
        ),
        charts=draw_charts(points, delivery, period, zone),
        point_columns=_POINT_COLUMNS,
        point_table=[_table_row(point, zone) for point in points],
        is_new=not events and not delivery.recipients,
        events=[_BLANK_EVENT | event | {"detail": describe_event(event)} for event in events],
        kinds=KINDS,
        blank_event=_BLANK_EVENT,
        export={
            "delivery": f"/api/v1/analytics/delivery?{urlencode(chosen)}",
            "errors": f"/api/v1/analytics/errors?{urlencode(chosen)}",
        },
    )


def describe_event(event: dict[str, Any]) -> str:
    """Say in a few words what the feed adds to an event; `feed.js` says the same of those that come later."""
    if event.get("delivery_time_seconds") is not None:
        return f"in {format_duration(event['delivery_time_seconds'])}"
    if event.get("message_body"):
        return f"“{event['message_body']}”"
    return " ".join(str(part) for part in (event.get("error_code"), event.get("description")) if part)


def summarise_failures(failures: Failures, delivery: Delivery) -> str:
    text = f"{format_number(failures.total)} of {format_number(delivery.attempted)}"
    change = change_percent(failures.total, failures.previous_total)
    if change is None:
        return text
    if change == 0:
        return f"{text}, as many as in the period before"
    return f"{text}, {format_number(abs(change))} % {'more' if change > 0 else 'fewer'} than in the period before"


def draw_charts(
    points: Sequence[DeliveryPoint], delivery: Delivery, period: Period, zone: ZoneInfo
) -> dict[str, Chart]:
    """Choose definitions and rows of the page's three charts."""
    rows = [
        _chart_row(point, slot, zone)
        for point, slot in zip(
            points, charts.name_slots([p.at for p in points], period.step, zone), strict=True
        )
    ]
    _label_percentiles(rows, delivery)
    rates = [point.delivery_rate_percent for point in points if point.delivery_rate_percent is not None]
    floor_percent = max(0.0, min(THRESHOLD_PERCENT - 10, 10.0 * floor(min(rates, default=100) / 10)))
    p50, p95 = delivery.times.percentiles.get("p50"), delivery.times.percentiles.get("p95")
    return {
        "volume": Chart(
            charts.messages_by_status(),
            _only(
                rows,
                "slot",
                *charts.STATUSES,
                "tip_when",
                *(f"tip_{name}" for name in (*charts.STATUSES, "delivery_rate")),
            ),
            f"Messages by status, {period.label}: {format_number(delivery.sent)} sent",
        ),
        "rate": Chart(
            charts.delivery_rate(THRESHOLD_PERCENT, floor_percent),
            _only(
                rows, "slot", "settled", "open", "tip_when", "tip_delivery_rate", "tip_sent", "tip_in_flight"
            ),
            f"Delivery rate, {period.label}: {format_percent(delivery.delivery_rate_percent)} %, threshold {THRESHOLD_PERCENT:g} %",
        ),
        "time": Chart(
            charts.delivery_time(),
            _only(
                rows,
                "slot",
                "p50",
                "p95",
                "label_p50",
                "label_p95",
                "tip_when",
                "tip_p50",
                "tip_p95",
                "tip_delivered",
            ),
            f"Delivery time, {period.label}: p50 {format_duration(p50)}, p95 {format_duration(p95)}",
        ),
    }


def _only(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{name: row[name] for name in names if row.get(name) is not None} for row in rows]


def _chart_row(point: DeliveryPoint, slot: str, zone: ZoneInfo) -> dict[str, Any]:
    settled = point.in_flight <= _SETTLED_SHARE * point.sent
    return {
        "slot": slot,
        "delivered": point.delivered,
        "in_flight": point.in_flight,
        "failed": point.failed,
        "settled": point.delivery_rate_percent if settled else None,
        "open": point.delivery_rate_percent,
        "p50": point.p50_seconds,
        "p95": point.p95_seconds,
        "tip_when": format_moment(point.at, zone),
        "tip_sent": format_number(point.sent),
        "tip_delivered": format_number(point.delivered),
        "tip_in_flight": format_number(point.in_flight),
        "tip_failed": format_number(point.failed),
        "tip_delivery_rate": f"{format_percent(point.delivery_rate_percent)} %",
        "tip_p50": format_duration(point.p50_seconds),
        "tip_p95": format_duration(point.p95_seconds),
    }


def _label_percentiles(rows: list[dict[str, Any]], delivery: Delivery) -> None:
    """Write the period's percentiles once onto their lines, where these begin."""
    first = next((row for row in rows if row["p50"] is not None), None)
    if first is not None:
        for name in ("p50", "p95"):
            first[f"label_{name}"] = f"{name} {format_duration(delivery.times.percentiles.get(name))}"


def _table_row(point: DeliveryPoint, zone: ZoneInfo) -> list[tuple[str, object]]:
    return [
        (format_moment(point.at, zone), format_instant(point.at)),
        (format_number(point.sent), point.sent),
        (format_number(point.delivered), point.delivered),
        (format_number(point.in_flight), point.in_flight),
        (format_number(point.failed), point.failed),
        (format_percent(point.delivery_rate_percent), point.delivery_rate_percent),
        (format_duration(point.p50_seconds), point.p50_seconds),
        (format_duration(point.p95_seconds), point.p95_seconds),
    ]
