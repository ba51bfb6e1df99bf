"""Requests and the pipeline of webhooks, measured: known traffic in, exactly that out."""

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from event_stream_engine.analytics.calendar import refresh_calendar
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring import pipeline, requests
from event_stream_engine.monitoring.requests import (
    RequestMeter,
    list_requests,
    list_route_requests,
    name_request,
)
from event_stream_engine.stream import log
from event_stream_engine.web.requests import MeasuredRequests

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
US = 1000  # nanoseconds


class Timer:
    """A timer that stands until told to move."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


class Process:
    """What a web process measures: an application whose requests last and end as their address says."""

    def __init__(self) -> None:
        self.timer = Timer()
        self.meter = RequestMeter(name_request, self.timer)
        routes = [
            Route("/last/{us}/{status}", self.answer),
            Route("/watch", self.watch),
            Route("/break", self.fail),
        ]
        self.app: ASGIApp = MeasuredRequests(Starlette(routes=routes), self.meter)

    async def answer(self, request: Request) -> Response:
        self.timer.ns += int(request.path_params["us"]) * US
        return PlainTextResponse("", int(request.path_params["status"]))

    async def watch(self, _: Request) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            self.timer.ns += 7000 * US
            yield b"data: first\n\n"
            self.timer.ns += 3_600_000_000 * US
            yield b"data: last\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def fail(self, _: Request) -> Response:
        self.timer.ns += 2000 * US
        raise RuntimeError

    async def get(self, path: str) -> None:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://engine.test") as client:
            await client.get(path)

    async def tell(self, conn: Connection, now: datetime) -> None:
        await self.meter.fold(now)
        await requests.tell(conn, self.meter, now)


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url, "test") as conn:
        yield conn


def nearest_rank(values: list[int], percent: int) -> float:
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1] / 1000


async def test_known_traffic_over_two_processes_is_found_as_it_was(conn: Connection) -> None:
    one, other = Process(), Process()
    lasted: list[int] = []
    for number in range(100):
        us = 40 + number * number * 37
        lasted.append(us)
        status = 500 if number % 20 == 0 else 404 if number % 10 == 1 else 200
        await (one if number % 2 else other).get(f"/last/{us}/{status}")
    await asyncio.gather(*(process.tell(conn, NOON) for process in (one, other)))

    now = NOON + timedelta(seconds=6)
    [found] = await list_requests(conn, [Window(now - timedelta(hours=1), now)], now)
    assert (found.count, found.failed, found.error_rate_percent) == (100, 5, 5.0)
    assert (found.fastest, found.slowest) == (min(lasted), max(lasted))
    assert found.average_ms == pytest.approx(sum(lasted) / 100 / 1000)
    for percent in (50, 95, 99):
        assert found.percentiles_ms[f"p{percent}"] == pytest.approx(nearest_rank(lasted, percent), rel=0.01)
    [route] = await list_route_requests(conn, Window(now - timedelta(hours=1), now), now)
    assert (route.route, route.method, route.refused, route.unanswered) == (
        "/last/{us}/{status}",
        "GET",
        10,
        0,
    )
    assert route.requests == found
    counted = await (
        await conn.execute("SELECT status_class, requests FROM request_totals ORDER BY 1")
    ).fetchall()
    assert counted == [("2xx", 85), ("4xx", 10), ("5xx", 5)]


async def test_present_figures_are_those_of_the_windows_they_name(conn: Connection) -> None:
    process = Process()
    for seconds, count in ((400, 3), (200, 20), (90, 10), (30, 60)):
        for _ in range(count):
            await process.get("/last/1000/200")
        await process.tell(conn, NOON - timedelta(seconds=seconds))
    rates = await requests.load_rates(conn, NOON)
    assert rates.last_seconds.count == 60
    assert rates.last_minutes.count == 90
    assert rates.minute_window == Window(NOON - timedelta(minutes=2), NOON - timedelta(minutes=1))
    assert rates.last_minute.count == 10


async def test_stream_of_events_is_measured_to_its_first_byte(conn: Connection) -> None:
    process = Process()
    await process.get("/watch")
    await process.tell(conn, NOON + timedelta(hours=1))
    [found] = await list_requests(
        conn, [Window(NOON - timedelta(hours=1), NOON + timedelta(hours=2))], NOON + timedelta(hours=2)
    )
    assert (found.count, found.slowest) == (1, 7000)


async def test_failure_counts_as_500_and_a_client_that_left_as_unanswered(conn: Connection) -> None:
    process = Process()
    await process.get("/break")

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        raise AssertionError

    abandoned = MeasuredRequests(hang, process.meter)
    waiting = asyncio.create_task(
        abandoned({"type": "http", "method": "BREW", "path": "/hang"}, receive, send)
    )
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await process.tell(conn, NOON)
    broken, left = await list_route_requests(conn, Window(NOON - timedelta(hours=1), NOON), NOON)
    assert (broken.route, broken.requests.failed) == ("/break", 1)
    assert (left.route, left.method, left.unanswered, left.requests.failed) == ("unmatched", "other", 1, 0)


async def test_what_could_not_be_told_is_told_later_in_the_moment_it_was_received(
    conn: Connection, database_url: str
) -> None:
    process = Process()
    lost = await connect(database_url, "test")
    await lost.close()
    for minutes in range(10):
        await process.get("/last/1000/200")
        with pytest.raises(Exception, match="closed"):
            await process.tell(lost, NOON + timedelta(minutes=minutes, seconds=30))
    await process.tell(conn, NOON + timedelta(minutes=10))
    windows = [
        Window(NOON + timedelta(minutes=minute), NOON + timedelta(minutes=minute + 1)) for minute in range(10)
    ]
    assert [found.count for found in await list_requests(conn, windows, NOON + timedelta(minutes=20))] == [
        1
    ] * 10


async def test_memory_is_bounded_while_the_database_is_away() -> None:
    process = Process()
    for minutes in range(0, 24 * 60, 5):
        await process.get("/last/1000/200")
        await process.meter.fold(NOON + timedelta(minutes=minutes))
    kept = process.meter.take(100_000)
    assert sum(tally.count for tally in kept.values()) <= 6 * 12 + 1
    assert all(
        tick % 60 == 0 for tick, _ in kept if tick < (NOON + timedelta(hours=23, minutes=50)).timestamp()
    )


async def test_processes_that_tell_at_once_do_not_lock_each_other(
    database_url: str, conn: Connection
) -> None:
    async def tell_often(number: int) -> None:
        process = Process()
        async with await connect(database_url, "test") as own:
            for turn in range(20):
                for status in (200, 404, 500) if (number + turn) % 2 else (500, 404, 200):
                    await process.get(f"/last/{1000 + turn}/{status}")
                await process.tell(own, NOON)

    await asyncio.gather(*(tell_often(number) for number in range(4)))
    [found] = await list_requests(conn, [Window(NOON - timedelta(hours=1), NOON)], NOON)
    assert (found.count, found.failed) == (240, 80)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
async def test_days_are_settled_by_the_calendar_and_give_the_same_sums(conn: Connection, zone: str) -> None:
    process = Process()
    began = datetime(2026, 3, 6, 3, 7, tzinfo=UTC)
    until = began + timedelta(days=5)  # over the American change of clocks
    windows = [Window(began - timedelta(days=days), until) for days in (1, 2)] + [
        Window(began + timedelta(days=day, hours=5), began + timedelta(days=day + 2)) for day in range(3)
    ]
    for hours in range(0, 120, 5):
        await process.get(f"/last/{1000 + hours}/200")
        await process.tell(conn, began + timedelta(hours=hours))
    before = await list_requests(conn, windows, until)
    async with transaction(conn):
        await refresh_calendar(conn, ZoneInfo(zone))
    await requests.settle_days(conn, until)
    days = await (
        await conn.execute("SELECT count(*) FROM request_rollups WHERE grain = 'day' AND route = ''")
    ).fetchone()
    assert days is not None
    assert days[0] in (4, 5)
    assert await list_requests(conn, windows, until) == before
    await requests.settle_days(conn, until)
    assert await list_requests(conn, windows, until) == before
    async with transaction(conn):
        await refresh_calendar(conn, ZoneInfo("Pacific/Auckland"))
    assert await list_requests(conn, windows, until) == before
    await requests.settle_days(conn, until)
    assert await list_requests(conn, windows, until) == before


async def test_old_buckets_are_cleared_and_the_figures_of_what_is_kept_stay(conn: Connection) -> None:
    process = Process()
    for days in (0, 20, 120):
        await process.get("/last/1000/200")
        await process.tell(conn, NOON + timedelta(days=days))
    await requests.settle_days(conn, NOON + timedelta(days=120))
    await requests.clear_old(conn, NOON + timedelta(days=120))
    grains = await (
        await conn.execute(
            "SELECT grain, count(*) FROM request_rollups WHERE route = '' GROUP BY grain ORDER BY grain"
        )
    ).fetchall()
    assert grains == [("day", 2), ("minute", 1), ("quarter", 2), ("tick", 1), ("total", 1)]
    now = NOON + timedelta(days=120)
    [found] = await list_requests(conn, [Window(NOON - timedelta(days=1), now)], now)
    assert found.count == 3


async def test_intake_counts_put_together_keep_their_sum(conn: Connection) -> None:
    for days in (0, 5, 95, 120):
        for _ in range(2):
            rows = [
                (NOON - timedelta(days=days, minutes=minute), "receipt.received", outcome, 5)
                for minute in range(40)
                for outcome in ("accepted", "refused")
            ]
            await log.add_intake_counts(conn, rows, source=uuid4())
    for _ in range(2):
        await log.add_up_intake(conn, NOON)
    totals = {total.outcome: total.events for total in await log.list_intake_totals(conn)}
    assert totals == {"accepted": 1600, "refused": 1600}
    # Four quarter-hours of each of two days, and today by minute and process.
    assert await (await conn.execute("SELECT count(*) FROM intake_counts")).fetchone() == (2 * 4 * 2 + 160,)
    week = await pipeline.load_pipeline(conn, Window(NOON - timedelta(days=7), NOON), NOON)
    assert (week.accepted, week.refused, week.received) == (800, 800, 1600)
