"""Figures of the engine's speed: requests, and the way of webhooks through it."""

from event_stream_engine.analytics.metric import (
    APPLICATION,
    DASHBOARD,
    REQUESTED,
    Answer,
    Metric,
    Note,
    Subject,
    list_answers,
)

_REQUESTS = "Application Performance"
_LIVE = "Performance Metrics"
_API = "application_performance.api_metrics"
_ROUTE = "application_performance.endpoint_performance.*"
_TOLD = "within six seconds of the end of the request"
_LAST_MINUTES = "the last 5 minutes; the window of the request when one is asked for"
_PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")


def _requests(slug: str, name: str, unit: str, formula: str, *paths: str, **more: str) -> Metric:
    answers = list_answers(APPLICATION, *paths)
    more = {"window": REQUESTED, "section": _REQUESTS} | more
    return Metric(slug, name, unit, formula, answers, ("request_rollups",), freshness=_TOLD, **more)


def _webhooks(
    slug: str, name: str, formula: str, *paths: str, table: str = "intake_counts", **more: str
) -> Metric:
    answers = list_answers(APPLICATION, *(f"pipeline.{path}" for path in paths))
    more = {"window": REQUESTED, "unit": "webhooks"} | more
    return Metric(slug, name, formula=formula, answers=answers, reads=(table,), freshness=_TOLD, **more)


