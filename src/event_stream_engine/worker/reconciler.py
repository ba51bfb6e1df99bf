"""One run of the reconciliation: ask the provider what became of messages, and write down what it says."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

from event_stream_engine.campaigns import reconciliation
from event_stream_engine.campaigns.reconciliation import Counts, Silent, Unsure
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.ingest.callbacks import MESSAGE_ID, RECEIPT, make_event
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import NotFound, Unavailable
from event_stream_engine.messaging.provider import ProviderMessage
from event_stream_engine.stream.log import Event, append_own_events

ASKING = 8  # questions at a time
Item = TypeVar("Item")
Found = TypeVar("Found")


class Provider(Protocol):
    async def load_message(self, sid: str) -> ProviderMessage: ...

    async def list_messages(self, recipient: str, sent_on: date) -> list[ProviderMessage]: ...


async def reconcile(
    conn: Connection,
    provider: Provider,
    clock: Clock,
    *,
    settling: timedelta = reconciliation.SETTLING,
    grace: timedelta = reconciliation.GRACE,
) -> Counts:
    """Settle what is unsure, ask for what is silent, and return how many of each there were."""
    started_at, counts, error = clock.now(), Counts(), None
    try:
        async with transaction(conn):
            while await reconciliation.expire_leases(conn, started_at) == reconciliation.CHUNK:
                pass
        counts = await _settle_unsure(conn, provider, clock, settling=settling, grace=grace)
        counts = await _close_silent(conn, provider, clock, counts, started_at)
    except Unavailable as failure:
        error = str(failure)
    async with transaction(conn):
        await reconciliation.note_run(conn, started_at, clock.now(), counts, error)
    return counts


async def _settle_unsure(
    conn: Connection, provider: Provider, clock: Clock, *, settling: timedelta, grace: timedelta
) -> Counts:
    counts, last = Counts(), None
    while rows := await reconciliation.list_unsure(conn, clock.now(), last, settling):
        last = rows[-1].message_id

        async def ask(row: Unsure) -> list[ProviderMessage]:
            if row.provider_sid is not None:
                return []  # its own callback has told
            days = {at.astimezone(UTC).date() for at in (row.earliest, row.unsure_since, clock.now())}
            return [one for day in sorted(days) for one in await provider.list_messages(row.address, day)]

        asked_at = clock.now()
        listed = await _ask_all(rows, ask)
        sids = [message.sid for messages in listed for message in messages]
        taken = await reconciliation.find_known_sids(conn, sids)
        found = requeued = 0
        for row, messages in zip(rows, listed, strict=True):
            match = reconciliation.find_match(row, messages, taken)
            async with transaction(conn):
                now = clock.now()
                if row.provider_sid is not None:
                    found += await reconciliation.settle_found(conn, row, row.provider_sid, "queued", now)
                elif match is not None:
                    taken.add(match.sid)
                    if await reconciliation.settle_found(conn, row, match.sid, match.status, now):
                        found += 1
                        if match.status not in reconciliation.EARLY:
                            await append_own_events(
                                conn, [_make_receipt(match, row.message_id, row.sender, row.handed_at, now)]
                            )
                elif asked_at - row.unsure_since >= grace:
                    requeued += await reconciliation.settle_absent(conn, row, now)
        counts = replace(
            counts,
            unsure=counts.unsure + len(rows),
            found=counts.found + found,
            requeued=counts.requeued + requeued,
        )
    return counts


async def _close_silent(
    conn: Connection, provider: Provider, clock: Clock, counts: Counts, started_at: datetime
) -> Counts:
    last_run_at, place = await reconciliation.find_last_run(conn), None
    while rows := await reconciliation.list_silent(conn, last_run_at, started_at, place):
        place = rows[-1].cohort_at, rows[-1].message_id

        async def ask(row: Silent) -> ProviderMessage | None:
            try:
                return await provider.load_message(row.provider_sid)
            except NotFound:
                return None

        told = await _ask_all(rows, ask)
        now = clock.now()
        events = [
            _make_receipt(message, row.message_id, row.sender, row.cohort_at, now)
            for row, message in zip(rows, told, strict=True)
            if message is not None
            and message.status not in reconciliation.EARLY
            and message.status.upper() != row.status
        ]
        if events:
            async with transaction(conn):
                await append_own_events(conn, events)
        counts = replace(counts, silent=counts.silent + len(rows), closed=counts.closed + len(events))
    return counts


async def _ask_all(rows: Sequence[Item], ask: Callable[[Item], Awaitable[Found]]) -> list[Found]:
    turn = asyncio.Semaphore(ASKING)

    async def ask_in_turn(row: Item) -> Found:
        async with turn:
            return await ask(row)

    return await asyncio.gather(*(ask_in_turn(row) for row in rows))


def _make_receipt(
    message: ProviderMessage, message_id: UUID, sender: str, earliest: datetime, now: datetime
) -> Event:
    """Make what the lost callback would have been, at the time the provider says it came about."""
    form = {
        "MessageSid": message.sid,
        "MessageStatus": message.status,
        "To": message.recipient,
        "From": message.sender or sender,
        MESSAGE_ID: str(message_id),
    }
    if message.error_code:
        form["ErrorCode"] = str(message.error_code)
    at = min(max(message.updated_at or now, earliest), now)
    return make_event(RECEIPT, form, at, None)
