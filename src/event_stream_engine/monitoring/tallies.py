"""What a process has measured and not yet told the database: how often and how long, by steps of 5 s.

Taking note costs two appends to a list, because it is done for every request; logarithms are left for the fold.
"""

import asyncio
import logging
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from event_stream_engine.kernel.stats import sketch_index

TICK_SECONDS = 5
# What waits for a database that is away is kept by minute, and for as long as no day is settled without it.
FINE_FOR = timedelta(minutes=2)
GIVEN_UP_AFTER = timedelta(hours=6)
_MOST_PER_TURN = 4000  # about 3 ms in which no request is served (measured)
_NS = 1_000_000_000
_TICK_NS = TICK_SECONDS * _NS
_SMALLEST = 1e-6
_logger = logging.getLogger(__name__)
Noted = TypeVar("Noted", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class Tally:
    """Durations added up, in microseconds. `sketch`: how many by sketch index, down to a microsecond."""

    count: int = 0
    microseconds: int = 0
    fastest: int = 2**62
    slowest: int = 0
    sketch: Counter[int] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        self.count += other.count
        self.microseconds += other.microseconds
        self.fastest = min(self.fastest, other.fastest)
        self.slowest = max(self.slowest, other.slowest)
        self.sketch.update(other.sketch)

    @property
    def as_array(self) -> str:
        """Return the sketch as roll-ups keep it, see `sketch_of` in the migrations, in PostgreSQL's words for an array."""
        return (
            "{" + ",".join(str((place << 40) + count) for place, count in sorted(self.sketch.items())) + "}"
        )


class Meter(Generic[Noted, Key]):
    """Durations by key. `name` makes of what is noted one of a bounded number of keys."""

    def __init__(self, name: Callable[[Noted], Key], timer: Callable[[], int] = time.perf_counter_ns) -> None:
        self.timer = timer  # nanoseconds, of any origin
        self._name = name
        # When each began and ended, in turns. An array: a list of a hundred thousand numbers would drive everything else out
        # of the processor's caches.
        self._noted: defaultdict[Noted, array[int]] = defaultdict(_make_moments)
        self._folded: dict[tuple[int, Key], Tally] = {}

    def note(self, what: Noted, began: int, ended: int) -> None:
        """Take note of something that lasted from one reading of the timer to another."""
        moments = self._noted[what]
        moments.append(began)
        moments.append(ended)

    async def fold(self, now: datetime) -> None:
        """Add up what was noted by the 5 s in which it began; in turns, so that requests go on."""
        noted, self._noted = self._noted, defaultdict(_make_moments)
        offset = round(now.timestamp() * _NS) - self.timer()
        for what, moments in noted.items():
            key = self._name(what)
            for start in range(0, len(moments), 2 * _MOST_PER_TURN):
                self._add(key, moments[start : start + 2 * _MOST_PER_TURN], offset)
                await asyncio.sleep(0)
        self._thin(now)

    def take(self, most: int) -> dict[tuple[int, Key], Tally]:
        """Hand over up to so many of the tallies, by the second their 5 s began and their key; the oldest first."""
        chosen = sorted(self._folded, key=lambda place: place[0])[:most]
        return {place: self._folded.pop(place) for place in chosen}

    def take_back(self, tallies: dict[tuple[int, Key], Tally]) -> None:
        """Keep what could not be told."""
        for place, tally in tallies.items():
            self._folded.setdefault(place, Tally()).add(tally)

    def _add(self, key: Key, moments: "array[int]", offset: int) -> None:
        begins, ends = moments[::2], moments[1::2]
        first, last = ((moment + offset) // _TICK_NS for moment in (min(begins), max(begins)))
        for number in range(first, last + 1):
            since, until = number * _TICK_NS - offset, (number + 1) * _TICK_NS - offset
            lasted = [
                (ended - began) // 1000
                for began, ended in zip(begins, ends, strict=True)
                if since <= began < until
            ]
            if lasted:
                tally = Tally(len(lasted), sum(lasted), min(lasted), max(lasted))
                for us, count in Counter(lasted).items():  # equal ones share a logarithm
                    tally.sketch[sketch_index(us / 1e6, _SMALLEST)] += count
                self._folded.setdefault((number * TICK_SECONDS, key), Tally()).add(tally)

    def _thin(self, now: datetime) -> None:
        fine, kept = (now - FINE_FOR).timestamp(), (now - GIVEN_UP_AFTER).timestamp()
        for place in [place for place in self._folded if place[0] < fine and place[0] % 60]:
            tick, key = place
            self._folded.setdefault((tick - tick % 60, key), Tally()).add(self._folded.pop(place))
        late = [place for place in self._folded if place[0] < kept - 60]
        if late:
            lost = sum(self._folded.pop(place).count for place in late)
            _logger.error("the database has been away too long: %s measurements are given up", lost)


def _make_moments() -> "array[int]":
    return array("q")
