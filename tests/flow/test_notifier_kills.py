"""Notifiers killed between queueing, sending and writing down: every notice arrives, whatever is repeated."""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SettableClock, SystemClock
from event_stream_engine.notifications import deliveries, outbox
from tests.db.test_outbox_of_notices import make_notice
from tests.engine import make_settings
from tests.receivers import add_channel, deliver_all, running_receiver

PROGRAM = Path(__file__).parents[1] / "notifier_process.py"


@pytest.mark.parametrize(("failpoint", "times"), [("before send", 1), ("after send", 2), ("mid record", 2)])
async def test_notice_of_a_killed_notifier_arrives_all_the_same(
    database_url: str, tmp_path: Path, free_port: int, failpoint: str, times: int
) -> None:
    settings = make_settings(tmp_path, PRIVATE_TARGETS="127.0.0.0/8")
    clock = SettableClock(SystemClock().now())
    async with asyncio.timeout(60), running_receiver(free_port) as receiver:
        await add_channel(database_url, settings, clock, "hook", receiver.url)
        async with await connect(database_url, "test") as conn, transaction(conn):
            await outbox.queue(conn, [make_notice(at=clock.now())])
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), database_url, str(tmp_path), failpoint
        )
        assert await process.wait() == -signal.SIGKILL
        clock.set(SystemClock().now())
        await deliver_all(database_url, settings, clock)
        assert len(receiver.got) == times - 1, "the lease of the dead still holds"
        clock.advance(deliveries.LEASE + timedelta(seconds=5))
        await deliver_all(database_url, settings, clock)
        assert len(receiver.got) == times
        async with await connect(database_url, "test") as conn:
            (line,) = await deliveries.list_deliveries(conn, most=10)
        assert (line.state, line.attempts) == ("delivered", 1)
