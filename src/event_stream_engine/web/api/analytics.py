"""Figures of any window: delivery, errors, inbound, consent."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from event_stream_engine.analytics.consent import load_consent
from event_stream_engine.analytics.delivery import load_delivery
from event_stream_engine.analytics.failures import load_failures
from event_stream_engine.analytics.inbound import load_inbound
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.stats import percent
from event_stream_engine.web.periods import (
    PERIOD_PARAMETERS,
    SCOPE_PARAMETERS,
    frame_answer,
    read_period,
    read_scope,
)
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/analytics", tags=["analytics"])
_DOCUMENTED_STATUSES = ("DELIVERED", "SENT", "FAILED", "UNDELIVERED")


@router.get("/delivery", openapi_extra=SCOPE_PARAMETERS)
async def show_delivery(request: Request) -> dict[str, Any]:
    """Messages by status, delivery rate and delivery time."""
    resources = resources_of(request)
    scope, now = read_scope(request), resources.clock.now()
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_delivery(conn, scope, now)
    times = found.times
    return frame_answer(request, scope.window) | {
        "execution_summary": {
            "total_recipients": found.recipients,
            "messages_attempted": found.attempted,
            "messages_sent": found.sent,
            "messages_delivered": found.delivered,
            "messages_failed": found.failed,
            "delivery_unknown": found.delivery_unknown,
            "delivery_rate_percent": found.delivery_rate_percent,
            "error_rate_percent": found.error_rate_percent,
            "execution_duration_minutes": None,
        },
        "performance_breakdown": dict.fromkeys(_DOCUMENTED_STATUSES, 0) | found.by_status,
        "by_channel": found.by_channel,
        "timing_analysis": {
            "measured_messages": times.count,
            "average_delivery_time_seconds": _round(times.average_seconds),
            "fastest_delivery_seconds": _round(times.fastest_seconds, 6),
            "slowest_delivery_seconds": _round(times.slowest_seconds, 6),
            "delivery_time_percentiles": {name: _round(value) for name, value in times.percentiles.items()},
        },
        "conflicts": found.conflicts,
        "rates": {
            "delivery_rate_percent": {"numerator": found.delivered, "denominator": found.sent},
            "error_rate_percent": {"numerator": found.failed, "denominator": found.attempted},
        },
        "unknown": {
            "execution_summary.execution_duration_minutes": "External messages belong to no campaign with a start.",
            **(
                {}
                if found.sent
                else {"execution_summary.delivery_rate_percent": "No message was sent in this window."}
            ),
            **(
                {}
                if found.attempted
                else {"execution_summary.error_rate_percent": "No message was attempted in this window."}
            ),
            **(
                {}
                if times.count
                else {"timing_analysis": "No delivery time could be measured in this window."}
            ),
        },
    }


@router.get("/errors", openapi_extra=SCOPE_PARAMETERS)
async def show_errors(request: Request) -> dict[str, Any]:
    """Failed messages by error code and country."""
    resources = resources_of(request)
    scope = read_scope(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_failures(conn, scope)
    return frame_answer(request, scope.window) | {
        "error_analysis": {
            "error_breakdown": {
                str(row.code) if row.code else "no_code": {
                    "description": row.description,
                    "class": row.error_class,
                    "count": row.count,
                    "percentage": row.percentage,
                    "resolution": row.resolution,
                }
                for row in found.rows
            },
            "top_error_countries": [
                {"country": country, "error_count": count} for country, count in found.countries
            ],
            "error_trends": {
                "last_24h": found.total,
                "previous_24h": found.previous_total,
                "trend": found.trend,
            },
        },
        "messages_failed": found.total,
    }


@router.get("/inbound", openapi_extra=PERIOD_PARAMETERS)
async def show_inbound(request: Request) -> dict[str, Any]:
    """Inbound messages received in the window: volume, intents, response patterns."""
    resources = resources_of(request)
    window, zone = read_period(request).window, resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_inbound(conn, window, zone)
    per_sender = round(found.total / found.unique_senders, 2) if found.unique_senders else None
    hour = found.peak_hour
    return frame_answer(request, window) | {
        "inbound_analytics": {
            "volume_metrics": {
                "total_inbound_24h": found.total,
                "unique_senders": found.unique_senders,
                "messages_per_user_avg": per_sender,
                "peak_hour": None if hour is None else f"{hour:02d}:00-{(hour + 1) % 24:02d}:00",
                "peak_volume": found.peak_volume,
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
        },
        "by_intent": found.by_intent,
        "by_day": {day.isoformat(): counts for day, counts in sorted(found.by_day.items())},
        "unknown": {}
        if found.total
        else {"inbound_analytics.volume_metrics": "Nobody wrote in this window."},
    }


@router.get("/consent", openapi_extra=PERIOD_PARAMETERS)
async def show_consent(request: Request) -> dict[str, Any]:
    """Users by consent state now, opt-outs of the day in which the window ends, STOP words of the window."""
    resources = resources_of(request)
    window, zone = read_period(request).window, resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_consent(conn, window, zone)
    users = found.by_state
    return frame_answer(request, window) | {
        "consent_analytics": {
            "opt_in_users": users["OPT_IN"],
            "opt_out_users": users["OPT_OUT"],
            "stop_users": users["STOP"],
            "unknown_users": users["UNKNOWN"],
            "consent_rates": {
                "opt_in_rate": percent(users["OPT_IN"], found.total),
                "opt_out_rate": percent(users["OPT_OUT"], found.total),
                "stop_rate": percent(users["STOP"], found.total),
            },
            "consent_trends": {
                "daily_opt_outs": {
                    "today": found.opt_outs_today,
                    "yesterday": found.opt_outs_yesterday,
                    "trend": found.trend,
                },
                "stop_commands_24h": found.stop_commands,
            },
        },
        "total_users": found.total,
        "unknown": {} if found.total else {"consent_analytics.consent_rates": "There are no users yet."},
    }


def _round(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
