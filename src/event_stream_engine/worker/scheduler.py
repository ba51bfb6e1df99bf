"""People's queries at work: run when they are due, and read for the alert rules that ask for their number.

Every worker does both, and each thing that is due is claimed by one of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

import psycopg

from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import EngineError, Unavailable
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.reporting import query_runs
from event_stream_engine.workbench import query_readings
from event_stream_engine.workbench.parameters import read_values
from event_stream_engine.workbench.readers import Readers, open_readers
from event_stream_engine.workbench.running import Limits, run
from event_stream_engine.workbench.saved_queries import find_query
from event_stream_engine.worker.projector import pause

LOOK_SECONDS = 2.0
READING_LIMITS = Limits(rows=2, seconds=10)  # a rule waits for it, and one row is all it may be
CLEAR_EVERY = timedelta(hours=1)
_logger = logging.getLogger(__name__)


async def run_scheduler(
    settings: Settings, url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Run the queries that are due until told to stop."""
    readers = open_readers(settings, url)

    async def step(conn: Connection) -> bool:
        return await run_next_query(conn, readers, settings.timezone, clock)

    async def clear(conn: Connection) -> None:
        await query_runs.forget_runs(conn, clock.now())

    await _repeat(url, clock, stopping, came_round, step=step, clear=clear)


async def run_number_reader(
    settings: Settings, url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Read the numbers that alert rules ask for until told to stop; beside the schedules, which may take long."""
    readers = open_readers(settings, url)

    async def step(conn: Connection) -> bool:
        return await read_next_number(conn, readers, clock)

    await _repeat(url, clock, stopping, came_round, step=step, clear=query_readings.forget_readings)


async def _repeat(
    url: str,
    clock: Clock,
    stopping: asyncio.Event,
    came_round: CameRound,
    *,
    step: Callable[[Connection], Awaitable[bool]],
    clear: Callable[[Connection], Awaitable[None]],
) -> None:
    """Take steps while there is something due, and look for it again and again; a lost database is waited for."""
    clear_at = clock.now()
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-scheduler", statement_timeout_ms=30_000) as conn:
                while not stopping.is_set():
                    was_due = await step(conn)
                    if clock.now() >= clear_at:
                        await clear(conn)
                        clear_at = clock.now() + CLEAR_EVERY
                    came_round()
                    if not was_due:
                        await pause(stopping, LOOK_SECONDS)
        except psycopg.Error as error:
            _logger.warning("people's queries wait for the database: %s", type(error).__name__)
            await pause(stopping, LOOK_SECONDS)


async def run_next_query(conn: Connection, readers: Readers, zone: ZoneInfo, clock: Clock) -> bool:
    """Run the query that has been due for longest and tell its result; return whether one was due."""
    async with transaction(conn):
        claimed = await query_runs.claim_schedule(conn, clock.now())
    if claimed is None:
        return False
    claim, query = claimed
    result, reason = None, ""
    try:
        if not query.is_seen_by(claim.owner):
            raise EngineError("The query is no longer shared with whoever scheduled it.")
        result = await run(readers, query.sql, read_values(query.parameters, claim.given), sees_numbers=False)
    except Unavailable as error:
        if clock.now() - claim.due_at < query_runs.GIVE_UP_AFTER:
            _logger.warning("a scheduled query waits: %s", error)
            return True  # its claim runs out, and it is tried again
        reason = str(error)
    except EngineError as error:
        reason = str(error)
    async with transaction(conn):
        now = clock.now()
        if result is not None:
            is_ours = await query_runs.record_result(conn, claim, query, result, zone=zone, now=now)
        else:
            is_ours = await query_runs.record_failure(conn, claim, query, reason, zone=zone, now=now)
    if not is_ours:
        _logger.warning("schedule %s was changed or claimed anew while its query ran", claim.id)
    return True


async def read_next_number(conn: Connection, readers: Readers, clock: Clock) -> bool:
    """Read the number of the query that has waited longest for a rule; return whether one was due."""
    async with transaction(conn):
        claim = await query_readings.claim_reading(conn, clock.now())
    if claim is None:
        return False
    value, reason = None, ""
    try:
        query = await find_query(conn, claim.query_id)
        if query is None or not query.is_shared:
            raise EngineError("The query is no longer shared.")
        values = read_values(query.parameters, {})
        result = await run(readers, query.sql, values, sees_numbers=False, limits=READING_LIMITS)
        value = query_readings.read_number(result.columns, result.rows)
    except EngineError as error:
        reason = str(error)
    async with transaction(conn):
        await query_readings.record_reading(conn, claim, value, reason, clock.now())
    return True
