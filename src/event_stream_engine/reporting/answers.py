"""What reports of days and weeks answer alike, beside the document's keys."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.analytics.failures import FailureRow
from event_stream_engine.analytics.rates import list_rates
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.windows import Window
from event_stream_engine.reporting.comparison import compare
from event_stream_engine.reporting.report import Figures, Frame, Improvement, TopCampaign

_UNKNOWN = {
    "messages": "No message was handed to the provider in this time.",
    "sent": "No message was sent in this time.",
    "delivered": "No message was delivered in this time.",
    "measured": "Of no message of this time is known how long it took.",
    "step": "Where nothing was sent there is no rate, and where nothing was delivered no time.",
    "before": "The time before is not wholly recorded.",
    "compared": "A figure is not known, or was 0 before.",
    "version": "The figures were counted on asking; this time has no version of its own.",
    "restated": "This is no restatement.",
    "recorded_since": "Records begin before this time, or there are none yet.",
}


def describe_frame(frame: Frame) -> dict[str, Any]:
    return {
        "time_zone": frame.zone,
        "window": _describe_window(frame.window),
        "cut_off_at": format_instant(frame.cut_off_at),
        "is_so_far": frame.is_so_far,
        "recorded_since": frame.recorded_since and format_instant(frame.recorded_since),
        "version": frame.version,
        "restated": frame.restated
        and {
            "reason": frame.restated.reason,
            "changes": [
                {"slug": one.slug, "name": one.name, "before": one.before, "after": one.after}
                for one in frame.restated.changes
            ],
        },
        "definitions": [
            {"slug": one.slug, "name": one.name, "formula": one.formula, "note": one.note}
            for one in frame.definitions
        ],
    }


def explain_frame(frame: Frame) -> dict[str, str]:
    """Return why parts of the frame are null."""
    missing = {"version": frame.version, "restated": frame.restated, "recorded_since": frame.recorded_since}
    return {name: _UNKNOWN[name] for name, value in missing.items() if value is None}


def describe_figures(figures: Figures) -> dict[str, Any]:
    counts, times = figures.counts, figures.times
    return {
        "rates": {
            name: {
                "percent": rate.percent,
                "numerator": rate.numerator,
                "denominator": rate.denominator,
                "low_percent": (rate.interval or (None, None))[0],
                "high_percent": (rate.interval or (None, None))[1],
            }
            for name, rate in list_rates(counts).items()
        },
        "performance_breakdown": counts.by_status,
        "timing_analysis": {
            "measured_messages": times.count,
            "average_delivery_time_seconds": times.average_seconds,
            "fastest_delivery_seconds": times.fastest_seconds,
            "slowest_delivery_seconds": times.slowest_seconds,
            "delivery_time_percentiles": dict(times.percentiles),
        },
        "inbound_messages": figures.inbound,
    }


def describe_comparison(frame: Frame, figures: Figures, before: Figures | None) -> dict[str, Any] | None:
    if before is None or frame.compared_with is None:
        return None
    return {
        "window": _describe_window(frame.compared_with),
        "figures": [
            {
                "slug": one.slug,
                "name": one.name,
                "unit": one.unit,
                "now": one.now,
                "before": one.before,
                "change_percent": one.change_percent,
            }
            for one in compare(figures, before)
        ],
    }


def describe_points(points: Sequence[DeliveryPoint], zone: str) -> list[dict[str, Any]]:
    return [
        {
            "at": format_instant(point.at),
            "local": point.at.astimezone(ZoneInfo(zone)).isoformat(),
            "sent": point.sent,
            "delivered": point.delivered,
            "in_flight": point.in_flight,
            "failed": point.failed,
            "delivery_rate_percent": point.delivery_rate_percent,
            "p50_seconds": _round(point.p50_seconds),
            "p95_seconds": _round(point.p95_seconds),
        }
        for point in points
    ]


def describe_campaigns(campaigns: Sequence[TopCampaign]) -> list[dict[str, Any]]:
    return [
        {
            "campaign_id": str(one.id),
            "campaign_name": one.name,
            "delivery_rate": one.delivery.percent,
            "low_percent": (one.delivery.interval or (None, None))[0],
            "high_percent": (one.delivery.interval or (None, None))[1],
            "messages_sent": one.delivery.denominator,
            "messages_delivered": one.delivery.numerator,
        }
        for one in campaigns
    ]


def describe_failures(failures: Sequence[FailureRow]) -> dict[str, Any]:
    return {
        str(row.code) if row.code else "no_code": {
            "description": row.description,
            "class": row.error_class,
            "count": row.count,
            "percentage": row.percentage,
            "resolution": row.resolution,
        }
        for row in failures
    }


def describe_improvements(improvements: Sequence[Improvement]) -> list[dict[str, Any]]:
    return [
        {
            "kind": one.kind,
            "text": one.text,
            "messages": one.messages,
            "evidence": [dict(zip(one.columns, row, strict=True)) for row in one.rows],
            "path": one.path,
        }
        for one in improvements
    ]


def explain_unknown(figures: Figures, before: Figures | None, steps: str) -> dict[str, str]:
    """Return why figures that both kinds answer are null, by their place in the answer; `steps`: the series' name."""
    reasons = {steps: _UNKNOWN["step"]}
    if not figures.times.count:
        reasons["timing_analysis"] = _UNKNOWN["measured"]
    for name, rate in list_rates(figures.counts).items():
        if not rate.denominator:
            reasons[f"rates.{name}"] = explain_rate(name)
    if before is None:
        reasons["compared_with"] = _UNKNOWN["before"]
        return reasons
    for one in compare(figures, before):
        for key in ("now", "before", "change_percent"):
            if getattr(one, key) is None:
                reasons[f"compared_with.figures.{one.slug}.{key}"] = _UNKNOWN["compared"]
    return reasons


def explain_rate(name: str) -> str:
    """Return why a rate is not known."""
    wanting = {
        "error_rate_percent": "messages",
        "read_rate_percent": "delivered",
        "reply_rate_percent": "delivered",
    }
    return _UNKNOWN[wanting.get(name, "sent")]


def _describe_window(window: Window) -> dict[str, str]:
    return {"since": format_instant(window.since), "until": format_instant(window.until)}


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
