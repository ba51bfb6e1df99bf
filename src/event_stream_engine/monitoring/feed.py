"""The live feed of one web process: one reader of the log, and all who watch.

The reader asks the database four times a second, while somebody watches. Viewers with the same filter share a channel:
what passes is chosen and written once, and all of them get the same bytes. So a hundred viewers cost what one does.

A stream is told the log in steps. A step is an event, a number of events that were left out because they came faster
than people can read, or nothing at all; its place is behind all that it covers. Wherever a connection breaks, the place of
the last step that arrived is where the next one goes on: what is told adds up to what passed the filter, each event once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import psycopg

from event_stream_engine.infra.database import Pool
from event_stream_engine.monitoring.feed_events import (
    EVERYTHING,
    PAGE,
    FeedEvent,
    FeedFilter,
    FeedPlace,
    list_rows,
    load_place,
)

POLL_SECONDS = 0.25
KEEPALIVE_SECONDS = 15.0
READABLE_PER_SECOND = 20.0
MOST_AT_ONCE = 40  # shown of a burst, after a pause
MOST_CAUGHT_UP = 100  # shown of a page of what a viewer missed
MOST_REMEMBERED = 4000  # events kept for those who reconnect; whoever was away for longer asks the database
MOST_WAITING = 100  # readings a slow viewer may lag behind before it is cut off; it reconnects and goes on
MOST_ASKING = (
    2  # viewers that read what they missed at the same time; more would take the pool from the pages
)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a stream. `place`: behind what it covers, an event, or `left_out` events, or what nobody is shown."""

    place: FeedPlace
    event: FeedEvent | None = None
    left_out: int = 0


Write = Callable[[Step], bytes]


class Reading:
    """What the reader found between two places; an event is written the first time somebody is shown it."""

    def __init__(self, begins: FeedPlace, ends: FeedPlace, rows: Sequence[FeedEvent], write: Write) -> None:
        self.begins, self.ends, self.rows = begins, ends, rows
        self._write = write
        self._written: dict[FeedPlace, bytes] = {}

    def write(self, step: Step) -> bytes:
        if step.event is None:
            return self._write(step)
        found = self._written.get(step.place)
        if found is None:
            found = self._written[step.place] = self._write(step)
        return found


@dataclass(slots=True, eq=False)
class _Viewer:
    """`joined`: everything after it comes by the queue; None until the reader has a place."""

    joined: FeedPlace | None
    waiting: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)


class _Channel:
    """The viewers with one filter."""

    def __init__(self, wanted: FeedFilter, *, is_sampled: bool) -> None:
        self.wanted = wanted
        self.is_sampled = is_sampled
        self.viewers: set[_Viewer] = set()
        self._allowance = float(MOST_AT_ONCE)
        self._allowed_at = monotonic()

    def hand_over(self, reading: Reading) -> None:
        """Give all viewers what passes; who is too far behind is cut off."""
        for viewer in self.viewers:
            viewer.joined = viewer.joined or reading.begins
        passed = [row for row in reading.rows if self.wanted.lets_through(row)]
        if not passed:
            return
        steps = choose_steps(passed, self._allow(passed) if self.is_sampled else len(passed))
        part = b"".join(map(reading.write, steps))
        for viewer in list(self.viewers):
            if viewer.waiting.qsize() < MOST_WAITING:
                viewer.waiting.put_nowait(part)
            else:
                self.viewers.discard(viewer)
                viewer.waiting.put_nowait(None)

    def _allow(self, passed: Sequence[FeedEvent]) -> int:
        now = monotonic()
        gained = (now - self._allowed_at) * READABLE_PER_SECOND
        self._allowance = min(MOST_AT_ONCE, self._allowance + gained)
        self._allowed_at = now
        allowed = min(int(self._allowance), sum(is_frequent(event) for event in passed))
        self._allowance -= allowed
        return allowed


