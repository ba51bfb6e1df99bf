"""The projector: each event once, whoever else projects, whoever is killed, whatever the database refuses."""

import asyncio
import random
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.ingest.callbacks import RECEIPT, make_event
from event_stream_engine.stream import log
from event_stream_engine.worker.projector import (
    open_projector,
    replay_dead_letters,
    run_halving,
    run_once,
    run_projector,
)
from event_stream_engine.worker.recount import Difference, recount
from tests.engine import LIVE

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
REFUSED = "+41790000050"


def make_trigger(sqlstate: str) -> tuple[str, str]:
    return (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
        f" BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = '{sqlstate}'; END $$;"
        f" CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.recipient_phone = '{REFUSED}')"
        " EXECUTE FUNCTION refuse()",
        "DROP TRIGGER refuse ON messages",
    )


REFUSALS = {
    "RaiseException": make_trigger("P0001"),
    "ProgramLimitExceeded": make_trigger("54000"),
    "CheckViolation": (
        f"ALTER TABLE messages ADD CONSTRAINT refuse CHECK (recipient_phone <> '{REFUSED}')",
        "ALTER TABLE messages DROP CONSTRAINT refuse",
    ),
}


def make_receipt(number: int, **changes: str) -> log.Event:
    form: dict[str, Any] = {
        "MessageSid": f"SM{number:032x}",
        "To": f"+4179{number:07d}",
        "From": "+41790000000",
        "MessageStatus": "delivered",
    }
    return make_event(RECEIPT, form | changes, AT, None)


async def append(url: str, *events: log.Event) -> None:
    async with await connect(url, "test") as conn:
        await log.append_events(conn, events, source=uuid4(), counted_at=AT)


async def read_one(url: str, query: str) -> tuple[Any, ...]:
    async with await connect(url, "test") as conn:
        row = await (await conn.execute(query)).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return tuple(row)


async def find_differences(url: str) -> list[Difference]:
    return await recount(url, repair=False, on_progress=lambda _: None)


async def project_all(conn: Connection, most: int) -> int:
    total = 0
    while await log.has_waiting(conn):
        total += await run_once(conn, LIVE, most)
        await asyncio.sleep(0)
    return total


async def test_two_projectors_project_each_event_once(database_url: str) -> None:
    await append(database_url, *(make_receipt(number) for number in range(400)))
    async with await open_projector(database_url) as one, await open_projector(database_url) as other:
        counts = await asyncio.gather(project_all(one, 10), project_all(other, 10))
    assert sum(counts) == 400
    assert await read_one(database_url, "SELECT events FROM log_cursors") == (400,)
    figures = "SELECT sum(messages)::int FROM message_rollups WHERE grain = 'minute'"
    assert await read_one(database_url, figures) == (400,)
    assert await find_differences(database_url) == []


@asynccontextmanager
async def blocked_projector(url: str) -> AsyncIterator[tuple[Connection, int]]:
    """Hold a lock that a projector meets in the middle of its batch; yield the holder and the projector's process."""
    async with await connect(url, "test") as holder, holder.transaction(force_rollback=True):
        await holder.execute("LOCK TABLE message_rollups IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(10), await connect(url, "test") as watcher:
            while True:
                waiting = await watcher.execute(
                    "SELECT pid FROM pg_stat_activity WHERE application_name = 'ese-projector'"
                    " AND datname = current_database() AND wait_event_type = 'Lock'"
                )
                if (row := await waiting.fetchone()) is not None:
                    break
                await asyncio.sleep(0.02)
        yield holder, row[0]


async def test_a_projector_killed_in_its_batch_leaves_nothing_and_the_next_goes_on(database_url: str) -> None:
    await append(database_url, *(make_receipt(number) for number in range(50)))
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_projector(database_url, LIVE, stopping))
        async with blocked_projector(database_url) as (holder, first_pid):
            await holder.execute("SELECT pg_terminate_backend(%s, 5000)", (first_pid,))
            assert await read_one(
                database_url, "SELECT (SELECT count(*) FROM messages), events FROM log_cursors"
            ) == (0, 0)
        async with asyncio.timeout(10), await connect(database_url, "test") as watcher:
            while await log.has_waiting(watcher):
                await asyncio.sleep(0.05)
        stopping.set()
    assert await read_one(
        database_url, "SELECT (SELECT count(*) FROM messages), events FROM log_cursors"
    ) == (50, 50)
    assert await find_differences(database_url) == []


