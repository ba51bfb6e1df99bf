"""Imports that wait, each done by a process of its own: reading a file takes a whole core, which the sender needs."""

import asyncio
import logging

import psycopg

from event_stream_engine.audience.importing import count_waiting
from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.worker.children import LOOK_SECONDS, run_child
from event_stream_engine.worker.projector import pause

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
                        await run_child(
                            *("cli.main", "import", "waiting", "--supervised"),
                            stopping=stopping,
                            came_round=came_round,
                        )
                    came_round()
                    await pause(stopping, LOOK_SECONDS)
        except psycopg.Error as error:
            _logger.warning("imports wait for the database: %s", type(error).__name__)
            await pause(stopping, LOOK_SECONDS)
