"""The messages behind a recommendation: those that failed with some codes, the last first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.windows import Window
from event_stream_engine.messaging.error_codes import ERROR_CODES

SQL = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which failures. Without codes all of them; None: any sender, country, channel."""

    window: Window
    codes: Sequence[int] = ()
    sender: str | None = None
    country: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class FailedMessage:
    id: UUID
    campaign_id: UUID | None
    recipient_phone: str
    channel: str
    sender: str
    country: str | None
    error_code: int
    failed_at: datetime
    cohort_at: datetime


async def list_failed(
    conn: Connection, asked: Asked, most: int, before: tuple[datetime, UUID] | None = None
) -> list[FailedMessage]:
    """Return failed messages, newest first, from behind a place (cohort_at, id) on. Errors: Invalid."""
    if any(code <= 0 for code in asked.codes):
        raise Invalid("An error code is a number like 30007.", "code")
    at, message_id = before or (None, None)
    await SQL.plan_for_values.execute(conn)
    return await SQL.list_failed_messages.many(
        conn,
        FailedMessage,
        {
            "since": asked.window.since,
            "until": asked.window.until,
            "codes": list(asked.codes) or [one.code for one in ERROR_CODES],
            "sender": asked.sender,
            "country": asked.country,
            "channel": asked.channel,
            "before_at": at,
            "before_id": message_id,
            "most": most,
        },
    )
