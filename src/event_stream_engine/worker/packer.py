"""Exports that wait, made by a process of its own: writing a file takes a whole core, and memory that it gives back."""

import asyncio
import json
import logging

import psycopg

from event_stream_engine.exports.jobs import count_waiting
from event_stream_engine.infra.database import connect
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.worker.children import LOOK_SECONDS, run_child
from event_stream_engine.worker.projector import pause

# Of Arrow's allocators the one that gives back most; and one heap for two threads, not one for each.
PRESS_ENVIRONMENT = {"ARROW_DEFAULT_MEMORY_POOL": "jemalloc", "MALLOC_ARENA_MAX": "2"}
_logger = logging.getLogger(__name__)


async def run_packer(
    settings: Settings, url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Start the press whenever an export waits; it ends when none does, or with us."""
    order = {
        "url": url,
        "queries_url": settings.reporting_database_url or url,
        "secret_key": settings.secret_key,
        "limit_bytes": settings.exports_limit_bytes,
    }
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-packer") as conn:
                while not stopping.is_set():
                    if await count_waiting(conn, clock.now()):
                        await run_child(
                            "worker.press",
                            stopping=stopping,
                            came_round=came_round,
                            told=json.dumps(order).encode() + b"\n",
                            environment=PRESS_ENVIRONMENT,
                        )
                    came_round()
                    await pause(stopping, LOOK_SECONDS)
        except psycopg.Error as error:
            _logger.warning("exports wait for the database: %s", type(error).__name__)
            await pause(stopping, LOOK_SECONDS)