SPEED = Subject(
    "speed",
    "Speed",
    "Is the engine fast?",
    notes=(
        Note(
            "Request",
            "whatever is asked of a web process over HTTP, webhooks included, from its first byte here to the last byte of "
            "its answer; a stream of events only to its first byte. All processes count together.",
        ),
        Note(
            "Route",
            "the template of an address, like `/api/v1/campaigns/{campaign_id}`; what no route took is `unmatched`.",
        ),
        Note(
            "Windows of requests",
            "begin and end at full minutes, of what is older than 8 days at quarter-hours. Of what is older than 100 days only whole days are known.",
        ),
        Note(
            "Webhooks",
            "received = accepted + duplicate + rejected + refused. Each stage counts in the moment it was come to.",
        ),
    ),
    metrics=(
        _requests(
            "requests_per_second",
            "Requests a second",
            "requests",
            "requests / seconds",
            f"{_API}.requests_per_second",
            window="the last 60 seconds; the window of the request when one is asked for",
        ),
        Metric(
            "requests_per_minute",
            "Requests a minute",
            "requests",
            "requests of the last full minute",
            (Answer(DASHBOARD, "performance_metrics.requests_per_minute"),),
            ("request_rollups",),
            _LIVE,
            window="the last full minute",
            freshness=_TOLD,
        ),
        Metric(
            "average_response_time",
            "Average response time",
            "ms",
            "mean time of a request",
            (
                Answer(DASHBOARD, "performance_metrics.average_response_time_ms"),
                Answer(APPLICATION, f"{_API}.average_response_time_ms"),
            ),
            ("request_rollups",),
            _LIVE,
            note="Unknown without any.",
            window=_LAST_MINUTES,
            freshness=_TOLD,
        ),
        *(
            _requests(
                f"response_time_{name}",
                f"Response time {name}",
                "ms",
                f"nearest rank of the times of requests, {name[1:]} % are not slower",
                f"{_API}.{name}_ms",
                note="±1 %. Unknown without any request.",
                window=_LAST_MINUTES,
            )
            for name in ("p50", "p95", "p99")
        ),
        Metric(
            "request_error_rate",
            "Error rate of requests",
            "%",
            "requests answered with 5xx / requests",
            (
                Answer(DASHBOARD, "performance_metrics.error_rate_percent"),
                Answer(APPLICATION, f"{_API}.error_rate_percent"),
            ),
            ("request_rollups",),
            _LIVE,
            "requests answered with 5xx",
            "requests",
            note="Unknown without any.",
            window=_LAST_MINUTES,
            freshness=_TOLD,
        ),
        _requests(
            "request_throughput", "Requests", "requests", "requests that have ended", f"{_API}.throughput_24h"
        ),
        _requests(
            "route_requests",
            "Requests of a route",
            "requests",
            "requests that the route took",
            f"{_ROUTE}.requests",
        ),
        _requests(
            "route_average_time",
            "Average time of a route",
            "ms",
            "mean time of its requests",
            f"{_ROUTE}.avg_time_ms",
        ),
        _requests(
            "route_percentiles",
            "Times of a route p50, p95, p99",
            "ms",
            "nearest rank of the times of its requests",
            *(f"{_ROUTE}.{name}" for name in _PERCENTILES),
            note="±1 %",
        ),
        _requests(
            "route_failures",
            "Failures of a route",
            "requests",
            "its requests answered with 5xx",
            f"{_ROUTE}.failed",
        ),
        _requests(
            "route_error_rate",
            "Error rate of a route",
            "%",
            "its requests answered with 5xx / its requests",
            f"{_ROUTE}.error_rate_percent",
            numerator="requests of the route answered with 5xx",
            denominator="requests of the route",
        ),
        _requests(
            "route_share_of_time",
            "Share of time of a route",
            "%",
            "time in requests of the route / time in requests of all routes",
            f"{_ROUTE}.share_of_time_percent",
            numerator="time in requests of the route",
            denominator="time in requests of all routes",
        ),
        _webhooks(
            "webhooks_received",
            "Webhooks received",
            "accepted + duplicate + rejected + refused; what is imported was not received",
            "received",
        ),
        _webhooks(
            "webhooks_accepted", "Webhooks accepted", "stored in the log, each for the first time", "accepted"
        ),
        _webhooks("webhooks_duplicate", "Webhooks received again", "in the log already", "duplicate"),
        _webhooks(
            "webhooks_rejected",
            "Webhooks rejected",
            "answered 4xx, by reason",
            "rejected.*",
            note="`wrong signature`: not made with our auth token for this address.",
        ),
        _webhooks(
            "webhooks_refused",
            "Webhooks refused",
            "answered 503",
            "refused",
            note="Neither the database nor the disk took them in time. The provider does not send them again; reconciliation finds what they told of.",
        ),
        _webhooks("webhooks_spooled", "Webhooks spooled", "that came by way of the disk", "spooled"),
        _webhooks(
            "webhooks_dead",
            "Webhooks without effect",
            "became dead letters",
            "dead",
            table="pipeline_rollups",
        ),
        _webhooks(
            "webhooks_stored",
            "Webhooks answered as stored",
            "committed to the log or to the spool, new or not",
            "stored.webhooks",
            table="pipeline_rollups",
        ),
        _webhooks(
            "webhooks_applied",
            "Webhooks applied",
            "live webhooks whose effect is committed",
            "applied.webhooks",
            table="pipeline_rollups",
        ),
        _webhooks(
            "webhook_storing_time",
            "Time to store a webhook",
            "stored − received",
            *(f"stored.{name}" for name in ("average_ms", *_PERCENTILES, "slowest_ms")),
            table="pipeline_rollups",
            unit="ms",
            note="From the last byte of the webhook to its commit. Percentiles ±1 %. Unknown without any.",
        ),
        _webhooks(
            "webhook_applying_time",
            "Time to apply a webhook",
            "applied − received of live webhooks",
            *(f"applied.{name}" for name in ("average_ms", *_PERCENTILES, "slowest_ms")),
            table="pipeline_rollups",
            unit="ms",
            note="Percentiles ±1 %. Unknown without any.",
        ),
        Metric(
            "webhook_processing_time",
            "Processing of webhooks",
            "ms",
            "mean of applied − received of live webhooks",
            (Answer(DASHBOARD, "performance_metrics.webhook_processing_time_ms"),),
            ("pipeline_rollups",),
            _LIVE,
            note="Unknown without any.",
            window="the last 5 minutes",
        ),
    ),
)
