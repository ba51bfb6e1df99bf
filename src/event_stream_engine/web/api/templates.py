"""Templates: what campaigns say."""

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from event_stream_engine.access.roles import Role
from event_stream_engine.campaigns import templates
from event_stream_engine.campaigns.rendering import list_placeholders
from event_stream_engine.campaigns.templates import Preview, Template, TemplateDraft
from event_stream_engine.infra.database import transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.web.api.users import find_number
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.resources import resources_of

router = APIRouter(tags=["campaigns"])
_MAY_WRITE = [Depends(require_role(Role.operator))]


class TemplateBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    channel: str
    locale: str = "en"
    body: str
    content_sid: str | None = None
    content_variables: dict[str, str] = {}

    @property
    def draft(self) -> TemplateDraft:
        return TemplateDraft(**self.model_dump())


class PreviewBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    template: TemplateBody
    phone_e164: str | None = None
    user: str | None = Field(None, description="the id of a person; their number is shown masked")


@router.get("/templates")
async def list_templates(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the answer before")] = None,
    archived: Annotated[bool, Query(description="those out of use instead")] = False,
) -> dict[str, Any]:
    """Templates by name."""
    after = _read_cursor(cursor) if cursor else None
    async with resources_of(request).pool.connection() as conn:
        found = await templates.list_templates(conn, limit=limit + 1, after=after, is_archived=archived)
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    return {
        "items": [describe_template(one) for one in shown],
        "next_cursor": None if last is None else f"{last.id}~{last.name}",
    }


@router.post("/templates", status_code=201, dependencies=_MAY_WRITE)
async def create_template(request: Request, body: TemplateBody) -> dict[str, Any]:
    """Make a template."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        made = await templates.create_template(conn, actor_of(request), resources.clock.now(), body.draft)
    return describe_template(made)


@router.post("/templates/preview")
async def preview_template(request: Request, body: PreviewBody) -> dict[str, Any]:
    """Show a template as a person would get it, with its size; nothing is stored or sent."""
    phone, shown_as = body.phone_e164, body.phone_e164
    if body.user is not None:
        phone = find_number(request, body.user)
        shown_as = mask_phone(phone)  # else {phone} would tell what lists hide
    async with resources_of(request).pool.connection() as conn:
        return describe_preview(await templates.preview(conn, body.template.draft, phone, shown_as))


@router.get("/templates/{template_id}")
async def show_template(request: Request, template_id: UUID) -> dict[str, Any]:
    """One template."""
    async with resources_of(request).pool.connection() as conn:
        return describe_template(await templates.load_template(conn, template_id))


@router.put("/templates/{template_id}", dependencies=_MAY_WRITE)
async def change_template(request: Request, template_id: UUID, body: TemplateBody) -> dict[str, Any]:
    """Put new content in place of the old; campaigns that have started keep theirs."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        changed = await templates.change_template(
            conn, actor_of(request), resources.clock.now(), template_id, body.draft
        )
    return describe_template(changed)


@router.post("/templates/{template_id}/archive", dependencies=_MAY_WRITE)
async def archive_template(request: Request, template_id: UUID) -> dict[str, Any]:
    """Take a template out of use."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        archived = await templates.archive_template(
            conn, actor_of(request), resources.clock.now(), template_id
        )
    return describe_template(archived)


def describe_template(template: Template) -> dict[str, Any]:
    return {
        "id": str(template.id),
        "name": template.name,
        "channel": template.channel,
        "locale": template.locale,
        "body": template.body,
        "content_sid": template.content_sid,
        "content_variables": dict(template.content_variables),
        "placeholders": [asdict(one) for one in list_placeholders(template.draft.content)],
        "created_at": format_instant(template.created_at),
        "updated_at": format_instant(template.updated_at),
        "archived_at": None if template.archived_at is None else format_instant(template.archived_at),
    }


def describe_preview(found: Preview) -> dict[str, Any]:
    return asdict(found)


def _read_cursor(text: str) -> tuple[str, UUID]:
    template_id, tilde, name = text.partition("~")
    try:
        return name, UUID(template_id if tilde else "")
    except ValueError:
        raise Invalid(f"{text!r} is no cursor; use next_cursor of an answer.", "cursor") from None
