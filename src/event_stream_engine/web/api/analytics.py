"""Figures of any window: delivery, errors, inbound, consent."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from event_stream_engine.analytics.consent import load_consent
from event_stream_engine.analytics.delivery import list_parts, load_delivery
from event_stream_engine.analytics.failures import load_failures
from event_stream_engine.analytics.inbound import load_inbound
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.stats import percent
from event_stream_engine.web.figures import (
    describe_failures,
    describe_frame,
    describe_rates,
    describe_statuses,
    describe_summary,
    describe_times,
    explain_unknown,
)
from event_stream_engine.web.periods import PERIOD_PARAMETERS, SCOPE_PARAMETERS, load_scope, read_period
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/analytics", tags=["analytics"])


@router.get("/delivery", openapi_extra=SCOPE_PARAMETERS)
async def show_delivery(request: Request) -> dict[str, Any]:
    """Messages by status, delivery rate and delivery time."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        scope = await load_scope(conn, request)
        found = await load_delivery(conn, scope, resources.clock.now())
        channels = await list_parts(conn, scope, "channel")
    counts = found.counts
    return describe_frame(request, scope.window) | {
        "execution_summary": describe_summary(counts, found.delivery_unknown)
        | {"execution_duration_minutes": None},
        "performance_breakdown": describe_statuses(counts),
        "by_channel": {part.name: part.counts.messages for part in channels},
        "timing_analysis": describe_times(found.times),
        "stages": {name: describe_times(stage) for name, stage in found.stages.items()},
        "conflicts": counts.conflicts,
        "rates": describe_rates(counts),
        "unknown": {
            "execution_summary.execution_duration_minutes": "Only a campaign has a start and an end; see its performance.",
            **explain_unknown(counts, found.times),
        },
    }


@router.get("/errors", openapi_extra=SCOPE_PARAMETERS)
async def show_errors(request: Request) -> dict[str, Any]:
    """Failed messages by error code and country."""
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        scope = await load_scope(conn, request)
        found = await load_failures(conn, scope)
    return describe_frame(request, scope.window) | {
        "error_analysis": describe_failures(found),
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
    return describe_frame(request, window) | {
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
    return describe_frame(request, window) | {
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
