"""How many events a second does the projector apply?

Fills the log with an hour of generated traffic (sent, delivered, failed, read, replies, duplicates), then times the
projector over it: batches of 5,000, each one transaction with state, roll-ups and cursor, on the embedded PostgreSQL
(fsync on). Prints events/s, over all and for the slowest and fastest tenth of the batches, and where the time goes.

    .venv/bin/python benchmarks/projection.py [--events 300000]
"""

import argparse
import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra.database import connect
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.infra.queries import Query
from event_stream_engine.ingest.callbacks import KIND_BY_PATH, make_event
from event_stream_engine.ingest.projection import Live
from event_stream_engine.kernel.clock import SystemClock, parse_instant
from event_stream_engine.messaging.simulated_behaviour import Behaviour
from event_stream_engine.messaging.simulated_traffic import make_history
from event_stream_engine.stream.log import append_events
from event_stream_engine.worker.projector import BATCH_EVENTS, open_projector, run_once

ACCOUNT_SID = "AC" + "5e" * 16
SINCE = datetime(2026, 3, 2, 12, tzinfo=UTC)


async def fill_log(url: str, count: int) -> int:
    """Append about `count` events of one hour and return how many are in the log."""
    lines = make_history(
        Behaviour(people_count=50_000), ACCOUNT_SID, SINCE, SINCE + timedelta(hours=1), count / 2.2 * 24 / 1.6
    )
    total = 0
    async with await connect(url, "benchmark") as conn:
        lines = islice(lines, count)
        while chunk := list(islice(lines, 5000)):
            events = [
                make_event(KIND_BY_PATH[line["path"]], line["form"], parse_instant(line["received_at"]), None)
                for line in chunk
            ]
            total += (await append_events(conn, events, source=uuid4(), counted_at=SINCE)).accepted
        await conn.execute("VACUUM ANALYZE events")
    return total


async def measure(url: str) -> tuple[list[tuple[int, float]], dict[str, float]]:
    """Project everything; return events and seconds of each batch, and seconds by query."""
    by_query: dict[str, float] = {}
    execute = Query.execute

    async def timed(query: Query, conn, parameters=None):
        began = time.perf_counter()
        try:
            return await execute(query, conn, parameters)
        finally:
            by_query[query.name] = by_query.get(query.name, 0.0) + time.perf_counter() - began

    Query.execute = timed
    batches = []
    live = Live("a key", SystemClock())
    async with await open_projector(url) as conn:
        while True:
            began = time.perf_counter()
            count = await run_once(conn, live)
            if not count:
                return batches, by_query
            batches.append((count, time.perf_counter() - began))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    asked = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="ese-bench-") as folder:
        async with embedded_postgres(Path(folder)) as url:
            await prepare_database(url, ZoneInfo("UTC"))
            count = await fill_log(url, asked.events)
            batches, by_query = await measure(url)
    seconds = sum(seconds for _, seconds in batches)
    rates = sorted(events / seconds for events, seconds in batches if events == BATCH_EVENTS)
    console.print(f"{count:,} events in {len(batches)} batches: [bold]{count / seconds:,.0f} events/s[/]")
    if rates:
        console.print(
            f"slowest tenth of the batches {rates[len(rates) // 10]:,.0f}, fastest {rates[-1 - len(rates) // 10]:,.0f} events/s"
        )
    table = Table("query", "µs an event", "share")
    for name, spent in sorted(by_query.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{spent / count * 1e6:.2f}", f"{spent / seconds:.0%}")
    console.print(table)


if __name__ == "__main__":
    asyncio.run(main())
