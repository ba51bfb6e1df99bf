"""How long does each figure take, and does that grow with history?

Makes three years of 100,000, 1,000,000 and 10,000,000 messages (benchmarks/history.py), serves each with `ese serve`, and
asks every endpoint 200 times over HTTP, one request after the other, with mixed periods, edges and filters. The same
questions, in the same order, for every size. Beside it, in the same run, the document's own SQL on the raw tables.

    .venv/bin/python benchmarks/analytics.py [--messages 100000 1000000 10000000] [--requests 200] [--keep FOLDER]
"""

import argparse
import asyncio
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import httpx
import psycopg
from history import DAYS, build_history
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.kernel.clock import SystemClock

ENDPOINTS = {
    "delivery": ("/api/v1/analytics/delivery", "filters"),
    "errors": ("/api/v1/analytics/errors", "filters"),
    "inbound": ("/api/v1/analytics/inbound", "period"),
    "consent": ("/api/v1/analytics/consent", "period"),
    "dashboard": ("/api/v1/monitoring/dashboard", "period"),
    "performance": ("/api/v1/analytics/campaigns/{campaign_id}/performance", "campaign"),
    "compare": ("/api/v1/analytics/compare", "campaigns"),
    "effectiveness": ("/api/v1/analytics/effectiveness", "period"),
    "opt-outs": ("/api/v1/analytics/opt-outs", "period"),
}
LENGTHS = [
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(days=7),
    timedelta(days=30),
    timedelta(days=90),
    timedelta(days=365),
    timedelta(days=DAYS),
]
FILTERS = [
    {},
    {},
    {"channel": "sms"},
    {"country": "US"},
    {"country": "DE", "channel": "sms"},
    {"sender": "+14155238886"},
    {"campaign_id": "?"},
    {"template_id": "?"},
]
RAW_SQL = {
    "campaign effectiveness": """
        SELECT c.name, s.name, count(m.id), count(CASE WHEN dr.message_status = 'delivered' THEN 1 END)
        FROM campaigns c JOIN segments s ON c.segment_id = s.id JOIN messages m ON c.id = m.campaign_id
        LEFT JOIN delivery_receipts dr ON m.provider_sid = dr.message_sid
        WHERE c.created_at >= CURRENT_DATE - INTERVAL '30 days' GROUP BY c.id, c.name, s.name""",
    "consent states": "SELECT consent_state, count(*), round(count(*) * 100.0 / (SELECT count(*) FROM users), 2) FROM users GROUP BY consent_state",
    "statuses of a year": "SELECT status, count(*) FROM messages WHERE cohort_at >= now() - interval '365 days' GROUP BY status",
}


def make_questions(count: int, until: datetime, ids: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the addresses of each endpoint's requests, the same for every size of history."""
    chance = random.Random(7)
    questions: dict[str, list[str]] = {}
    for name, (path, kind) in ENDPOINTS.items():
        asked = []
        for _ in range(count):
            if kind in ("campaign", "campaigns"):
                chosen = chance.sample(ids["campaign_id"], chance.randrange(2, 5))
                query = "?" + urlencode({"campaign_id": chosen}, doseq=True)
                asked.append(path.format(campaign_id=chosen[0]) + (query if kind == "campaigns" else ""))
                continue
            length = chance.choice(LENGTHS)
            begin = until - length - chance.random() * (timedelta(days=DAYS) - length)
            if chance.random() < 0.5:  # as the pages ask: up to now
                begin = until - length + timedelta(hours=9, minutes=17, seconds=31)
            parameters = {"since": begin.isoformat(), "until": (begin + length).isoformat()}
            if kind == "filters":
                for key, value in chance.choice(FILTERS).items():
                    parameters[key] = value if value != "?" else ids[key][chance.randrange(20)]
            asked.append(f"{path}?{urlencode(parameters)}")
        questions[name] = asked
    return questions


@asynccontextmanager
async def serving(url: str, folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Run `ese serve` over a database; yield its address and an API key."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with await connect(url, "benchmark") as conn, transaction(conn):
        key = (await add_api_key(conn, f"benchmark {port}", Role.viewer, SystemClock().now())).key
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESE_")} | {
        "ESE_DATABASE_URL": url,
        "ESE_DATA_DIR": str(folder),
        "ESE_PORT": str(port),
        "ESE_TWILIO_ACCOUNT_SID": "AC" + "5e" * 16,
        "ESE_TWILIO_AUTH_TOKEN": "5e" * 16,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "event_stream_engine.cli.main",
        "serve",
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}", key
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def measure(url: str, folder: Path, questions: dict[str, list[str]]) -> dict[str, list[float]]:
    """Ask everything; return the sorted milliseconds of each endpoint."""
    times: dict[str, list[float]] = {}
    async with (
        serving(url, folder) as (address, key),
        httpx.AsyncClient(base_url=address, headers={"authorization": f"Bearer {key}"}, timeout=60) as client,
    ):
        for _ in range(200):
            try:
                await client.get("/healthz")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.1)
        for name, asked in questions.items():
            for question in asked[:10]:  # caches of the server and its plans
                (await client.get(question)).raise_for_status()
            took = []
            for question in asked:
                began = time.perf_counter()
                (await client.get(question)).raise_for_status()
                took.append((time.perf_counter() - began) * 1000)
            times[name] = sorted(took)
    return times


