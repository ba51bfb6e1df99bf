"""The reporter: makes the reports of days and weeks that are over, and makes them again when their figures have changed.

Every worker runs it; see `reporting/production.py` for why that makes no version twice.
"""

import asyncio
import logging
from zoneinfo import ZoneInfo

import psycopg

from event_stream_engine.infra.database import Connection, connect, snapshot, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.reporting import production
from event_stream_engine.worker.projector import pause

EVERY_SECONDS = 60.0
FIRST_AFTER_SECONDS = (
    120.0  # a new engine is being filled with its past: reports of a part of it would be restated
)
_logger = logging.getLogger(__name__)


async def run_reporter(
    url: str, zone: ZoneInfo, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Report until told to stop; a lost database is waited for."""
    await pause(stopping, FIRST_AFTER_SECONDS)
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-reporter", statement_timeout_ms=60_000) as conn:
                while not stopping.is_set():
                    is_more = await report_once(conn, zone, clock)
                    came_round()
                    if not is_more:
                        await pause(stopping, EVERY_SECONDS)
        except psycopg.Error as error:
            _logger.warning("no report can be made at present: %s", type(error).__name__)
            await pause(stopping, EVERY_SECONDS)


async def report_once(conn: Connection, zone: ZoneInfo, clock: Clock) -> bool:
    """Make the next report that is due; return whether there was one."""
    now = clock.now()
    async with snapshot(conn):
        counted = await production.count_next(conn, now, zone)
    if counted is None:
        return False
    async with transaction(conn):
        await production.keep(conn, counted, now)
    return True
