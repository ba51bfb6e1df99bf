"""Finding out what nobody told: messages whose call ended without an answer, and messages whose callbacks were lost.

The provider's own list decides. A message it has is taken over with its SID; one it still does not have when the grace
is over waits again, unless a session holds the person's lock: then a call may yet be under way.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from event_stream_engine.audit.entries import record_columns
from event_stream_engine.campaigns.claiming import ACTOR
from event_stream_engine.campaigns.recording import MOST_ATTEMPTS
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.phone import split_channel
from event_stream_engine.messaging import outcomes
from event_stream_engine.messaging.provider import ProviderMessage
from event_stream_engine.stream.log import append_own_events

SQL = load_queries(__package__)
CHUNK = 500
SETTLING = timedelta(seconds=15)  # a callback with our id says it all, and spares the question
GRACE = timedelta(minutes=2)  # what the provider's list does not show by then, it does not have
SLACK = timedelta(seconds=60)  # between our clock and the provider's
# A message without an end is asked for at these ages; carriers without receipts leave it `sent` for ever.
AGES = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4), timedelta(hours=24))
FIRST_LOOK_BACK = timedelta(hours=1)
EARLY = frozenset({"accepted", "scheduled", "queued", "sending"})


@dataclass(frozen=True, slots=True)
class Unsure:
    """A message whose call ended, or whose worker died, without an outcome."""

    message_id: UUID
    campaign_id: UUID | None
    recipient_phone: str
    channel: str
    sender: str
    body: str | None
    handed_at: datetime
    unsure_since: datetime
    provider_sid: str | None
    is_template: bool

    @property
    def address(self) -> str:
        """The recipient as the provider lists it."""
        return self.recipient_phone if self.channel == "sms" else f"{self.channel}:{self.recipient_phone}"

    @property
    def earliest(self) -> datetime:
        """The earliest moment, by the provider's clock, it may have got the message."""
        return self.handed_at - SLACK


@dataclass(frozen=True, slots=True)
class Silent:
    """An accepted message of which no end was told. `place` orders them."""

    message_id: UUID
    provider_sid: str
    sender: str
    status: str
    cohort_at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    unsure: int = 0
    found: int = 0
    requeued: int = 0
    silent: int = 0
    closed: int = 0


@dataclass(frozen=True, slots=True)
class _Ended:
    message_id: UUID
    campaign_id: UUID | None
    attempts: int
    decision: dict[str, Any] | None
    is_requeued: bool = False


async def expire_leases(conn: Connection, now: datetime) -> int:
    """Take claims whose lease ran out from whoever had them; what became of them is not known."""
    ended = await SQL.expire_leases.many(conn, _Id, {"now": now, "most": CHUNK})
    if ended:
        await append_own_events(conn, [outcomes.unsure(one.message_id, now) for one in ended])
    return len(ended)


@dataclass(frozen=True, slots=True)
class _Id:
    message_id: UUID


async def list_unsure(
    conn: Connection, now: datetime, after: UUID | None, settling: timedelta = SETTLING
) -> list[Unsure]:
    """Return the next messages to be found out about, by id."""
    parameters = {"until": now - settling, "after": after or UUID(int=0), "most": CHUNK}
    return await SQL.list_unsure.many(conn, Unsure, parameters)


async def find_known_sids(conn: Connection, sids: Sequence[str]) -> set[str]:
    """Return those SIDs that belong to a message already."""
    return {row.provider_sid for row in await SQL.list_known_sids.many(conn, _Sid, {"sids": list(sids)})}


@dataclass(frozen=True, slots=True)
class _Sid:
    provider_sid: str


def find_match(unsure: Unsure, listed: Sequence[ProviderMessage], taken: set[str]) -> ProviderMessage | None:
    """Return the provider's message that is this one: same person, sender and words, made when it was handed over."""
    is_service = unsure.sender.startswith("MG")
    candidates = [
        one
        for one in listed
        if one.sid not in taken
        and split_channel(one.recipient) == (unsure.channel, unsure.recipient_phone)
        # A messaging service chooses the number itself, and may not have chosen yet.
        and (is_service or (one.sender and split_channel(one.sender)[1] == unsure.sender))
        and (unsure.is_template or _says(one.body or "", unsure.body or ""))
        and one.created_at is not None
        and unsure.earliest <= one.created_at <= unsure.unsure_since + SLACK
    ]
    # The oldest: what came later is of a later call.
    return min(candidates, key=lambda one: (one.created_at or unsure.handed_at, one.sid), default=None)


