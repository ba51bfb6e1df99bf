"""The worker process composed: its loops and its sign of life."""

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import uuid4

import psycopg

from event_stream_engine.infra.database import connect
from event_stream_engine.infra.settings import Settings
from event_stream_engine.ingest.projection import Live
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.messaging.twilio import open_provider
from event_stream_engine.monitoring import processes
from event_stream_engine.monitoring.loops import Rounds
from event_stream_engine.monitoring.resources import run_sampler
from event_stream_engine.worker.adviser import run_adviser
from event_stream_engine.worker.auditor import run_auditor
from event_stream_engine.worker.checker import run_checker
from event_stream_engine.worker.compactor import run_compactor
from event_stream_engine.worker.deadman import run_deadman
from event_stream_engine.worker.eraser import run_eraser
from event_stream_engine.worker.escalator import run_escalator
from event_stream_engine.worker.evaluator import run_evaluator
from event_stream_engine.worker.importer import run_importer
from event_stream_engine.worker.notifier import run_notifier
from event_stream_engine.worker.observer import run_observer
from event_stream_engine.worker.packer import run_packer
from event_stream_engine.worker.projector import pause, run_projector
from event_stream_engine.worker.reporter import run_reporter
from event_stream_engine.worker.runner import run_runner
from event_stream_engine.worker.scheduler import run_number_reader, run_scheduler
from event_stream_engine.worker.sealer import run_sealer
from event_stream_engine.worker.sender import run_sender
from event_stream_engine.worker.upkeep import run_upkeep
from event_stream_engine.worker.verifier import run_verifier

_logger = logging.getLogger(__name__)


async def run_worker(settings: Settings, url: str, clock: Clock, stopping: asyncio.Event) -> None:
    """Work until told to stop; the batch in hand is finished."""
    started_at = clock.now()
    process = processes.Process(uuid4(), "worker", started_at, started_at, 0)
    async with AsyncExitStack() as resources:
        # Without credentials there is nobody to hand messages to; everything else goes on.
        provider = None
        if settings.twilio_account_sid and settings.twilio_auth_tokens:
            provider = await resources.enter_async_context(open_provider(settings))
            process = replace(process, provider=settings.provider)
        rounds = Rounds(clock)
        watch = rounds.watch
        live = Live(settings.secret_key, clock)
        tasks = await resources.enter_async_context(asyncio.TaskGroup())
        if provider is not None:
            tasks.create_task(
                run_sender(settings, url, clock, stopping, provider, came_round=watch("sender"))
            )
            tasks.create_task(run_runner(url, clock, stopping, provider, came_round=watch("runner")))
        tasks.create_task(run_projector(url, live, stopping, came_round=watch("projector")))
        tasks.create_task(run_compactor(url, clock, stopping, came_round=watch("compactor")))
        tasks.create_task(run_verifier(url, clock, stopping, came_round=watch("verifier")))
        tasks.create_task(run_sealer(settings, url, clock, stopping, came_round=watch("sealer")))
        tasks.create_task(run_checker(url, clock, stopping, came_round=watch("checker")))
        tasks.create_task(run_observer(url, clock, stopping, came_round=watch("observer")))
        tasks.create_task(run_adviser(settings, url, clock, stopping, came_round=watch("adviser")))
        tasks.create_task(run_auditor(settings, url, clock, stopping, came_round=watch("auditor")))
        tasks.create_task(run_evaluator(url, clock, stopping, came_round=watch("evaluator")))
        tasks.create_task(run_escalator(url, clock, stopping, came_round=watch("escalator")))
        tasks.create_task(run_scheduler(settings, url, clock, stopping, came_round=watch("scheduler")))
        tasks.create_task(
            run_number_reader(settings, url, clock, stopping, came_round=watch("number reader"))
        )
        tasks.create_task(run_notifier(settings, url, clock, stopping, came_round=watch("notifier")))
        tasks.create_task(run_deadman(settings.deadman_url, url, clock, stopping))
        tasks.create_task(run_importer(url, clock, stopping, came_round=watch("importer")))
        tasks.create_task(run_packer(settings, url, clock, stopping, came_round=watch("packer")))
        tasks.create_task(run_eraser(settings, url, clock, stopping, came_round=watch("eraser")))
        tasks.create_task(run_reporter(url, settings.timezone, clock, stopping, came_round=watch("reporter")))
        tasks.create_task(run_upkeep(url, clock, stopping, came_round=watch("upkeep")))
        tasks.create_task(_beat(url, clock, stopping, process, rounds))
        tasks.create_task(run_sampler(settings, url, process, clock, stopping))
        if settings.telemetry.metrics:
            from event_stream_engine.worker.exporter import run_exporter  # noqa: PLC0415 - an extra that may not be there

            tasks.create_task(run_exporter(settings, url, clock, stopping))


async def _beat(
    url: str, clock: Clock, stopping: asyncio.Event, process: processes.Process, rounds: Rounds
) -> None:
    """Give a sign of life every few seconds, and take leave at the end."""
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-worker", statement_timeout_ms=5000) as conn:
                while not stopping.is_set():
                    await processes.beat(conn, replace(process, beat_at=clock.now(), loops=rounds.describe()))
                    await pause(stopping, processes.BEAT_SECONDS)
                await processes.end(conn, process.id)
        except psycopg.Error as error:
            _logger.warning("no sign of life could be given: %s", type(error).__name__)
            await pause(stopping, 1)
