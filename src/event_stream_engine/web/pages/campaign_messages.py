"""One message of a campaign: what became of it, and the decision about it in six steps."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics import campaign_progress
from event_stream_engine.analytics.campaign_progress import CampaignMessage
from event_stream_engine.audit.trails import list_of_subject
from event_stream_engine.campaigns import campaigns
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.errors import NotFound
from event_stream_engine.kernel.formats import format_duration
from event_stream_engine.messaging.error_codes import describe_error_code
from event_stream_engine.web.decisions import describe_decision
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of
from event_stream_engine.web.wording import word_reason

router = APIRouter(prefix="/campaigns", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class MessageRow:
    """`why` explains the status, `at` is its last change."""

    message: CampaignMessage
    why: str
    at: datetime | None


@router.get("/{campaign_id:uuid}/messages/{message_id:uuid}")
async def show_decision(request: Request, campaign_id: UUID, message_id: UUID) -> Response:
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        campaign = await campaigns.load_campaign(conn, campaign_id)
        found = []
        if campaign.started_at is not None:
            found = await campaign_progress.list_messages(
                conn, campaign_id, campaign.started_at, most=1, after=UUID(int=max(0, message_id.int - 1))
            )
        if not found or found[0].id != message_id:
            raise NotFound("There is no such message in this campaign.")
        trail = await list_of_subject(conn, f"message:{message_id}", 20)
    return render(
        request,
        "decision.html",
        room="campaigns",
        tab="/campaigns",
        campaign=campaign,
        message_id=message_id,
        phone=found[0].recipient_phone,
        decisions=[describe_decision(entry.at, entry.action, entry.after) for entry in trail if entry.after],
        zone=resources.settings.timezone,
    )


def describe_message(message: CampaignMessage, now: datetime) -> MessageRow:
    """Say why a message is in its status, and since when."""
    at = max(
        (one for one in (message.answered_at, message.last_seen_at, message.skipped_at) if one is not None),
        default=None,
    )
    if message.status == "SKIPPED":
        why = word_reason(message.skip_reason)
    elif message.failure_code:
        why = f"{message.failure_code} {describe_error_code(message.failure_code).description}"
    elif message.status in ("DELIVERED", "READ") and message.delivery_seconds is not None:
        why = f"in {format_duration(message.delivery_seconds)}"
    elif message.defer_reason and message.due_at is not None and message.due_at > now:
        why = f"{word_reason(message.defer_reason)}, again in {format_duration((message.due_at - now).total_seconds())}"
    else:
        why = ""
    return MessageRow(message, why, at)
