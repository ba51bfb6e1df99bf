"""How many entries a second are sealed and verified, and how much of a worker's second that takes?

Fills the audit trail with entries like those of the sender (a decision with six steps each), then seals it in batches
and verifies it, on the embedded PostgreSQL (fsync on). The share is what sealing costs of one core while the sender makes
1,000 entries a second.

    .venv/bin/python benchmarks/audit.py [--rows 200000]
"""

import argparse
import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from rich.console import Console
from rich.table import Table

from event_stream_engine.audit.anchors import Anchor, append_anchor, read_anchors
from event_stream_engine.audit.chain import seal_batch
from event_stream_engine.audit.entries import Actor, record_columns
from event_stream_engine.audit.verification import verify_chain
from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.infra.embedded import embedded_postgres

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
STEPS = ("consent", "quiet_hours", "rate_limit", "content", "delivery", "audit")
DECISION = orjson.dumps(
    {
        "campaign": str(UUID(int=1)),
        "consent_entry": str(UUID(int=2)),
        "steps": [{"step": step, "result": "allow", "ms": 0.123} for step in STEPS],
    }
).decode()


async def fill(conn, count: int) -> None:
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        async with transaction(conn):
            await record_columns(
                conn,
                Actor("engine:sender"),
                at=[AT + timedelta(milliseconds=number) for number in numbers],
                action=["compliance.allowed"] * len(numbers),
                subject=[f"message:{UUID(int=number)}" for number in numbers],
                before=[None] * len(numbers),
                after=[DECISION] * len(numbers),
            )
    await conn.execute("VACUUM ANALYZE audit_log")


async def measure_sealing(conn, anchors: Path, most: int, rows: int) -> float:
    """Seal and anchor so many rows in batches of `most`, and return the seconds a row."""
    began, sealed_rows = time.perf_counter(), 0
    while sealed_rows < rows:
        async with transaction(conn):
            sealed = await seal_batch(conn, AT, most)
        append_anchor(anchors, Anchor(sealed.number, sealed.hash, AT))
        sealed_rows += sealed.rows
    return (time.perf_counter() - began) / sealed_rows


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    rows = parser.parse_args().rows
    table = Table("what", "rows/s", "share of a core at 1,000 rows/s")

    def show(what: str, seconds_a_row: float, *, share: bool) -> None:
        table.add_row(what, f"{1 / seconds_a_row:,.0f}", f"{seconds_a_row * 1000:.1%}" if share else "")

    with tempfile.TemporaryDirectory(prefix="ese-bench-") as folder:
        anchors = Path(folder) / "anchors.ndjson"
        async with embedded_postgres(Path(folder) / "data") as url:
            await prepare_database(url, ZoneInfo("UTC"))
            async with await connect(url, "benchmark") as conn:
                began = time.perf_counter()
                await fill(conn, rows)
                show("written by the thousand", (time.perf_counter() - began) / rows, share=False)
                for most in (100, 1000, 5000):
                    spent = await measure_sealing(conn, anchors, most, rows // 4)
                    show(f"sealed by {most:,}, anchored", spent, share=True)
                await measure_sealing(conn, anchors, 5000, rows - 3 * (rows // 4))
                began = time.perf_counter()
                verdict = await verify_chain(conn, read_anchors([anchors]), lambda _: None)
                show("verified", (time.perf_counter() - began) / verdict.rows, share=False)
                assert verdict.rows == rows
                assert not verdict.faults
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
