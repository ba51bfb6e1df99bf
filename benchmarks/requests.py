"""What does measuring every request cost?

A bare Starlette route under uvicorn on loopback, with and without the measuring layer around it, in one run: both servers
are there the whole time and take turns, so that what else the machine does falls on both. Each pair of turns gives a ratio
of throughput and one of processor time, which a busy machine sways less; their medians and middle halves are printed. Then the layer alone: the time of one call of an application that does
nothing, with and without it, and what the fold costs afterwards.

    .venv/bin/python benchmarks/requests.py [--rounds 20] [--requests 20000] [--connections 32]
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.request import urlopen

import uvloop
from ingest import free_port, load, running
from rich.console import Console
from rich.table import Table
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from event_stream_engine.monitoring.requests import RequestMeter, name_request
from event_stream_engine.web.requests import MeasuredRequests

SERVER = """
import asyncio, sys, time, uvicorn, uvloop
from datetime import UTC, datetime
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from event_stream_engine.monitoring.requests import RequestMeter, name_request
from event_stream_engine.web.requests import MeasuredRequests

async def show(request):
    return Response(status_code=204)

async def fold(meter):
    while True:
        await asyncio.sleep(4)
        await meter.fold(datetime.now(UTC))
        meter.take(10_000)

async def tell_time(request):
    return Response(str(time.process_time()))

app = Starlette(routes=[Route("/bare", show), Route("/time", tell_time)])
if sys.argv[2] == "measured":
    meter = RequestMeter(name_request)
    app = MeasuredRequests(app, meter)
async def main():
    config = uvicorn.Config(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning", server_header=False, lifespan="off")
    if sys.argv[2] == "measured":
        folding = asyncio.create_task(fold(meter))
    await uvicorn.Server(config).serve()
uvloop.run(main())
"""


@dataclass(frozen=True, slots=True)
class Turn:
    requests_per_second: float
    microseconds: float  # of processor time in the server, a request


def read_time(port: int) -> float:
    with urlopen(f"http://127.0.0.1:{port}/time") as answer:
        return float(answer.read())


def compare(rounds: int, requests: int, connections: int) -> list[dict[str, Turn]]:
    """Return the turns of each round, bare and measured; now one begins and now the other."""
    ports = {"bare": free_port(), "measured": free_port()}

    def measure(name: str) -> Turn:
        port = ports[name]
        asked = [f"GET /bare HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()] * requests
        began = read_time(port)
        result = uvloop.run(load(port, asked, connections))
        return Turn(result.requests_per_second, (read_time(port) - began) / requests * 1e6)

    with (
        running(["-c", SERVER, str(ports["bare"]), "bare"], {}, ports["bare"]),
        running(["-c", SERVER, str(ports["measured"]), "measured"], {}, ports["measured"]),
    ):
        for name in ports:
            measure(name)
        orders = (("bare", "measured"), ("measured", "bare"))
        return [{name: measure(name) for name in orders[number % 2]} for number in range(rounds)]


async def nothing(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def time_layer(calls: int) -> tuple[float, float, float]:
    """Return microseconds a call without and with the layer, and of the fold."""

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None:
        pass

    async def call(app: ASGIApp) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            await app({"type": "http", "method": "GET", "path": "/healthz"}, receive, send)
        return (time.perf_counter() - began) / calls * 1e6

    meter = RequestMeter(name_request)
    measured = MeasuredRequests(nothing, meter)
    await call(nothing)
    without = min([await call(nothing) for _ in range(5)])
    layered = min([await call(measured) for _ in range(5)])
    began = time.perf_counter()
    await meter.fold(datetime.now(UTC))
    return without, layered, (time.perf_counter() - began) / (5 * calls) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=32)
    asked = parser.parse_args()
    turns = compare(asked.rounds, asked.requests, asked.connections)
    table = Table("", "median", "middle half", title=f"{asked.rounds} rounds of {asked.requests:,} requests")

    def add(name: str, values: Sequence[float], form: str) -> None:
        low, middle, high = statistics.quantiles(values, n=4)
        table.add_row(name, format(middle, form), f"{low:{form}} – {high:{form}}")

    for name in ("bare", "measured"):
        add(f"{name}: requests/s", [turn[name].requests_per_second for turn in turns], ",.0f")
        add(f"{name}: processor time, µs a request", [turn[name].microseconds for turn in turns], ".1f")
    rates = [turn["measured"].requests_per_second / turn["bare"].requests_per_second for turn in turns]
    add("throughput lost, %", [(1 - rate) * 100 for rate in rates], ".2f")
    times = [turn["measured"].microseconds / turn["bare"].microseconds for turn in turns]
    add("more processor time, %", [(one - 1) * 100 for one in times], ".2f")
    without, layered, folded = uvloop.run(time_layer(100_000))
    table.add_row(
        "the layer alone, µs a request", f"{layered - without:.2f}", f"and {folded:.2f} in the fold"
    )
    Console().print(table)


if __name__ == "__main__":
    main()
