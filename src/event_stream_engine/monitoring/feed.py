"""The live feed: the log's newest projected events as people read them.

One reader per web process asks the database and hands the answer to all who watch, so a hundred viewers cost what one
does. A viewer's place is the id of the last event it got, so that a lost connection goes on without gap or repetition.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from event_stream_engine.infra.database import Connection, Pool
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.messaging.error_codes import describe_error_code
from event_stream_engine.stream import log

SQL = load_queries(__package__)
# What the sender says of a message that was handed over is told again, and better, by the provider's receipts.
SHOWN_TYPES = [
    "receipt.received",
    "inbound.received",
    "message.refused",
    *(f"campaign.{what}" for what in ("scheduled", "started", "paused", "resumed", "completed", "cancelled")),
]
POLL_SECONDS = 0.25
MOST_PER_READ = 500
MOST_WAITING = 2000  # events a slow viewer may lag behind before it is cut off; it reconnects and goes on
_PLACE = re.compile(r"([0-9]{1,19})-([0-9]{1,18})")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FeedPlace:
    xid: str
    id: int

    def is_behind(self, other: "FeedPlace") -> bool:
        return (int(self.xid), self.id) < (int(other.xid), other.id)


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event with what the projection knows of its message or campaign; that of a campaign has no phone."""

    xid: str
    id: int
    received_at: datetime
    event_type: str
    status: str | None
    phone: str | None
    channel: str | None
    body: str | None
    intent: str | None
    error_code: int | None
    delivery_seconds: float | None
    is_auto_replied: bool | None
    campaign_name: str | None
    recipients: int | None

    @property
    def place(self) -> FeedPlace:
        return FeedPlace(self.xid, self.id)


def format_place(place: FeedPlace) -> str:
    return f"{place.xid}-{place.id}"


def parse_place(text: str) -> FeedPlace:
    """Read the id of a feed event. Errors: Invalid."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise Invalid(f"{text!r} is no id of a feed event; use one that the feed gave.", "after")
    return FeedPlace(found[1], int(found[2]))


async def load_place(conn: Connection) -> str:
    """Return the id after which everything is new: where the projector is."""
    place = await log.load_place(conn)
    return f"{place.xid}-{place.id}"


async def list_latest(conn: Connection, most: int) -> list[FeedEvent]:
    """Return the newest projected events, newest first."""
    return await SQL.list_latest_events.many(conn, FeedEvent, {"most": most, "event_types": SHOWN_TYPES})


async def list_after(conn: Connection, place: FeedPlace, most: int) -> list[FeedEvent]:
    """Return the projected events after a place in log order, oldest first."""
    values = {"xid": place.xid, "id": place.id, "most": most, "event_types": SHOWN_TYPES}
    return await SQL.list_events_after.many(conn, FeedEvent, values)


def describe_event(event: FeedEvent) -> dict[str, Any]:
    """Return the event as the document's `live_events` show it, with the number masked."""
    common: dict[str, Any] = {
        "id": format_place(event.place),
        "timestamp": format_instant(event.received_at),
        "channel": event.channel,
        "campaign_name": event.campaign_name,
    }
    if event.phone is None:
        kind = event.event_type.replace(".", "_")
        return common | {"event_type": kind, "estimated_recipients": event.recipients}
    if event.event_type == "inbound.received":
        kind = "consent_stopped" if event.intent == "stop" else "inbound_message"
        return common | {
            "event_type": kind,
            "from_phone": mask_phone(event.phone),
            "message_body": event.body,
            "intent": event.intent,
            "auto_response": bool(event.is_auto_replied),
        }
    described = common | {"event_type": f"message_{event.status}", "recipient": mask_phone(event.phone)}
    if event.status in ("delivered", "read"):
        described["delivery_time_seconds"] = (
            None if event.delivery_seconds is None else round(event.delivery_seconds, 3)
        )
    if event.status in ("failed", "undelivered"):
        described["error_code"] = event.error_code
        described["description"] = describe_error_code(event.error_code).description
    return described


class Feed:
    """The reader of one web process and its viewers. `run` must be running."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._viewers: set[asyncio.Queue[FeedEvent | None]] = set()
        self._place: FeedPlace | None = None
        self._watched = asyncio.Event()
        self._placed = asyncio.Event()

    async def run(self) -> None:
        """Read what is new and hand it to all viewers; nothing is read while nobody watches."""
        while True:
            await self._watched.wait()
            try:
                await self._read()
            except (psycopg.Error, TimeoutError) as error:
                _logger.warning("the feed waits for the database: %s", type(error).__name__)
                await asyncio.sleep(1)
            await asyncio.sleep(POLL_SECONDS)

    async def _read(self) -> None:
        begun_at = self._place
        async with self._pool.connection() as conn:
            # Read first: up to here everything is among the events, or is never shown.
            projected = await log.load_place(conn)
            events = await list_after(conn, begun_at, MOST_PER_READ) if begun_at else []
        if self._place is not begun_at or not self._viewers:
            return  # everybody left meanwhile; who came since begins anew
        reached = FeedPlace(projected.xid, projected.id)
        if events and (len(events) == MOST_PER_READ or reached.is_behind(events[-1].place)):
            reached = events[-1].place
        self._place = reached
        self._placed.set()
        for viewer in list(self._viewers):
            if viewer.qsize() > MOST_WAITING:
                self._leave(viewer)
                viewer.put_nowait(None)
                continue
            for event in events:
                viewer.put_nowait(event)

    def _leave(self, viewer: "asyncio.Queue[FeedEvent | None]") -> None:
        self._viewers.discard(viewer)
        if not self._viewers:
            self._watched.clear()
            self._placed.clear()
            self._place = None

    async def watch(self, after: FeedPlace | None) -> AsyncIterator[FeedEvent]:
        """Yield events from a place on, or from now on, until the viewer leaves.

        First what is stored after the place, then what the reader hands over; what comes from both is given once.
        """
        viewer: asyncio.Queue[FeedEvent | None] = asyncio.Queue()
        self._viewers.add(viewer)
        self._watched.set()
        seen = after
        try:
            # Only once the reader has its place: what came between a catch-up and that place would be seen by nobody.
            await self._placed.wait()
            handed_over_after = self._place
            while seen and handed_over_after and seen.is_behind(handed_over_after):
                async with self._pool.connection() as conn:
                    events = await list_after(conn, seen, MOST_PER_READ)
                for event in events:
                    seen = event.place
                    yield event
                if not events:
                    break
            while (newest := await viewer.get()) is not None:
                if seen is None or seen.is_behind(newest.place):
                    yield newest
        finally:
            self._leave(viewer)