def _says(listed: str, handed: str) -> bool:
    """Tell whether a listed text is the one handed over.

    The list has it as it went out: quotes and dashes replaced, on a trial account behind a notice. Taking such a message
    for another one would send it twice.
    """
    return _keep_letters(handed) in _keep_letters(listed)


def _keep_letters(text: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text).casefold()))


async def settle_found(conn: Connection, unsure: Unsure, sid: str, status: str, now: datetime) -> bool:
    """Take over that the provider has a message; False when somebody else was quicker."""
    ended = await SQL.end_unsure.many(conn, _Ended, {"messages": [unsure.message_id]})
    if not ended:
        return False
    early = status if status in EARLY else "queued"
    await append_own_events(conn, [outcomes.accepted(unsure.message_id, unsure.handed_at, sid, early)])
    # The claim of a worker that died has no step yet that says when its call began.
    handed_at = format_instant(unsure.handed_at)
    delivery = {"outcome": "found", "sid": sid, "status": status, "handed_at": handed_at}
    await _audit(conn, ended[0], delivery, now)
    return True


async def settle_absent(conn: Connection, unsure: Unsure, now: datetime) -> bool:
    """Let a message the provider does not have wait again; False while somebody may still be handing it over.

    After the last attempt it is refused instead.
    """
    ended = await SQL.requeue_unsure.many(
        conn, _Ended, {"message_id": unsure.message_id, "now": now, "most_attempts": MOST_ATTEMPTS}
    )
    if not ended:
        return False
    if ended[0].is_requeued:
        event, outcome = outcomes.requeued(unsure.message_id, now), "absent"
    else:
        event, outcome = outcomes.refused(unsure.message_id, now, None), "given_up"
    await append_own_events(conn, [event])
    await _audit(conn, ended[0], {"outcome": outcome}, now)
    return True


async def list_silent(
    conn: Connection, last_run_at: datetime | None, now: datetime, after: tuple[datetime, UUID] | None
) -> list[Silent]:
    """Return the next messages that have reached, since the last run, an age at which they are asked for."""
    since = last_run_at or now - FIRST_LOOK_BACK
    at, message_id = after or (now - AGES[-1] - (now - since) - timedelta(seconds=1), UUID(int=0))
    parameters = {
        "since": [since - age for age in AGES],
        "until": [now - age for age in AGES],
        "after_at": at,
        "after_id": message_id,
        "most": CHUNK,
    }
    return await SQL.list_silent.many(conn, Silent, parameters)


async def find_last_run(conn: Connection) -> datetime | None:
    """Return when the last run began that came to its end."""
    found: datetime | None = await SQL.find_last_run.value(conn)
    return found


async def note_run(
    conn: Connection, started_at: datetime, finished_at: datetime, counts: Counts, error: str | None
) -> None:
    """Write down what a run did."""
    await SQL.note_run.execute(
        conn,
        {
            "id": uuid4(),
            "started_at": started_at,
            "finished_at": finished_at,
            "unsure": counts.unsure,
            "found": counts.found,
            "requeued": counts.requeued,
            "silent": counts.silent,
            "closed": counts.closed,
            "error": error,
        },
    )


async def _audit(conn: Connection, ended: _Ended, delivery: dict[str, Any], now: datetime) -> None:
    """Write the decision of a claim that its own worker did not finish."""
    decision = ended.decision or {"campaign_id": str(ended.campaign_id), "outcome": "allowed", "steps": []}
    steps = [*decision["steps"], {"step": "delivery"} | delivery, {"step": "audit", "outcome": "written"}]
    await record_columns(
        conn,
        ACTOR,
        at=[now],
        action=["compliance.allowed"],
        subject=[f"message:{ended.message_id}"],
        before=[None],
        after=[orjson.dumps(decision | {"steps": steps}).decode()],
    )
