"""The log's partitions, one a day, made when they are needed."""

import asyncio
from datetime import UTC, date, datetime, time
from uuid import uuid4

from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.stream.log import Event, append_own_events, ensure_partitions

DAY = date(2026, 3, 2)


async def wait_for_a_lock(url: str) -> None:
    async with asyncio.timeout(10), await connect(url, "test") as conn:
        while not (await (await conn.execute("SELECT FROM pg_locks WHERE NOT granted")).fetchall()):
            await asyncio.sleep(0.01)


async def test_two_processes_that_need_the_same_day_both_get_it(database_url: str) -> None:
    async with await connect(database_url, "one") as one, await connect(database_url, "other") as other:
        async with transaction(one):
            await ensure_partitions(one, [DAY])
            waiting = asyncio.create_task(ensure_partitions(other, [DAY]))
            await wait_for_a_lock(database_url)
        await waiting
        rows = await other.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass"
        )
        assert await rows.fetchall() == [("events_20260302",)]


async def test_an_event_waits_for_the_one_who_makes_its_partition(database_url: str) -> None:
    event = Event(datetime.combine(DAY, time(12), UTC), "campaign.started", uuid4(), "{}")
    async with await connect(database_url, "one") as one, await connect(database_url, "other") as other:
        async with transaction(one):
            await ensure_partitions(one, [DAY])
            waiting = asyncio.create_task(append_in_transaction(other, event))
            await wait_for_a_lock(database_url)
        await waiting
        rows = await other.execute("SELECT dedupe_key FROM events_20260302")
        assert await rows.fetchall() == [(event.dedupe_key,)]


async def append_in_transaction(conn: Connection, event: Event) -> None:
    async with transaction(conn):
        await append_own_events(conn, [event])
