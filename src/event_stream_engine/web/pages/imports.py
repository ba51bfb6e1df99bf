"""`/audience/imports`: bring people in, and see what became of each file."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.audience import importing
from event_stream_engine.audience.importing import Import
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.formats import format_duration
from event_stream_engine.kernel.phone import REGIONS
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/audience/imports", include_in_schema=False)
PAGE_LENGTH = 25
_OPEN = frozenset({"uploading", "waiting", "running"})


@router.get("")
async def show_imports(request: Request, before: str | None = None) -> Response:
    resources = resources_of(request)
    now = resources.clock.now()
    place = read_cursor(before, parse_instant, UUID) if before else None
    async with resources.pool.connection() as conn:
        found = await importing.list_imports(conn, PAGE_LENGTH + 1, place)
    shown = found[:PAGE_LENGTH]

    def outlook(one: Import) -> str:
        return describe_outlook(one, now)

    more = len(found) > PAGE_LENGTH
    return render(
        request,
        "imports.html",
        room="audience",
        tab="/audience/imports",
        modules=["uploads.js"],
        imports=shown,
        regions=[(region, region) for region in REGIONS],
        outlook=outlook,
        is_running=any(one.state in _OPEN for one in shown),
        next_href=f"/audience/imports?before={write_cursor(format_instant(shown[-1].created_at), shown[-1].id)}"
        if more
        else None,
        first_href="/audience/imports" if before else None,
        may_write=may_write(request),
        as_of=now,
        zone=resources.settings.timezone,
    )


def describe_outlook(one: Import, now: datetime) -> str:
    """Say how fast an import is and how long it still takes."""
    seconds = (now - (one.started_at or now)).total_seconds()
    applied = one.created + one.changed + one.unchanged
    if one.read_bytes >= one.size_bytes and one.rows:
        return f"{applied * 100 // max(1, one.rows - one.rejected)} % written"
    if seconds <= 0 or not one.read_bytes:
        return "beginning"
    left = seconds / one.read_bytes * (one.size_bytes - one.read_bytes)
    return f"{one.rows / seconds:,.0f} a second, {format_duration(left)} to read"
