"""The dead-man's switch: pinged while events get through to the alerts, silent as soon as one part of the way is dead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.ingest.canary import CANARY, make_canary, seconds_to_next
from event_stream_engine.ingest.intake import Intake
from event_stream_engine.ingest.projection import Live
from event_stream_engine.kernel.clock import SettableClock, SystemClock
from event_stream_engine.monitoring import outward
from event_stream_engine.stream.log import append_events, has_waiting
from event_stream_engine.stream.spool import Spool
from event_stream_engine.worker import deadman
from event_stream_engine.worker.projector import open_projector, run_once
from event_stream_engine.worker.recount import recount
from tests.engine import LIVE, make_settings, running_engine
from tests.receivers import Receiver, running_receiver

SECOND = timedelta(seconds=1)


class Way:
    """The whole way of a canary by a clock that stands still; parts of it can be dead."""

    def __init__(
        self,
        conn: Connection,
        projector: Connection,
        intake: Intake,
        receiver: Receiver,
        clock: SettableClock,
    ):
        self.conn, self.projector, self.intake, self.receiver, self.clock = (
            conn,
            projector,
            intake,
            receiver,
            clock,
        )

    async def go_on(self, seconds: int, *dead: str) -> int:
        """Let time pass in steps of 10 s, and return how many pings came."""
        before = len(self.receiver.got)
        for _ in range(0, seconds, 10):
            now = self.clock.now()
            if "web" not in dead and now.second == 0:
                await self.intake.accept(make_canary(now))
            if "projector" not in dead:
                await self.project()
            if "evaluator" not in dead:
                await self.conn.execute("UPDATE evaluator_ticks SET ticked_at = %s", (now,))
            if "worker" not in dead:
                await deadman.run_once(self.conn, f"http://127.0.0.1:{self.receiver.port}/ping", self.clock)
            self.clock.advance(10 * SECOND)
        return len(self.receiver.got) - before

    async def project(self) -> None:
        while self.intake.spooled.events:  # its connection has only just been opened
            await asyncio.sleep(0.01)
        while await has_waiting(self.conn):
            if not await run_once(self.projector, Live(LIVE.secret_key, self.clock)):
                await asyncio.sleep(0.01)

    async def health(self) -> tuple[str, str]:
        row = await outward.describe_deadman(self.conn, self.clock.now())
        return row.state, row.text


@asynccontextmanager
async def running_intake(url: str, folder: Path, clock: Any) -> AsyncIterator[Intake]:
    spool = Spool(folder, 1024 * 1024)
    intake = Intake(url, spool, uuid4(), clock)
    running = asyncio.create_task(intake.run())
    try:
        yield intake
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        spool.close()


@pytest.fixture
async def way(database_url: str, tmp_path: Path, clock: SettableClock, free_port: int) -> AsyncIterator[Way]:
    async with (
        await connect(database_url, "test") as conn,
        await open_projector(database_url) as projector,
        running_intake(database_url, tmp_path / "spool", clock) as intake,
        running_receiver(free_port) as receiver,
    ):
        yield Way(conn, projector, intake, receiver, clock)


async def test_while_all_is_well_there_is_one_ping_a_minute(way: Way) -> None:
    assert await way.health() == ("ok", "not configured")
    assert await way.go_on(600) == 10
    assert await way.health() == ("ok", "last ping 60 s ago")


@pytest.mark.parametrize(("dead", "at_most"), [("worker", 0), ("evaluator", 1), ("projector", 2), ("web", 2)])
async def test_when_a_part_of_the_way_dies_the_pings_end_within_the_documented_time(
    way: Way, dead: str, at_most: int
) -> None:
    assert await way.go_on(120) == 2
    assert await way.go_on(300, dead) <= at_most
    assert await way.go_on(120, dead) == 0
    assert (await way.health())[0] == "failed"
    assert await way.go_on(120) == 2, "it recovers by itself"
    assert (await way.health())[0] == "ok"


async def test_two_workers_ping_once_a_minute(way: Way) -> None:
    await way.go_on(60)
    address = f"http://127.0.0.1:{way.receiver.port}/ping"
    taken = [await deadman.run_once(way.conn, address, way.clock) for _ in range(2)]
    assert taken == [True, False]


async def test_ping_that_is_not_taken_shows_and_is_tried_again_the_next_minute(way: Way) -> None:
    way.receiver.status = 500
    assert await way.go_on(60) == 0
    assert await way.health() == ("failed", "last ping failed: HTTP 500")
    way.receiver.status = 200
    assert await way.go_on(60) == 1


async def test_canaries_of_several_web_processes_are_one_event(way: Way) -> None:
    now = way.clock.now()
    for seconds in range(3):
        await way.intake.accept(make_canary(now + seconds * SECOND))
    await way.project()
    found = await way.conn.execute("SELECT count(*) FROM events WHERE event_type = %s", (CANARY,))
    assert await found.fetchone() == (1,)
    assert seconds_to_next(now + 7 * SECOND) == 53


async def test_canary_counts_as_no_webhook_and_no_dead_letter_and_a_recount_agrees(
    way: Way, database_url: str
) -> None:
    canary = make_canary(way.clock.now())
    told = await append_events(way.conn, [canary, canary], source=uuid4(), counted_at=way.clock.now())
    assert (told.accepted, told.duplicate) == (0, 0)
    await way.project()
    for table in ("intake_counts", "dead_letters", "pipeline_rollups", "message_rollups"):
        found = await way.conn.execute(f"SELECT count(*) FROM {table}")  # type: ignore[arg-type]
        assert await found.fetchone() == (0,), table
    assert await recount(database_url, repair=False, on_progress=lambda _: None) == []


async def test_web_process_with_a_switch_sends_canaries_and_shows_them_in_no_figure(
    database_url: str, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, DEADMAN_URL="http://127.0.0.1:9/ping")
    sent = "SELECT count(*) FROM events WHERE event_type = 'canary.sent'"
    async with asyncio.timeout(30), running_engine(database_url, settings, SystemClock()) as engine:
        while (await engine.rows(sent))[0][0] == 0:
            await asyncio.sleep(0.05)
        await engine.project()
        assert (await engine.rows("SELECT count(*) > 0 FROM canary_rollups"))[0][0]
        assert await engine.rows("SELECT * FROM intake_counts") == []
        page = await engine.client.get("/monitoring")
        assert "canary" not in page.text


async def test_worker_without_an_address_has_no_switch(way: Way, database_url: str) -> None:
    await way.go_on(60)
    await deadman.run_deadman(None, database_url, SystemClock(), asyncio.Event())
    assert await way.health() == ("ok", "not configured")
