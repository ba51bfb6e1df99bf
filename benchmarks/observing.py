"""What does a look at the database cost with many statements and many tables?

Starts a PostgreSQL of its own, fills `pg_stat_statements` with 10,000 statements and the database with 500 tables of one
index each, and looks thirty times: while nothing happens, while a hundred statements and tables change, and while all do.

    .venv/bin/python benchmarks/observing.py [--statements 10000] [--tables 500]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres import load_database_performance
from event_stream_engine.monitoring.postgres_snapshots import take_snapshot

BEGAN = datetime(2026, 3, 2, tzinfo=UTC)
ROUNDS = 10


async def fill(conn: Connection, statements: int, tables: int) -> None:
    for number in range(tables):
        await conn.execute(f"CREATE TABLE t{number} (id bigint PRIMARY KEY)")  # type: ignore[arg-type]
    await run(conn, range(statements))


async def run(conn: Connection, numbers: range) -> None:
    """Run statements that PostgreSQL tells apart by the order of their columns."""
    for number in numbers:
        columns = ", ".join(("1", "'x'")[number >> bit & 1] for bit in range(14))
        await conn.execute(f"SELECT {columns}", prepare=False)  # type: ignore[arg-type]


async def write(conn: Connection, numbers: range) -> None:
    for number in numbers:
        await conn.execute(f"INSERT INTO t{number} SELECT coalesce(max(id), 0) + 1 FROM t{number}")  # type: ignore[arg-type]
    await conn.execute("SELECT pg_stat_force_next_flush()")


async def measure(statements: int, tables: int) -> None:
    shown = Table("between two looks", "median ms", "slowest ms")
    settings = {"pg_stat_statements.max": str(2 * statements)}
    with tempfile.TemporaryDirectory(prefix="ese-observing-") as folder:
        async with embedded_postgres(Path(folder), extra_settings=settings) as url:
            await prepare_database(url, ZoneInfo("UTC"))
            async with await connect(url, "observing") as conn, await connect(url, "working") as worker:
                await fill(worker, statements, tables)
                now = BEGAN
                await take_snapshot(conn, now)
                for name, changed, written in (
                    ("nothing", 0, 0),
                    ("100 statements, 100 tables", 100, 100),
                    (f"{statements:,} statements, {tables:,} tables", statements, tables),
                ):
                    took = []
                    for _ in range(ROUNDS):
                        await run(worker, range(changed))
                        await write(worker, range(min(written, tables)))
                        now += timedelta(minutes=1)
                        began = time.perf_counter()
                        await take_snapshot(conn, now)
                        took.append((time.perf_counter() - began) * 1000)
                    shown.add_row(name, f"{statistics.median(took):.0f}", f"{max(took):.0f}")
                began = time.perf_counter()
                await load_database_performance(conn, Window(now - timedelta(days=1), now), now)
                shown.add_row("(answering a day)", f"{(time.perf_counter() - began) * 1000:.0f}", "")
    Console().print(shown)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--statements", type=int, default=10_000)
    parser.add_argument("--tables", type=int, default=500)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.statements, arguments.tables))
