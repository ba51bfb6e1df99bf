"""What a web process tells of itself every few seconds: a sign of life, and what it has counted."""

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg_pool import PoolTimeout

from event_stream_engine.infra.database import Connection, Pool
from event_stream_engine.ingest.intake import Intake
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring import pipeline, processes, requests
from event_stream_engine.monitoring.pipeline import StoredMeter, name_stored
from event_stream_engine.monitoring.postgres_pools import note_pool
from event_stream_engine.monitoring.requests import RequestMeter, name_request

BEATS_PER_TELLING = 2  # every 4 s


class Meters:
    """What a web process measures, from its first request to its last."""

    def __init__(self, timer: Callable[[], int] = time.perf_counter_ns) -> None:
        self.requests = RequestMeter(name_request, timer)
        self.stored = StoredMeter(name_stored, timer)


class Vitals:
    """The signs of one web process. `run` must be running, and `end` be called when it no longer is."""

    def __init__(
        self, process: processes.Process, pool: Pool, clock: Clock, intake: Intake, meters: Meters
    ) -> None:
        self._process = process
        self._pool = pool
        self._clock = clock
        self._intake = intake
        self._meters = meters

    async def run(self) -> None:
        """Beat, and every few times tell what was measured, until cancelled; what cannot be told is kept."""
        for beats in itertools.count():
            is_telling = beats % BEATS_PER_TELLING == 0
            if is_telling:
                await self._fold()  # also while the database is away, so that memory stays bounded
            with suppress(psycopg.Error, PoolTimeout):  # its silence is the message
                async with self._pool.connection() as conn:
                    now = self._clock.now()
                    await processes.beat(conn, processes.refresh(self._process, now, self._intake.spooled))
                    if is_telling:
                        await self._tell(conn)
            # psycopg may answer a cancellation in the middle of a query with an error of its own, which is suppressed above.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                return
            await asyncio.sleep(processes.BEAT_SECONDS)

    async def end(self) -> None:
        """Tell the rest and take leave."""
        await self._fold()
        with suppress(psycopg.Error, PoolTimeout):
            async with self._pool.connection() as conn:
                await self._tell(conn)
                await processes.end(conn, self._process.id)

    async def _fold(self) -> None:
        now = self._clock.now()
        await self._meters.requests.fold(now)
        await self._meters.stored.fold(now)

    async def _tell(self, conn: Connection) -> None:
        await requests.tell(conn, self._meters.requests, self._clock.now())
        await pipeline.tell(conn, self._meters.stored)
        await note_pool(conn, self._process.id, self._pool.get_stats(), self._clock.now())
