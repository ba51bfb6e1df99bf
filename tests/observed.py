"""A database that is looked at by a clock which the test moves, and beside it somebody who works in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from psycopg import sql

from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres import DatabasePerformance, load_database_performance
from event_stream_engine.monitoring.postgres_buckets import cover
from event_stream_engine.monitoring.postgres_snapshots import take_snapshot
from event_stream_engine.monitoring.postgres_statements import Statement, list_statements

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
_numbers = count(1)


class Observed:
    def __init__(self, conn: Connection, worker: Connection, clock: SettableClock) -> None:
        self.conn = conn
        self.worker = worker
        self.clock = clock

    @property
    def role_name(self) -> str:
        return self.conn.info.user

    async def look(self, after: timedelta = MINUTE) -> bool:
        self.clock.advance(after)
        return await take_snapshot(self.conn, self.clock.now())

    async def look_settled(self, after: timedelta = MINUTE) -> bool:
        """Look when the worker's session has told the server of all it did to tables."""
        await self.worker.execute("SELECT pg_stat_force_next_flush()")
        return await self.look(after)

    async def run(self, statement: str | sql.Composed, times: int = 1) -> None:
        for _ in range(times):
            await self.worker.execute(statement)  # type: ignore[arg-type]

    async def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return await (await self.worker.execute(query, parameters)).fetchall()  # type: ignore[arg-type]

    async def load(self, length: timedelta = DAY) -> DatabasePerformance:
        now = self.clock.now()
        return await load_database_performance(self.conn, Window(now - length, now), now)

    async def statements(self, since: datetime | None = None) -> list[Statement]:
        now = self.clock.now()
        return await list_statements(self.conn, cover(Window(since or now - DAY, now), now), 1000)

    async def find(self, words: str) -> Statement | None:
        found = [one for one in await self.statements() if words in (one.text or "")]
        assert len(found) <= 1
        return found[0] if found else None

    async def calls(self, words: str) -> int:
        found = await self.find(words)
        return found.calls if found else 0

    def url_of(self, role: str) -> str:
        info = self.worker.info
        return f"postgresql://{role}@/{info.dbname}?host={info.host}&port={info.port}"

    @asynccontextmanager
    async def role(self, name: str, *, owns_tables: bool = False) -> AsyncIterator[Connection]:
        """Open a connection of a role without rights, with those of an engine's owner when it shall have them."""
        name = f"{name}_{next(_numbers)}"
        role = sql.Identifier(name)
        await self.run(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        if owns_tables:
            for what in ("TABLES", "SEQUENCES"):
                grant = "GRANT ALL ON ALL {} IN SCHEMA public TO {}"
                await self.run(sql.SQL(grant).format(sql.SQL(what), role))
        try:
            async with await connect(self.url_of(name), name) as conn:
                yield conn
        finally:
            await self.run(sql.SQL("DROP OWNED BY {}").format(role))
            await self.run(sql.SQL("DROP ROLE {}").format(role))
