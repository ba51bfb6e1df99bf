"""`/campaigns/templates`: what campaigns say, and how it arrives."""

from uuid import UUID

import orjson
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.audience import people
from event_stream_engine.audience.people import Wanted
from event_stream_engine.audience.references import make_reference
from event_stream_engine.campaigns import templates
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.web.auth import require_role
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/campaigns/templates", include_in_schema=False)
PAGE_LENGTH = 25
SAMPLE_PEOPLE = 8
CHANNELS = {"sms": "SMS", "whatsapp": "WhatsApp"}


@router.get("")
async def show_templates(request: Request, after: str | None = None) -> Response:
    resources = resources_of(request)
    place = read_cursor(after, str, UUID) if after else None
    async with resources.pool.connection() as conn:
        found = await templates.list_templates(conn, limit=PAGE_LENGTH + 1, after=place)
    shown = found[:PAGE_LENGTH]
    more = len(found) > PAGE_LENGTH
    return render(
        request,
        "templates.html",
        room="campaigns",
        tab="/campaigns/templates",
        rows=shown,
        channels=CHANNELS,
        next_href=f"/campaigns/templates?after={write_cursor(shown[-1].name, shown[-1].id)}"
        if more
        else None,
        first_href="/campaigns/templates" if after else None,
        may_write=may_write(request),
        zone=resources.settings.timezone,
    )


@router.get("/new", dependencies=[Depends(require_role(Role.operator))])
async def show_new_template(request: Request) -> Response:
    return await _show_form(request, None)


@router.get("/{template_id:uuid}")
async def show_template(request: Request, template_id: UUID) -> Response:
    return await _show_form(request, template_id)


async def _show_form(request: Request, template_id: UUID | None) -> Response:
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        template = None if template_id is None else await templates.load_template(conn, template_id)
        samples = await people.list_people(conn, Wanted(consent="OPT_IN"), SAMPLE_PEOPLE)
    variables = dict(template.content_variables) if template else {}
    key = resources.settings.secret_key
    return render(
        request,
        "template.html",
        room="campaigns",
        tab="/campaigns/templates",
        modules=["previews.js"],
        edited=template,
        channels=CHANNELS,
        variables_json=orjson.dumps(variables, option=orjson.OPT_INDENT_2).decode(),
        sample_people=[
            (make_reference(key, one.phone_e164), f"{mask_phone(one.phone_e164)} {one.country or ''}".strip())
            for one in samples
        ],
        may_write=may_write(request),
        zone=resources.settings.timezone,
    )
