"""Deliveries: claimed for one worker, sent outside of any transaction, and written down with what came of it.

A worker that dies between sending and writing down leaves a lease that runs out, and the message goes out again: at
least once, never not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any
from uuid import UUID

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict
from event_stream_engine.notifications.alertmanager import REFRESH, Episode
from event_stream_engine.notifications.notice import Notice
from event_stream_engine.notifications.targets import ALERTMANAGER

SQL = load_queries(__package__)
LEASE = timedelta(seconds=60)  # well above the longest sending
PAUSES = (5, 15, 60, 300, 900)  # seconds before the next try; the last one again and again, for a day
MOST_NOTICES = 20  # in one message
KEPT = timedelta(days=90)
MOST_FORGOTTEN = 1000
LONGEST_ANSWER = 300
_chance = SystemRandom()


@dataclass(frozen=True, slots=True)
class Waiting:
    """One delivery of a parcel."""

    delivery_id: int
    attempts: int
    group_key: str
    key: UUID
    kind: str
    severity: str
    labels: Mapping[str, str]
    episode_id: UUID | None
    title: str
    body: str
    facts: list[list[str]]
    path: str
    at: datetime
    html: str

    @property
    def notice(self) -> Notice:
        return Notice(
            key=self.key,
            kind=self.kind,
            severity=self.severity,
            labels=self.labels,
            group=self.group_key,
            episode_id=self.episode_id,
            title=self.title,
            text=self.body,
            facts=tuple((name, value) for name, value in self.facts),
            path=self.path,
            at=self.at,
            html=self.html,
        )


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes out to one channel in one message. For an Alertmanager also what it must not forget."""

    channel_id: UUID
    claim_id: UUID
    kind: str
    sealed_target: bytes
    waiting: Sequence[Waiting]
    episodes: Sequence[Episode]

    @property
    def is_empty(self) -> bool:
        return not self.waiting and not self.episodes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a parcel: delivered, postponed (it may pass by itself) or refused (it will not)."""

    parcel: Parcel
    result: str
    answer: str
    at: datetime
    took_ms: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One line of the history."""

    id: int
    key: UUID
    kind: str
    severity: str
    title: str
    path: str
    channel_id: UUID
    channel_name: str
    state: str
    queued_at: datetime
    due_at: datetime
    ended_at: datetime | None
    attempts: int
    passed_at: datetime | None
    last_at: datetime | None
    last_result: str | None
    last_answer: str | None
    last_took_ms: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    number: int
    at: datetime
    took_ms: int
    result: str
    answer: str


@dataclass(frozen=True, slots=True)
class _Claim:
    id: UUID
    claim_id: UUID
    kind: str
    sealed_target: bytes


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _Retried:
    key: UUID
    channel_name: str


async def claim_parcels(conn: Connection, now: datetime, most: int) -> list[Parcel]:
    """Take what is due, a message for each channel, for as long as the lease; in a transaction."""
    claims = await SQL.claim_channels.many(
        conn, _Claim, {"now": now, "lease_until": now + LEASE, "most": most}
    )
    parcels = []
    for claim in claims:
        due = {"channel_id": claim.id, "now": now, "most": MOST_NOTICES}
        waiting = await SQL.list_due.many(conn, Waiting, due)
        episodes: list[Episode] = []
        if claim.kind == ALERTMANAGER:
            told = {"channel_id": claim.id, "delivery_ids": [one.delivery_id for one in waiting]}
            episodes = await SQL.list_episodes.many(conn, Episode, told)
        parcel = Parcel(claim.id, claim.claim_id, claim.kind, claim.sealed_target, waiting, episodes)
        if parcel.is_empty:
            await _end_claim(conn, parcel, None, now)
        else:
            parcels.append(parcel)
    return parcels


async def record_answer(conn: Connection, answer: Answer) -> bool:
    """Write down what came of a parcel, in a transaction; False when the lease had run out and another has it now."""
    parcel, now = answer.parcel, answer.at
    if not await _end_claim(conn, parcel, answer.result == "delivered", now):
        return False
    ids = [one.delivery_id for one in parcel.waiting]
    values = {
        "delivery_ids": ids,
        "now": now,
        "took_ms": answer.took_ms,
        "result": answer.result,
        "answer": answer.answer.replace("\0", "")[:LONGEST_ANSWER],
    }
    await SQL.note_attempts.execute(conn, values)
    tries = max((one.attempts for one in parcel.waiting), default=0)
    await SQL.settle.execute(conn, values | {"due_at": now + choose_pause(tries)})
    if answer.result == "delivered":
        await SQL.hasten_others.execute(conn, {"channel_id": parcel.channel_id, "now": now})
    return True


async def _end_claim(conn: Connection, parcel: Parcel, is_delivered: bool | None, now: datetime) -> bool:
    refresh_at = now + (choose_pause(1) if is_delivered is False else REFRESH)
    values = {
        "channel_id": parcel.channel_id,
        "claim_id": parcel.claim_id,
        "is_delivered": is_delivered,
        "now": now,
        "refresh_at": refresh_at,
    }
    return bool(await SQL.end_claim.execute(conn, values))


def choose_pause(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts before, a fifth more or less, so that not all come back at once."""
    return timedelta(seconds=PAUSES[min(attempts, len(PAUSES) - 1)] * _chance.uniform(0.8, 1.2))


async def pass_on(conn: Connection, now: datetime) -> None:
    """Tell the fallbacks of what has failed for too long, and give up what nobody will take; in a transaction."""
    passed = await SQL.mark_passed.many(conn, _Id, {"now": now})
    if passed:
        await SQL.queue_fallbacks.execute(conn, {"ids": [one.id for one in passed], "now": now})
    await SQL.give_up.execute(conn, {"now": now})


async def forget_old(conn: Connection, now: datetime) -> None:
    """Delete history that is older than 90 days."""
    while (
        await SQL.forget_notices.execute(conn, {"before": now - KEPT, "most": MOST_FORGOTTEN})
        == MOST_FORGOTTEN
    ):
        pass


async def list_deliveries(
    conn: Connection,
    *,
    most: int,
    before_id: int | None = None,
    channel_id: UUID | None = None,
    state: str | None = None,
    key: UUID | None = None,
) -> list[Delivery]:
    """Return the history, newest first."""
    values: dict[str, Any] = {
        "before_id": before_id,
        "channel_id": channel_id,
        "state": state,
        "key": key,
        "most": most,
    }
    return await SQL.list_deliveries.many(conn, Delivery, values)


async def list_attempts(conn: Connection, delivery_id: int) -> list[Attempt]:
    """Return every attempt of a delivery, in order."""
    return await SQL.list_attempts.many(conn, Attempt, {"delivery_id": delivery_id})


async def retry_delivery(conn: Connection, actor: Actor, now: datetime, delivery_id: int) -> None:
    """Try a delivery once more now, and for a day from now. Errors: Conflict."""
    retried = await SQL.retry_delivery.maybe(conn, _Retried, {"id": delivery_id, "now": now})
    if retried is None:
        raise Conflict(
            "There is nothing to try again: it was delivered, or its channel is switched off or removed."
        )
    after = {"notice": str(retried.key), "channel": retried.channel_name}
    await record(
        conn, actor, Entry(now, "notification.retried", f"notice_delivery:{delivery_id}", after=after)
    )
