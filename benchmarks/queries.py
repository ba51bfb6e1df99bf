"""Do people's queries slow the taking in of webhooks?

One web process and the embedded PostgreSQL (fsync on) with some hundred thousand messages. Signed status callbacks come at a
steady rate, in turns with nothing else going on and with four people (as many as are let in) who run hostile queries over
the API without a pause: recursion without end, products, sorts on disk, texts that grow. Each pair of turns gives a ratio
of latencies; their medians are printed, and how many queries there were.

    .venv/bin/python benchmarks/queries.py [--rounds 6] [--seconds 10] [--rate 300] [--messages 300000]
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import psycopg
import uvloop
from ingest import ACCOUNT_SID, TOKEN, free_port, make_requests, running
from rich.console import Console
from rich.table import Table

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.infra.embedded import embedded_postgres

PATH = "/webhooks/status"
LANES = 16
HOSTILE = (
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
    "SELECT count(*) FROM messages a, generate_series(1, 100) b WHERE md5(a.recipient_phone || b) < '0'",
    "SELECT count(*) FROM (SELECT g, md5(g::text) AS m FROM generate_series(1, 3000000) g ORDER BY m) AS s",
    "WITH RECURSIVE t AS (SELECT 'x'::text AS s UNION ALL SELECT s || s FROM t) SELECT max(length(s)) FROM t",
    "SELECT * FROM messages ORDER BY md5(recipient_phone)",
    "SELECT count(*) FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b",
)
FILL = """
INSERT INTO messages (id, recipient_phone, provider_sid, channel, sender, first_seen_at, last_seen_at, first_status, last_status, sent_at, delivered_at)
SELECT gen_random_uuid(), '+1415' || to_char(2000000 + n, 'FM0000000'), 'SM' || md5(n::text), 'sms', '+14155238886', now(), now(), status_code('sent'), status_code('delivered'), now(), now()
FROM generate_series(1, %s) n
"""


@dataclass(frozen=True, slots=True)
class Turn:
    p50_ms: float
    p99_ms: float
    queries: int
    failed: int


async def post_steadily(port: int, requests: Sequence[bytes], rate: int) -> tuple[list[float], int]:
    """Post at a rate, whatever the answers take, and return the latencies from when each was due, in ms."""
    latencies: list[float] = []
    failures = 0
    began = time.perf_counter()

    async def post(lane: int) -> None:
        nonlocal failures
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(lane, len(requests), LANES):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(requests[number])
            head = await reader.readuntil(b"\r\n\r\n")
            failures += not head.startswith(b"HTTP/1.1 204")
            latencies.append((time.perf_counter() - due) * 1e3)
        writer.close()

    await asyncio.gather(*map(post, range(LANES)))
    return sorted(latencies), failures


def run_people(port: int, keys: Sequence[str], is_on: Event, asked: "multiprocessing.Queue[str]") -> None:
    """Run queries over the API while `is_on` is set; in a process of its own."""

    async def run_person(key: str, texts: Iterator[str]) -> None:
        url = f"http://127.0.0.1:{port}/api/v1/queries/run"
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
            while True:
                if not is_on.is_set():
                    await asyncio.sleep(0.02)
                    continue
                asking = asyncio.create_task(client.post(url, json={"sql": next(texts)}))
                while not asking.done() and is_on.is_set():
                    await asyncio.wait({asking}, timeout=0.05)
                asking.cancel()  # people leave when the turn is over
                await asyncio.gather(asking, return_exceptions=True)
                asked.put("asked")

    async def run_all() -> None:
        texts = itertools.cycle(HOSTILE)
        await asyncio.gather(*(run_person(key, texts) for key in keys for _ in range(2)))

    uvloop.run(run_all())


async def fill(folder: Path, messages: int) -> list[str]:
    """Fill the database of a running engine and return two keys: a viewer's and an operator's."""
    async with embedded_postgres(folder) as url, await connect(url, "benchmark") as conn:
        async with transaction(conn):
            await conn.execute(FILL, (messages,))
            keys = [
                (await add_api_key(conn, role.value, role, datetime.now(UTC))).key
                for role in (Role.viewer, Role.operator)
            ]
        await conn.execute("ANALYZE messages")
        return keys


def measure(port: int, asked: argparse.Namespace, keys: Sequence[str]) -> list[dict[str, Turn]]:
    is_on, queries = multiprocessing.Event(), multiprocessing.Queue()
    people = multiprocessing.Process(target=run_people, args=(port, keys, is_on, queries), daemon=True)
    people.start()

    def take_turn(name: str) -> Turn:
        requests = make_requests(asked.rate * asked.seconds, port, PATH)
        if name == "with queries":
            is_on.set()
        time.sleep(1)
        latencies, failed = uvloop.run(post_steadily(port, requests, asked.rate))
        is_on.clear()
        time.sleep(1)
        count = 0
        while not queries.empty():
            queries.get()
            count += 1
        return Turn(latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)], count, failed)

    try:
        take_turn("warm-up")
        orders = (("alone", "with queries"), ("with queries", "alone"))
        return [{name: take_turn(name) for name in orders[number % 2]} for number in range(asked.rounds)]
    finally:
        people.terminate()
        people.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--messages", type=int, default=300_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ese-bench-") as folder:
        port = free_port()
        environment = {
            "ESE_DATA_DIR": folder,
            "ESE_PORT": str(port),
            "ESE_TWILIO_AUTH_TOKEN": TOKEN,
            "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        }
        with running(["-m", "event_stream_engine.cli.main", "serve"], environment, port):
            time.sleep(2)
            keys = asyncio.run(fill(Path(folder), asked.messages))
            rounds = measure(port, asked, keys)
            outcomes = asyncio.run(count_outcomes(Path(folder)))
    table = Table("", "p50 ms", "p99 ms", "queries", "not 204", title=f"{asked.rate} webhooks/s")
    for name in ("alone", "with queries"):
        turns = [turns[name] for turns in rounds]
        middle = [
            f"{statistics.median(getattr(turn, key) for turn in turns):.2f}" for key in ("p50_ms", "p99_ms")
        ]
        table.add_row(
            name, *middle, str(sum(turn.queries for turn in turns)), str(sum(turn.failed for turn in turns))
        )
    Console().print(table)
    for key in ("p50_ms", "p99_ms"):
        ratios = [getattr(turns["with queries"], key) / getattr(turns["alone"], key) for turns in rounds]
        Console().print(
            f"{key[:3]} with queries / alone: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}"
        )
    Console().print(f"what became of the queries: {json.dumps(outcomes)}")


async def count_outcomes(folder: Path) -> dict[str, int]:
    async with embedded_postgres(folder) as url:
        with psycopg.connect(url) as conn:
            return dict(
                conn.execute(
                    "SELECT after ->> 'outcome', count(*) FROM audit_log WHERE action = 'query.run' GROUP BY 1"
                ).fetchall()
            )


if __name__ == "__main__":
    main()
