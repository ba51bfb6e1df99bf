"""Figures of messages as the API answers them: the document's objects, with numerators, denominators and reasons beside."""

from typing import Any

from starlette.requests import Request

from event_stream_engine.analytics.counts import MessageCounts
from event_stream_engine.analytics.durations import Durations
from event_stream_engine.analytics.failures import Failures
from event_stream_engine.analytics.rates import Rate, list_rates
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.resources import resources_of

_DOCUMENTED_STATUSES = ("DELIVERED", "SENT", "FAILED", "UNDELIVERED")


def describe_frame(request: Request, window: Window) -> dict[str, Any]:
    """Return what every answer carries: as of when, for which window, in which zone."""
    resources = resources_of(request)
    return {
        "as_of": format_instant(resources.clock.now()),
        "window": {"since": format_instant(window.since), "until": format_instant(window.until)},
        "time_zone": resources.settings.timezone.key,
    }


def describe_summary(counts: MessageCounts, delivery_unknown: int) -> dict[str, Any]:
    return {
        "total_recipients": counts.messages,
        "messages_attempted": counts.messages,
        "messages_sent": counts.sent,
        "messages_delivered": counts.delivered,
        "messages_failed": counts.failed,
        "delivery_unknown": delivery_unknown,
        "delivery_rate_percent": counts.delivery_rate_percent,
        "error_rate_percent": counts.error_rate_percent,
    }


def describe_statuses(counts: MessageCounts) -> dict[str, int]:
    return dict.fromkeys(_DOCUMENTED_STATUSES, 0) | counts.by_status


def describe_times(times: Durations) -> dict[str, Any]:
    return {
        "measured_messages": times.count,
        "average_delivery_time_seconds": round_seconds(times.average_seconds),
        "fastest_delivery_seconds": round_seconds(times.fastest_seconds, 6),
        "slowest_delivery_seconds": round_seconds(times.slowest_seconds, 6),
        "delivery_time_percentiles": {
            name: round_seconds(value) for name, value in times.percentiles.items()
        },
    }


def describe_rates(counts: MessageCounts) -> dict[str, dict[str, Any]]:
    """Return numerator, denominator and 95 % interval of each rate."""
    return {name: describe_rate(rate) for name, rate in list_rates(counts).items()}


def describe_rate(rate: Rate) -> dict[str, Any]:
    low, high = rate.interval or (None, None)
    return {
        "numerator": rate.numerator,
        "denominator": rate.denominator,
        "low_percent": low,
        "high_percent": high,
    }


def describe_failures(failures: Failures) -> dict[str, Any]:
    return {
        "error_breakdown": {
            str(row.code) if row.code else "no_code": {
                "description": row.description,
                "class": row.error_class,
                "count": row.count,
                "percentage": row.percentage,
                "resolution": row.resolution,
            }
            for row in failures.rows
        },
        "top_error_countries": [
            {"country": country, "error_count": count} for country, count in failures.countries
        ],
        "error_trends": {
            "last_24h": failures.total,
            "previous_24h": failures.previous_total,
            "trend": failures.trend,
        },
        "retries": {
            str(row.code) if row.code else "no_code": {
                "description": row.description,
                "retried": row.retried,
                "sent": row.sent,
                "delivered": row.delivered,
            }
            for row in failures.retries
        },
    }


def explain_unknown(counts: MessageCounts, times: Durations) -> dict[str, str]:
    """Return why figures are null, by their place in the answer."""
    reasons = {}
    if not counts.sent:
        reasons["execution_summary.delivery_rate_percent"] = "No message was sent in this window."
    if not counts.messages:
        reasons["execution_summary.error_rate_percent"] = "No message was attempted in this window."
    if not times.count:
        reasons["timing_analysis"] = "No delivery time could be measured in this window."
    return reasons


def round_seconds(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
