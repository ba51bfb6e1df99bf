"""How many webhooks a second, durable before the answer?

Signed, distinct status callbacks over loopback with 64 connections against one web process and the embedded PostgreSQL
(fsync on), beside a bare 204 route of the same server in the same run. Prints requests/s, p50 and p99.

    .venv/bin/python benchmarks/ingest.py [--requests 60000] [--connections 64]
"""

import argparse
import asyncio
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.messaging.webhooks import sign_request

TOKEN = "benchmark-token-benchmark-token-"
ACCOUNT_SID = "AC" + "5e" * 16
WARM_UP = 3000


@dataclass(frozen=True, slots=True)
class Result:
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def make_requests(count: int, port: int, path: str) -> list[bytes]:
    """Make signed requests as bytes, ready to send, each about another message."""
    url = f"http://127.0.0.1:{port}{path}"
    made = []
    for number in range(count):
        form = {
            "AccountSid": ACCOUNT_SID,
            "MessageSid": f"SM{uuid4().hex}",
            "From": "+14155238886",
            "To": f"+1415{2000000 + number % 7000000}",
            "ApiVersion": "2010-04-01",
            "MessageStatus": "delivered",
            "SmsStatus": "delivered",
            "RawDlrDoneDate": "2603021200",
            "MessagingServiceSid": "MG" + "5e" * 16,
        }
        form["SmsSid"] = form["MessageSid"]
        body = urlencode(form).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\nX-Twilio-Signature: {sign_request(TOKEN, url, form)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


class Connection(asyncio.Protocol):
    """One connection: sends a request, waits for the whole answer, sends the next."""

    def __init__(
        self,
        requests: Iterator[bytes],
        latencies: list[float],
        failures: list[bytes],
        done: asyncio.Future[None],
    ) -> None:
        self.requests, self.latencies, self.failures, self.done = requests, latencies, failures, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        request = next(self.requests, None)
        if request is None:
            self.transport.close()
            self.done.set_result(None)
            return
        self.began = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not data.endswith(b"\r\n\r\n") or not data.startswith(b"HTTP/1.1 204"):  # a 204 has no body
            self.failures.append(data)
        self.latencies.append(time.perf_counter() - self.began)
        self.send()


async def load(port: int, requests: list[bytes], connections: int) -> Result:
    loop = asyncio.get_running_loop()
    source, latencies, failures = iter(requests), [], []
    began = time.perf_counter()
    waiting = []
    for _ in range(connections):
        done = loop.create_future()
        await loop.create_connection(
            lambda done=done: Connection(source, latencies, failures, done), "127.0.0.1", port
        )
        waiting.append(done)
    await asyncio.gather(*waiting)
    seconds = time.perf_counter() - began
    latencies.sort()
    return Result(
        len(latencies) / seconds,
        latencies[len(latencies) // 2] * 1e3,
        latencies[int(len(latencies) * 0.99)] * 1e3,
        len(failures),
    )


def run_load(port: int, path: str, count: int, connections: int, answers: multiprocessing.Queue) -> None:
    """Run in a process of its own, so that making the load does not slow what is measured more than it must."""
    uvloop.run(load(port, make_requests(WARM_UP, port, path), connections))
    answers.put(uvloop.run(load(port, make_requests(count, port, path), connections)))


def measure(port: int, path: str, count: int, connections: int) -> Result:
    answers: multiprocessing.Queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=run_load, args=(port, path, count, connections, answers))
    process.start()
    result = answers.get(timeout=300)
    process.join()
    return result


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(arguments: list[str], environment: dict[str, str], port: int) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen([sys.executable, *arguments], env=os.environ | environment)
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(20)


BARE = """
import sys, uvicorn
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning", server_header=False, lifespan="off")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=60_000)
    parser.add_argument("--connections", type=int, default=64)
    asked = parser.parse_args()
    table = Table(
        "path",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "not 204",
        title=f"{asked.requests:,} requests, {asked.connections} connections",
    )

    def report(name: str, result: Result) -> None:
        row = (
            f"{result.requests_per_second:,.0f}",
            f"{result.p50_ms:.2f}",
            f"{result.p99_ms:.2f}",
            str(result.failed),
        )
        table.add_row(name, *row)

    port = free_port()
    with running(["-c", BARE, str(port)], {}, port):
        bare = measure(port, "/webhooks/status", asked.requests, asked.connections)
    report("bare 204 route", bare)
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
            durable = measure(port, "/webhooks/status", asked.requests, asked.connections)
            stored = asyncio.run(count_events(Path(folder)))
    report("/webhooks/status, durable", durable)
    Console().print(table)
    Console().print(
        f"ratio to the bare route {durable.requests_per_second / bare.requests_per_second:.2f};"
        f" {stored:,} of {asked.requests + WARM_UP:,} acknowledged events are in the log"
    )


async def count_events(data_dir: Path) -> int:
    async with embedded_postgres(data_dir) as url:
        with psycopg.connect(url) as conn:
            return conn.execute("SELECT count(*) FROM events").fetchone()[0]


if __name__ == "__main__":
    main()
