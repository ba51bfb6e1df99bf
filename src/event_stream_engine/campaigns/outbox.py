"""What is still to be handed over: claimed under a lease, settled, finished. One row per message, gone with its outcome.

Whoever claims holds, on the session of the claim, a shared lock on the person until the provider has answered; a STOP
takes the same lock for itself. Every row carries the id of its claim: an outcome that comes after another claim of the
row does nothing to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
LEASE = timedelta(seconds=90)  # longer than the longest call
REPLIES = UUID(int=0)  # stands for the campaign of auto-replies, which have none


@dataclass(frozen=True, slots=True)
class Ready:
    """A campaign, or the replies, with messages that are due. `taken`: of its present second."""

    campaign_id: UUID
    rate_per_second: int
    taken: int


@dataclass(frozen=True, slots=True)
class Due:
    """A message that is due. `is_held`: its person's lock was got; without it a STOP is just being applied."""

    message_id: UUID
    recipient_phone: str
    attempts: int
    is_held: bool
    # of a reply
    body: str | None
    channel: str | None
    sender: str | None
    in_reply_to: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the steps must know of a person, read after the person's lock was got."""

    position: int
    consent_state: str | None
    consent_entry: UUID | None
    attributes: dict[str, Any] | None
    timezone: str | None
    zones: list[str] | None
    rule_starts: time | None
    rule_ends: time | None
    is_suppressed: bool
    is_unreachable: bool
    last_inbound_at: datetime | None
    answered_intent: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    message_id: UUID
    body: str | None
    decision: str


@dataclass(frozen=True, slots=True)
class Deferral:
    message_id: UUID
    due_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a claim. `due_at`: it waits again until then; `unsure_since`: nobody knows; neither: it is done."""

    message_id: UUID
    claim_id: UUID
    decision: str
    due_at: datetime | None = None
    reason: str | None = None
    unsure_since: datetime | None = None
    is_attempt: bool = True


@dataclass(frozen=True, slots=True)
class _Id:
    message_id: UUID


async def list_ready(conn: Connection, provider: str, now: datetime, second: datetime) -> list[Ready]:
    """Return what has messages that are due, the replies first; nothing while the provider wants a pause."""
    return await SQL.list_ready.many(conn, Ready, {"provider": provider, "now": now, "second": second})


async def hold_due(conn: Connection, campaign_id: UUID, now: datetime, most: int) -> list[Due]:
    """Hold the rows of messages that are due, for this transaction, and the locks of their people, for this session."""
    if campaign_id == REPLIES:
        return await SQL.hold_due_replies.many(conn, Due, {"now": now, "most": most})
    return await SQL.hold_due.many(conn, Due, {"campaign_id": campaign_id, "now": now, "most": most})


async def load_facts(
    conn: Connection, due: Sequence[Due], hashes: Sequence[bytes], *, channel: str, needs_inbound: bool
) -> list[Facts]:
    """Return the facts about the people of due messages, in the same order."""
    parameters = {
        "phones": [one.recipient_phone for one in due],
        "hashes": list(hashes),
        "answered": [one.in_reply_to for one in due],
        "channel": channel,
        "needs_inbound": needs_inbound,
    }
    return await SQL.load_facts.many(conn, Facts, parameters)


async def settle(
    conn: Connection,
    claim_id: UUID,
    now: datetime,
    *,
    claims: Sequence[Claim],
    deferrals: Sequence[Deferral],
    denied: Sequence[UUID],
) -> None:
    """Write what the steps decided: claimed with a lease, due later, or gone."""
    await SQL.settle.execute(
        conn,
        {
            "claim_id": claim_id,
            "now": now,
            "lease_until": now + LEASE,
            "claimed": [claim.message_id for claim in claims],
            "bodies": [claim.body for claim in claims],
            "decisions": [claim.decision for claim in claims],
            "deferred": [deferral.message_id for deferral in deferrals],
            "due": [deferral.due_at for deferral in deferrals],
            "reasons": [deferral.reason for deferral in deferrals],
            "denied": list(denied),
        },
    )


async def take_tokens(conn: Connection, campaign_id: UUID, second: datetime, count: int) -> None:
    """Count messages against the second that `pacing.open_second` holds."""
    await SQL.take_tokens.execute(conn, {"campaign_id": campaign_id, "second": second, "count": count})


async def give_back(conn: Connection, claim_id: UUID) -> None:
    """Undo a claim no call of which has begun."""
    await SQL.give_back.execute(conn, {"claim_id": claim_id})


async def release_people(conn: Connection, phones: Iterable[str]) -> None:
    """Let go of people's locks, on the session that got them."""
    await SQL.release_people.execute(conn, {"phones": list(phones)})


async def finish(conn: Connection, finished: Sequence[Finish]) -> set[UUID]:
    """End claims, and return the messages whose rows were still there to be ended by them."""
    rows = await SQL.finish.many(
        conn,
        _Id,
        {
            "messages": [one.message_id for one in finished],
            "claims": [one.claim_id for one in finished],
            "decisions": [one.decision for one in finished],
            "due": [one.due_at for one in finished],
            "reasons": [one.reason for one in finished],
            "unsure": [one.unsure_since for one in finished],
            "attempts": [int(one.is_attempt) for one in finished],
        },
    )
    return {row.message_id for row in rows}
