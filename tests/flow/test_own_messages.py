"""Messages of our own: the sender's outcomes and the provider's receipts, in any order, by our id or by SID."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest.callbacks import MESSAGE_ID, make_event
from event_stream_engine.messaging import deliveries, outcomes
from event_stream_engine.stream.log import Event, append_events, append_own_events
from event_stream_engine.worker.projector import open_projector, run_once
from event_stream_engine.worker.recount import recount
from tests.engine import LIVE, project_all

QUEUED = datetime(2026, 3, 2, 9, tzinfo=UTC)
CAMPAIGN = UUID("01900000-0000-7000-8000-00000000cafe")
NOBODY = UUID("01900000-0000-8000-a000-00000000dead")
FINAL = ("sent", "delivered", "read", "failed", "undelivered", "canceled")
TABLES = (
    "events, messages, inbound_events, users, consent_ledger, message_rollups, failure_rollups, duration_rollups, inbound_rollups,"
    " inbound_hour_rollups, consent_rollups, signup_rollups, user_rollups, attribute_rollups, sender_sketches, campaign_rollups, dead_letters, intake_counts, pipeline_rollups"
)
moments = st.integers(0, 1800 * 1_000_000).map(lambda us: QUEUED + timedelta(microseconds=us))


@dataclass(frozen=True, slots=True)
class Told:
    """One thing told of a message. `kind` is a status of a receipt or an outcome; `by_id`: the receipt carries our id."""

    kind: str
    at: datetime
    by_id: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    id: UUID
    sid: str
    told: tuple[Told, ...]

    def first(self, *kinds: str) -> datetime | None:
        return min((one.at for one in self.told if one.kind in kinds), default=None)

    def last(self, kind: str) -> datetime | None:
        return max((one.at for one in self.told if one.kind == kind), default=None)

    @property
    def has_sid(self) -> bool:
        return any(one.kind in (*FINAL, "accepted") for one in self.told)

    @property
    def status(self) -> str:  # noqa: PLR0911 - one return for each rule
        """The present status after the definitions, not after the code."""
        for kind in ("read", "delivered"):
            if self.first(kind):
                return kind.upper()
        failed, canceled = self.first("failed", "undelivered", "refused"), self.first("canceled")
        if canceled and (failed is None or canceled <= failed):
            return "CANCELED"
        if failed:
            kinds = {one.kind for one in self.told if one.at == failed}
            return "FAILED" if kinds & {"failed", "refused"} else "UNDELIVERED"
        if self.first("sent"):
            return "SENT"
        if self.first("accepted"):
            return "QUEUED"
        if self.first("skipped"):
            return "SKIPPED"
        unsure, requeued = self.last("unsure"), self.last("requeued")
        return "UNKNOWN" if unsure and (requeued is None or unsure > requeued) else "PENDING"

    @property
    def cohort_at(self) -> datetime | None:
        return self.first("accepted", "refused") or self.first(*FINAL)

    @property
    def delivery_seconds(self) -> float | None:
        answered, delivered = self.first("accepted", "refused"), self.first("delivered")
        is_measured = answered and delivered and delivered >= answered
        return (delivered - answered).total_seconds() if is_measured else None  # type: ignore[operator]


@st.composite
def messages(draw: st.DrawFn) -> Message:
    told = [
        Told(kind, at)
        for kind, at in draw(
            st.lists(st.tuples(st.sampled_from(["unsure", "requeued"]), moments), max_size=3, unique=True)
        )
    ]
    end = draw(st.sampled_from([None, "skipped", "refused", "accepted", "receipts"]))
    if end in ("skipped", "refused", "accepted"):
        told.append(Told(end, draw(moments)))
    if end in ("accepted", "receipts"):
        named = draw(
            st.lists(st.tuples(st.sampled_from(FINAL), moments), max_size=4, unique_by=lambda one: one[0])
        )
        # Without an acceptance only our id in the callback's address tells whose it is.
        told += [Told(kind, at, end == "receipts" or draw(st.booleans())) for kind, at in named]
    number = draw(st.integers(0, 2**64))
    return Message(UUID(int=number << 16), f"SM{number:032x}", tuple(told))


@dataclass(frozen=True, slots=True)
class Workbench:
    runner: asyncio.Runner
    url: str
    conn: Connection
    projector: Connection


@pytest.fixture
def workbench(database_url: str) -> Iterator[Workbench]:
    stack = AsyncExitStack()

    async def open_all() -> tuple[Connection, Connection]:
        conn = await stack.enter_async_context(await connect(database_url, "test"))
        await deliveries.prepare_queueing(conn)
        return conn, await stack.enter_async_context(await open_projector(database_url))

    with asyncio.Runner() as runner:
        yield Workbench(runner, database_url, *runner.run(open_all()))
        runner.run(stack.aclose())


async def queue(conn: Connection, ids: list[UUID]) -> int:
    async with transaction(conn):
        for number, message_id in enumerate(ids):
            await conn.execute(
                "INSERT INTO new_messages VALUES (%s, %s, %s, 'sms', '+14155238886', 'US', %s, NULL)",
                (message_id, CAMPAIGN, f"+1415555{number:04d}", QUEUED),
            )
        return await deliveries.queue_messages(conn)


def as_event(message: Message, told: Told) -> Event:
    match told.kind:
        case "accepted":
            return outcomes.accepted(message.id, told.at, message.sid, "queued")
        case "refused":
            return outcomes.refused(message.id, told.at, 21211)
        case "skipped":
            return outcomes.skipped(message.id, told.at, "consent_stop")
        case "unsure":
            return outcomes.unsure(message.id, told.at)
        case "requeued":
            return outcomes.requeued(message.id, told.at)
    form = {
        "MessageSid": message.sid,
        "MessageStatus": told.kind,
        "To": "+14155550000",
        "From": "+14155238886",
    }
    if told.kind in ("failed", "undelivered"):
        form["ErrorCode"] = "30003"
    return make_event("receipt", form | ({MESSAGE_ID: str(message.id)} if told.by_id else {}), told.at, None)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(messages(), max_size=6, unique_by=lambda one: one.id), data=st.data())
def test_outcomes_and_receipts_in_any_order_end_in_the_defined_state(
    workbench: Workbench, history: list[Message], data: st.DataObject
) -> None:
    events = [as_event(message, told) for message in history for told in message.told]
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=4)) if events else []
    shuffled = data.draw(st.permutations(events + repeats))
    sizes = data.draw(st.lists(st.integers(1, 7), min_size=len(shuffled), max_size=len(shuffled)))

    async def play() -> list[Any]:
        conn, waiting = workbench.conn, shuffled
        await conn.execute(f"TRUNCATE {TABLES}")
        await conn.execute("UPDATE log_cursors SET xid = '0', id = 0, events = 0")
        assert await queue(conn, [message.id for message in history]) == len(history)
        for size in sizes:
            group, waiting = waiting[:size], waiting[size:]
            if group:
                async with transaction(conn):
                    await append_own_events(conn, group)
                await run_once(workbench.projector, LIVE, size)
        await project_all(workbench.url, 3)
        found = await conn.execute(
            "SELECT id, status, cohort_at, is_sent, delivery_us FROM messages ORDER BY id"
        )
        return await found.fetchall()

    assert workbench.runner.run(play()) == [
        (
            message.id,
            message.status,
            message.cohort_at,
            message.has_sid,
            None if message.delivery_seconds is None else round(message.delivery_seconds * 1_000_000),
        )
        for message in sorted(history, key=lambda one: one.id)
    ]
    assert workbench.runner.run(recount(workbench.url, repair=False, on_progress=lambda _: None)) == []
    expected: dict[str, int] = {}
    for message in history:
        expected[message.status] = expected.get(message.status, 0) + 1
    expected.pop("PENDING", None)

    async def read_rollups() -> tuple[dict[str, int], int]:
        by_status = await workbench.conn.execute(
            "SELECT status, sum(messages)::int FROM campaign_rollups WHERE messages <> 0 GROUP BY 1"
        )
        in_window = await workbench.conn.execute(
            "SELECT coalesce(sum(messages), 0)::int FROM message_rollups WHERE grain = 'minute'"
        )
        row = await in_window.fetchone()
        return dict(await by_status.fetchall()), row[0] if row else 0

    by_status, in_window = workbench.runner.run(read_rollups())
    assert by_status == expected
    assert in_window == sum(message.cohort_at is not None for message in history)


async def test_outcome_of_a_message_that_is_not_here_becomes_a_dead_letter(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        await append_own_events(conn, [outcomes.accepted(NOBODY, QUEUED, "SM1", "queued")])
        await project_all(database_url)
        found = await conn.execute("SELECT reason FROM dead_letters")
        assert await found.fetchall() == [(f"message {NOBODY} is not here",)]


async def test_receipt_that_names_an_unknown_message_is_taken_as_external(database_url: str) -> None:
    form = {"MessageSid": "SM7", "MessageStatus": "sent", "To": "+14155550000", MESSAGE_ID: str(NOBODY)}
    async with await connect(database_url, "test") as conn:
        await append_events(
            conn, [make_event("receipt", form, QUEUED, None)], source=uuid4(), counted_at=QUEUED
        )
        await project_all(database_url)
        found = await conn.execute("SELECT provider_sid, status, queued_at FROM messages")
        assert await found.fetchall() == [("SM7", "SENT", None)]


async def test_queueing_a_message_twice_makes_one(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        await deliveries.prepare_queueing(conn)
        assert await queue(conn, [NOBODY]) == 1
        assert await queue(conn, [NOBODY]) == 0


async def test_changes_of_users_are_counted_by_the_projector_and_a_recount_agrees_while_they_wait(
    database_url: str,
) -> None:
    change = {
        "users": [
            [2, "consent", "OPT_IN"],
            [2, "signup", f"{QUEUED:%Y-%m-%dT%H:%M}Z"],
            [2, "attributes.city", "unknown"],
            [2, "attributes.tier", "unknown"],
        ],
        "consent": [[2, "2026-03-02T09:00:00Z", "UNKNOWN", "OPT_IN", "api"]],
    }
    event = Event(QUEUED, "audience.changed", uuid4(), orjson.dumps(change).decode())
    async with await connect(database_url, "test") as conn:
        async with transaction(conn):
            for number in (1, 2):
                await conn.execute(
                    "INSERT INTO users (phone_e164, consent_state, consent_entry, country, created_at, updated_at)"
                    " VALUES (%s, 'OPT_IN', %s, 'US', %s, %s)",
                    (f"+1415555000{number}", UUID(int=number), QUEUED, QUEUED),
                )
                await conn.execute(
                    "INSERT INTO consent_ledger (id, phone_e164, occurred_at, recorded_at, action, source, evidence)"
                    " VALUES (%s, %s, %s, %s, 'opt_in', 'api', 'form')",
                    (UUID(int=number), f"+1415555000{number}", QUEUED, QUEUED),
                )
            await append_own_events(conn, [event])
        assert await recount(database_url, repair=False, on_progress=lambda _: None) == []
        await project_all(database_url)
        counted = await conn.execute("SELECT consent_state, users FROM user_rollups WHERE users <> 0")
        assert await counted.fetchall() == [("OPT_IN", 2)]
        transitions = await conn.execute(
            "SELECT grain, to_state, transitions FROM consent_rollups ORDER BY 1"
        )
        assert await transitions.fetchall() == [("minute", "OPT_IN", 2), ("quarter", "OPT_IN", 2)]
        assert await recount(database_url, repair=False, on_progress=lambda _: None) == []
