"""The health of the engine, measured every two seconds by each web process, for all pages that show it.

Three hundred open pages cost what one does, and the page can tell that the database is away when nothing else can.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime

import psycopg

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.health import load_health
from event_stream_engine.monitoring.parts import HealthRow, describe_away

WATCH_SECONDS = 2.0
STATEMENT_MS = 3000  # a health that takes longer is none
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen last. While the database is away only that is known, and `away_since`."""

    as_of: datetime
    rows: list[HealthRow]
    away_since: datetime | None = None


class HealthWatch:
    """Looks again and again; `seen` is None until the first look."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self.seen: Seen | None = None

    async def run(self) -> None:
        """Look until cancelled, over a session of its own: the pool's may all be busy."""
        while True:
            try:
                async with await connect(self._url, "ese-health", statement_timeout_ms=STATEMENT_MS) as conn:
                    while True:
                        now = self._clock.now()
                        self.seen = Seen(now, (await load_health(conn, now)).rows)
                        await asyncio.sleep(WATCH_SECONDS)
            except psycopg.Error as error:
                # psycopg may answer a cancellation in the middle of a query with an error of its own.
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    return
                self._note_away(error)
            await asyncio.sleep(WATCH_SECONDS / 2)

    def _note_away(self, error: psycopg.Error) -> None:
        now = self._clock.now()
        since = self.seen.away_since if self.seen and self.seen.away_since else now
        if since == now:
            _logger.warning("the database is away: %s", type(error).__name__)
        if isinstance(error, psycopg.errors.QueryCanceled):
            reason = f"no answer within {STATEMENT_MS // 1000} s"
        elif isinstance(error, psycopg.OperationalError):
            reason = "it does not answer"
        else:
            reason = f"it refuses to be read ({type(error).__name__})"
        self.seen = Seen(now, [describe_away(reason, since)], since)
