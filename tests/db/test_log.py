"""The log is read in commit order, by one reader at a time, and no event is skipped."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.errors import Conflict
from event_stream_engine.stream import log

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def make_event(number: int, at: datetime = AT) -> log.Event:
    return log.Event(at, "receipt.received", UUID(int=number), f'{{"number": {number}}}')


async def append(conn: Connection, *events: log.Event) -> log.Appended:
    return await log.append_events(conn, events, source=uuid4(), counted_at=AT)


async def read_numbers(conn: Connection, most: int = 100) -> list[int]:
    """Read the next batch as the projector does and return what it held."""
    async with transaction(conn):
        place = await log.lock_place(conn)
        assert place is not None
        if not await log.read_batch(conn, place, most):
            return []
        rows = await conn.execute("SELECT (payload ->> 'number')::int FROM log_batch ORDER BY xid, id")
        numbers = [number for (number,) in await rows.fetchall()]
        await log.move_place(conn, place)
    return numbers


async def open_reader(url: str) -> Connection:
    conn = await connect(url, "test")
    await log.prepare_reader(conn)
    return conn


@pytest.mark.parametrize("is_kept", [True, False], ids=["committed", "rolled back"])
async def test_a_transaction_that_commits_late_is_not_skipped(database_url: str, is_kept: bool) -> None:
    async with (
        await connect(database_url, "test") as early,
        await connect(database_url, "test") as late,
        await open_reader(database_url) as reader,
    ):
        await log.ensure_partitions(early, [AT.date()])
        async with early.transaction(force_rollback=not is_kept):
            await append(early, make_event(1))
            await append(late, make_event(2))
            assert await read_numbers(reader) == []
            assert not await log.has_waiting(reader)
        assert await log.has_waiting(reader)
        assert await read_numbers(reader) == ([1, 2] if is_kept else [2])
        assert await read_numbers(reader) == []


async def test_events_that_interleave_in_two_transactions_are_each_read_once(database_url: str) -> None:
    async with (
        await connect(database_url, "test") as one,
        await connect(database_url, "test") as other,
        await open_reader(database_url) as reader,
    ):
        await log.ensure_partitions(one, [AT.date()])
        read: list[int] = []
        async with transaction(one):
            await append(one, make_event(1))
            async with transaction(other):
                await append(other, make_event(2))
                await append(one, make_event(3))
                await append(other, make_event(4))
            read += await read_numbers(reader)
            await append(one, make_event(5))
        await append(other, make_event(6))
        while batch := await read_numbers(reader, most=1):
            read += batch
    assert read == [1, 3, 5, 2, 4, 6]


async def test_a_key_is_stored_once_a_day_and_every_copy_is_counted(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        assert await append(conn, make_event(1), make_event(1), make_event(2)) == log.Appended(2, 1)
        assert await append(conn, make_event(1, AT + timedelta(hours=1))) == log.Appended(0, 1)
        assert await append(conn, make_event(1, AT + timedelta(days=1))) == log.Appended(1, 0)


async def test_two_processes_with_the_same_retries_do_not_lock_each_other(database_url: str) -> None:
    chance = random.Random(7)
    events = [make_event(number) for number in range(10_000)]
    async with (
        await connect(database_url, "test") as gate,
        await connect(database_url, "test") as one,
        await connect(database_url, "test") as other,
    ):
        await log.ensure_partitions(gate, [AT.date()])
        async with transaction(gate):  # lets both go at the same moment
            await gate.execute("LOCK TABLE events IN SHARE MODE")
            appending = [
                asyncio.create_task(append(conn, *chance.sample(events, len(events))))
                for conn in (one, other)
            ]
            async with asyncio.timeout(10):
                while True:
                    row = await (
                        await gate.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                    ).fetchone()
                    if row == (2,):
                        break
                    await asyncio.sleep(0.02)
        appended = await asyncio.gather(*appending)
    assert sum(each.accepted for each in appended) == 10_000


async def test_the_place_is_held_by_one_reader_at_a_time(database_url: str) -> None:
    async with (
        await connect(database_url, "test") as one,
        await connect(database_url, "test") as other,
    ):
        async with transaction(one):
            assert await log.lock_place(one) is not None
            assert await log.lock_place(other) is None
        assert await log.lock_place(other) is not None


async def test_a_reader_that_was_overtaken_moves_nothing(database_url: str) -> None:
    async with await open_reader(database_url) as conn:
        await append(conn, make_event(1), make_event(2))
        place = await log.load_place(conn)
        assert await read_numbers(conn, most=1) == [1]
        async with transaction(conn):
            await log.read_batch(conn, place, 2)
            with pytest.raises(Conflict, match="another process"):
                await log.move_place(conn, place)
        assert await read_numbers(conn) == [2]
        assert (await log.load_place(conn)).events == 2
