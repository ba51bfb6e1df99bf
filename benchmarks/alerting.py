"""What does a tick of the evaluator cost when many campaigns are followed?

Starts a PostgreSQL of its own with the delivered rules and so many running campaigns of a day, each with messages in every
minute of the last hours, and ticks: with 10 and with 500 of them, while all is well, while all of them fire at once, and
while all of them go on firing.

    .venv/bin/python benchmarks/alerting.py [--campaigns 500]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from event_stream_engine.analytics.scope import Scope
from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.windows import Window
from event_stream_engine.worker.evaluator import tick

ROUNDS = 10
DAY = timedelta(days=1)

ADD_CAMPAIGNS = """
INSERT INTO campaigns (id, name, segment_id, template_id, sender, rate_per_second, state, created_by, created_at, updated_at, started_at)
SELECT gen_random_uuid(), 'Campaign ' || n, %(segment_id)s, %(template_id)s, '+14155238886', 10, 'running', 'benchmark', now(), now(), now() - interval '1 day'
FROM generate_series(1, %(campaigns)s) AS n
"""
ADD_COUNTS = """
INSERT INTO message_rollups
SELECT g.grain, %(slice)s, b.bucket, c.id, '', '', '', 10, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, %(failed)s, 0, 10 - %(failed)s, 0
FROM campaigns c
CROSS JOIN (VALUES ('minute', interval '3 hours', interval '1 minute'), ('quarter', interval '1 day', interval '15 minutes')) AS g (grain, span, step)
CROSS JOIN LATERAL generate_series(bucket_of(g.grain, now() - g.span), now(), g.step) AS b (bucket)
"""


async def fill(conn: Connection, campaigns: int) -> None:
    segment_id, template_id = uuid4(), uuid4()
    await conn.execute(
        "INSERT INTO segments (id, name, filter, created_at, updated_at) VALUES (%s, %s, '{\"and\": []}', now(), now())",
        (segment_id, str(segment_id)),
    )
    await conn.execute(
        "INSERT INTO templates (id, name, channel, locale, body, created_at, updated_at) VALUES (%s, %s, 'sms', 'en', 'x', now(), now())",
        (template_id, str(template_id)),
    )
    asked = {"segment_id": segment_id, "template_id": template_id, "campaigns": campaigns}
    await conn.execute(ADD_CAMPAIGNS, asked)
    await count(conn, failed=0)


async def count(conn: Connection, failed: int) -> None:
    """Let so many of ten messages of each campaign and minute have failed."""
    now = SystemClock().now()
    by_campaign = Scope(Window(now - DAY, now)).parameters("campaign")["slice"]
    await conn.execute("DELETE FROM message_rollups")
    await conn.execute(ADD_COUNTS, {"slice": by_campaign, "failed": failed})
    await conn.execute("ANALYZE")


async def time_ticks(conn: Connection, rounds: int) -> list[float]:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        await tick(conn, SystemClock())
        took.append((time.perf_counter() - began) * 1000)
    return took


async def measure(campaigns: int, shown: Table) -> None:
    with tempfile.TemporaryDirectory(prefix="ese-alerting-") as folder:
        async with embedded_postgres(Path(folder)) as url:
            await prepare_database(url, ZoneInfo("UTC"))
            async with await connect(url, "alerting") as conn:
                await fill(conn, campaigns)
                await time_ticks(conn, 2)
                await show(conn, shown, campaigns, "all is well", ROUNDS)
                await count(conn, failed=2)
                await show(conn, shown, campaigns, "all begin to fire", 1)
                await show(conn, shown, campaigns, "all go on firing", ROUNDS)


async def show(conn: Connection, shown: Table, campaigns: int, name: str, rounds: int) -> None:
    took = await time_ticks(conn, rounds)
    firing = await (await conn.execute("SELECT count(*) FROM alert_states WHERE state = 'firing'")).fetchone()
    assert firing is not None
    shown.add_row(
        f"{campaigns:,}", name, f"{firing[0]:,}", f"{statistics.median(took):.0f}", f"{max(took):.0f}"
    )


async def main(most: int) -> None:
    shown = Table("followed campaigns", "while", "firing", "median ms", "slowest ms")
    for campaigns in (10, most):
        await measure(campaigns, shown)
    Console().print(shown)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--campaigns", type=int, default=500)
    asyncio.run(main(parser.parse_args().campaigns))
