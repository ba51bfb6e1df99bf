"""The projector: reads the log in commit order and brings state and figures up to date, one transaction a batch."""

import asyncio
import logging
from collections.abc import Callable

import psycopg

from event_stream_engine.analytics import rollups
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest import projection
from event_stream_engine.monitoring import pipeline
from event_stream_engine.stream import dead_letters, log

BATCH_EVENTS = 10_000
IDLE_SECONDS = 0.1
_logger = logging.getLogger(__name__)


async def open_projector(url: str) -> Connection:
    """Open the projector's connection with its working tables."""
    conn = await connect(url, "ese-projector")
    # The working tables are sometimes empty and sometimes full: a plan kept from one is wrong for the other.
    await conn.execute("SET plan_cache_mode = force_custom_plan")
    await log.prepare_reader(conn)
    await projection.prepare_connection(conn)
    return conn


async def run_once(conn: Connection, most: int = BATCH_EVENTS) -> int:
    """Project the next batch and return how many events it held.

    A batch that the database refuses is halved until the one event that it refuses is alone; that one becomes a dead
    letter, the others go on.
    """
    try:
        return await _project(conn, most)
    except psycopg.errors.DataError as error:
        if most == 1:
            return await _bury_next(conn, str(error))
        _logger.warning("batch of %s refused, halving: %s", most, error)
        return await run_once(conn, most // 2)


async def _project(conn: Connection, most: int) -> int:
    async with transaction(conn):
        place = await log.lock_place(conn)
        if place is None:
            return 0
        count = await log.read_batch(conn, place, most)
        if count:
            await projection.apply_batch(conn)
            await rollups.add_changes(conn)
            await pipeline.add_batch(conn)
            await log.move_place(conn)
        return count


async def _bury_next(conn: Connection, reason: str) -> int:
    async with transaction(conn):
        place = await log.lock_place(conn)
        if place is None:
            return 0
        count = await log.read_batch(conn, place, 1)
        await dead_letters.bury_batch(conn, reason)
        await log.move_place(conn)
        return count


async def replay_dead_letters(url: str) -> tuple[int, list[dead_letters.DeadLetter]]:
    """Project the unresolved dead letters once more; return how many were tried, and those left."""
    conn = await open_projector(url)
    async with conn, transaction(conn):
        while await log.lock_place(conn) is None:  # noqa: ASYNC110 - another process holds it
            await asyncio.sleep(IDLE_SECONDS)
        tried = await dead_letters.read_batch(conn)
        if tried:
            await projection.apply_batch(conn)
            await rollups.add_changes(conn)
            await dead_letters.resolve_batch(conn)
        return tried, await dead_letters.list_unresolved(conn)


async def catch_up(url: str, on_progress: Callable[[int], None]) -> None:
    """Project until nothing waits any more, or watch another process do it."""
    conn = await open_projector(url)
    async with conn:
        while await log.has_waiting(conn):
            count = await run_once(conn)
            on_progress(count)
            if count == 0:
                await asyncio.sleep(IDLE_SECONDS)


async def run_projector(url: str, stopping: asyncio.Event) -> None:
    """Project until told to stop; a lost database is waited for."""
    while not stopping.is_set():
        try:
            conn = await open_projector(url)
            async with conn:
                while not stopping.is_set():
                    if await run_once(conn) == 0:
                        await pause(stopping, IDLE_SECONDS)
        except psycopg.OperationalError as error:
            _logger.warning("the database is away, trying again: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 0.5)


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass
