"""The escalator: tells the next one when nobody has acknowledged an incident in time.

Every worker runs it. The timers are rows that a transaction takes away as it tells: no two tell the same, and one that was
missed while no worker ran is found by the next one that does.
"""

import asyncio
import logging

import psycopg

from event_stream_engine.incidents.timers import escalate
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.worker.projector import pause

ESCALATE_SECONDS = 5.0
_logger = logging.getLogger(__name__)


async def run_escalator(
    url: str,
    clock: Clock,
    stopping: asyncio.Event,
    every_seconds: float = ESCALATE_SECONDS,
    *,
    came_round: CameRound = unwatched,
) -> None:
    """Escalate until told to stop; a lost database is waited for."""
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-escalator", statement_timeout_ms=30_000) as conn:
                while not stopping.is_set():
                    async with transaction(conn):
                        await escalate(conn, clock.now())
                    came_round()
                    await pause(stopping, every_seconds)
        except psycopg.Error as error:
            _logger.warning("nothing can be escalated at present: %s", type(error).__name__)
            await pause(stopping, every_seconds)
