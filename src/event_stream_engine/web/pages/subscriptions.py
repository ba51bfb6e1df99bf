"""`/reports/subscriptions`: who gets which report, by which channel, and whether it got there."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.notifications.channels import list_channels
from event_stream_engine.notifications.targets import ALERTMANAGER
from event_stream_engine.reporting import subscriptions
from event_stream_engine.web.render import may_change, may_write, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/reports/subscriptions", include_in_schema=False)


@router.get("")
async def show_subscriptions(request: Request) -> Response:
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        found = await subscriptions.list_subscriptions(conn)
        people = await subscriptions.list_subscribers(conn)
        channels = [one for one in await list_channels(conn) if one.kind != ALERTMANAGER]
    return render(
        request,
        "subscriptions.html",
        room="reports",
        tab="/reports/subscriptions",
        subscriptions=found,
        people=people,
        channels=channels,
        own_id=request.state.principal.id,
        may_write=may_write(request),
        may_change=may_change(request),
        zone=resources.settings.timezone,
    )
