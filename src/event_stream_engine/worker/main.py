"""The worker process composed: the projector, the sealer, the checker, the observer, their sign of life, and the upkeep of the log."""

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import psycopg

from event_stream_engine.access.sessions import delete_expired_sessions
from event_stream_engine.access.throttle import delete_past_attempts
from event_stream_engine.infra.database import connect
from event_stream_engine.infra.settings import Settings
from event_stream_engine.ingest.projection import Live
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.messaging.twilio import open_provider
from event_stream_engine.monitoring import processes
from event_stream_engine.stream import log
from event_stream_engine.worker.checker import run_checker
from event_stream_engine.worker.compactor import run_compactor
from event_stream_engine.worker.eraser import run_eraser
from event_stream_engine.worker.importer import run_importer
from event_stream_engine.worker.observer import run_observer
from event_stream_engine.worker.projector import pause, run_projector
from event_stream_engine.worker.runner import run_runner
from event_stream_engine.worker.sealer import run_sealer
from event_stream_engine.worker.sender import run_sender
from event_stream_engine.worker.verifier import run_verifier

UPKEEP = timedelta(minutes=10)
_logger = logging.getLogger(__name__)


async def run_worker(settings: Settings, url: str, clock: Clock, stopping: asyncio.Event) -> None:
    """Work until told to stop; the batch in hand is finished."""
    async with AsyncExitStack() as resources:
        # Without credentials there is nobody to hand messages to; everything else goes on.
        provider = None
        if settings.twilio_account_sid and settings.twilio_auth_tokens:
            provider = await resources.enter_async_context(open_provider(settings))
        tasks = await resources.enter_async_context(asyncio.TaskGroup())
        if provider is not None:
            tasks.create_task(run_sender(settings, url, clock, stopping, provider))
            tasks.create_task(run_runner(url, clock, stopping, provider))
        tasks.create_task(run_projector(url, Live(settings.secret_key, clock), stopping))
        tasks.create_task(run_compactor(url, clock, stopping))
        tasks.create_task(run_verifier(url, clock, stopping))
        tasks.create_task(run_sealer(settings, url, clock, stopping))
        tasks.create_task(run_checker(url, clock, stopping))
        tasks.create_task(run_importer(settings, url, clock, stopping))
        tasks.create_task(run_eraser(settings, url, clock, stopping))
        tasks.create_task(run_observer(url, clock, stopping))
        tasks.create_task(_beat(url, clock, stopping))


async def _beat(url: str, clock: Clock, stopping: asyncio.Event) -> None:
    """Give a sign of life; now and then make the log's coming partitions and clear away what has run out."""
    now = clock.now()
    process = processes.Process(uuid4(), "worker", now, now, 0)
    upkeep_at = now
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-worker", statement_timeout_ms=5000) as conn:
                while not stopping.is_set():
                    now = clock.now()
                    await processes.beat(conn, replace(process, beat_at=now))
                    if now >= upkeep_at:
                        await log.ensure_coming_partitions(conn, now.date())
                        await delete_expired_sessions(conn, now)
                        await delete_past_attempts(conn, now)
                        upkeep_at = now + UPKEEP
                    await pause(stopping, processes.BEAT_SECONDS)
                await processes.end(conn, process.id)
        except psycopg.Error as error:
            _logger.warning("no sign of life could be given: %s", type(error).__name__)
            await pause(stopping, 1)
