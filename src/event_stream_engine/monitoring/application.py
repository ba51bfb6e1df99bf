"""Is the engine fast: the document's `application_performance` and `performance_metrics`, from measured requests."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.stats import percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.pipeline import Pipeline, Stage, load_pipeline
from event_stream_engine.monitoring.requests import (
    Requests,
    RouteRequests,
    list_requests,
    list_route_requests,
    load_rates,
)

NO_REQUEST = {True: "No request ended in this period.", False: "No request ended in the last 5 minutes."}
NO_WEBHOOK = "No webhook came to this stage in this period."


@dataclass(frozen=True, slots=True)
class Application:
    """The engine's speed in a window. `unknown`: the reason of each figure that is None, by its path."""

    requests: Requests
    routes: list[RouteRequests]
    pipeline: Pipeline
    api_metrics: dict[str, float | None]
    endpoint_performance: dict[str, dict[str, float | None]]
    unknown: dict[str, str]


async def load_application(
    conn: Connection, window: Window, now: datetime, *, is_chosen: bool
) -> Application:
    """Return how fast the engine is. `is_chosen`: all figures describe the window, also those of the present moment."""
    [requests] = await list_requests(conn, [window], now)
    routes = await list_route_requests(conn, window, now)
    pipeline = await load_pipeline(conn, window, now)
    if is_chosen:
        per_second, recent = requests.count / window.length.total_seconds(), requests
    else:
        rates = await load_rates(conn, now)
        per_second, recent = rates.last_seconds.count / 60, rates.last_minutes
    api_metrics: dict[str, float | None] = {
        "requests_per_second": round(per_second, 2),
        "average_response_time_ms": rounded(recent.average_ms),
        "error_rate_percent": recent.error_rate_percent,
        "throughput_24h": requests.count,
        **describe_percentiles(recent),
    }
    unknown = {
        f"application_performance.api_metrics.{name}": NO_REQUEST[is_chosen]
        for name, value in api_metrics.items()
        if value is None
    }
    for name, stage in (("stored", pipeline.stored), ("applied", pipeline.applied)):
        unknown |= {
            f"pipeline.{name}.{what}": NO_WEBHOOK
            for what, value in describe_stage(stage).items()
            if value is None
        }
    return Application(requests, routes, pipeline, api_metrics, _gather_routes(routes), unknown)


def describe_percentiles(timed: Requests | Stage) -> dict[str, float | None]:
    """Return p50, p95 and p99 as answers of the API name them."""
    return {f"{name}_ms": rounded(value) for name, value in timed.percentiles_ms.items()}


def describe_stage(stage: Stage) -> dict[str, float | None]:
    """Return a stage of the pipeline as the API answers it."""
    return {
        "webhooks": stage.events,
        "average_ms": rounded(stage.average_ms),
        **describe_percentiles(stage),
        "slowest_ms": rounded(stage.slowest_ms),
    }


def describe_pipeline(pipeline: Pipeline) -> dict[str, Any]:
    """Return the pipeline as the API answers it."""
    return {
        "received": pipeline.received,
        "accepted": pipeline.accepted,
        "duplicate": pipeline.duplicate,
        "rejected": dict(pipeline.rejected),
        "refused": pipeline.refused,
        "spooled": pipeline.spooled,
        "dead": pipeline.applied.dead,
        "stored": describe_stage(pipeline.stored),
        "applied": describe_stage(pipeline.applied),
    }


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _gather_routes(routes: list[RouteRequests]) -> dict[str, dict[str, float | None]]:
    """Return the figures of each route, all methods together, the busiest first."""
    by_route: defaultdict[str, list[Requests]] = defaultdict(list)
    for row in routes:
        by_route[row.route].append(row.requests)
    total = sum(row.requests.microseconds for row in routes)
    gathered = {route: Requests.sum_up(parts) for route, parts in by_route.items()}
    return {
        route: {
            "avg_time_ms": rounded(requests.average_ms),
            "requests": requests.count,
            **describe_percentiles(requests),
            "failed": requests.failed,
            "error_rate_percent": requests.error_rate_percent,
            "share_of_time_percent": percent(requests.microseconds, total) or 0.0,
        }
        for route, requests in sorted(gathered.items(), key=lambda item: (-item[1].count, item[0]))
    }
