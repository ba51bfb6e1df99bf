"""The observer: at each full minute it looks at what PostgreSQL has counted."""

import asyncio
import logging

import psycopg

from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.monitoring.postgres_snapshots import take_snapshot
from event_stream_engine.stream.log import try_hold_reader
from event_stream_engine.worker.projector import pause

OBSERVER = "observer"
LOOK_SECONDS = 1.0  # how often it is asked whether a new minute has begun
STANDBY_SECONDS = 2.0
STATEMENT_MS = 20_000  # it holds up the log's readers as long as it writes
_logger = logging.getLogger(__name__)


async def run_observer(
    url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Observe until told to stop, while no other worker does; a lost database is waited for."""
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-observer", statement_timeout_ms=STATEMENT_MS) as conn:
                # A size is asked under a lock; who takes the table in that very moment must not wait, a later second does as well.
                await conn.execute("SET lock_timeout = '500ms'")
                while not stopping.is_set() and not await try_hold_reader(conn, OBSERVER):
                    came_round()
                    await pause(stopping, STANDBY_SECONDS)
                await _observe(conn, clock, stopping, came_round)
        except psycopg.Error as error:
            _logger.warning("the database is not looked at: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 5 * LOOK_SECONDS)


async def _observe(conn: Connection, clock: Clock, stopping: asyncio.Event, came_round: CameRound) -> None:
    seen = None
    while not stopping.is_set():
        minute = clock.now().replace(second=0, microsecond=0)
        if minute != seen:
            await take_snapshot(conn, clock.now())
            seen = minute
        came_round()
        await pause(stopping, LOOK_SECONDS)
