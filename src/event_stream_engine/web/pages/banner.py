"""What fires, on every page, and by itself for pages that do not refresh."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.web.firing import choose_loud
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(include_in_schema=False)


async def load_firing(request: Request) -> None:
    """Put what nobody has in hand on the page that is about to be rendered."""
    resources = resources_of(request)
    request.state.firing = choose_loud(await resources.firing.load(resources.pool))


@router.get("/alerts/banner")
async def show_banner(request: Request) -> Response:
    return render(request, "alert_banner.html")
