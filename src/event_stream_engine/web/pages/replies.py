"""`/campaigns/replies`: what the engine answers by itself."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.campaigns import replies
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/campaigns/replies", include_in_schema=False)
INTENTS = (
    ("stop", "STOP"),
    ("help", "HELP"),
    ("start", "START"),
    ("order", "Questions about an order"),
    ("general", "Everything else"),
)


@router.get("")
async def show_replies(request: Request) -> Response:
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        rules = await replies.list_rules(conn)
    order = [intent for intent, _ in INTENTS]
    return render(
        request,
        "replies.html",
        room="campaigns",
        tab="/campaigns/replies",
        rules=sorted(rules, key=lambda rule: order.index(rule.intent)),
        intents=INTENTS,
        may_write=may_write(request),
        zone=resources.settings.timezone,
    )
