"""The upkeep: makes the log's coming partitions, adds up what is old, clears away what has run out.

On a connection of its own, because a long piece of it must not delay the worker's sign of life.
"""

import asyncio
import logging
from datetime import datetime, timedelta

import psycopg

from event_stream_engine.access.sessions import delete_expired_sessions
from event_stream_engine.access.throttle import delete_past_attempts
from event_stream_engine.exports import jobs as exports
from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring import pipeline, requests
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.monitoring.resources import drop_old_resources
from event_stream_engine.stream import log
from event_stream_engine.worker.projector import pause

EVERY = timedelta(minutes=10)
_logger = logging.getLogger(__name__)


async def run_upkeep(
    url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Keep up until told to stop; a lost database is waited for."""
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-upkeep", statement_timeout_ms=60_000) as conn:
                while not stopping.is_set():
                    await keep_up(conn, clock.now())
                    came_round()
                    await pause(stopping, EVERY.total_seconds())
        except psycopg.Error as error:
            _logger.warning("the upkeep waits for the database: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 1)


async def keep_up(conn: Connection, now: datetime) -> None:
    """Do all of it once; first what webhooks will need."""
    await log.ensure_coming_partitions(conn, now.date())
    await log.add_up_intake(conn, now)
    await delete_expired_sessions(conn, now)
    await delete_past_attempts(conn, now)
    await requests.settle_days(conn, now)
    await requests.clear_old(conn, now)
    await pipeline.clear_old(conn, now)
    await exports.clear_old(conn, now)
    await drop_old_resources(conn, now)
