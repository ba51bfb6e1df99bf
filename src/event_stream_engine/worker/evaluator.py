"""The evaluator: every ten seconds it holds the rules against the figures, and lets everything follow from it."""

import asyncio
import logging
import time
from datetime import timedelta

import psycopg

from event_stream_engine.alerting import evaluation
from event_stream_engine.alerting.state import Transition
from event_stream_engine.incidents.following import follow
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.stream.log import try_hold_reader
from event_stream_engine.worker.projector import pause

EVALUATOR = "evaluator"
TICK_SECONDS = 10.0
STANDBY_SECONDS = 2.0
QUERY_MS = 5_000  # a measure that takes longer is no data, so that it does not keep the others waiting
CLEAR_EVERY = timedelta(hours=1)
_logger = logging.getLogger(__name__)


async def run_evaluator(
    url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Evaluate until told to stop, while no other worker does; a lost database is waited for."""
    clear_at = clock.now()
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-evaluator", statement_timeout_ms=QUERY_MS) as conn:
                while not stopping.is_set() and not await try_hold_reader(conn, EVALUATOR):
                    came_round()
                    await pause(stopping, STANDBY_SECONDS)
                while not stopping.is_set():
                    began = time.perf_counter()
                    await tick(conn, clock)
                    came_round()
                    if clock.now() >= clear_at:
                        async with transaction(conn):
                            await evaluation.clear_away(conn, clock.now())
                        clear_at = clock.now() + CLEAR_EVERY
                    await pause(stopping, max(0.0, TICK_SECONDS - (time.perf_counter() - began)))
        except psycopg.Error as error:
            _logger.error("alerts are not evaluated: %s", str(error).strip().splitlines()[0])
            await pause(stopping, STANDBY_SECONDS)


async def tick(conn: Connection, clock: Clock) -> list[Transition]:
    """Measure and evaluate once, and return what changed in alerts."""
    began = time.perf_counter()
    readings = await evaluation.measure_rules(conn, clock.now())
    async with transaction(conn):
        now = clock.now()
        transitions = await evaluation.evaluate(conn, readings, now)
        await follow(conn, transitions, now)
        await evaluation.note_tick(conn, now, (time.perf_counter() - began) * 1000)
    return transitions
