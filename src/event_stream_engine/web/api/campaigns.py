"""Campaigns: made, changed, started, held up, ended; and how far they are."""

from collections.abc import Awaitable, Callable
from datetime import datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict
from starlette.requests import Request

from event_stream_engine.access.roles import Role
from event_stream_engine.analytics.campaign_progress import Progress, find_progress
from event_stream_engine.audience import segments
from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns import campaigns, templates
from event_stream_engine.campaigns.campaigns import Campaign, Draft
from event_stream_engine.infra.database import Connection, snapshot, transaction
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.web.api.templates import describe_preview
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/campaigns", tags=["campaigns"])
_MAY_WRITE = [Depends(require_role(Role.operator))]


class CampaignBody(BaseModel):
    """`sender`: a number or a messaging service's SID. Quiet hours are the recipient's; the same time twice: none."""

    model_config = ConfigDict(extra="forbid")

    name: str
    segment_id: UUID
    template_id: UUID
    sender: str
    rate_per_second: int = 10
    quiet_starts: time = time(21)
    quiet_ends: time = time(8)

    @property
    def draft(self) -> Draft:
        return Draft(**self.model_dump())


class ScheduleBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    at: AwareDatetime


@router.get("")
async def list_campaigns(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the answer before")] = None,
    state: Literal["draft", "scheduled", "running", "paused", "completed", "cancelled"] | None = None,
) -> dict[str, Any]:
    """Campaigns, newest first."""
    before = read_cursor(cursor, parse_instant, UUID) if cursor else None
    async with resources_of(request).pool.connection() as conn:
        found = await campaigns.list_campaigns(
            conn, limit=limit + 1, before=(before[0], before[1]) if before else None, state=state
        )
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    return {
        "items": [describe_campaign(one) for one in shown],
        "next_cursor": None if last is None else write_cursor(format_instant(last.created_at), last.id),
    }


@router.post("", status_code=201, dependencies=_MAY_WRITE)
async def create_campaign(request: Request, body: CampaignBody) -> dict[str, Any]:
    """Make a draft; nothing is sent before it is started."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        made = await campaigns.create_campaign(conn, actor_of(request), body.draft, resources.clock.now())
    return describe_campaign(made)


@router.get("/{campaign_id}")
async def show_campaign(request: Request, campaign_id: UUID) -> dict[str, Any]:
    """One campaign and how far it is."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await campaigns.load_campaign(conn, campaign_id)
        now = resources.clock.now()
        progress = await find_progress(conn, found, now)
    return describe_campaign(found) | {
        "progress": _describe_progress(found, progress, now),
        "unknown": _explain_unknown(found, progress),
    }


@router.put("/{campaign_id}", dependencies=_MAY_WRITE)
async def change_campaign(request: Request, campaign_id: UUID, body: CampaignBody) -> dict[str, Any]:
    """Put new content in place of the old, as long as the campaign has not started."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        changed = await campaigns.change_campaign(
            conn, actor_of(request), campaign_id, body.draft, resources.clock.now()
        )
    return describe_campaign(changed)


@router.post("/{campaign_id}/schedule", dependencies=_MAY_WRITE)
async def schedule_campaign(request: Request, campaign_id: UUID, body: ScheduleBody) -> dict[str, Any]:
    """Have it start by itself at a moment to come."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        moved = await campaigns.schedule_campaign(
            conn, actor_of(request), campaign_id, body.at, now=resources.clock.now()
        )
    return describe_campaign(moved)


@router.post("/{campaign_id}/start", dependencies=_MAY_WRITE)
async def start_campaign(request: Request, campaign_id: UUID) -> dict[str, Any]:
    """Start it with segment and template as they are now. Starting it again changes nothing."""
    return await _move(request, campaign_id, campaigns.start_campaign)


@router.post("/{campaign_id}/pause", dependencies=_MAY_WRITE)
async def pause_campaign(request: Request, campaign_id: UUID) -> dict[str, Any]:
    """Hand nothing more over from now on."""
    return await _move(request, campaign_id, campaigns.pause_campaign)


