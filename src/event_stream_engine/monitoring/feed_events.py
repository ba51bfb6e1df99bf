"""Events of the live feed: read from the log in pages, narrowed by a filter, described as the document shows them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.messaging.error_codes import describe_error_code
from event_stream_engine.monitoring.feed_kinds import BY_SLUG, BY_SOURCE, Kind
from event_stream_engine.stream import log

SQL = load_queries(__package__)
PAGE = 500  # events of the log in one read
MOST_SEARCHED = 20_000  # events of the log that one question looks through: about 0.4 s
_PLACE = re.compile(r"([0-9]{1,19})-([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class FeedPlace:
    xid: str
    id: int

    def is_behind(self, other: "FeedPlace") -> bool:
        return (int(self.xid), self.id) < (int(other.xid), other.id)

    def __str__(self) -> str:
        return f"{self.xid}-{self.id}"


BEGINNING = FeedPlace("0", 0)


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event of the log with what the projection knows of its message, reply or campaign.

    `source` tells its kind; None for what had no effect. Only what has a kind is shown.
    """

    xid: str
    id: int
    received_at: datetime
    source: str | None
    message_id: UUID | None
    campaign_id: UUID | None
    campaign_name: str | None
    phone: str | None = field(repr=False)
    channel: str | None
    body: str | None = field(repr=False)
    intent: str | None
    is_auto_replied: bool | None
    error_code: int | None
    delivery_seconds: float | None
    recipients: int | None
    people: int | None
    consent_source: str | None
    reason: str | None
    severity: str | None
    message: str | None
    alert_id: str | None

    @property
    def place(self) -> FeedPlace:
        return FeedPlace(self.xid, self.id)

    @property
    def kind(self) -> Kind | None:
        return BY_SOURCE.get(self.source or "")


@dataclass(frozen=True, slots=True)
class FeedFilter:
    """What a viewer wants to see; what is not given lets everything through."""

    campaign_id: UUID | None = None
    kinds: frozenset[str] = frozenset()
    error_code: int | None = None
    phone: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        unknown = sorted(self.kinds - BY_SLUG.keys())
        if unknown:
            raise Invalid(f"{unknown[0]!r} is no kind of event. Use one of {', '.join(BY_SLUG)}.", "kind")

    def lets_through(self, event: FeedEvent) -> bool:
        kind = event.kind
        return (
            kind is not None
            and (not self.kinds or kind.slug in self.kinds)
            and self.campaign_id in (None, event.campaign_id)
            and self.error_code in (None, event.error_code)
            and self.phone in (None, event.phone)
        )


EVERYTHING = FeedFilter()


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Events in the order they were asked for, and the place up to which the log was looked through; None: its end."""

    events: list[FeedEvent]
    reached: FeedPlace | None


def parse_place(text: str, parameter: str = "after") -> FeedPlace:
    """Read the id of a feed event. Errors: Invalid."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise Invalid(f"{text[:60]!r} is no id of a feed event; use one that the feed gave.", parameter)
    return FeedPlace(found[1], int(found[2]))


async def load_place(conn: Connection) -> FeedPlace:
    """Return the id after which everything is new: where the projector is."""
    place = await log.load_place(conn)
    return FeedPlace(place.xid, place.id)


async def list_rows(
    conn: Connection, after: FeedPlace, until: FeedPlace, most: int, *, newest: bool
) -> list[FeedEvent]:
    """Return events of the log after one place up to another, the newest or the oldest of them, oldest first."""
    return await SQL.list_feed_rows.many(
        conn,
        FeedEvent,
        {
            "after_xid": after.xid,
            "after_id": after.id,
            "until_xid": until.xid,
            "until_id": until.id,
            "most": most,
            "newest": newest,
        },
    )


async def list_latest(
    conn: Connection, wanted: FeedFilter, most: int, before: FeedPlace | None = None
) -> FeedPage:
    """Return the newest projected events that a filter lets through, newest first, looking through `MOST_SEARCHED`."""
    until = FeedPlace(before.xid, before.id - 1) if before else await load_place(conn)
    found: list[FeedEvent] = []
    searched, page = 0, min(PAGE, 2 * most)  # most often the first look is enough
    while searched < MOST_SEARCHED:
        rows = await list_rows(conn, BEGINNING, until, page, newest=True)
        for row in reversed(rows):
            if wanted.lets_through(row):
                found.append(row)
                if len(found) == most:
                    return FeedPage(found, row.place)
        if len(rows) < page:
            return FeedPage(found, None)
        until = FeedPlace(rows[0].xid, rows[0].id - 1)
        searched, page = searched + page, PAGE
    return FeedPage(found, FeedPlace(until.xid, until.id + 1))


async def list_after(conn: Connection, wanted: FeedFilter, after: FeedPlace, most: int) -> FeedPage:
    """Return the projected events after a place that a filter lets through, oldest first; `reached` is where to go on."""
    found: list[FeedEvent] = []
    until = await load_place(conn)
    for _ in range(MOST_SEARCHED // PAGE):
        if not after.is_behind(until):
            break
        rows = await list_rows(conn, after, until, PAGE, newest=False)
        after = rows[-1].place if len(rows) == PAGE else until
        for row in rows:
            if wanted.lets_through(row):
                found.append(row)
                if len(found) == most:
                    return FeedPage(found, row.place)
    return FeedPage(found, after)


FIELDS: Mapping[str, Callable[[FeedEvent], Any]] = MappingProxyType(
    {
        "recipient": lambda event: _mask(event.phone),
        "from_phone": lambda event: _mask(event.phone),
        "delivery_time_seconds": lambda event: _round(event.delivery_seconds),
        "error_code": lambda event: event.error_code,
        "description": lambda event: describe_error_code(event.error_code).description,
        "reason": lambda event: event.reason,
        "message_body": lambda event: event.body,
        "intent": lambda event: event.intent,
        "auto_response": lambda event: bool(event.is_auto_replied),
        "estimated_recipients": lambda event: event.recipients,
        "people": lambda event: event.people,
        "source": lambda event: event.consent_source,
        "severity": lambda event: event.severity,
        "message": lambda event: event.message,
        "alert_id": lambda event: event.alert_id,
    }
)


def describe_event(event: FeedEvent) -> dict[str, Any]:
    """Return a shown event as the document's `live_events` have it, with the number masked."""
    kind = BY_SOURCE[event.source or ""]
    return {
        "id": str(event.place),
        "timestamp": format_instant(event.received_at),
        "event_type": kind.slug,
        "channel": event.channel,
        "campaign_id": _text(event.campaign_id),
        "campaign_name": event.campaign_name,
        "message_id": _text(event.message_id),
    } | {name: FIELDS[name](event) for name in kind.fields}


def _mask(phone: str | None) -> str | None:
    return None if phone is None else mask_phone(phone)


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
