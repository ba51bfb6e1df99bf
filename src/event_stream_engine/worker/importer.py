"""Imports that wait, each done by a process of its own: reading a file takes a whole core, which the sender needs."""

import asyncio
import logging
import sys

import psycopg

from event_stream_engine.audience.importing import count_waiting
from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.worker.projector import pause

LOOK_SECONDS = 1.0
END_SECONDS = 5
_logger = logging.getLogger(__name__)


async def run_importer(
    url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Start `ese import waiting` whenever something waits; it ends when nothing does, or with us."""
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-importer") as conn:
                while not stopping.is_set():
                    if await count_waiting(conn, clock.now()):
                        await _run_child(stopping, came_round)
                    came_round()
                    await pause(stopping, LOOK_SECONDS)
        except psycopg.Error as error:
            _logger.warning("imports wait for the database: %s", type(error).__name__)
            await pause(stopping, LOOK_SECONDS)


async def _run_child(stopping: asyncio.Event, came_round: CameRound) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "event_stream_engine.cli.main", "import", "waiting", "--supervised"),
        stdin=asyncio.subprocess.PIPE,  # never written to: its end tells the child of ours
        start_new_session=True,
    )
    ended = asyncio.ensure_future(child.wait())
    told = asyncio.ensure_future(stopping.wait())
    while not (ended.done() or told.done()):
        await asyncio.wait({ended, told}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        came_round()
    told.cancel()
    if ended.done():
        if child.returncode:
            _logger.error("an import ended with %s; it is tried again in a minute", child.returncode)
        return
    child.terminate()
    try:
        await asyncio.wait_for(ended, END_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()
