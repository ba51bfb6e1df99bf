"""What became of handing a message over, as events for the log; the projection merges them into `messages`."""

from datetime import datetime
from hashlib import blake2b
from uuid import UUID

import orjson

from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.stream.log import Event


def accepted(message_id: UUID, at: datetime, sid: str, status: str) -> Event:
    """The provider took it under a SID; `status` is the one it began with, like queued."""
    return _make("message.accepted", message_id, at, once=True, MessageSid=sid, MessageStatus=status)


def refused(message_id: UUID, at: datetime, code: int | None) -> Event:
    """The provider will never take it."""
    return _make("message.refused", message_id, at, once=True, ErrorCode=None if code is None else str(code))


def postponed(message_id: UUID, at: datetime, code: int | None) -> Event:
    """The provider refused an attempt for the moment; it will be made again."""
    return _make(
        "message.postponed", message_id, at, once=False, ErrorCode=None if code is None else str(code)
    )


def skipped(message_id: UUID, at: datetime, reason: str) -> Event:
    """It was not handed over and will not be; `reason` is a word like consent_stop."""
    return _make("message.skipped", message_id, at, once=True, Reason=reason)


def unsure(message_id: UUID, at: datetime) -> Event:
    """A call ended without an answer; whether the provider has the message must be found out."""
    return _make("message.unsure", message_id, at, once=False)


def requeued(message_id: UUID, at: datetime) -> Event:
    """The provider turned out not to have it; it waits again."""
    return _make("message.requeued", message_id, at, once=False)


def _make(event_type: str, message_id: UUID, at: datetime, *, once: bool, **payload: str | None) -> Event:
    key = f"{event_type} {message_id}" if once else f"{event_type} {message_id} {format_instant(at)}"
    return Event(
        at,
        event_type,
        UUID(bytes=blake2b(key.encode(), digest_size=16).digest()),
        orjson.dumps({"MessageId": str(message_id)} | payload).decode(),
    )
