"""The sealer as the worker runs it, and the command that verifies what it did."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from event_stream_engine.audit import entries
from event_stream_engine.audit.anchors import FILE_NAME, Anchor, append_anchor, read_anchors
from event_stream_engine.audit.chain import load_chain_status
from event_stream_engine.audit.verification import verify_chain
from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.worker.sealer import run_sealer
from tests.engine import make_settings


@asynccontextmanager
async def sealing(url: str, folder: Path, clock: SettableClock) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    running = asyncio.create_task(run_sealer(make_settings(folder), url, clock, stopping))
    try:
        yield
    finally:
        stopping.set()
        await running


async def record(conn: Connection, clock: SettableClock) -> None:
    entry = entries.Entry(clock.now(), "campaign.started", "campaign:1")
    await entries.record(conn, entries.COMMAND_LINE, entry)


async def wait_for_head(conn: Connection, file: Path, number: int) -> None:
    async with asyncio.timeout(30):
        while not (file.exists() and number in [anchor.number for anchor in read_anchors([file])]):
            await asyncio.sleep(0.02)
    head = (await load_chain_status(conn)).head
    assert head is not None
    assert head.number == number


async def test_each_head_is_anchored_and_also_logged(
    database_url: str, tmp_path: Path, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / FILE_NAME
    async with await connect(database_url, "test") as conn, sealing(database_url, tmp_path, clock):
        for number in (1, 2):
            await record(conn, clock)
            await wait_for_head(conn, file, number)
        verdict = await verify_chain(conn, read_anchors([file]), lambda _: None)
        assert (verdict.rows, verdict.anchors, verdict.faults) == (2, 2, [])
    first = next(read_anchors([file]))
    assert [first.hash.hex() in line for line in caplog.messages if "audit anchor" in line] == [True]


async def test_a_head_whose_anchor_a_crash_left_out_is_anchored_at_the_next_start(
    database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    async with await connect(database_url, "test") as conn:
        await record(conn, clock)
        async with sealing(database_url, tmp_path / "one", clock):
            await wait_for_head(conn, tmp_path / "one" / FILE_NAME, 1)
        async with sealing(database_url, tmp_path / "other", clock):
            await wait_for_head(conn, tmp_path / "other" / FILE_NAME, 1)


async def test_a_chain_that_is_not_what_was_anchored_is_told_at_the_start(
    database_url: str, tmp_path: Path, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    append_anchor(tmp_path / FILE_NAME, Anchor(7, bytes(32), clock.now()))
    async with sealing(database_url, tmp_path, clock), asyncio.timeout(30):
        while not any("ends at batch 0, but batch 7 was anchored" in line for line in caplog.messages):
            await asyncio.sleep(0.02)


async def test_of_two_workers_one_seals(database_url: str, tmp_path: Path, clock: SettableClock) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    async with await connect(database_url, "test") as conn:
        async with sealing(database_url, other, clock):
            async with sealing(database_url, one, clock):
                await record(conn, clock)
                async with asyncio.timeout(30):
                    while (await load_chain_status(conn)).unsealed:
                        await asyncio.sleep(0.02)
            await record(conn, clock)
            async with asyncio.timeout(30):  # the one that is left takes over
                while (await load_chain_status(conn)).unsealed:
                    await asyncio.sleep(0.02)
        files = [file for folder in (one, other) if (file := folder / FILE_NAME).exists()]
        verdict = await verify_chain(conn, read_anchors(files), lambda _: None)
        assert (verdict.rows, verdict.faults) == (2, [])
