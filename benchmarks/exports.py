"""How fast are rows written into a file, and how much memory does that take?

Makes messages in the embedded PostgreSQL (fsync on), then exports all of them as the worker does, by the press in a process
of its own, whose file goes into the database in parts. Prints for each format rows a second, the size of the file and of
what is stored, the processor time of the press and of PostgreSQL's two sessions for it, and the largest memory the press
ever had. On a machine that is busy with something else the processor times tell more than the rows a second do.

    .venv/bin/python benchmarks/exports.py [--rows 1000000] [--formats csv,parquet,ndjson]
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from event_stream_engine.access.roles import Role
from event_stream_engine.audit.entries import Actor
from event_stream_engine.cli.session import prepare_database
from event_stream_engine.exports import jobs
from event_stream_engine.exports.orders import Order, narrow_to_window
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.windows import Window
from event_stream_engine.worker.packer import PRESS_ENVIRONMENT

CHUNK = 250_000
LIMIT_BYTES = 100 * 1024**3
# One message a tenth of a second, with what becomes of one: sent, most delivered, some read, some failed.
_MESSAGES = """
INSERT INTO messages (id, recipient_phone, channel, sender, country, provider_sid, error_code, first_seen_at, first_status, last_status, last_seen_at,
    early_status, sent_at, delivered_at, read_at, failed_at, failed_status)
SELECT time_ordered_uuid(at, 'benchmark ' || n), '+1415' || lpad(n::text, 7, '0'), CASE n %% 5 WHEN 0 THEN 'whatsapp' ELSE 'sms' END, '+14155238886',
    (ARRAY['US', 'US', 'GB', 'CA', 'DE'])[1 + n %% 5], 'SM' || md5(n::text), CASE n %% 10 WHEN 1 THEN 30005 END, at, 2, 8, at + interval '9 seconds',
    2, at + interval '1.25 seconds', CASE WHEN n %% 10 <> 1 THEN at + (n %% 977) * interval '0.123457 seconds' END,
    CASE n %% 4 WHEN 0 THEN at + interval '5 minutes' END, CASE n %% 10 WHEN 1 THEN at + interval '3 seconds' END, CASE n %% 10 WHEN 1 THEN 7 END
FROM (SELECT n, %(until)s - n * interval '0.1 seconds' AS at FROM generate_series(%(first)s::int, %(last)s::int) AS n) AS made
"""


async def add_messages(url: str, rows: int, clock: SystemClock) -> None:
    async with await connect(url, "benchmark") as conn:
        until = clock.now()
        for first in range(0, rows, CHUNK):
            last = min(first + CHUNK, rows) - 1
            await conn.execute(_MESSAGES, {"until": until, "first": first, "last": last})
        await conn.execute("VACUUM (ANALYZE) messages")


def read_peak_kilobytes(pid: int) -> int:
    """Return the most memory a process ever had, 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


async def list_sessions(url: str) -> list[int]:
    async with await connect(url, "benchmark") as conn:
        found = await conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'ese-press%'"
        )
        return [row[0] for row in await found.fetchall()]


def read_processor_seconds(pids: list[int]) -> float:
    """Return the processor time that processes have used so far, 0 when one has ended."""
    ticks = 0
    try:
        for pid in pids:
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    except OSError:
        return 0.0
    return ticks / os.sysconf("SC_CLK_TCK")


async def press(
    url: str, file_format: str, clock: SystemClock
) -> tuple[jobs.Export, float, float, float, int]:
    """Export everything; return the export, its seconds, processor time of press and PostgreSQL, peak memory."""
    now = clock.now()
    everything = narrow_to_window(Window(now - timedelta(days=400), now))
    async with await connect(url, "benchmark") as conn, transaction(conn):
        order = Order("messages", file_format, everything, True)
        asked = await jobs.ask(
            conn, Actor("engine:benchmark"), Role.admin, order, now, limit_bytes=LIMIT_BYTES
        )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "event_stream_engine.worker.press"),
        stdin=asyncio.subprocess.PIPE,
        env=os.environ | PRESS_ENVIRONMENT,
    )
    assert child.stdin is not None
    told = {"url": url, "queries_url": url, "secret_key": "", "limit_bytes": LIMIT_BYTES}
    child.stdin.write(json.dumps(told).encode() + b"\n")
    peak, sessions, in_postgres = 0, list[int](), 0.0
    while child.returncode is None:
        if len(sessions) < 2:
            sessions = await list_sessions(url)
        in_postgres = max(in_postgres, read_processor_seconds(sessions))
        peak = max(peak, read_peak_kilobytes(child.pid))
        await asyncio.sleep(0.05)
    using = resource.getrusage(resource.RUSAGE_CHILDREN)
    async with await connect(url, "benchmark") as conn:
        made = await jobs.load_export(conn, asked.id)
    assert made.state == "completed", made.error
    assert made.started_at is not None
    assert made.finished_at is not None
    seconds = (made.finished_at - made.started_at).total_seconds()
    processor = using.ru_utime + using.ru_stime - used.ru_utime - used.ru_stime
    return made, seconds, processor, in_postgres, peak


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--formats", default="csv,parquet,ndjson")
    asked, clock = parser.parse_args(), SystemClock()
    table = Table("format", "rows", "s", "rows/s", "file MB", "stored MB", "CPU s", "PostgreSQL", "peak MB")
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_postgres(Path(folder)) as url:
            await prepare_database(url, ZoneInfo("UTC"))
            began = time.perf_counter()
            await add_messages(url, asked.rows, clock)
            print(f"{asked.rows:,} messages made in {time.perf_counter() - began:.0f} s")
            for file_format in asked.formats.split(","):
                made, seconds, processor, in_postgres, peak = await press(url, file_format, clock)
                table.add_row(
                    file_format,
                    f"{made.rows:,}",
                    f"{seconds:.1f}",
                    f"{made.rows / seconds:,.0f}",
                    f"{made.file_bytes / 1e6:,.0f}",
                    f"{made.stored_bytes / 1e6:,.0f}",
                    f"{processor:.1f}",
                    f"{in_postgres:.1f}",
                    f"{peak / 1024:,.0f}",
                )
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
