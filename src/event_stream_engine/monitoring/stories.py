"""The whole story of one message: everything the log, the audit trail and the ledger know of it, in order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from event_stream_engine.audience import consent
from event_stream_engine.audit.trails import list_of_subject
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import NotFound

SQL = load_queries(__package__)
MOST_EVENTS = 500  # of one message; a provider that repeats itself every day for a year has not sent more
MOST_DECISIONS = 100
CONSENT_AFTER = timedelta(hours=72)  # as long as an answer counts as one to this message


@dataclass(frozen=True, slots=True)
class StoryMessage:
    """What is known of the message itself; `queued_at` is None for one that is known by its callbacks alone."""

    id: UUID
    provider_sid: str | None
    campaign_id: UUID | None
    campaign_name: str | None
    recipient_phone: str = field(repr=False)
    channel: str
    sender: str
    country: str | None
    status: str
    error_code: int | None
    skip_reason: str | None
    in_reply_to: str | None
    queued_at: datetime | None
    first_at: datetime
    last_at: datetime
    delivery_seconds: float | None
    due_at: datetime | None
    defer_reason: str | None
    attempts: int | None


@dataclass(frozen=True, slots=True)
class StoryEntry:
    """One thing that happened. `what` is subject.verb; `detail` is what is known of it, of a callback every parameter."""

    at: datetime
    what: str
    detail: Mapping[str, Any] = field(repr=False)
    seconds_since: float | None = None  # the entry before


@dataclass(frozen=True, slots=True)
class Story:
    """`is_cut`: there are more events than are told."""

    message: StoryMessage
    entries: list[StoryEntry]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class _Logged:
    received_at: datetime
    event_type: str
    xid: str
    id: int
    is_live: bool
    payload: dict[str, Any] = field(repr=False)
    dead_reason: str | None


@dataclass(frozen=True, slots=True)
class _Reply:
    received_at: datetime
    message_sid: str
    intent: str
    body: str = field(repr=False)
    is_auto_replied: bool


async def load_story(conn: Connection, name: str) -> Story:
    """Load the story of a message by its id or by the provider's SID; inside one snapshot. Errors: NotFound."""
    message = await SQL.find_story_message.maybe(
        conn, StoryMessage, {"id": _read_id(name), "sid": name.replace("\0", "")}
    )
    if message is None:
        raise NotFound(
            "There is no such message. Give its id, or the provider's SID; one that was never projected is not known."
        )
    names = [one for one in (message.provider_sid, str(message.id)) if one]
    logged = await SQL.list_message_events.many(conn, _Logged, {"names": names, "most": MOST_EVENTS + 1})
    entries = [_tell_event(event) for event in logged[:MOST_EVENTS]]
    if message.queued_at is not None:
        detail = {"in_reply_to": message.in_reply_to, "campaign_id": _text(message.campaign_id)}
        entries.append(StoryEntry(message.queued_at, "message.queued", detail))
    for trail in await list_of_subject(conn, f"message:{message.id}", MOST_DECISIONS):
        entries.append(StoryEntry(trail.at, trail.action, trail.after or {}))
    if message.provider_sid is not None:
        replies = await SQL.list_replies.many(conn, _Reply, {"sid": message.provider_sid})
        entries += map(_tell_reply, replies)
    entries += await _list_consent(conn, message)
    return Story(message, _measure(entries), len(logged) > MOST_EVENTS)


async def _list_consent(conn: Connection, message: StoryMessage) -> list[StoryEntry]:
    """Return the entry of the ledger that held when the message began, and those up to 72 hours after its last event."""
    history = await consent.list_history(conn, message.recipient_phone)
    began, until = message.queued_at or message.first_at, message.last_at + CONSENT_AFTER
    earlier = [entry for entry in history if entry.occurred_at < began][-1:]
    later = [entry for entry in history if began <= entry.occurred_at <= until]
    return [
        StoryEntry(
            entry.occurred_at,
            f"consent.{entry.action}",
            {
                "entry": str(entry.id),
                "state_before": entry.state_before,
                "state_after": entry.state_after,
                "source": entry.source,
                "evidence": entry.evidence,
                "message_sid": entry.message_sid,
            },
        )
        for entry in earlier + later
    ]


def _tell_event(event: _Logged) -> StoryEntry:
    about = {"id": f"{event.xid}-{event.id}", "is_live": event.is_live, "dead_letter": event.dead_reason}
    return StoryEntry(event.received_at, event.event_type, about | {"parameters": event.payload})


def _tell_reply(reply: _Reply) -> StoryEntry:
    about = {"message_sid": reply.message_sid, "intent": reply.intent, "auto_response": reply.is_auto_replied}
    return StoryEntry(reply.received_at, "reply.received", about | {"body": reply.body})


def _measure(entries: list[StoryEntry]) -> list[StoryEntry]:
    """Put entries in order, each with the time since the one before; a stable sort keeps the log's order."""
    ordered = sorted(entries, key=lambda entry: entry.at)
    befores = [None, *ordered[:-1]]
    return [
        StoryEntry(
            entry.at,
            entry.what,
            entry.detail,
            None if before is None else (entry.at - before.at).total_seconds(),
        )
        for entry, before in zip(ordered, befores, strict=True)
    ]


def _read_id(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
