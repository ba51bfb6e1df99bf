"""The sealer: about once a second it seals what was added to the audit trail, and anchors the new head outside."""

import asyncio
import logging
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

from event_stream_engine.audit.anchors import (
    FILE_NAME,
    Anchor,
    append_anchor,
    find_last_anchor,
    format_anchor,
)
from event_stream_engine.audit.chain import BATCH_ROWS, Sealed, find_head, seal_batch, try_hold_seal
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import Conflict
from event_stream_engine.monitoring.loops import CameRound, unwatched
from event_stream_engine.worker.projector import pause

SEAL_SECONDS = 1.0
LOG_EVERY = timedelta(minutes=1)
_logger = logging.getLogger(__name__)


async def run_sealer(
    settings: Settings,
    url: str,
    clock: Clock,
    stopping: asyncio.Event,
    *,
    came_round: CameRound = unwatched,
) -> None:
    """Seal until told to stop, while no other worker does; a lost database is waited for."""
    while not stopping.is_set():
        try:
            async with await connect(url, "ese-sealer", statement_timeout_ms=60_000) as conn:
                while not await try_hold_seal(conn):
                    if stopping.is_set():
                        return
                    came_round()
                    await pause(stopping, SEAL_SECONDS)
                await _seal(conn, _Anchoring(settings.data_dir / FILE_NAME), clock, stopping, came_round)
        except (psycopg.Error, OSError, Conflict) as error:
            _logger.error("the audit trail is not sealed: %s", str(error).strip().splitlines()[0])
            await pause(stopping, 5 * SEAL_SECONDS)


async def _seal(
    conn: Connection,
    anchoring: "_Anchoring",
    clock: Clock,
    stopping: asyncio.Event,
    came_round: CameRound,
) -> None:
    head = await find_head(conn)
    anchoring.compare(None if head is None else Anchor(head.number, head.hash, head.sealed_at))
    while not stopping.is_set():
        sealed = await _seal_next(conn, clock.now())
        if sealed is not None:
            anchoring.note(Anchor(sealed.number, sealed.hash, clock.now()))
        came_round()
        if sealed is None or sealed.rows < BATCH_ROWS:
            await pause(stopping, SEAL_SECONDS)


async def _seal_next(conn: Connection, now: datetime) -> Sealed | None:
    async with transaction(conn):
        return await seal_batch(conn, now)


class _Anchoring:
    """Notes each new head in the file, and one a minute in the log, which is often shipped elsewhere anyway."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._logged_at: datetime | None = None

    def compare(self, head: Anchor | None) -> None:
        """See whether the chain still is what was anchored last, and anchor what a crash left out."""
        last = find_last_anchor(self._file)
        number = head.number if head else 0
        if last is not None and (
            last.number > number or (head and last.number == number and last.hash != head.hash)
        ):
            _logger.error(
                "the audit trail ends at batch %s, but batch %s was anchored with another hash or after it: it was cut,"
                " rewritten, or the database set back to an earlier state; see `ese audit verify`",
                number,
                last.number,
            )
        elif head is not None and (last is None or last.number < number):
            self.note(head)

    def note(self, anchor: Anchor) -> None:
        append_anchor(self._file, anchor)
        if self._logged_at is None or anchor.at - self._logged_at >= LOG_EVERY:
            _logger.info("audit anchor %s", format_anchor(anchor))
            self._logged_at = anchor.at
