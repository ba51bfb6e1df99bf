"""`/settings/notifications`: who is told by which way, and what came of it."""

from typing import Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.notifications import channels, deliveries, routes
from event_stream_engine.notifications.notice import KINDS, SEVERITIES
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/settings/notifications", include_in_schema=False)
PER_PAGE = 50


@router.get("")
async def show_notifications(
    request: Request,
    state: Literal["waiting", "delivered", "failed"] | None = None,
    channel_id: UUID | None = None,
    cursor: str | None = None,
) -> Response:
    resources = resources_of(request)
    before = read_cursor(cursor, int)[0] if cursor else None
    async with resources.pool.connection() as conn:
        known = await channels.list_channels(conn)
        leading = await routes.list_routes(conn)
        found = await deliveries.list_deliveries(
            conn, most=PER_PAGE + 1, before_id=before, channel_id=channel_id, state=state
        )
    filters = {"state": state, "channel_id": channel_id}
    kept = {name: str(value) for name, value in filters.items() if value is not None}
    shown = found[:PER_PAGE]
    next_href = None
    if len(found) > PER_PAGE:
        next_href = f"?{urlencode(kept | {'cursor': write_cursor(shown[-1].id)})}#history"
    return render(
        request,
        "notifications.html",
        room="settings",
        tab="/settings/notifications",
        modules=["routes.js"],
        channels=known,
        channel_names={channel.id: channel.name for channel in known},
        routes=leading,
        deliveries=shown,
        state=state,
        chosen_channel=channel_id,
        next_href=next_href,
        first_href=f"?{urlencode(kept)}#history" if cursor else None,
        severities=SEVERITIES,
        kinds=KINDS,
        may_change=request.state.principal.role >= Role.admin,
        zone=resources.settings.timezone,
        as_of=resources.clock.now(),
    )
