"""Webhooks while the database or the disk is away, slow or stopped: stored before they are answered, or refused."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from event_stream_engine.ingest.callbacks import RECEIPT, make_event
from event_stream_engine.ingest.intake import ANSWER_SECONDS, Intake
from event_stream_engine.kernel.clock import SettableClock, SystemClock
from event_stream_engine.stream.log import Event
from event_stream_engine.stream.spool import Spool
from tests.engine import ACCOUNT_SID, Engine, make_settings, running_engine

SPOOL_LIMIT_BYTES = 100_000_000


def make_form(number: int, status: str = "delivered") -> dict[str, Any]:
    return {
        "MessageSid": f"SM{number:032x}",
        "AccountSid": ACCOUNT_SID,
        "To": f"+4179{number:07d}",
        "From": "+41790000000",
        "MessageStatus": status,
    }


def make_receipt(number: int, received_at: datetime | None = None) -> Event:
    return make_event(RECEIPT, make_form(number), received_at or SystemClock().now(), ACCOUNT_SID)


async def goes_to_the_log(intake: Intake) -> bool:
    await intake.accept(make_receipt(0))
    return intake.spooled.events == 0


@asynccontextmanager
async def running_intake(url: str, folder: Path) -> AsyncIterator[Intake]:
    """Run an intake that has found the database; receipt 0 is then in the log."""
    spool = Spool(folder, SPOOL_LIMIT_BYTES)
    intake = Intake(url, spool, uuid4(), SystemClock())
    running = asyncio.create_task(intake.run())
    try:
        async with asyncio.timeout(10):
            while intake.spooled.events or not await goes_to_the_log(intake):
                await asyncio.sleep(0.05)
        yield intake
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        spool.close()


@contextmanager
def admin_of(url: str) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    """A connection beside the test's database, and that database's name."""
    name = re.search(r"@/([^?]+)\?", url)
    assert name is not None
    with psycopg.connect(url.replace(name[0], "@/ese?"), autocommit=True) as admin:
        yield admin, name[1]


@contextmanager
def database_away(url: str) -> Iterator[None]:
    """End all connections and let nobody in."""
    with admin_of(url) as (admin, name):
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        admin.execute(allow.format(sql.Identifier(name), sql.Literal(False)))
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            admin.execute(allow.format(sql.Identifier(name), sql.Literal(True)))


@contextmanager
def spool_locked(folder: Path) -> Iterator[None]:
    with closing(sqlite3.connect(folder / "spool-0.db", isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield


async def count_events(url: str) -> int:
    async with await psycopg.AsyncConnection.connect(url) as conn:
        row = await (await conn.execute("SELECT count(*) FROM events")).fetchone()
    assert row is not None
    return int(row[0])


async def wait_for_events(url: str, expected: int) -> None:
    async with asyncio.timeout(15):
        while await count_events(url) < expected:
            await asyncio.sleep(0.1)
    assert await count_events(url) == expected


async def test_terminated_connections_fail_no_webhook(engine: Engine) -> None:
    answers: list[int] = []

    async def send(sender: int) -> None:
        for number in range(25):
            answer = await engine.post_webhook("/webhooks/status", make_form(sender * 1000 + number))
            answers.append(answer.status_code)
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        for sender in range(8):
            tasks.create_task(send(sender))
        with admin_of(engine.url) as (admin, name):
            for _ in range(4):
                await asyncio.sleep(0.15)
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
                )
    assert answers == [204] * 200
    await wait_for_events(engine.url, 200)


async def test_a_locked_log_sends_webhooks_to_the_spool_in_time(database_url: str, tmp_path: Path) -> None:
    async with running_intake(database_url, tmp_path) as intake:
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            for number in range(1, 21):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await intake.accept(make_receipt(number))
                await asyncio.sleep(0.1)
            assert intake.spooled.events == 20
            waiting = await other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            row = await waiting.fetchone()
            assert row is not None
            assert row[0] <= 1, "each try leaves a backend behind that waits for the lock"
        await wait_for_events(database_url, 21)
        async with asyncio.timeout(5):
            while intake.spooled.events:
                await asyncio.sleep(0.05)


async def test_without_database_and_disk_a_webhook_is_refused_in_time_and_counted(
    engine: Engine, tmp_path: Path
) -> None:
    assert (await engine.post_webhook("/webhooks/status", make_form(1))).status_code == 204
    with database_away(engine.url), spool_locked(tmp_path / "spool"):
        async with asyncio.timeout(3):
            answers = await asyncio.gather(
                *(engine.post_webhook("/webhooks/status", make_form(number)) for number in range(2, 7))
            )
        assert {answer.status_code for answer in answers} == {503}
        assert answers[0].headers["retry-after"]
        assert "spool" in answers[0].text
    refused = "SELECT sum(events)::int FROM intake_counts WHERE outcome = 'refused'"
    async with asyncio.timeout(15):
        while await engine.rows(refused) != [(5,)]:
            await asyncio.sleep(0.1)
    assert (await engine.post_webhook("/webhooks/status", make_form(7))).status_code == 204


async def test_a_full_spool_refuses_with_a_reason_and_recovers_by_itself(
    database_url: str, tmp_path: Path
) -> None:
    settings = replace(make_settings(tmp_path), spool_limit_bytes=40_000)
    async with running_engine(database_url, settings, SystemClock()) as engine:
        stored = 0
        with database_away(database_url):
            while (
                answer := await engine.post_webhook("/webhooks/status", make_form(stored))
            ).status_code == 204:
                stored += 1
            assert answer.status_code == 503
            assert "spool is full" in answer.text
            assert "ESE_SPOOL_LIMIT_MB" in answer.text
            assert stored > 10
        await wait_for_events(database_url, stored)
        with database_away(database_url):
            assert (await engine.post_webhook("/webhooks/status", make_form(stored))).status_code == 204
        await wait_for_events(database_url, stored + 1)


async def test_shutdown_answers_the_webhooks_that_wait(database_url: str, tmp_path: Path) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        async with running_intake(database_url, tmp_path) as intake:
            await other.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            in_hand = asyncio.create_task(intake.accept(make_receipt(1)))
            await asyncio.sleep(0.1)
            waiting = [asyncio.create_task(intake.accept(make_receipt(number))) for number in range(2, 6)]
            await asyncio.sleep(0.1)
        assert all(task.done() and task.exception() is None for task in (in_hand, *waiting))
    async with running_intake(database_url, tmp_path):
        await wait_for_events(database_url, 6)


async def test_every_webhook_received_is_counted_once(engine: Engine) -> None:
    await asyncio.gather(
        *(engine.post_webhook("/webhooks/status", make_form(number % 10)) for number in range(40)),
        *(engine.post_webhook("/webhooks/status", make_form(1), token="0" * 32) for _ in range(3)),
    )
    counted = "SELECT outcome, sum(events)::int FROM intake_counts GROUP BY outcome ORDER BY outcome"
    async with asyncio.timeout(15):
        while sum(events for _, events in await engine.rows(counted)) < 43:
            await asyncio.sleep(0.1)
    assert dict(await engine.rows(counted)) == {
        "accepted": 10,
        "duplicate": 30,
        "rejected: wrong signature": 3,
    }


async def test_a_day_without_partition_gets_one(database_url: str, tmp_path: Path) -> None:
    async with running_intake(database_url, tmp_path) as intake:
        for days_ago, expected in ((40, 21), (400, 41)):
            received_at = SystemClock().now() - timedelta(days=days_ago)
            events = [make_receipt(number, received_at) for number in range(20)]
            await asyncio.gather(*(intake.accept(event) for event in events))
            await wait_for_events(database_url, expected)


async def test_a_copy_on_another_day_changes_no_figure(
    database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    window = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-06T00:00:00Z"}
    async with running_engine(database_url, make_settings(tmp_path), clock) as engine:
        clock.set(datetime(2026, 3, 3, 23, 59, 59, tzinfo=UTC))
        for status in ("sent", "delivered", "delivered"):
            await engine.post_webhook("/webhooks/status", make_form(1, status))
        await wait_for_events(database_url, 2)
        await engine.project()
        before = await engine.get("/api/v1/analytics/delivery", **window)
        clock.set(datetime(2026, 3, 4, 0, 0, 1, tzinfo=UTC))
        await engine.post_webhook("/webhooks/status", make_form(1, "delivered"))
        await wait_for_events(database_url, 3)
        assert await engine.project() == 1
        after = await engine.get("/api/v1/analytics/delivery", **window)
    assert before["execution_summary"]["messages_delivered"] == 1
    assert {**after, "as_of": None} == {**before, "as_of": None}
