"""What does telling other tools cost: one /metrics with a filled database, and a span that nobody asked for?

Makes three years of messages (benchmarks/history.py) and a day of intake by four web processes, an outbox of 100,000, and
eighty routes with full sketches. Then asks /metrics over ASGI, each time with a new reading and with the last one.

    .venv/bin/python benchmarks/exits.py [--messages 1000000] [--scrapes 200]
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from history import build_history
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra import tracing
from event_stream_engine.infra.database import connect, snapshot
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.monitoring import readings
from tests.engine import make_settings, running_engine

FILL = (
    """INSERT INTO intake_counts (minute, source, event_type, outcome, events)
       SELECT date_trunc('minute', now()) - n * interval '1 minute', md5(p::text)::uuid, t, o, 100
       FROM generate_series(1, 1500) AS n, generate_series(1, 4) AS p, unnest(ARRAY['receipt.received', 'inbound.received']) AS t,
            unnest(ARRAY['accepted', 'duplicate']) AS o""",
    """INSERT INTO request_rollups (grain, bucket, route, method, status_class, requests, failed, microseconds, fastest, slowest, sketch)
       SELECT 'total', '-infinity', '/api/v1/route/' || r, 'GET', c, 1000, 0, 1000000, 100, 100000,
              (SELECT array_agg((place::bigint << 40) + 10 ORDER BY place) FROM generate_series(CASE c WHEN '2xx' THEN -250 ELSE -50 END, 0) AS place)
       FROM generate_series(1, 80) AS r, unnest(ARRAY['2xx', '4xx', '5xx']) AS c""",
    """INSERT INTO outbox (message_id, recipient_phone, due_at)
       SELECT gen_random_uuid(), '+1415' || n, now() FROM generate_series(1, 100000) AS n""",
    """INSERT INTO projected_totals (name, label, total)
       SELECT 'delivery_sketch', place::text, 100 FROM generate_series(0, 400) AS place""",
    "ANALYZE",
)


async def measure(count: int, work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return median and p95 in milliseconds."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took), statistics.quantiles(took, n=20)[-1]


async def run(messages: int, scrapes: int) -> None:
    table = Table("what", "p50 ms", "p95 ms")
    with tempfile.TemporaryDirectory(prefix="ese-bench-") as folder:
        async with embedded_postgres(Path(folder)) as url:
            await prepare_database(url, ZoneInfo("UTC"))
            clock = SystemClock()
            await build_history(url, messages, clock.now() - timedelta(minutes=1), lambda _: None)
            async with await connect(url, "benchmark") as conn:
                for statement in FILL:
                    await conn.execute(statement)  # type: ignore[arg-type]

                async def read() -> None:
                    async with snapshot(conn):
                        await readings.read_instruments(conn, clock.now())

                row = await measure(scrapes, read)
                table.add_row("the reading alone", *(f"{ms:.1f}" for ms in row))
            settings = make_settings(Path(folder) / "engine")
            async with running_engine(url, settings, clock) as engine:

                async def scrape() -> None:
                    answer = await engine.client.get("/metrics")
                    assert answer.status_code == 200

                for what, seconds in (("/metrics, read anew", 0.0), ("/metrics, the last reading", 3600.0)):
                    readings.FRESH_SECONDS = seconds
                    await scrape()
                    row = await measure(scrapes, scrape)
                    table.add_row(what, *(f"{ms:.1f}" for ms in row))
                size = len((await engine.client.get("/metrics")).content)
    console = Console()
    console.print(table, f"{size:,} bytes; {messages:,} messages")
    began = time.perf_counter()
    for _ in range(1_000_000):
        with tracing.span("nothing", {"ese.batch.events": 1}):
            pass
    console.print(f"a span without a collector: {(time.perf_counter() - began) * 1000:.0f} ns")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--scrapes", type=int, default=200)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.messages, arguments.scrapes))
