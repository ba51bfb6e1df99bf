"""How long a campaign takes."""

import asyncio
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request

from event_stream_engine.infra.database import snapshot
from event_stream_engine.insights.drain import Drain
from event_stream_engine.insights.drain_plan import DrainPlan, PlannedDrain, prepare_drain
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.web.capacity_questions import DrainQuery
from event_stream_engine.web.periods import refuse_unknown
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/insights", tags=["insights"])
_OF_PROVIDER = (
    "provider_rate_per_second", "sent_at", "sent_seconds", "longest_wait_seconds", "expiring_messages",
)  # fmt: skip
_OF_END = ("handed_over_at", "handed_over_seconds", "sent_at", "sent_seconds")
_NO_RATE = "Name sender_rate, what the provider sends from one sender: it depends on the kind of number and the contract."


@router.get("/drain")
async def show_drain(request: Request, asked: Annotated[DrainQuery, Query()]) -> dict[str, Any]:
    """How long a campaign takes: our pace, the recipients' quiet hours, and the provider's queue of ten hours.

    Without a campaign and recipients it is one to everybody who opted in. Zones are those of at most 5,000 recipients.
    """
    refuse_unknown(request, tuple(DrainQuery.model_fields))
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    plan = DrainPlan(**asked.model_dump())
    async with resources.pool.connection() as conn, snapshot(conn):
        planned = await prepare_drain(conn, plan, zone, now)
    drain, advice = await asyncio.to_thread(planned.reckon)
    return {
        "as_of": format_instant(now),
        "time_zone": zone.key,
        "drain": _describe_drain(planned, drain),
        "advice": advice,
        "unknown": _explain_drain(planned, drain),
    }


def _describe_drain(planned: PlannedDrain, drain: Drain) -> dict[str, Any]:
    speed, campaign = planned.speed, planned.campaign
    return {
        "campaign_id": campaign and str(campaign.id),
        "campaign_name": campaign and campaign.name,
        "recipients": round(drain.recipients),
        "zone_unknown": round(planned.zone_unknown),
        "always_quiet": round(drain.always_quiet),
        "rate_per_second": speed.rate_per_second,
        "senders": speed.senders,
        "segments": speed.segments,
        "provider_rate_per_second": _round(speed.provider_rate, 3),
        "quiet_starts": planned.hours.starts.isoformat("minutes"),
        "quiet_ends": planned.hours.ends.isoformat("minutes"),
        "starts_at": format_instant(drain.starts_at),
        "handed_over_at": drain.handed_over_at and format_instant(drain.handed_over_at),
        "handed_over_seconds": drain.handed_over_at
        and _count_seconds(drain.handed_over_at - drain.starts_at),
        "sent_at": drain.sent_at and format_instant(drain.sent_at),
        "sent_seconds": drain.sent_at and _count_seconds(drain.sent_at - drain.starts_at),
        "idle_seconds": round(drain.idle_seconds, 1),
        "longest_wait_seconds": _round(drain.longest_wait_seconds, 1),
        "expiring_messages": _round(drain.expiring, 0),
        "steps": [
            {
                "at": format_instant(point.at),
                "waiting": round(point.waiting),
                "provider_queue": round(point.queued),
            }
            for point in drain.points
        ],
    }


def _explain_drain(planned: PlannedDrain, drain: Drain) -> dict[str, str]:
    reasons: dict[str, str] = {}
    if planned.campaign is None:
        reasons |= dict.fromkeys(("drain.campaign_id", "drain.campaign_name"), "No campaign was asked for.")
    if planned.speed.sender_rate is None:
        reasons |= dict.fromkeys((f"drain.{name}" for name in _OF_PROVIDER), _NO_RATE)
    if drain.handed_over_at is None:
        why = "Nobody can be written to." if drain.recipients <= drain.always_quiet else "Not within 30 days."
        reasons |= dict.fromkeys((f"drain.{name}" for name in _OF_END), why)
    return reasons


def _count_seconds(length: timedelta) -> float:
    return round(length.total_seconds(), 1)


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
