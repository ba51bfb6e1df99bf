"""The checker: about once a second it judges anew, from raw rows, what was handed over to the provider."""

import asyncio
import logging

import psycopg

from event_stream_engine.analytics.compliance_check import check_next, prepare_check
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.stream.log import try_hold_reader
from event_stream_engine.worker.projector import pause

CHECKER = "checker"
CHECK_SECONDS = 1.0
STANDBY_SECONDS = 2.0
_logger = logging.getLogger(__name__)


async def run_checker(
    url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Check until told to stop, while no other worker does; a lost database is waited for."""
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-checker") as conn:
                await prepare_check(conn)
                while not stopping.is_set() and not await try_hold_reader(conn, CHECKER):
                    came_round()
                    await pause(stopping, STANDBY_SECONDS)
                while not stopping.is_set():
                    async with transaction(conn):
                        is_behind = await check_next(conn, clock.now())
                    came_round()
                    if not is_behind:
                        await pause(stopping, CHECK_SECONDS)
        except psycopg.Error as error:
            _logger.error("compliance is not checked: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 5 * CHECK_SECONDS)
