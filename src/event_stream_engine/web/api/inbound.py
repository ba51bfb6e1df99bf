"""Figures of what people write, of any window."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from event_stream_engine.analytics.inbound import DAYS_WITHIN, Inbound, list_inbound_points, load_inbound
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.formats import format_hour
from event_stream_engine.kernel.stats import percent
from event_stream_engine.web.figures import describe_frame
from event_stream_engine.web.periods import CHANNEL_PARAMETERS, read_channel, read_period_with
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/analytics", tags=["analytics"])


@router.get("/inbound", openapi_extra=CHANNEL_PARAMETERS)
async def show_inbound(request: Request) -> dict[str, Any]:
    """Inbound messages received in the window: volume, intents, hours of the week, response patterns."""
    resources = resources_of(request)
    period, channel = read_period_with(request, "channel"), read_channel(request)
    window, zone = period.window, resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_inbound(conn, window, zone, resources.settings.secret_key, channel)
        points = await list_inbound_points(conn, window, period.step, zone, channel)
    return describe_frame(request, window) | {
        "inbound_analytics": _describe_inbound(found),
        "unique_senders": {
            "count": found.senders.count,
            "is_exact": found.senders.is_exact,
            "interval_95": [found.senders.low, found.senders.high],
        },
        "immediate_rate_percent": percent(found.immediate, found.total),
        "unanswered_help_requests": found.unanswered_help,
        "by_intent": found.by_intent,
        "by_day": found.by_day,
        "by_weekday_and_hour": found.week,
        "by_intent_and_response": {
            row.intent: {
                "immediate": row.immediate,
                "delayed": row.messages - row.immediate,
                "auto_replied": row.auto_replied,
            }
            for row in found.intents
        },
        "rates": {
            "messages_per_user_avg": {"numerator": found.total, "denominator": found.senders.count},
            "immediate_rate_percent": {"numerator": found.immediate, "denominator": found.total},
        },
        "series": [{"at": format_instant(point.at), **point.by_intent} for point in points],
        "unknown": _explain_unknown(found),
    }


def _explain_unknown(found: Inbound) -> dict[str, str]:
    reasons = {}
    if not found.total:
        for name in ("inbound_analytics.volume_metrics", "immediate_rate_percent"):
            reasons[name] = "Nobody wrote in this window."
    if found.by_day is None:
        reasons["by_day"] = f"Days are told of windows up to {DAYS_WITHIN.days} days; see series."
    return reasons


def _describe_inbound(found: Inbound) -> dict[str, Any]:
    hour, volume = found.peak
    return {
        "volume_metrics": {
            "total_inbound_24h": found.total,
            "unique_senders": found.senders.count,
            "messages_per_user_avg": found.per_sender,
            "peak_hour": None if hour is None else format_hour(hour),
            "peak_volume": volume,
        },
        "content_analysis": {
            "stop_commands": found.by_intent["stop"],
            "help_requests": found.by_intent["help"],
            "start_commands": found.by_intent["start"],
            "order_inquiries": found.by_intent["order"],
            "general_responses": found.by_intent["general"],
        },
        "response_patterns": {
            "immediate_responses": found.immediate,
            "delayed_responses": found.total - found.immediate,
            "auto_reply_triggered": found.auto_replied,
        },
    }
