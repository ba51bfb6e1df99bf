"""A worker killed with nobody to start it again: who waits for its sign of life notices, and nothing due is forgotten."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from event_stream_engine.incidents import actions
from event_stream_engine.incidents.actions import Opening
from event_stream_engine.incidents.policy import Contact, change_policy, load_policy
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from tests.browser.running import make_environment, start, wait_until_ready
from tests.engine import LIVE, make_settings
from tests.incidents import ADMIN, PEOPLE
from tests.receivers import Receiver, add_channel, find_free_port, running_receiver

# What a watcher of dead-man's switches is told: one ping a minute, and so late may one be.
PERIOD_SECONDS, GRACE_SECONDS = 60, 60
NOTICED_WITHIN_SECONDS = 180
CLOCK = SystemClock()


@contextmanager
def running_process(environment: dict[str, str], command: str) -> Iterator[None]:
    """Run a command until it is killed with its block, as by a machine that goes away."""
    process = start(environment, command)
    try:
        if command == "serve":
            wait_until_ready(f"http://127.0.0.1:{environment['ESE_PORT']}", process)
        yield
    finally:
        process.kill()
        process.wait(30)


async def wait_for(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(150):
        while len(receiver.got) < count:
            await asyncio.sleep(0.05)


async def wait_for_silence(receiver: Receiver) -> None:
    """Return when a ping is overdue, as the watcher at the other end would find it."""
    heard, heard_at = len(receiver.got), time.monotonic()
    while time.monotonic() - heard_at < PERIOD_SECONDS + GRACE_SECONDS:
        await asyncio.sleep(0.05)
        if len(receiver.got) > heard:
            heard, heard_at = len(receiver.got), time.monotonic()


async def open_incident_told_by(url: str, folder: Path, receiver: Receiver) -> None:
    """Open an incident of 14 min 50 s ago: its second step is due in ten seconds."""
    settings = make_settings(folder, PRIVATE_TARGETS="127.0.0.0/8")
    channel = await add_channel(url, settings, CLOCK, "pager", receiver.url)
    async with await connect(url, "test") as conn, transaction(conn):
        policy = await load_policy(conn)
        steps = [
            replace(step, contacts=[Contact(name, [channel])])
            for step, name in zip(policy.steps, PEOPLE, strict=True)
        ]
        await change_policy(conn, ADMIN, replace(policy, steps=steps), policy.version, CLOCK.now())
        opened_at = CLOCK.now() - timedelta(minutes=14, seconds=50)
        await actions.open_incident(conn, ADMIN, Opening("Nothing arrives", "critical"), opened_at)


@pytest.mark.parametrize("postgres", [None], ids=["pg18"], indirect=True)
async def test_a_killed_worker_is_noticed_within_three_minutes_and_the_next_one_tells_what_fell_due(
    database_url: str, tmp_path: Path
) -> None:
    ports = [find_free_port() for _ in range(3)]
    environment = make_environment(
        tmp_path,
        ports[0],
        DATABASE_URL=database_url,
        SECRET_KEY=LIVE.secret_key,
        DEADMAN_URL=f"http://127.0.0.1:{ports[1]}/ping",
        PRIVATE_TARGETS="127.0.0.0/8",
    )
    async with running_receiver(ports[1]) as watcher, running_receiver(ports[2]) as pager:
        with running_process(environment, "serve"):
            with running_process(environment, "work"):
                await wait_for(watcher, 1)
            killed_at = time.monotonic()
            await open_incident_told_by(database_url, tmp_path, pager)
            await wait_for_silence(watcher)
            noticed_after_seconds = time.monotonic() - killed_at
            print(f"noticed {noticed_after_seconds:.0f} s after the kill")
            assert noticed_after_seconds < NOTICED_WITHIN_SECONDS
            assert pager.got == []

            with running_process(environment, "work"):
                titles = {
                    "INC-0001 opened: Nothing arrives",
                    "INC-0001 escalated to Technical Lead: Nothing arrives",
                }
                await wait_for(pager, 2)
                assert {message["title"] for message in pager.got} >= titles
                assert any("no worker was running" in message["message"] for message in pager.got)
                await wait_for(watcher, 2)
