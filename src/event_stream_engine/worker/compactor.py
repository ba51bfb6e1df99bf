"""The compactor: settles days that are over, one at a time, and drops minutes that are no longer kept."""

import asyncio
import logging

import psycopg

from event_stream_engine.analytics import rollups
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.stream import log
from event_stream_engine.worker.projector import IDLE_SECONDS, pause

REST_SECONDS = 60.0
_logger = logging.getLogger(__name__)


async def run_compactor(
    url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Compact until told to stop; a lost database is waited for."""
    while not stopping.is_set():
        try:
            conn = await open_compactor(url)
            async with conn:
                while not stopping.is_set():
                    # Between two days the projector gets its turn.
                    is_more = await compact_once(conn, clock)
                    came_round()
                    await pause(stopping, IDLE_SECONDS if is_more else REST_SECONDS)
        except psycopg.Error as error:
            _logger.warning("the compactor waits for the database: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 1)


async def open_compactor(url: str) -> Connection:
    """Open the compactor's connection with its working tables."""
    conn = await connect(url, "ese-compactor", statement_timeout_ms=600_000)
    await rollups.prepare_connection(conn)
    return conn


async def compact_once(conn: Connection, clock: Clock) -> bool:
    """Settle the next day, or drop old minutes; return whether there may be more to do at once."""
    async with transaction(conn):
        if await log.lock_place(conn) is None:  # a projector is at work
            return True
        if await rollups.settle_day(conn, clock.now()):
            return True
        await rollups.drop_old_minutes(conn, clock.now())
        return False
