"""What could be done better: recommendations with their evidence, taking or dismissing one, what came of it."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from event_stream_engine.access.roles import Role
from event_stream_engine.audience.references import make_reference
from event_stream_engine.infra.database import snapshot, transaction
from event_stream_engine.insights import following
from event_stream_engine.insights.failed_messages import Asked, FailedMessage, list_failed
from event_stream_engine.insights.following import Followed, LastLook
from event_stream_engine.insights.look import DAYS, Look
from event_stream_engine.insights.recommendations import KINDS
from event_stream_engine.insights.unreachable import Unreachable, list_shown
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.messaging.error_codes import describe_error_code
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/insights", tags=["insights"])
_MAY_WRITE = [Depends(require_role(Role.operator))]
UNKNOWN = (
    "A fact has no p, and an effect only where something was measured against something. A gain is null with its reason in"
    " `gain_unknown`. An outcome is null before a recommendation was taken and measured; its difference while it is too early."
)
Cursor = Annotated[str | None, Query(description="next_cursor of the answer before")]
Limit = Annotated[int, Query(ge=1, le=500)]


class DismissBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str


@router.get("/recommendations")
async def list_recommendations(
    request: Request,
    state: Annotated[
        list[str] | None, Query(description="open, taken, dismissed or gone; open and taken by default")
    ] = None,
    kind: str | None = None,
) -> dict[str, Any]:
    """Recommendations, those that promise most first, and what was looked at without one."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await following.list_followed(conn, state or ["open", "taken"], kind=kind)
        looks = await following.list_last_looks(conn)
    return {
        "as_of": format_instant(resources.clock.now()),
        "recommendations": [describe_followed(one) for one in found],
        "looks": [_describe_look(one) for one in looks],
        "unknown": {"recommendations": UNKNOWN},
    }


@router.get("/recommendations/{recommendation_id}")
async def show_recommendation(request: Request, recommendation_id: UUID) -> dict[str, Any]:
    """One recommendation with the rows of its evidence."""
    async with resources_of(request).pool.connection() as conn:
        found = await following.load_followed(conn, recommendation_id)
    return _describe_whole(found)


@router.post("/recommendations/{recommendation_id}/take", dependencies=_MAY_WRITE)
async def take(request: Request, recommendation_id: UUID) -> dict[str, Any]:
    """Do what is recommended; where people do it themselves, note that it is done. Doing so again changes nothing."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        taken = await following.take(conn, actor_of(request), recommendation_id, look_of(request))
    return _describe_whole(taken)


@router.post("/recommendations/{recommendation_id}/dismiss", dependencies=_MAY_WRITE)
async def dismiss(request: Request, recommendation_id: UUID, body: DismissBody) -> dict[str, Any]:
    """Say no, and why. It is not advised again for 90 days."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        dismissed = await following.dismiss(
            conn, actor_of(request), recommendation_id, body.reason, resources.clock.now()
        )
    return _describe_whole(dismissed)


