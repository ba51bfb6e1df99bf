"""The projector: reads the log in commit order and brings state and figures up to date, one transaction a batch."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import psycopg

from event_stream_engine.analytics import rollups, senders, totals
from event_stream_engine.infra import tracing
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest import projection
from event_stream_engine.ingest.projection import Live
from event_stream_engine.monitoring import canary, pipeline
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.stream import dead_letters, log

BATCH_EVENTS = 10_000
IDLE_SECONDS = 0.1
# What the database may say of an event that it will say again: a value, a constraint, a limit, a trigger. Everything
# else (connection, resources, deadlock, read-only standby, a table that a migration has yet to make) may pass.
REFUSALS = (
    psycopg.errors.DataError,
    psycopg.errors.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.CardinalityViolation,
    psycopg.errors.RaiseException,
    psycopg.errors.InternalError_,
)
_logger = logging.getLogger(__name__)


async def open_projector(url: str) -> Connection:
    """Open the projector's connection with its working tables."""
    conn = await connect(url, "ese-projector")
    try:
        # The working tables are sometimes empty and sometimes full: a plan kept from one is wrong for the other.
        await conn.execute("SET plan_cache_mode = force_custom_plan")
        # State, figures and place are lost together in a crash or not at all, and then made again from the log, which
        # is committed with fsync. Waiting for the disk here would buy nothing.
        await conn.execute("SET synchronous_commit = off")
        await log.prepare_reader(conn)
        await projection.prepare_connection(conn)
        await rollups.prepare_connection(conn)
    except BaseException:
        await conn.close()
        raise
    return conn


async def run_once(conn: Connection, live: Live, most: int = BATCH_EVENTS) -> int:
    """Project the next batch and return how many events it held.

    An event that the database refuses becomes a dead letter, the others go on.
    """
    return await run_halving(
        lambda count: _project(conn, live, count), lambda reason: _bury_next(conn, reason), most
    )


async def run_halving(
    project: Callable[[int], Awaitable[int]], bury_next: Callable[[str], Awaitable[int]], most: int
) -> int:
    """Project the next `most` events; of a refused batch both halves by themselves, of one event its burial.

    One refused event costs about two batches more, not one after the other all that follow it.
    """
    try:
        return await project(most)
    except REFUSALS as error:
        # Only the first line: what follows it shows the row, with numbers and words of people.
        reason = f"{type(error).__name__}: {error.diag.message_primary}"
        if most == 1:
            return await bury_next(reason)
        _logger.warning("batch of %s refused (%s), halving", most, type(error).__name__)
        half = most // 2
        return await run_halving(project, bury_next, half) + await run_halving(
            project, bury_next, most - half
        )


async def _project(conn: Connection, live: Live, most: int) -> int:
    with tracing.span("project batch") as span:
        async with transaction(conn):
            place = await log.lock_place(conn)
            if place is None:
                return 0
            count = await log.read_batch(conn, place, most)
            span.note({"ese.batch.after": f"{place.xid}/{place.id}", "ese.batch.events": count})
            if count:
                await projection.apply_batch(conn, live)
                await rollups.add_changes(conn)
                await totals.add_batch(conn)
                await senders.add_new(conn, live.secret_key)
                await pipeline.add_batch(conn)
                await canary.add_batch(conn, live.clock.now())
                await log.move_place(conn, place)
            return count


async def _bury_next(conn: Connection, reason: str) -> int:
    async with transaction(conn):
        place = await log.lock_place(conn)
        if place is None:
            return 0
        count = await log.read_batch(conn, place, 1)
        if count:
            key = await dead_letters.bury_event(conn, reason)
            await pipeline.add_batch(conn, is_buried=True)
            await log.move_place(conn, place)
            _logger.error("an event became a dead letter: %s", reason, extra={"event_key": str(key)})
        return count


async def replay_dead_letters(url: str, live: Live) -> tuple[int, list[dead_letters.DeadLetter]]:
    """Project the unresolved dead letters once more; return how many were tried, and those left."""
    conn = await open_projector(url)
    async with conn:
        ids = [letter.id for letter in await dead_letters.list_unresolved(conn)]
        for start in range(0, len(ids), BATCH_EVENTS):
            await _replay(conn, live, ids[start : start + BATCH_EVENTS])
        return len(ids), await dead_letters.list_unresolved(conn)


async def _replay(conn: Connection, live: Live, ids: list[int]) -> None:
    try:
        async with transaction(conn):
            await _read_letters(conn, ids)
            await projection.apply_batch(conn, live)
            await rollups.add_changes(conn)
            await totals.add_batch(conn)
            await senders.add_new(conn, live.secret_key)
            await dead_letters.resolve_batch(conn)
    except REFUSALS as error:
        if len(ids) > 1:
            half = len(ids) // 2
            await _replay(conn, live, ids[:half])
            await _replay(conn, live, ids[half:])
            return
        async with transaction(conn):
            await _read_letters(conn, ids)
            await dead_letters.bury_event(conn, f"{type(error).__name__}: {error.diag.message_primary}")


async def _read_letters(conn: Connection, ids: list[int]) -> None:
    while await log.lock_place(conn) is None:  # noqa: ASYNC110 - another process holds it
        await asyncio.sleep(IDLE_SECONDS)
    await dead_letters.read_batch(conn, ids)


async def catch_up(url: str, live: Live, on_progress: Callable[[int], None]) -> None:
    """Project until nothing waits any more, or watch another process do it."""
    conn = await open_projector(url)
    async with conn:
        while await log.has_waiting(conn):
            count = await run_once(conn, live)
            on_progress(count)
            if count == 0:
                await asyncio.sleep(IDLE_SECONDS)


async def run_projector(
    url: str, live: Live, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Project until told to stop; a lost database is waited for."""
    while not stopping.is_set():
        try:
            conn = await open_projector(url)
            async with conn:
                while not stopping.is_set():
                    # Asked first, because a batch that turns out empty costs a transaction over all working tables.
                    is_busy = await log.has_waiting(conn) and await run_once(conn, live)
                    came_round()
                    if not is_busy:
                        await pause(stopping, IDLE_SECONDS)
        except psycopg.Error as error:
            _logger.warning("the projector waits for the database: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 0.5)


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass
