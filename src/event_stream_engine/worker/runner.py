"""The runner: starts campaigns that are due, fills and drains them, ends them, and reconciles with the provider.

One worker at a time runs; the others stand by for its lock. Each stretch is a short transaction, because the log's
readers wait for the oldest one.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from uuid import UUID

import psycopg

from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns import campaigns, pacing, recipients
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import Conflict, Invalid
from event_stream_engine.messaging import deliveries
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.stream.log import try_hold_reader
from event_stream_engine.worker.projector import pause
from event_stream_engine.worker.reconciler import Provider, reconcile

RUNNER = "runner"
ACTOR = Actor("engine:runner")
IDLE_SECONDS = 0.3
STANDBY_SECONDS = 2.0
RECONCILING = timedelta(minutes=1)
_logger = logging.getLogger(__name__)


async def run_runner(
    url: str,
    clock: Clock,
    stopping: asyncio.Event,
    provider: Provider,
    *,
    came_round: CameRound = unwatched,
) -> None:
    """Run campaigns until told to stop; a lost database is waited for."""
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-runner") as conn, asyncio.TaskGroup() as tasks:
                await deliveries.prepare_queueing(conn)
                while not stopping.is_set() and not await try_hold_reader(conn, RUNNER):
                    came_round()
                    await pause(stopping, STANDBY_SECONDS)
                tasks.create_task(_reconcile(url, clock, stopping, provider))
                while not stopping.is_set():
                    is_busy = await run_once(conn, clock)
                    came_round()
                    if not is_busy:
                        await pause(stopping, IDLE_SECONDS)
        except* psycopg.Error as errors:
            error = errors.exceptions[0]
            _logger.warning("the runner waits for the database: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 0.5)


async def run_once(conn: Connection, clock: Clock) -> bool:
    """Do one short piece of work for each campaign that needs one, and tell whether there may be more."""
    now = clock.now()
    for campaign_id in await campaigns.list_due_ids(conn, now):
        await _start(conn, campaign_id, now)
    made = 0
    for campaign_id in await recipients.list_unfilled_ids(conn):
        campaign = await campaigns.load_campaign(conn, campaign_id)
        try:
            async with transaction(conn):
                await recipients.fill_campaign(conn, campaign, now)
            made += 1
        except Conflict as conflict:
            _logger.info("%s", conflict)
    for campaign_id in await recipients.list_drained_ids(conn):
        async with transaction(conn):
            made += await recipients.drain_campaign(conn, campaign_id, now)
    async with transaction(conn):
        made += await campaigns.complete_campaigns(conn, ACTOR, now)
    return made > 0


async def _start(conn: Connection, campaign_id: UUID, now: datetime) -> None:
    try:
        async with transaction(conn):
            await campaigns.start_campaign(conn, ACTOR, campaign_id, now)
    except Conflict as conflict:  # somebody was quicker
        _logger.info("%s", conflict)
    except Invalid as fault:
        _logger.error("a campaign could not start: %s", fault, extra={"campaign_id": str(campaign_id)})
        async with transaction(conn):
            await campaigns.unschedule_campaign(conn, ACTOR, campaign_id, str(fault), now)


async def _reconcile(url: str, clock: Clock, stopping: asyncio.Event, provider: Provider) -> None:
    async with await connect(url, "ese-reconciler") as conn:
        while not stopping.is_set():
            counts = await reconcile(conn, provider, clock)
            if counts.found or counts.requeued or counts.closed:
                _logger.info("reconciled with the provider: %s", counts)
            await pacing.forget_past_seconds(conn, clock.now())
            await pause(stopping, RECONCILING.total_seconds())
