"""The adviser: once an hour it looks what could be done better, and what came of the advice that was taken."""

import asyncio
import logging
from datetime import timedelta

import psycopg

from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.settings import Settings
from event_stream_engine.insights import aftermath, following
from event_stream_engine.insights.look import Kind, Look
from event_stream_engine.insights.recommendations import KINDS, run_all
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.stream.log import try_hold_reader
from event_stream_engine.worker.projector import pause

ADVISER = "adviser"
EVERY = timedelta(hours=1)
LOOK_SECONDS = 10.0  # how often it is asked whether an hour is over
STANDBY_SECONDS = 10.0
STATEMENT_MS = 60_000  # a kind that takes longer is left out of this look
_logger = logging.getLogger(__name__)


async def run_adviser(
    settings: Settings, url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Advise until told to stop, while no other worker does; a lost database is waited for."""
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-adviser", statement_timeout_ms=STATEMENT_MS) as conn:
                # Its work is large and never urgent: it must not take the cores that webhooks need.
                await conn.execute("SET max_parallel_workers_per_gather = 0")
                while not stopping.is_set() and not await try_hold_reader(conn, ADVISER):
                    came_round()
                    await pause(stopping, STANDBY_SECONDS)
                while not stopping.is_set():
                    looked_at = await following.find_last_look(conn)
                    if looked_at is None or clock.now() - looked_at >= EVERY:
                        await advise_once(conn, Look(clock.now(), settings.timezone, settings.secret_key))
                    came_round()
                    await pause(stopping, LOOK_SECONDS)
        except psycopg.Error as error:
            _logger.warning("nothing is recommended: %s", str(error).strip().splitlines()[0])
            await pause(stopping, STANDBY_SECONDS)


async def advise_once(conn: Connection, look: Look) -> None:
    """Look at all kinds, enter what was found, and measure what came of what was taken."""
    run = await run_all(conn, look)
    async with transaction(conn):
        await following.follow(conn, run, look.now)
    by_slug = {kind.slug: kind for kind in KINDS}
    for one in await following.list_followed(conn, ["taken"]):
        if one.ended_at is None and one.kind in by_slug:
            await _measure(conn, by_slug[one.kind], one, look)


async def _measure(conn: Connection, kind: Kind, followed: following.Followed, look: Look) -> None:
    try:
        outcome = await aftermath.measure(conn, kind, followed, look)
    except psycopg.errors.QueryCanceled:
        _logger.warning("the outcome of recommendation %s took too long to measure", followed.id)
        return
    async with transaction(conn):
        await following.note_outcome(conn, followed.id, outcome.describe(), look.now)
