"""Intake: every webhook durable before it is answered, many in one commit.

Requests wait in one list; a writer takes all that wait, commits them together and answers them. While it commits, the
next ones gather: the slower the disk, the larger the groups. When PostgreSQL is away or slower than a deadline, the
same group goes to the spool, and from there into the log when the database is back.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, TypeVarTuple
from uuid import UUID

import psycopg

from event_stream_engine.infra import tracing
from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.ingest.canary import CANARY
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import Invalid, Unavailable
from event_stream_engine.stream import log
from event_stream_engine.stream.log import Event
from event_stream_engine.stream.spool import Spool

MOST_PER_COMMIT = 500
MOST_PER_DRAIN = 2000
MOST_WAITING = 20_000  # events, about 30 MB
ANSWER_SECONDS = 2.8  # Twilio waits 15 s for an answer, we promise one within 3
COMMIT_DEADLINE_SECONDS = 1.0
SPOOL_DEADLINE_SECONDS = 1.5
# The server itself gives up first: a statement that nobody waits for would hold a backend until its lock is free.
STATEMENT_MS = 900
DRAIN_STATEMENT_MS = 5000
RECONNECT_SECONDS = 0.3
FLUSH_SECONDS = 1.0
_logger = logging.getLogger(__name__)
Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")
_Waiting = tuple[Event, "asyncio.Future[None]"]


@dataclass(frozen=True, slots=True)
class Spooled:
    """Events on disk, since when there are any, the bytes they use and may use."""

    events: int
    since: datetime | None
    used_bytes: int
    limit_bytes: int


class Intake:
    """The group commit of one web process. `accept` succeeds only while `run` is running."""

    def __init__(self, url: str, spool: Spool, source: UUID, clock: Clock) -> None:
        self._url = url
        self._spool = spool
        self._source = source
        self._clock = clock
        self._conn: Connection | None = None
        self._waiting: list[_Waiting] = []
        self._storing: asyncio.Future[None] | None = None
        self._arrived = asyncio.Event()
        self._counts: Counter[tuple[datetime, str, str]] = Counter()
        self._spooled_events = 0
        self._spooled_since: datetime | None = None
        # One thread, because the spool is not to be used by two at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")

    @property
    def spooled(self) -> Spooled:
        """What of this process waits on disk for the database."""
        return Spooled(
            self._spooled_events, self._spooled_since, self._spool.used_bytes, self._spool.limit_bytes
        )

    async def accept(self, event: Event) -> None:
        """Return when the event is committed to the log or to the spool.

        Errors: Unavailable when neither is possible in time; Invalid when the database cannot hold the event.
        """
        try:
            if len(self._waiting) >= MOST_WAITING:
                raise Unavailable("Too many webhooks are waiting to be stored.")
            loop = asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()
            deadline = loop.call_later(ANSWER_SECONDS, _refuse_late, done)
            self._waiting.append((event, done))
            self._arrived.set()
            try:
                await done
            finally:
                deadline.cancel()
        except Unavailable:
            self.count(event.event_type, "refused")
            raise
        except Invalid:
            self.count(event.event_type, "rejected: unstorable")
            raise

    def count(self, event_type: str, outcome: str) -> None:
        """Count a request of which nothing is stored. A canary is no request."""
        if event_type == CANARY:
            return
        minute = self._clock.now().replace(second=0, microsecond=0)
        self._counts[minute, event_type, outcome] += 1

    async def run(self) -> None:
        """Write, keep the connection, drain the spool and flush the counters, until cancelled."""
        try:
            with suppress(Unavailable):  # a disk that does not answer yet keeps nobody from the database
                self._note_spooled(await self._in_thread(self._spool.count_events))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write_groups())
                tasks.create_task(self._tend())
        finally:
            if self._storing is not None:
                await self._storing
            while self._waiting:
                await self._store_group(self._take_group())
            if self._conn is not None:
                with suppress(psycopg.Error):
                    await self._flush_counts(self._conn)
                await self._conn.close()
            self._thread.shutdown()

    async def _write_groups(self) -> None:
        while True:
            await self._arrived.wait()
            # Shielded, because whoever ends `run` has the group in hand finished.
            self._storing = asyncio.ensure_future(self._store_group(self._take_group()))
            await asyncio.shield(self._storing)

    def _take_group(self) -> list[_Waiting]:
        """Take the next events; those that were refused meanwhile are left out."""
        group, self._waiting = self._waiting[:MOST_PER_COMMIT], self._waiting[MOST_PER_COMMIT:]
        if not self._waiting:
            self._arrived.clear()
        return [(event, done) for event, done in group if done.cancelled() or not done.done()]

    async def _store_group(self, group: list[_Waiting]) -> None:
        """Store a group and answer each of its requests."""
        if not group:
            return
        try:
            with tracing.span("store webhooks", {"ese.group.events": len(group)}) as span:
                failure = await self._store([event for event, _ in group])
                if failure is not None:
                    span.fail(type(failure).__name__)
        except psycopg.DataError as error:
            if len(group) > 1:  # one of them is at fault: find it, the others are innocent
                half = len(group) // 2
                await self._store_group(group[:half])
                await self._store_group(group[half:])
                return
            failure = Invalid(f"The webhook cannot be stored: {error.diag.message_primary}")
        for _, done in group:
            if not done.done():
                done.set_result(None) if failure is None else done.set_exception(failure)

    async def _store(self, events: list[Event]) -> Exception | None:
        if await self._append(events):
            return None
        try:
            async with asyncio.timeout(SPOOL_DEADLINE_SECONDS):
                await self._in_thread(self._spool.put, events)
        except Unavailable as error:
            return error
        except TimeoutError:
            self._note_spooled(self._spooled_events + len(events))  # it may come to that yet
            return Unavailable("Neither the database nor the disk answers.")
        self._note_spooled(self._spooled_events + len(events))
        return None

    async def _append(self, events: list[Event]) -> bool:
        """Commit to the log; False when that did not surely happen within the deadline.

        It may have happened all the same; the spooled copy is then a duplicate, which the log knows.
        """
        conn = self._conn
        if conn is None:
            return False
        now = self._clock.now()
        work = asyncio.ensure_future(log.append_events(conn, events, source=self._source, counted_at=now))
        # Not wait_for: cancelling a query waits for a database that may not answer.
        await asyncio.wait({work}, timeout=COMMIT_DEADLINE_SECONDS)
        if not work.done():
            reason = "no commit within the deadline"
            work.add_done_callback(lambda late: late.cancelled() or late.exception())
        else:
            error = work.exception()
            if error is None:
                return True
            if isinstance(error, psycopg.DataError):
                raise error
            reason = str(error)
        _logger.warning(
            "webhooks go to the spool: %s", reason.strip().splitlines()[0], extra={"events": len(events)}
        )
        self._conn = None
        await conn.close()
        return False

    async def _tend(self) -> None:
        while True:
            drained = 0
            try:
                if self._conn is None or self._spooled_events or self._counts:
                    drained = await self._carry_over()
                if self._conn is None:
                    self._conn = await connect(self._url, "ese-intake", statement_timeout_ms=STATEMENT_MS)
                    _logger.info("webhooks go to the database")
            except psycopg.Error as error:
                _logger.debug("the database is away: %s", error)
            if not drained:
                await asyncio.sleep(RECONNECT_SECONDS if self._conn is None else FLUSH_SECONDS)

    async def _carry_over(self) -> int:
        """Bring what waits here into the database and return how many events of the spool that was.

        Requests wait for a database again only after it has taken this.
        """
        async with await connect(
            self._url, "ese-intake-drain", statement_timeout_ms=DRAIN_STATEMENT_MS
        ) as conn:
            if self._conn is None:
                await log.ensure_coming_partitions(conn, self._clock.now().date())
            await self._flush_counts(conn)
            try:
                return await self._drain(conn)
            except Unavailable as error:  # the disk must not keep the database from requests
                _logger.error("%s", error)
                return 0

    async def _drain(self, conn: Connection) -> int:
        rows = await self._in_thread(self._spool.take, MOST_PER_DRAIN)
        if not rows:
            self._note_spooled(await self._in_thread(self._spool.count_events))
            return 0
        await self._drain_rows(conn, rows)
        # An empty spool is seen, not reckoned.
        self._note_spooled(max(self._spooled_events - len(rows), 1))
        _logger.info("%s events came from the spool into the log", len(rows))
        return len(rows)

    async def _drain_rows(self, conn: Connection, rows: list[tuple[int, Event]]) -> None:
        numbers, events = [number for number, _ in rows], [event for _, event in rows]
        try:
            await log.append_events(conn, events, source=self._source, counted_at=self._clock.now())
        except psycopg.DataError as error:
            if len(rows) > 1:
                half = len(rows) // 2
                await self._drain_rows(conn, rows[:half])
                await self._drain_rows(conn, rows[half:])
                return
            await self._in_thread(self._spool.quarantine, numbers, type(error).__name__)
            return
        await self._in_thread(self._spool.remove, numbers)

    async def _flush_counts(self, conn: Connection) -> None:
        counts, self._counts = self._counts, Counter()
        try:
            if counts:
                rows = [(*key, events) for key, events in counts.items()]
                await log.add_intake_counts(conn, rows, source=self._source)
        except BaseException:
            self._counts.update(counts)
            raise

    def _note_spooled(self, events: int) -> None:
        self._spooled_since = (self._spooled_since or self._clock.now()) if events else None
        self._spooled_events = events

    async def _in_thread(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _refuse_late(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_exception(Unavailable("The webhook could not be stored in time."))
