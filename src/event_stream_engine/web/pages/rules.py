"""`/campaigns/rules`: what holds for every campaign: prohibited words, and the quiet hours of places."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.campaigns import prohibited, quiet_rules
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/campaigns/rules", include_in_schema=False)


@router.get("")
async def show_rules(request: Request) -> Response:
    async with resources_of(request).pool.connection() as conn:
        words = await prohibited.list_words(conn)
        rules = await quiet_rules.list_rules(conn)
    return render(
        request,
        "rules.html",
        room="campaigns",
        tab="/campaigns/rules",
        words=words,
        rules=rules,
        may_write=may_write(request),
    )
