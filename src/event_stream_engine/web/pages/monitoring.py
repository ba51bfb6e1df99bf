"""`/monitoring`: is everything all right now?"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from event_stream_engine.alerting.rules import load_configuration
from event_stream_engine.analytics.failures import FailureRow, Failures, load_failures
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.audience.people import read_number
from event_stream_engine.audience.references import make_reference
from event_stream_engine.campaigns import campaigns
from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.kernel.formats import format_number
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.kernel.stats import change_percent
from event_stream_engine.monitoring import feed_events
from event_stream_engine.monitoring.dashboard import load_dashboard
from event_stream_engine.monitoring.feed_events import FeedFilter
from event_stream_engine.monitoring.feed_kinds import KINDS
from event_stream_engine.monitoring.parts import describe_away, describe_silence
from event_stream_engine.web.delivery_charts import (
    chart_delivery_rate,
    chart_delivery_time,
    chart_messages_by_status,
    make_series,
)
from event_stream_engine.web.feed_words import FILTERS, read_filter, show_event, write_filter
from event_stream_engine.web.periods import PERIODS, read_period_with
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(include_in_schema=False)

FEED_LENGTH = 30
MOST_CAMPAIGNS = 50
MOST_NAMED = 4
MOST_CODES = 6


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
async def show_monitoring(
    request: Request,
    wanted: Annotated[FeedFilter, Depends(read_filter)],
    sample: Literal["auto", "none"] = "auto",
) -> Response:
    resources = resources_of(request)
    period = read_period_with(request, *FILTERS, "sample")
    zone, now = resources.settings.timezone, resources.clock.now()
    scope = Scope(period.window)
    async with resources.pool.connection() as conn, snapshot(conn):
        dashboard = await load_dashboard(conn, period.window, period.step, zone, now)
        failures = await load_failures(conn, scope)
        thresholds = await load_configuration(conn)
        place = await feed_events.load_place(conn)
        latest = await feed_events.list_latest(conn, wanted, FEED_LENGTH)
        filterable = await campaigns.list_campaigns(conn, limit=MOST_CAMPAIGNS)
    delivery, points = dashboard.delivery, dashboard.points
    feed_query = write_filter(wanted, resources.settings.secret_key)
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
        rate=chart_delivery_rate(
            series, delivery.counts.delivery_rate_percent, thresholds["delivery_rate_threshold"]
        ),
        time=chart_delivery_time(series, delivery.times.percentiles),
        failures=failures,
        failure_rows=gather_rare(failures.rows),
        failure_summary=summarise_failures(failures, delivery.counts.messages),
        feed_place=str(place),
        feed_stream=f"/api/v1/monitoring/events/stream?{urlencode(feed_query | {'sample': sample})}",
        kept=feed_query,
        chips=word_filter(wanted, feed_query, filterable),
        events=list(map(show_event, latest.events)),
        is_searched=latest.reached is None,
        wanted=wanted,
        filterable=filterable,
        kinds={kind.slug: (kind.mark, kind.name) for kind in KINDS},
        is_new=not latest.events and not feed_query and not delivery.counts.messages,
        delivery_export=f"/api/v1/analytics/delivery?{chosen}",
        failure_export=f"/api/v1/analytics/errors?{chosen}",
    )


@router.post("/monitoring/feed")
async def narrow_feed(request: Request) -> Response:
    """Turn the filter bar's form into an address. A number is posted, so that no address and no log ever holds it."""
    form = await request.form()

    def read(name: str) -> str:
        return str(form.get(name) or "").strip()

    query = {name: read(name) for name in ("period", "since", "until", *FILTERS)}
    query["kind"] = ",".join(map(str, form.getlist("kind")))
    if number := read("number"):
        query["person"] = make_reference(resources_of(request).settings.secret_key, read_number(number))
    return RedirectResponse(f"/monitoring?{_join(query)}#live", 303)


def word_filter(
    wanted: FeedFilter, query: Mapping[str, str], known: Sequence[Campaign]
) -> list[tuple[str, str]]:
    """Return what the feed is narrowed to as pairs: a few words, and the parameters without it."""
    names = {str(campaign.id): campaign.name for campaign in known}
    kinds = [kind.name for kind in KINDS if kind.slug in wanted.kinds]
    words = {
        "campaign_id": names.get(str(wanted.campaign_id), "one campaign"),
        "kind": ", ".join(kinds) if len(kinds) < MOST_NAMED else f"{len(kinds)} kinds",
        "error_code": f"error {wanted.error_code}",
        "person": mask_phone(wanted.phone or ""),
    }
    return [
        (words[name], _join({other: value for other, value in query.items() if other != name}))
        for name in query
    ]


def _join(query: Mapping[str, str]) -> str:
    return urlencode({name: value for name, value in query.items() if value})


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