@pytest.mark.parametrize("reason", REFUSALS)
async def test_an_event_the_database_refuses_dies_alone_and_lives_when_the_cause_is_gone(
    database_url: str, reason: str
) -> None:
    refuse, allow = REFUSALS[reason]
    await append(database_url, *(make_receipt(number) for number in range(100)))
    async with await open_projector(database_url) as conn:
        await conn.execute(refuse)  # type: ignore[arg-type]
        assert await run_once(conn, LIVE) == 100
        assert await run_once(conn, LIVE) == 0
        assert await read_one(database_url, "SELECT count(*) FROM messages") == (99,)
        died, said = await read_one(database_url, "SELECT event_type, reason FROM dead_letters")
        assert (died, said.partition(":")[0]) == ("receipt.received", reason)
        assert REFUSED not in said

        tried, left = await replay_dead_letters(database_url, LIVE)
        assert (tried, [letter.attempts for letter in left]) == (1, [2])

        await conn.execute(allow)  # type: ignore[arg-type]
        assert await replay_dead_letters(database_url, LIVE) == (1, [])
        assert await replay_dead_letters(database_url, LIVE) == (0, [])
    assert await read_one(database_url, "SELECT count(*) FROM messages") == (100,)
    assert await find_differences(database_url) == []


async def test_a_replay_brings_back_the_innocent_beside_one_that_is_still_refused(database_url: str) -> None:
    refuse, _ = REFUSALS["CheckViolation"]
    await append(database_url, *(make_receipt(number) for number in range(40, 60)))
    async with await open_projector(database_url) as conn:
        await conn.execute("ALTER TABLE messages ADD CONSTRAINT refuse_all CHECK (false)")
        assert await run_once(conn, LIVE) == 20
        await conn.execute("ALTER TABLE messages DROP CONSTRAINT refuse_all")
        await conn.execute(refuse)  # type: ignore[arg-type]
    tried, left = await replay_dead_letters(database_url, LIVE)
    assert (tried, len(left)) == (20, 1)
    assert await read_one(database_url, "SELECT count(*) FROM messages") == (19,)
    assert await find_differences(database_url) == [], "a recount meets the same refusal"


async def test_a_channel_too_long_for_a_key_of_the_roll_ups_becomes_a_dead_letter(database_url: str) -> None:
    words = "".join(random.Random(1).choices(string.ascii_lowercase, k=30_000))  # not to be compressed away
    await append(database_url, make_receipt(1), make_receipt(2, To=f"{words}:+41790000002"), make_receipt(3))
    async with await open_projector(database_url) as conn:
        assert await run_once(conn, LIVE) == 3
    assert await read_one(database_url, "SELECT reason FROM dead_letters") == (
        "To is no phone number in E.164",
    )
    assert await read_one(database_url, "SELECT count(*) FROM messages") == (2,)
    assert await find_differences(database_url) == []


@pytest.mark.parametrize("poisons", [{0}, {4999}, {2500, 2501}, set(range(0, 5000, 500)), {0, 1, 2, 3}])
async def test_halving_buries_the_refused_only_and_costs_few_batches(poisons: set[int]) -> None:
    place, projected, buried, cost = 0, [], [], 0

    async def project(most: int) -> int:
        nonlocal place, cost
        batch = range(place, min(place + most, 5000))
        cost += len(batch)
        if poisons & set(batch):
            raise psycopg.errors.DataError("refused")
        projected.extend(batch)
        place += len(batch)
        return len(batch)

    async def bury_next(_: str) -> int:
        nonlocal place
        buried.append(place)
        place += 1
        return 1

    assert await run_halving(project, bury_next, 5000) == 5000
    assert set(buried) == poisons
    assert projected == sorted(set(range(5000)) - poisons)
    assert cost <= 5000 * (1 + 2 * len(poisons)) + 50


async def test_a_failure_that_may_pass_buries_nothing(database_url: str) -> None:
    await append(database_url, make_receipt(1))
    async with await open_projector(database_url) as conn:
        await conn.execute("ALTER TABLE message_rollups RENAME TO away")
        with pytest.raises(psycopg.errors.UndefinedTable):
            await run_once(conn, LIVE)
        await conn.execute("ALTER TABLE away RENAME TO message_rollups")
        assert await run_once(conn, LIVE) == 1
    assert await read_one(database_url, "SELECT count(*) FROM dead_letters") == (0,)