async def measure_raw(url: str) -> dict[str, float]:
    async with await connect(url, "benchmark") as conn:
        took = {}
        for name, statement in RAW_SQL.items():
            await conn.execute(statement)
            began = time.perf_counter()
            await conn.execute(statement)
            took[name] = (time.perf_counter() - began) * 1000
    return took


async def load_ids(url: str) -> dict[str, list[str]]:
    async with await connect(url, "benchmark") as conn:
        found = {}
        for key, table in (("campaign_id", "campaigns"), ("template_id", "templates")):
            rows = await conn.execute(f"SELECT id::text FROM {table} ORDER BY name")
            found[key] = [row[0] for row in await rows.fetchall()]
    return found


async def main(sizes: list[int], requests: int, folder: Path) -> None:
    console = Console(width=160)
    until = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    results: dict[int, dict[str, list[float]]] = {}
    raw: dict[int, dict[str, float]] = {}
    async with embedded_postgres(
        folder / "database",
        extra_settings={"shared_buffers": "2GB", "max_wal_size": "8GB", "work_mem": "32MB"},
    ) as server:
        for size in sizes:
            name = f"history_{size}"
            url = server.replace("@/ese?", f"@/{name}?")
            with psycopg.connect(server, autocommit=True) as admin:
                is_there = admin.execute(
                    "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)", (name,)
                ).fetchone()[0]
                if not is_there:
                    admin.execute(f"CREATE DATABASE {name}")
            await prepare_database(url, ZoneInfo("UTC"))
            if not is_there:
                columns = (
                    TextColumn(f"{size:,} messages"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TimeRemainingColumn(),
                )
                with Progress(*columns, console=console) as progress:
                    task = progress.add_task("", total=size)
                    await build_history(
                        url, size, until, lambda count, task=task: progress.advance(task, count)
                    )
            questions = make_questions(requests, until, await load_ids(url))
            results[size] = await measure(url, folder / "data", questions)
            raw[size] = await measure_raw(url)
    table = Table("endpoint", *(f"{size:,}\np50  p95 ms" for size in sizes), "p95 largest\n/ smallest")
    for name in ENDPOINTS:
        cells, p95 = [], []
        for size in sizes:
            took = results[size][name]
            p95.append(took[int(len(took) * 0.95)])
            cells.append(f"{took[len(took) // 2]:5.1f} {p95[-1]:5.1f}")
        table.add_row(name, *cells, f"{p95[-1] / p95[0]:.2f}")
    for name in RAW_SQL:
        table.add_row(
            f"raw SQL: {name}",
            *(f"{raw[size][name]:,.1f}" for size in sizes),
            f"{raw[sizes[-1]][name] / raw[sizes[0]][name]:.2f}",
            style="dim",
        )
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="a folder for the database, made once and used again")
    asked = parser.parse_args()
    if asked.keep:
        asyncio.run(main(asked.messages, asked.requests, asked.keep))
    else:
        with tempfile.TemporaryDirectory(prefix="ese-bench-") as temporary:
            asyncio.run(main(asked.messages, asked.requests, Path(temporary)))
