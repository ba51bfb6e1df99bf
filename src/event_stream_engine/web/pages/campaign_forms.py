"""The form of a campaign: made new, or changed before it starts."""

from uuid import UUID

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.audience import segments
from event_stream_engine.campaigns import campaigns, templates
from event_stream_engine.infra.database import snapshot
from event_stream_engine.web.auth import require_role
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/campaigns", include_in_schema=False)
_OPERATOR = Depends(require_role(Role.operator))


@router.get("/new", dependencies=[_OPERATOR])
async def show_new_campaign(
    request: Request, segment: UUID | None = None, template: UUID | None = None
) -> Response:
    return await _show_form(request, None, segment, template)


@router.get("/{campaign_id:uuid}/edit", dependencies=[_OPERATOR])
async def show_campaign_form(request: Request, campaign_id: UUID) -> Response:
    return await _show_form(request, campaign_id, None, None)


async def _show_form(
    request: Request, campaign_id: UUID | None, segment: UUID | None, template: UUID | None
) -> Response:
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        campaign = None if campaign_id is None else await campaigns.load_campaign(conn, campaign_id)
        known_segments = await segments.list_segments(conn, 500)
        known_templates = await templates.list_templates(conn, limit=500)
        latest = await campaigns.list_campaigns(conn, limit=1)
    return render(
        request,
        "campaign_form.html",
        room="campaigns",
        tab="/campaigns",
        modules=["previews.js"],
        campaign=campaign,
        segments=[(str(one.id), one.name) for one in known_segments],
        templates=[(str(one.id), one.name) for one in known_templates],
        chosen_segment=segment,
        chosen_template=template,
        last_sender=latest[0].sender if latest else "",
        zone=resources.settings.timezone,
    )
