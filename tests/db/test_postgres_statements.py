"""Statements of the database counted: exactly what was run, over resets, evictions, versions and missing rights."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres import DatabasePerformance, load_database_performance
from event_stream_engine.monitoring.postgres_buckets import cover
from event_stream_engine.monitoring.postgres_snapshots import take_snapshot
from event_stream_engine.monitoring.postgres_statements import Statement, list_statements

MINUTE = timedelta(minutes=1)


class Observed:
    """A database that is looked at by a clock which the test moves, and beside it one that works."""

    def __init__(self, conn: Connection, worker: Connection, clock: SettableClock) -> None:
        self.conn = conn
        self.worker = worker
        self.clock = clock

    async def look(self, after: timedelta = MINUTE) -> bool:
        self.clock.advance(after)
        return await take_snapshot(self.conn, self.clock.now())

    async def run(self, statement: str, times: int = 1) -> None:
        for _ in range(times):
            await self.worker.execute(statement)  # type: ignore[arg-type]

    async def load(self, length: timedelta = timedelta(hours=24)) -> DatabasePerformance:
        now = self.clock.now()
        return await load_database_performance(self.conn, Window(now - length, now), now)

    async def find(self, words: str) -> Statement | None:
        now = self.clock.now()
        buckets = cover(Window(now - timedelta(hours=24), now), now)
        found = [one for one in await list_statements(self.conn, buckets, 1000) if words in (one.text or "")]
        assert len(found) <= 1
        return found[0] if found else None

    async def calls(self, words: str) -> int:
        found = await self.find(words)
        return found.calls if found else 0


@pytest.fixture
async def observed(database_url: str, clock: SettableClock) -> AsyncIterator[Observed]:
    async with (
        await connect(database_url, "test-observer") as conn,
        await connect(database_url, "test") as worker,
    ):
        await conn.execute(
            "SELECT pg_stat_statements_reset()"
        )  # of the whole server: nothing is evicted in between
        yield Observed(conn, worker, clock)


async def test_statements_run_between_two_looks_are_counted_exactly(observed: Observed) -> None:
    await observed.run("SELECT 'before' AS early", 3)
    await observed.look()
    assert (await observed.load()).statements.calls == 0
    await observed.run("SELECT 'before' AS early", 2)
    await observed.run("SELECT 40 + 2 AS answer FROM generate_series(1, 7)", 5)
    await observed.look()
    assert await observed.calls("AS early") == 2
    answer = await observed.find("AS answer")
    assert answer is not None
    assert (answer.calls, answer.rows, answer.text) == (
        5,
        35,
        "SELECT $1 + $2 AS answer FROM generate_series($3, $4)",
    )
    assert answer.fastest_ns <= answer.total_ns / 5 <= answer.slowest_ns <= answer.total_ns
    await observed.look()
    assert await observed.calls("AS answer") == 5
