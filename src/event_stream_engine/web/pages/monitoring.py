"""`/monitoring`: is everything all right now?"""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics.failures import FailureRow, Failures, load_failures
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.kernel.stats import change_percent
from event_stream_engine.monitoring import feed
from event_stream_engine.monitoring.dashboard import load_dashboard
from event_stream_engine.monitoring.parts import describe_away, describe_silence
from event_stream_engine.web.delivery_charts import (
    chart_delivery_rate,
    chart_delivery_time,
    chart_messages_by_status,
    make_series,
)
from event_stream_engine.web.formats import format_duration, format_number
from event_stream_engine.web.periods import PERIODS, Period, read_period
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(include_in_schema=False)

THRESHOLD_PERCENT = 90.0
FEED_LENGTH = 30
MOST_CODES = 6

# The mark and the name of each kind of event in the feed.
KINDS = {
    "message_queued": ("in-flight", "queued"),
    "message_sending": ("in-flight", "sending"),
    "message_sent": ("in-flight", "sent"),
    "message_delivered": ("delivered", "delivered"),
    "message_read": ("delivered", "read"),
    "message_failed": ("failed", "failed"),
    "message_undelivered": ("failed", "undelivered"),
    "inbound_message": ("in-flight", "inbound"),
    "consent_started": ("delivered", "opted in"),
    "consent_stopped": ("warning", "opted out"),
    "campaign_scheduled": ("accent", "campaign scheduled"),
    "campaign_started": ("accent", "campaign started"),
    "campaign_paused": ("warning", "campaign paused"),
    "campaign_resumed": ("accent", "campaign resumed"),
    "campaign_completed": ("delivered", "campaign completed"),
    "campaign_cancelled": ("warning", "campaign cancelled"),
}


@router.get("/monitoring/health")
async def show_health(request: Request) -> Response:
    """What the page asks for every few seconds: read from memory, measured by nobody's request."""
    resources = resources_of(request)
    seen = resources.watch.seen
    if seen is None:
        raise Unavailable("The health is not measured yet. Try again in a moment.")
    zone = resources.settings.timezone
    return render(request, "health.html", rows=seen.rows, as_of=seen.as_of, zone=zone)


@router.get("/monitoring")
async def show_monitoring(request: Request, period: Annotated[Period, Depends(read_period)]) -> Response:
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    scope = Scope(period.window)
    async with resources.pool.connection() as conn, snapshot(conn):
        dashboard = await load_dashboard(conn, period.window, period.step, zone, now)
        failures = await load_failures(conn, scope)
        place = await feed.load_place(conn)
        events = [feed.describe_event(event) for event in await feed.list_latest(conn, FEED_LENGTH)]
    delivery, points = dashboard.delivery, dashboard.points
    series = make_series(points, period, zone, now)
    chosen = urlencode(
        {"since": format_instant(period.window.since), "until": format_instant(period.window.until)}
    )
    return render(
        request,
        "monitoring.html",
        period=period,
        periods=PERIODS,
        as_of=dashboard.as_of,
        zone=zone,
        public_url=resources.settings.public_url,
        dashboard=dashboard,
        outages=(describe_away("it does not answer", now), describe_silence(now)),
        totals=(
            ("delivered", "delivered", sum(point.delivered for point in points)),
            ("in-flight", "in flight", sum(point.in_flight for point in points)),
            ("failed", "failed", sum(point.failed for point in points)),
        ),
        volume=chart_messages_by_status(series),
        rate=chart_delivery_rate(series, delivery, THRESHOLD_PERCENT),
        time=chart_delivery_time(series, delivery),
        failures=failures,
        failure_rows=gather_rare(failures.rows),
        failure_summary=summarise_failures(failures, delivery.counts.messages),
        feed_place=place,
        events=[event | {"detail": describe_detail(event)} for event in events],
        kinds=KINDS,
        is_new=not events and not delivery.counts.messages,
        delivery_export=f"/api/v1/analytics/delivery?{chosen}",
        failure_export=f"/api/v1/analytics/errors?{chosen}",
    )


def describe_detail(event: dict[str, Any]) -> str:
    """Say in a few words what is particular about an event; `feed.js` says the same of those that come later."""
    seconds = event.get("delivery_time_seconds")
    if seconds is not None:
        return f"in {format_duration(seconds)}"
    recipients = event.get("estimated_recipients")
    if recipients:
        return f"{format_number(recipients)} recipients"
    if body := event.get("message_body"):
        return f"“{body}”"
    return " ".join(str(part) for part in (event.get("error_code"), event.get("description")) if part)


def gather_rare(rows: Sequence[FailureRow]) -> list[FailureRow]:
    """Keep the most frequent codes and count the others together; the export has them all."""
    if len(rows) <= MOST_CODES:
        return list(rows)
    kept, others = rows[: MOST_CODES - 1], rows[MOST_CODES - 1 :]
    count, percentage = sum(row.count for row in others), sum(row.percentage for row in others)
    return [*kept, FailureRow(None, f"{len(others)} other codes", "", "", count, round(percentage, 2))]


def summarise_failures(failures: Failures, attempted: int) -> str:
    """Say how many of how many failed, and how that compares with the period before."""
    text = f"{format_number(failures.total)} of {format_number(attempted)}"
    change = change_percent(failures.total, failures.previous_total)
    if change is None:
        return text
    if change == 0:
        return f"{text}, as many as in the period before"
    return f"{text}, {format_number(abs(change))} % {'more' if change > 0 else 'fewer'} than in the period before"
