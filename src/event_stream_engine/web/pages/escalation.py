"""`/settings/escalation`: how soon somebody answers, and who is told when nobody does."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.incidents.lifecycle import SEVERITIES
from event_stream_engine.incidents.policy import list_channels, load_policy, word_seconds
from event_stream_engine.infra.database import snapshot
from event_stream_engine.web.render import may_change, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/settings/escalation", include_in_schema=False)


@router.get("")
async def show_escalation(request: Request) -> Response:
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        policy = await load_policy(conn)
        channels = await list_channels(conn)
    return render(
        request,
        "escalation.html",
        room="settings",
        tab="/settings/escalation",
        modules=["escalation.js"],
        policy=policy,
        severities=SEVERITIES,
        channels=channels,
        channel_names={one.id: one.name for one in channels},
        word_seconds=word_seconds,
        may_change=may_change(request),
    )
