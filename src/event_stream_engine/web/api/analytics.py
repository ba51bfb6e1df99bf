"""Figures of messages of any window: delivery, errors."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from event_stream_engine.analytics.delivery import list_parts, load_delivery
from event_stream_engine.analytics.failures import load_failures
from event_stream_engine.infra.database import snapshot
from event_stream_engine.web.figures import (
    describe_failures,
    describe_frame,
    describe_rates,
    describe_statuses,
    describe_summary,
    describe_times,
    explain_unknown,
)
from event_stream_engine.web.periods import SCOPE_PARAMETERS, load_scope
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
