"""The verifier: every few seconds it counts a bucket of the roll-ups once more, and puts right what differs."""

import asyncio
import logging
from random import Random, SystemRandom

import psycopg

from event_stream_engine.analytics import rollups, self_check
from event_stream_engine.analytics.self_check import Bucket
from event_stream_engine.infra.database import Connection, connect, snapshot, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.messaging import deliveries
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.stream import log
from event_stream_engine.worker.projector import IDLE_SECONDS, pause

CHECK_SECONDS = 5.0
_logger = logging.getLogger(__name__)


async def run_verifier(
    url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Verify until told to stop; a lost database is waited for."""
    while not stopping.is_set():
        try:
            async with await open_verifier(url) as conn:
                while not stopping.is_set():
                    await verify_once(conn, clock, SystemRandom())
                    came_round()
                    await pause(stopping, CHECK_SECONDS)
        except psycopg.Error as error:
            _logger.warning("the verifier waits for the database: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 1)


async def open_verifier(url: str) -> Connection:
    """Open the verifier's connection with its working tables."""
    conn = await connect(url, "ese-verifier", statement_timeout_ms=60_000)
    await deliveries.prepare_connection(conn)
    await rollups.prepare_connection(conn)
    return conn


async def verify_once(conn: Connection, clock: Clock, chance: Random) -> list[Bucket]:
    """Check a random bucket; return the buckets that were wrong and have been put right."""
    async with snapshot(conn):
        bucket = await self_check.choose_bucket(conn, chance)
    return [] if bucket is None else await _verify(conn, bucket, clock)


async def _verify(conn: Connection, bucket: Bucket, clock: Clock) -> list[Bucket]:
    async with snapshot(conn):
        if not await self_check.count_differences(conn, bucket):
            return []
        finer = await self_check.list_finer(conn, bucket)
    repaired = [one for part in finer for one in await _verify(conn, part, clock)]
    return repaired + await _repair(conn, bucket, clock)


async def _repair(conn: Connection, bucket: Bucket, clock: Clock) -> list[Bucket]:
    """Look once more while the projector waits, and repair."""
    async with transaction(conn):
        while await log.lock_place(conn) is None:  # noqa: ASYNC110 - another process holds it
            await asyncio.sleep(IDLE_SECONDS)
        differing = await self_check.count_differences(conn, bucket)
        if not differing:
            return []
        _logger.error(
            "roll-ups of the %s of %s were wrong and are counted anew: %s",
            bucket.grain,
            bucket.since.isoformat(),
            differing,
        )
        await self_check.repair(conn, bucket, differing, clock.now())
    return [bucket]
