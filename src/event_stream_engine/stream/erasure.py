"""Taking a person's number out of the log. Whoever reads the log again finds the same figures, and nobody's number."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
SCRUBBED_AT_ONCE = 1000
# What tells nothing of the person; everything else goes. To and From are disguised before.
_KEPT = (
    "MessageSid", "SmsSid", "MessageStatus", "SmsStatus", "ErrorCode", "RawDlrDoneDate", "To", "From", "AccountSid",
    "MessagingServiceSid", "OptOutType", "ApiVersion", "NumMedia", "NumSegments", "EseMessageId", "EseCountry",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _LogDay:
    day: date


@dataclass(frozen=True, slots=True)
class _Scrubbed:
    sid: str


@dataclass(frozen=True, slots=True)
class LateNumber:
    phone: str
    sid: str


async def list_days(conn: Connection) -> list[date]:
    """Return the days of the log, oldest first."""
    return [row.day for row in await SQL.list_log_days.many(conn, _LogDay)]


async def find_mentions(conn: Connection, day: date, phone: str) -> list[UUID]:
    """Return the events of a day that hold a number anywhere; reads only."""
    found: list[UUID] = await SQL.find_mentions.value(conn, {"day": day, "digits": phone[1:]})
    return found


async def scrub_events(
    conn: Connection, day: date, keys: Sequence[UUID], phone: str, pseudonym: str
) -> list[str]:
    """Put the pseudonym in place of the number, take the person's words and names away, and return the SIDs concerned."""
    scrubbed = await SQL.scrub_events.many(
        conn,
        _Scrubbed,
        {
            "day": day,
            "keys": list(keys),
            "digits": phone[1:],
            "pseudonym_digits": pseudonym[1:],
            "kept": list(_KEPT),
        },
    )
    return [event.sid for event in scrubbed]


async def find_late_numbers(conn: Connection, day: date, sids: Sequence[str]) -> list[LateNumber]:
    """Return the numbers that callbacks of a day have brought back."""
    return await SQL.find_late_numbers.many(conn, LateNumber, {"day": day, "sids": list(sids)})
