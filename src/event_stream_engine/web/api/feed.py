"""The live feed: events in pages, and as a stream."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from time import monotonic
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query
from starlette.requests import Request
from starlette.responses import StreamingResponse

from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.monitoring import feed_events
from event_stream_engine.monitoring.feed_events import FeedFilter
from event_stream_engine.web.feed_words import FILTERS, read_filter, show_event
from event_stream_engine.web.periods import refuse_unknown
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/monitoring/events", tags=["monitoring"])
# Who was signed out, or lost the key, is gone by then; anybody else reconnects and misses nothing.
LONGEST_STREAM_SECONDS = 900.0


@router.get("")
async def list_events(
    request: Request,
    wanted: Annotated[FeedFilter, Depends(read_filter)],
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[str | None, Query(description="then what came after this place, oldest first")] = None,
    before: Annotated[str | None, Query(description="go on into the past from this place")] = None,
) -> dict[str, Any]:
    """The newest events, newest first; with `after` those that followed, oldest first.

    One question looks through 20,000 events of the log. `after` and `before` of the answer are where to go on, also when
    nothing was found; `before` is null at the beginning of the log.
    """
    refuse_unknown(request, (*FILTERS, "limit", "after", "before"))
    if after is not None and before is not None:
        raise Invalid("Give `after` or `before`, not both.", "before")
    async with resources_of(request).pool.connection() as conn:
        if after is not None:
            place = feed_events.parse_place(after)
            page = await feed_events.list_after(conn, wanted, place, limit)
            return {"live_events": list(map(show_event, page.events)), "after": str(page.reached)}
        behind = None if before is None else feed_events.parse_place(before, "before")
        page = await feed_events.list_latest(conn, wanted, limit, behind)
    return {
        "live_events": list(map(show_event, page.events)),
        "before": None if page.reached is None else str(page.reached),
    }


@router.get("/stream", response_class=StreamingResponse)
async def stream_events(
    request: Request,
    wanted: Annotated[FeedFilter, Depends(read_filter)],
    *,
    sample: Annotated[
        Literal["auto", "none"],
        Query(description="`none`: every event, however fast they come"),
    ] = "auto",
    last_event_id: Annotated[
        str | None, Header(description="as a browser sends it when it reconnects")
    ] = None,
    after: Annotated[str | None, Query(description="the same for whoever cannot send the header")] = None,
) -> StreamingResponse:
    """Server-sent events from now on, or from `Last-Event-ID` (or `after`) on, without gap or repetition.

    `feed` is an event. `sampled` says how many were `left_out` before the next one, because more than 20 a second came;
    what is shown and what is left out are together all that the filter lets through. Lines of `id` alone move the place on.
    """
    refuse_unknown(request, (*FILTERS, "sample", "after"))
    begin = last_event_id or after
    place = feed_events.parse_place(begin) if begin else None
    parts = resources_of(request).feed.watch(place, wanted, is_sampled=sample == "auto")
    return StreamingResponse(
        _send(parts), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _send(parts: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    ends_at = monotonic() + LONGEST_STREAM_SECONDS
    yield b"retry: 1000\n\n"
    async with aclosing(parts):
        async for part in parts:
            yield part
            if monotonic() > ends_at:
                return