@router.post("/{campaign_id}/resume", dependencies=_MAY_WRITE)
async def resume_campaign(request: Request, campaign_id: UUID) -> dict[str, Any]:
    """Go on after a pause."""
    return await _move(request, campaign_id, campaigns.resume_campaign)


@router.post("/{campaign_id}/cancel", dependencies=_MAY_WRITE)
async def cancel_campaign(request: Request, campaign_id: UUID) -> dict[str, Any]:
    """End it for good; what has not been handed over never will be."""
    return await _move(request, campaign_id, campaigns.cancel_campaign)


@router.post("/{campaign_id}/preview")
async def preview_campaign(request: Request, campaign_id: UUID) -> dict[str, Any]:
    """Show whom it would reach now and what one of them would get; nothing is stored or sent."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        found = await campaigns.load_campaign(conn, campaign_id)
        segment = await segments.load_segment(conn, found.segment_id)
        reached = await segments.preview(conn, segment.filter, resources.clock.now(), 1)
        template = await templates.load_template(conn, found.template_id)
        sample = reached.sample[0].phone_e164 if reached.sample else None
        # Masked, else {phone} would tell what lists hide.
        message = await templates.preview(conn, template.draft, sample, sample and mask_phone(sample))
    return {"people": reached.people, "message": describe_preview(message)}


async def _move(
    request: Request,
    campaign_id: UUID,
    move: Callable[[Connection, Actor, UUID, datetime], Awaitable[Campaign]],
) -> dict[str, Any]:
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        return describe_campaign(await move(conn, actor_of(request), campaign_id, resources.clock.now()))


def describe_campaign(campaign: Campaign) -> dict[str, Any]:
    def moment(at: datetime | None) -> str | None:
        return None if at is None else format_instant(at)

    return {
        "id": str(campaign.id),
        "name": campaign.name,
        "state": campaign.state,
        "possible": list(campaign.possible),
        "segment_id": str(campaign.segment_id),
        "template_id": str(campaign.template_id),
        "sender": campaign.sender,
        "rate_per_second": campaign.rate_per_second,
        "quiet_starts": f"{campaign.quiet_starts:%H:%M}",
        "quiet_ends": f"{campaign.quiet_ends:%H:%M}",
        "created_by": campaign.created_by,
        "created_at": format_instant(campaign.created_at),
        "updated_at": format_instant(campaign.updated_at),
        "scheduled_at": moment(campaign.scheduled_at),
        "started_at": moment(campaign.started_at),
        "finished_at": moment(campaign.finished_at),
        "recipients": campaign.recipients,
    }


def _describe_progress(campaign: Campaign, progress: Progress, now: datetime) -> dict[str, Any]:
    pending = {"PENDING": progress.pending} if progress.pending else {}
    eta = progress.estimate_end(now) if campaign.state == "running" else None
    return {
        "recipients": progress.recipients,
        "is_filled": campaign.filled_at is not None,
        "by_status": progress.by_status | pending,
        "skipped": progress.denied,
        "waiting": progress.pending,
        "deferred": progress.deferred,
        "unsure": progress.unsure,
        "sent": progress.sent,
        "delivered": progress.delivered,
        "failed": progress.failed,
        "done_percent": progress.done_percent,
        "delivery_rate_percent": progress.delivery_rate_percent,
        "messages_per_second": progress.per_second,
        "eta": None if eta is None else format_instant(eta),
    }


def _explain_unknown(campaign: Campaign, progress: Progress) -> dict[str, str]:
    """Return why figures are null, by their place in the answer."""
    reasons = {}
    if not progress.recipients:
        reasons["progress.done_percent"] = "No message has been made for this campaign."
    if not progress.sent:
        reasons["progress.delivery_rate_percent"] = "No message of this campaign has been sent."
    if progress.per_second is None:
        reasons["progress.messages_per_second"] = f"The campaign is {campaign.state}: nothing is being sent."
    if campaign.state != "running":
        reasons["progress.eta"] = f"The campaign is {campaign.state}: nothing is being sent."
    elif not progress.turn:
        reasons["progress.eta"] = "No message waits its turn."
    elif not progress.per_second:
        reasons["progress.eta"] = "No message was handed over in the last 10 seconds."
    return reasons
