"""Segments: named filters over the people, and who satisfies them now."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.audience import segments
from event_stream_engine.audience.segments import Segment
from event_stream_engine.infra.database import transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.web.api.users import describe_person
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/segments", tags=["audience"])
_MAY_WRITE = [Depends(require_role(Role.operator))]


class SegmentBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    filter: dict[str, Any]


class PreviewBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    filter: dict[str, Any]


@router.get("")
async def list_segments(
    request: Request, limit: Annotated[int, Query(ge=1, le=500)] = 50, cursor: str | None = None
) -> dict[str, Any]:
    """The segments in use, by name."""
    after = read_cursor(cursor, str, UUID) if cursor else None
    async with resources_of(request).pool.connection() as conn:
        found = await segments.list_segments(conn, limit + 1, after)
    shown = found[:limit]
    more = len(found) > limit
    return {
        "items": [describe_segment(segment) for segment in shown],
        "next_cursor": write_cursor(shown[-1].name, shown[-1].id) if more else None,
    }


@router.post("", status_code=201, dependencies=_MAY_WRITE)
async def create_segment(request: Request, body: SegmentBody) -> dict[str, Any]:
    """Make a segment."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        made = await segments.create_segment(
            conn, actor_of(request), resources.clock.now(), body.name, body.filter
        )
    return describe_segment(made)


@router.post("/preview")
async def preview_segment(request: Request, body: PreviewBody) -> dict[str, Any]:
    """How many people satisfy a filter now, whatever their consent, and five of them."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        found = await segments.preview(conn, body.filter, resources.clock.now())
    key = resources.settings.secret_key
    return {
        "people": found.people,
        "all_people": found.all_people,
        "sample": [describe_person(person, key, is_shown=False) for person in found.sample],
    }


@router.get("/{segment_id}")
async def show_segment(request: Request, segment_id: UUID) -> dict[str, Any]:
    """One segment, also an archived one."""
    async with resources_of(request).pool.connection() as conn:
        return describe_segment(await segments.load_segment(conn, segment_id))


@router.put("/{segment_id}", dependencies=_MAY_WRITE)
async def change_segment(request: Request, segment_id: UUID, body: SegmentBody) -> dict[str, Any]:
    """Put a new name and filter in place of the old; campaigns that have started keep theirs."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        changed = await segments.change_segment(
            conn, actor_of(request), resources.clock.now(), segment_id, name=body.name, tree=body.filter
        )
    return describe_segment(changed)


@router.delete("/{segment_id}", status_code=204, dependencies=_MAY_WRITE)
async def archive_segment(request: Request, segment_id: UUID) -> Response:
    """Take a segment out of use."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await segments.archive_segment(conn, actor_of(request), resources.clock.now(), segment_id)
    return Response(status_code=204)


def describe_segment(segment: Segment) -> dict[str, Any]:
    return {
        "id": str(segment.id),
        "name": segment.name,
        "filter": segment.filter,
        "created_at": format_instant(segment.created_at),
        "updated_at": format_instant(segment.updated_at),
        "archived_at": format_instant(segment.archived_at) if segment.archived_at else None,
    }
