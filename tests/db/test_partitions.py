"""The log's partitions, one a day, made when they are needed."""

import asyncio
from datetime import date

from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.stream.log import ensure_partitions

DAY = date(2026, 3, 2)


async def test_two_processes_that_need_the_same_day_both_get_it(database_url: str) -> None:
    async with await connect(database_url, "one") as one, await connect(database_url, "other") as other:
        async with transaction(one):
            await ensure_partitions(one, [DAY])
            waiting = asyncio.create_task(ensure_partitions(other, [DAY]))
            async with asyncio.timeout(10), await connect(database_url, "test") as conn:
                while not (await (await conn.execute("SELECT FROM pg_locks WHERE NOT granted")).fetchall()):
                    await asyncio.sleep(0.01)
        await waiting
        rows = await other.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass"
        )
        assert await rows.fetchall() == [("events_20260302",)]