@router.post("/recommendations/{recommendation_id}/reopen", dependencies=_MAY_WRITE)
async def reopen(request: Request, recommendation_id: UUID) -> dict[str, Any]:
    """Take the decision back; suppressed numbers are released."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        opened = await following.reopen(conn, actor_of(request), recommendation_id, resources.clock.now())
    return _describe_whole(opened)


@router.get("/failures")
async def list_failures(
    request: Request,
    *,
    code: Annotated[
        list[int] | None, Query(description="error codes; all of the catalogue by default")
    ] = None,
    sender: str | None = None,
    country: str | None = None,
    channel: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """The failed messages behind a recommendation, in 90 days, the newest first."""
    look = look_of(request)
    asked = Asked(look.window, code or (), sender, country, channel)
    before = read_cursor(cursor, parse_instant, UUID) if cursor else None
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        found = await list_failed(conn, asked, limit + 1, (before[0], before[1]) if before else None)
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    return {
        "days": DAYS,
        "items": [_describe_failed(one, look.secret_key) for one in shown],
        "next_cursor": write_cursor(format_instant(last.cohort_at), last.id) if last else None,
    }


@router.get("/unreachable/{channel}")
async def list_unreachable_people(request: Request, channel: str, limit: Limit = 50) -> dict[str, Any]:
    """People we may write to who cannot be reached on a channel, those that cost most messages first."""
    look = look_of(request)
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        found = await list_shown(conn, look, channel, limit)
    return {"days": DAYS, "items": [_describe_unreachable(one, look.secret_key) for one in found]}


def look_of(request: Request) -> Look:
    """Return what a look at this moment has to go by."""
    resources = resources_of(request)
    return Look(resources.clock.now(), resources.settings.timezone, resources.settings.secret_key)


def describe_followed(followed: Followed) -> dict[str, Any]:
    """Return a recommendation without its rows."""
    advice = followed.recommendation
    return {
        "id": str(followed.id),
        "kind": followed.kind,
        "kind_name": next((kind.name for kind in KINDS if kind.slug == followed.kind), followed.kind),
        "state": followed.state,
        "title": advice.title,
        "text": advice.text,
        "subject": advice.subject,
        "sample_size": advice.sample_size,
        "sample_unit": advice.sample_unit,
        "effect": advice.effect,
        "interval": None
        if advice.interval is None
        else {"low": advice.interval.low, "high": advice.interval.high, "unit": advice.interval.unit},
        "corrected_p": advice.corrected_p,
        "expected_gain_messages": advice.expected_gain_messages,
        "gain_unknown": advice.gain_unknown,
        "action": None
        if advice.action is None
        else {"name": advice.action.name, "label": advice.action.label},
        "address": advice.address,
        "opened_at": format_instant(followed.opened_at),
        "found_at": format_instant(followed.found_at),
        "seen_at": _instant(followed.seen_at),
        "seen_by": followed.seen_by,
        "decided_at": _instant(followed.decided_at),
        "decided_by": followed.decided_by,
        "reason": followed.reason,
        "done": followed.done,
        "measured_at": _instant(followed.measured_at),
        "outcome": followed.outcome,
        "ended_at": _instant(followed.ended_at),
    }


def _describe_whole(followed: Followed) -> dict[str, Any]:
    evidence = followed.recommendation.evidence
    rows = [dict(zip(evidence.columns, row, strict=True)) for row in evidence.rows]
    return describe_followed(followed) | {"evidence": rows, "unknown": {"figures": UNKNOWN}}


def _describe_look(look: LastLook) -> dict[str, Any]:
    return {
        "slug": look.kind,
        "name": next((kind.name for kind in KINDS if kind.slug == look.kind), look.kind),
        "looked_at": format_instant(look.looked_at),
        "took_ms": round(look.took_ms, 1),
        "compared": look.compared,
        "found": look.found,
        "text": look.text,
        "failed": look.failed,
    }


def _describe_failed(message: FailedMessage, secret_key: str) -> dict[str, Any]:
    return {
        "id": str(message.id),
        "campaign_id": None if message.campaign_id is None else str(message.campaign_id),
        "user": make_reference(secret_key, message.recipient_phone),
        "recipient": mask_phone(message.recipient_phone),
        "channel": message.channel,
        "sender": message.sender,
        "country": message.country,
        "error_code": message.error_code,
        "description": describe_error_code(message.error_code).description,
        "failed_at": format_instant(message.failed_at),
    }


def _describe_unreachable(one: Unreachable, secret_key: str) -> dict[str, Any]:
    return {
        "user": make_reference(secret_key, one.phone),
        "phone": mask_phone(one.phone),
        "channel": one.channel,
        "error_code": one.error_code,
        "description": describe_error_code(one.error_code).description,
        "failures": one.failures,
        "last_failed_at": format_instant(one.last_failed_at),
        "last_message": str(one.last_message_id),
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else format_instant(at)
