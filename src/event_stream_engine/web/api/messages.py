"""One message with everything that is known of it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request

from event_stream_engine.web.stories import tell_story

router = APIRouter(prefix="/messages", tags=["monitoring"])


@router.get("/{message}")
async def show_message(
    request: Request,
    message: Annotated[str, Path(description="its id, or the provider's SID")],
    reveal: Annotated[
        bool, Query(description="show numbers in full; for operators, and recorded in the audit trail")
    ] = False,
) -> dict[str, Any]:
    """The whole story of a message, by its id or the provider's SID, in order.

    Decisions with their six steps, what the sender did, each callback with every parameter, replies, and the recipient's
    consent from the entry that held to 72 hours after the last event.
    """
    return await tell_story(request, message, reveal=reveal)
