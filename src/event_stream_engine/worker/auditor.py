"""The auditor: now and then it verifies the whole audit trail, as `ese audit verify` does, and notes what it found."""

import asyncio
import logging
import time
from datetime import timedelta
from pathlib import Path

import psycopg

from event_stream_engine.audit.anchors import FILE_NAME, read_anchors
from event_stream_engine.audit.verdicts import find_verdict, note_verdict
from event_stream_engine.audit.verification import Verdict, verify_chain
from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import EngineError
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.stream.log import try_hold_reader
from event_stream_engine.worker.projector import pause

AUDITOR = "auditor"
EVERY = timedelta(hours=1)
SHARE = 20  # it rests so many times as long as it worked
LOOK_SECONDS = 30.0
_logger = logging.getLogger(__name__)


async def run_auditor(
    settings: Settings, url: str, clock: Clock, stopping: asyncio.Event, *, came_round: CameRound = unwatched
) -> None:
    """Verify until told to stop, while no other worker does; a lost database is waited for."""
    file = settings.data_dir / FILE_NAME
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-auditor", statement_timeout_ms=60_000) as conn:
                while not stopping.is_set() and not await try_hold_reader(conn, AUDITOR):
                    came_round()
                    await pause(stopping, LOOK_SECONDS)
                while not stopping.is_set():
                    if await _is_due(conn, clock):
                        await audit_once(conn, file, clock, stopping, came_round)
                    came_round()
                    await pause(stopping, LOOK_SECONDS)
        except _Stopped:
            return
        except (psycopg.Error, OSError, EngineError) as error:
            _logger.error("the audit trail is not verified: %s", str(error).strip().splitlines()[0])
            await pause(stopping, LOOK_SECONDS)


async def audit_once(
    conn: Connection,
    anchors: Path,
    clock: Clock,
    stopping: asyncio.Event,
    came_round: CameRound = unwatched,
) -> None:
    """Verify the whole trail and note what was found."""

    def go_on(_verdict: Verdict) -> None:
        came_round()
        if stopping.is_set():
            raise _Stopped

    began = time.perf_counter()
    files = [anchors] if await asyncio.to_thread(anchors.exists) else []
    verdict = await verify_chain(conn, read_anchors(files), go_on)
    await note_verdict(conn, verdict, clock.now(), time.perf_counter() - began)
    if verdict.fault_count:
        _logger.error("the audit trail is damaged: %s", verdict.faults[0].text)


async def _is_due(conn: Connection, clock: Clock) -> bool:
    last = await find_verdict(conn)
    rest = max(EVERY, SHARE * timedelta(seconds=last.took_seconds)) if last else EVERY
    return last is None or abs(clock.now() - last.verified_at) >= rest


class _Stopped(Exception):
    """The worker ends in the middle of a verification."""
