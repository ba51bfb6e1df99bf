"""How soon do all who watch the feed see an event, and what do they cost?

Signed inbound messages come in over loopback at a steady pace while viewers hold the stream open, all against one web
process, one worker and the embedded PostgreSQL (fsync on). Measured from the webhook's answer, which means committed, to
the arrival of the event at each viewer; so projecting it is part of the time. Prints p50, p95, p99 and the slowest, how
many were shown, the web process's share of a core, and how often it read the log.

    .venv/bin/python benchmarks/feed.py [--seconds 20]
"""

import argparse
import asyncio
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import uvloop
from ingest import ACCOUNT_SID, TOKEN, free_port, running
from rich.console import Console
from rich.table import Table

from event_stream_engine.infra.embedded import embedded_url
from event_stream_engine.messaging.webhooks import sign_request

ESE = ["-m", "event_stream_engine.cli.main"]
NUMBER = re.compile(rb'"message_body":"e([0-9]+)"')
LEFT_OUT = re.compile(rb'"left_out":([0-9]+)')
# viewers, events a second, sample
RUNS = ((1, 20, "none"), (100, 20, "none"), (300, 20, "none"), (300, 100, "none"), (300, 200, "auto"))


@dataclass(slots=True)
class Seen:
    """What all viewers of a run got."""

    arrivals: list[tuple[int, float]] = field(default_factory=list)
    left_out: int = 0


class Viewer(asyncio.Protocol):
    """One open stream; keeps when each event arrived."""

    def __init__(self, request: bytes, seen: Seen) -> None:
        self.request, self.seen, self.rest = request, seen, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        # What is not a whole event yet waits for the rest of it.
        whole, _, self.rest = (self.rest + data).rpartition(b"\n\n")
        self.seen.arrivals += [(int(number), now) for number in NUMBER.findall(whole)]
        self.seen.left_out += sum(map(int, LEFT_OUT.findall(whole)))


async def view(port: int, viewers: int, sample: str, key: str, orders: Pipe) -> None:
    """Open streams, say so, and hand over what they got when told to stop."""
    seen, loop = Seen(), asyncio.get_running_loop()
    request = (
        f"GET /api/v1/monitoring/events/stream?sample={sample} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {key}\r\n\r\n"
    ).encode()
    opened = [
        (await loop.create_connection(lambda: Viewer(request, seen), "127.0.0.1", port))[0]
        for _ in range(viewers)
    ]
    await asyncio.sleep(2)
    orders.send(None)
    await asyncio.to_thread(orders.recv)
    for transport in opened:
        transport.close()
    orders.send(seen)


def run_viewers(port: int, viewers: int, sample: str, key: str, orders: Pipe) -> None:
    uvloop.run(view(port, viewers, sample, key, orders))


async def send(port: int, per_second: int, seconds: int, first: int) -> dict[int, float]:
    """Post inbound messages at a pace over eight connections and return when each was answered."""
    answered: dict[int, float] = {}
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
    began = time.perf_counter()

    async def post(lane: int) -> None:
        reader, writer = connections[lane]
        for number in range(lane, per_second * seconds, len(connections)):
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
            writer.write(make_webhook(port, first + number))
            await reader.readuntil(b"<Response/>")
            answered[first + number] = time.perf_counter()

    await asyncio.gather(*map(post, range(len(connections))))
    for _, writer in connections:
        writer.close()
    return answered


def make_webhook(port: int, number: int) -> bytes:
    url = f"http://127.0.0.1:{port}/webhooks/inbound"
    form = {
        "AccountSid": ACCOUNT_SID,
        "MessageSid": f"SM{number:032x}",
        "From": f"+1415{2000000 + number % 7000000}",
        "To": "+14155238886",
        "Body": f"e{number}",
    }
    body = urlencode(form).encode()
    head = (
        f"POST /webhooks/inbound HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\nX-Twilio-Signature: {sign_request(TOKEN, url, form)}\r\n\r\n"
    )
    return head.encode() + body


def count_reads(url: str) -> int:
    """Return how often the log was read for the feed, and how often its end was looked up, since the start."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        row = conn.execute(
            "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query LIKE '%consent_history(ARRAY[i.from_phone])%'"
        ).fetchone()
    return row[0]


@dataclass(frozen=True, slots=True)
class Engine:
    """`web`: process id of the web process."""

    url: str
    port: int
    web: int
    key: str

    def read_cpu_seconds(self) -> float:
        ticks = Path(f"/proc/{self.web}/stat").read_text("ascii").rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def measure(engine: Engine, run: tuple[int, int, str], seconds: int, first: int) -> list[str]:
    viewers, per_second, sample = run
    orders, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(
        target=run_viewers, args=(engine.port, viewers, sample, engine.key, theirs)
    )
    process.start()
    orders.recv()
    reads, began, used = count_reads(engine.url), time.perf_counter(), engine.read_cpu_seconds()
    answered = uvloop.run(send(engine.port, per_second, seconds, first))
    time.sleep(2)
    took = time.perf_counter() - began
    used, reads = engine.read_cpu_seconds() - used, count_reads(engine.url) - reads
    orders.send(None)
    seen: Seen = orders.recv()
    process.join()
    late = sorted((at - answered[number]) * 1e3 for number, at in seen.arrivals if number in answered)
    told = len(seen.arrivals) + seen.left_out
    return [
        f"{viewers}",
        f"{per_second}",
        f"{len(late):,}",
        f"{seen.left_out:,}",
        f"{len(answered) * viewers - told:,}",
        *(f"{late[min(len(late) - 1, int(len(late) * share))]:,.0f}" for share in (0.5, 0.95, 0.99, 1.0)),
        f"{used / took * 100:.0f} %",
        f"{reads / took:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    asked = parser.parse_args()
    columns = (
        "viewers",
        "events/s",
        "shown",
        "left out",
        "missing",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "slowest ms",
    )
    table = Table(*columns, "web process", "reads/s", title=f"{asked.seconds} s each")
    with tempfile.TemporaryDirectory(prefix="ese-bench-") as folder:
        port = free_port()
        environment = {
            "ESE_DATA_DIR": folder,
            "ESE_PORT": str(port),
            "ESE_TWILIO_AUTH_TOKEN": TOKEN,
            "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "ESE_PROVIDER": "simulator",
            "ESE_SIMULATOR_URL": "http://127.0.0.1:9",
        }
        with running([*ESE, "serve"], environment, port) as web, running([*ESE, "work"], environment, port):
            command = [sys.executable, *ESE, "keys", "add", "bench", "--role", "viewer"]
            made = subprocess.run(
                command, env=os.environ | environment, check=True, capture_output=True, text=True
            )
            engine = Engine(embedded_url(Path(folder)), port, web.pid, made.stdout.strip())
            for place, run in enumerate(RUNS):
                table.add_row(*measure(engine, run, asked.seconds, 1 + place * 1_000_000))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
