"""The eraser: takes the numbers of erased people out of the log, day by day, in short transactions, and clears uploads
that broke off."""

import asyncio
import logging
from datetime import datetime, timedelta

import psycopg

from event_stream_engine.audience.erasure import Erasure, list_erasures
from event_stream_engine.audience.importing import give_up_uploads
from event_stream_engine.campaigns import erasure
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.stream import erasure as log_erasure
from event_stream_engine.stream import log
from event_stream_engine.worker.projector import pause

IDLE_SECONDS = 2
LATE_EVERY = timedelta(minutes=10)
LATE_FOR = timedelta(days=7)  # how long callbacks about somebody erased are looked for
_logger = logging.getLogger(__name__)


async def run_eraser(
    settings: Settings,
    url: str,
    clock: Clock,
    stopping: asyncio.Event,
    *,
    came_round: CameRound = unwatched,
) -> None:
    """Erase until told to stop; what is interrupted is done again."""
    late_at = clock.now()
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-eraser") as conn:
                while not stopping.is_set():
                    now = clock.now()
                    if now >= late_at:
                        await look_for_late(conn, settings.secret_key, now)
                        await give_up_uploads(conn, now)
                        late_at = now + LATE_EVERY
                    for one in await list_erasures(conn):
                        await finish(conn, settings.secret_key, one, clock)
                        came_round()
                    came_round()
                    await pause(stopping, IDLE_SECONDS)
        except psycopg.Error as error:
            _logger.warning("the eraser waits for the database: %s", type(error).__name__)
            await pause(stopping, IDLE_SECONDS)


async def finish(conn: Connection, secret_key: str, one: Erasure, clock: Clock) -> None:
    """Scrub the log of one person, then what was projected from it meanwhile."""
    for day in await log_erasure.list_days(conn):
        keys = await log_erasure.find_mentions(conn, day, one.phone)
        for start in range(0, len(keys), log_erasure.SCRUBBED_AT_ONCE):
            chunk = keys[start : start + log_erasure.SCRUBBED_AT_ONCE]
            async with transaction(conn):
                await _hold_projector(conn)
                await erasure.scrub_events(conn, one, day, chunk)
    async with transaction(conn):
        await _hold_projector(conn)
        await erasure.finish_erasure(conn, secret_key, one, clock.now())


async def _hold_projector(conn: Connection) -> None:
    """Wait for the batch in hand: it holds events as they were before."""
    while await log.lock_place(conn) is None:  # noqa: ASYNC110 - another process holds it
        await asyncio.sleep(0.02)


async def look_for_late(conn: Connection, secret_key: str, now: datetime) -> None:
    """Take up again erasures whose number a callback has brought back yesterday or today."""
    for day in (now.date() - timedelta(days=1), now.date()):
        async with transaction(conn):
            await erasure.reopen_erasures(conn, secret_key, day, now - LATE_FOR, now)
