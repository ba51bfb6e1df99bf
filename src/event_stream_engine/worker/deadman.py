"""The dead-man's switch: asks for an address each minute, as long as events get through to the alerts.

Whoever waits there raises the alarm when nobody asks any more; that needs no part of the engine to be alive.
"""

import asyncio
import logging

import aiohttp
import psycopg

from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring import canary
from event_stream_engine.worker.projector import pause

LOOK_SECONDS = 5.0
PING_SECONDS = 10.0
_logger = logging.getLogger(__name__)


async def run_deadman(ping_url: str | None, url: str, clock: Clock, stopping: asyncio.Event) -> None:
    """Ping until told to stop; without an address, note that there is no switch."""
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-deadman", statement_timeout_ms=5000) as conn:
                if ping_url is None:
                    await canary.forget_pings(conn)
                    return
                while not stopping.is_set():
                    await run_once(conn, ping_url, clock)
                    await pause(stopping, LOOK_SECONDS)
        except psycopg.Error as error:
            _logger.warning("the dead-man's switch waits for the database: %s", type(error).__name__)
            await pause(stopping, 1)


async def run_once(conn: Connection, ping_url: str, clock: Clock) -> bool:
    """Ping if it is time for it and events get through; return whether it was taken."""
    now = clock.now()
    fault = (await canary.load_way(conn)).find_fault(now)
    if fault is not None:
        await canary.hold_ping(conn, fault)
        return False
    if not await canary.take_ping(conn, now):
        return False
    fault = await _ping(ping_url)
    if fault is not None:
        _logger.warning("the ping of the dead-man's switch failed: %s", fault)
    async with transaction(conn):
        await canary.record_ping(conn, clock.now(), fault)
    return fault is None


async def _ping(ping_url: str) -> str | None:
    """Ask for the address, and return why it was not answered well. The address is a secret: no message repeats it."""
    timeout = aiohttp.ClientTimeout(total=PING_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(ping_url) as answer:
            return None if answer.status < 300 else f"HTTP {answer.status}"
    except TimeoutError:
        return f"no answer within {PING_SECONDS:.0f} s"
    except aiohttp.ClientConnectorError as error:
        return error.strerror or "no connection"
    except aiohttp.ClientError as error:
        return type(error).__name__