class Feed:
    """The reader of one web process and its viewers. `run` must be running. `write` makes of a step what is sent."""

    def __init__(self, pool: Pool, write: Write) -> None:
        self._pool = pool
        self._write = write
        self._channels: dict[tuple[FeedFilter, bool], _Channel] = {}
        self._remembered: deque[Reading] = deque()
        self._remembered_events = 0
        self._place: FeedPlace | None = None
        self._watched = asyncio.Event()
        self._placed = asyncio.Event()
        self._asking = asyncio.Semaphore(MOST_ASKING)

    async def run(self) -> None:
        """Read what is new and hand it to all viewers; nothing is read while nobody watches."""
        while True:
            await self._watched.wait()
            is_full = False
            try:
                is_full = await self._read()
            except (psycopg.Error, TimeoutError) as error:
                _logger.warning("the feed waits for the database: %s", type(error).__name__)
                await asyncio.sleep(1)
            await asyncio.sleep(0 if is_full else POLL_SECONDS)

    async def _read(self) -> bool:
        """Read a page, and tell whether there may be more."""
        begun_at = self._place
        async with self._pool.connection() as conn:
            # Read first: up to here everything is among the rows, or is never shown.
            reached = await load_place(conn)
            rows = []
            if begun_at is not None and begun_at.is_behind(reached):
                rows = await list_rows(conn, begun_at, reached, PAGE, newest=False)
        if self._place is not begun_at or not self._channels:
            return False  # everybody left meanwhile; who came since begins anew
        if len(rows) == PAGE:
            reached = rows[-1].place
        reading = Reading(begun_at if rows and begun_at else reached, reached, rows, self._write)
        self._place = reached
        self._remember(reading)
        for channel in self._channels.values():
            channel.hand_over(reading)
        self._placed.set()
        return len(rows) == PAGE

    def _remember(self, reading: Reading) -> None:
        if reading.begins == reading.ends:
            return
        self._remembered.append(reading)
        self._remembered_events += len(reading.rows)
        while self._remembered_events > MOST_REMEMBERED:
            self._remembered_events -= len(self._remembered.popleft().rows)

    async def watch(
        self, after: FeedPlace | None, wanted: FeedFilter = EVERYTHING, *, is_sampled: bool = True
    ) -> AsyncGenerator[bytes, None]:
        """Yield what is to be sent, from a place on, or from now on, until the viewer leaves or is cut off.

        First what was missed, up to where the viewer joined the reader, then what the reader hands over. At least every
        `KEEPALIVE_SECONDS` something comes, if only the place.
        """
        channel = self._channels.setdefault((wanted, is_sampled), _Channel(wanted, is_sampled=is_sampled))
        viewer = _Viewer(self._place)
        channel.viewers.add(viewer)
        self._watched.set()
        try:
            await self._placed.wait()
            if after is not None:
                async for missed in self._catch_up(viewer, after, channel):
                    yield missed
            while True:
                part: bytes | None = None
                with suppress(TimeoutError):
                    async with asyncio.timeout(KEEPALIVE_SECONDS):
                        part = await viewer.waiting.get()
                    if part is None:
                        return
                if part is None and self._place is not None and viewer.waiting.empty():
                    part = self._write(Step(self._place))  # all up to here has been handed over and told
                if part is not None:
                    yield part
        finally:
            self._leave(channel, viewer)

    async def _catch_up(self, viewer: _Viewer, after: FeedPlace, channel: _Channel) -> AsyncIterator[bytes]:
        """Yield what lies between a place and where the viewer joined."""
        if viewer.joined is not None and viewer.joined.is_behind(after):
            await self._wait_for(viewer, after)
        while viewer.joined is not None and after.is_behind(viewer.joined):
            reading = self._recall(after, viewer.joined) or await self._ask(after, viewer.joined)
            after = reading.ends
            passed = [row for row in reading.rows if channel.wanted.lets_through(row)]
            steps = choose_steps(passed, MOST_CAUGHT_UP if channel.is_sampled else len(passed))
            # The last place is told also when nothing passes: a connection that breaks need not begin again.
            yield b"".join(map(reading.write, steps)) or self._write(Step(after))

    async def _wait_for(self, viewer: _Viewer, after: FeedPlace) -> None:
        """Let the reader come to the place of a viewer that another process has served, which was a moment ahead."""
        for _ in range(8):
            await asyncio.sleep(POLL_SECONDS)
            if self._place is not None and not self._place.is_behind(after):
                break
        # Up to here everything is read from the log; what the queue holds is part of it.
        viewer.joined = self._place
        while not viewer.waiting.empty():
            viewer.waiting.get_nowait()

    def _recall(self, after: FeedPlace, until: FeedPlace) -> Reading | None:
        """Return what the reader found between two places, None when it does not go back so far."""
        if not self._remembered or after.is_behind(self._remembered[0].begins):
            return None
        rows = [
            row
            for reading in self._remembered
            if after.is_behind(reading.ends) and not until.is_behind(reading.ends)
            for row in reading.rows
            if after.is_behind(row.place)
        ]
        return Reading(after, until, rows, self._write)

    async def _ask(self, after: FeedPlace, until: FeedPlace) -> Reading:
        async with self._asking, self._pool.connection() as conn:
            rows = await list_rows(conn, after, until, PAGE, newest=False)
        return Reading(after, rows[-1].place if len(rows) == PAGE else until, rows, self._write)

    def _leave(self, channel: _Channel, viewer: _Viewer) -> None:
        channel.viewers.discard(viewer)
        key = (channel.wanted, channel.is_sampled)
        if not channel.viewers and self._channels.get(key) is channel:
            del self._channels[key]
        if not self._channels:
            self._watched.clear()
            self._placed.clear()
            self._place = None
            self._remembered.clear()
            self._remembered_events = 0


def is_frequent(event: FeedEvent) -> bool:
    return event.kind is not None and event.kind.is_frequent


def choose_steps(events: Sequence[FeedEvent], most: int) -> list[Step]:
    """Return the steps that tell these events: the rare ones and the newest `most` of the frequent, the others counted."""
    surplus = sum(map(is_frequent, events)) - most
    steps: list[Step] = []
    left_out = 0
    for event in events:
        if surplus > 0 and is_frequent(event):
            surplus -= 1
            left_out += 1
            if steps and steps[-1].left_out:
                steps.pop()
            steps.append(Step(event.place, left_out=left_out))
        else:
            left_out = 0
            steps.append(Step(event.place, event))
    return steps
