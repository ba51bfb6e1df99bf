"""`/performance`: is the engine fast?"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics.scope import list_bins
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.stats import change_percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.application import NO_WEBHOOK, load_application
from event_stream_engine.monitoring.dashboard import Kpi
from event_stream_engine.monitoring.pipeline import Pipeline, load_pipeline
from event_stream_engine.monitoring.postgres import load_database_summary
from event_stream_engine.monitoring.requests import Requests, RouteRequests, list_requests
from event_stream_engine.monitoring.resources import load_resources
from event_stream_engine.monitoring.spans import KEPT
from event_stream_engine.web.key_figures import make_figure
from event_stream_engine.web.performance_charts import (
    NOTHING,
    chart_latency,
    chart_requests,
    make_request_series,
)
from event_stream_engine.web.periods import PERIODS, Period, read_period_with
from event_stream_engine.web.render import render
from event_stream_engine.web.resource_charts import draw_resources
from event_stream_engine.web.resources import resources_of

router = APIRouter(include_in_schema=False)
MOST_ROUTES = 30
QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class _Measured:
    window: Window
    requests: Requests
    pipeline: Pipeline


@router.get("/performance")
async def show_performance(request: Request) -> Response:
    shared = resources_of(request)
    zone, now = shared.settings.timezone, shared.clock.now()
    period = read_period_with(request, default="1h")
    step, bins, windows = _cut(period, zone, now)
    earlier = period.window.before()
    async with shared.pool.connection() as conn, snapshot(conn):
        found = await load_application(conn, period.window, now, is_chosen=True)
        points = await list_requests(conn, windows, now)
        [requests_before] = await list_requests(conn, [earlier], now)
        used = await load_resources(conn, period.window, period.step, zone, now)
        database = await load_database_summary(conn, period.window, now)
        before = _Measured(earlier, requests_before, await load_pipeline(conn, earlier, now))
    measured = _Measured(period.window, found.requests, found.pipeline)
    series = make_request_series(points, bins, step, period.label, zone)
    chosen = {"since": format_instant(period.window.since), "until": format_instant(period.window.until)}
    routes = sorted(found.routes, key=lambda row: -row.requests.microseconds)
    return render(
        request,
        "performance.html",
        room="performance",
        tab="/performance",
        modules=[],
        period=period,
        step_name=period.step_name if step == period.step else "15 minutes",
        periods=PERIODS,
        as_of=now,
        zone=zone,
        figures=_describe_figures(measured, before, points, windows),
        requests=found.requests,
        latency=chart_latency(series, found.requests),
        volume=chart_requests(series, found.requests),
        routes=[_describe_route(row, found.requests) for row in routes[:MOST_ROUTES]],
        routes_left=len(routes[MOST_ROUTES:]),
        pipeline=found.pipeline,
        export=f"/api/v1/monitoring/application?{urlencode(chosen)}",
        resources=draw_resources(used, period, zone),
        resource_export=f"/api/v1/monitoring/resources?{urlencode(chosen)}",
        database=database,
        public_url=shared.settings.public_url,
    )


def _cut(period: Period, zone: ZoneInfo, now: datetime) -> tuple[timedelta, list[datetime], list[Window]]:
    """Cut a period into the steps of its series; those of what is kept by quarter-hours are no finer."""
    window = period.window
    is_coarse = window.since < now - KEPT["minute"]
    step = max(period.step, QUARTER) if is_coarse else period.step
    bins = list_bins(window, step, zone)
    edges = [window.since, *bins[1:], window.until]
    return step, bins, [Window(since, until) for since, until in pairwise(edges)]


def _describe_figures(
    period: _Measured, before: _Measured, points: list[Requests], windows: list[Window]
) -> list[Kpi]:
    window, requests, pipeline = period.window, period.requests, period.pipeline
    requests_before, pipeline_before = before.requests, before.pipeline
    seconds = window.length.total_seconds()
    p95, p95_before = (one.percentiles_ms["p95"] for one in (requests, requests_before))
    applying, applying_before = (one.applied.average_ms for one in (pipeline, pipeline_before))

    def change(present: float | None, past: float | None) -> float | None:
        return None if present is None or past is None else change_percent(present, past)

    rate, rate_before = requests.error_rate_percent, requests_before.error_rate_percent
    settings: list[dict[str, Any]] = [
        {
            "slug": "response_time_p95",
            "value": _rounded(p95),
            "reason": NOTHING,
            "change": change(p95, p95_before),
            "change_unit": "%",
            "more_is_good": False,
            "points": [point.percentiles_ms["p95"] for point in points],
        },
        {
            "slug": "average_response_time",
            "value": _rounded(requests.average_ms),
            "reason": NOTHING,
            "change": change(requests.average_ms, requests_before.average_ms),
            "change_unit": "%",
            "more_is_good": False,
            "points": [point.average_ms for point in points],
        },
        {
            "slug": "requests_per_second",
            "value": _rounded(requests.count / seconds),
            "change": change_percent(requests.count, requests_before.count),
            "change_unit": "%",
            "points": [
                point.count / step.length.total_seconds() for point, step in zip(points, windows, strict=True)
            ],
            "share": (requests.count, round(seconds)),
        },
        {
            "slug": "request_error_rate",
            "value": rate,
            "reason": NOTHING,
            "change": None if rate is None or rate_before is None else round(rate - rate_before, 2),
            "more_is_good": False,
            "points": [point.error_rate_percent for point in points],
            "share": (requests.failed, requests.count),
        },
        {
            "slug": "webhooks_received",
            "value": pipeline.received,
            "change": change_percent(pipeline.received, pipeline_before.received),
            "change_unit": "%",
        },
        {
            "slug": "webhook_applying_time",
            "value": _rounded(applying),
            "reason": NO_WEBHOOK,
            "change": change(applying, applying_before),
            "change_unit": "%",
            "more_is_good": False,
        },
    ]
    return [make_figure(window=window, **figure) for figure in settings]


def _rounded(value: float | None) -> float | None:
    """Round to what can be told apart on a tile."""
    return None if value is None else round(value, 2 if value < 10 else 1 if value < 100 else 0)


def _describe_route(row: RouteRequests, total: Requests) -> dict[str, Any]:
    requests = row.requests
    return {
        "route": row.route,
        "method": row.method,
        "requests": requests.count,
        "refused": row.refused,
        "failed": requests.failed,
        "unanswered": row.unanswered,
        "share_percent": requests.microseconds * 100 / total.microseconds if total.microseconds else 0.0,
        "times": {name: (ms or 0) / 1000 for name, ms in requests.percentiles_ms.items()},
    }
