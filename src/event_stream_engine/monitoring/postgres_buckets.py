"""Which buckets of the database's roll-ups cover a window: days inside, quarter-hours and minutes at its edges."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from event_stream_engine.kernel.windows import Window

MINUTE, QUARTER, DAY = timedelta(minutes=1), timedelta(minutes=15), timedelta(days=1)
# Each grain with how long its buckets are kept; a window's edge is as fine as what is kept of its time.
GRAINS = (
    ("minute", MINUTE, timedelta(hours=26)),
    ("quarter", QUARTER, timedelta(days=14)),
    ("day", DAY, timedelta(days=400)),
)
_ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Buckets:
    """Runs of buckets of one grain, one after the other. `window` is what they cover: the asked one with its edges moved outwards."""

    window: Window
    runs: list[tuple[str, Window]]

    def parameters(self) -> dict[str, Any]:
        return {
            "grains": [grain for grain, _ in self.runs],
            "sinces": [run.since for _, run in self.runs],
            "untils": [run.until for _, run in self.runs],
        }


def kept_since(grain: str, now: datetime) -> datetime:
    """Return from when on buckets of a grain are kept: the begin of a bucket of the next coarser grain."""
    place = [name for name, _, _ in GRAINS].index(grain)
    coarser = GRAINS[min(place + 1, len(GRAINS) - 1)][1]
    return _floor(now - GRAINS[place][2], coarser)


def cover(window: Window, now: datetime) -> Buckets:
    """Return the fewest buckets that cover a window."""
    at = max(window.since, kept_since("day", now))
    at = since = _floor(at, _finest(at, now))
    until = _floor(window.until + MINUTE - timedelta.resolution, MINUTE)
    runs: list[tuple[str, Window]] = []
    while at < until:
        grain, size = _choose(at, until, now)
        if runs and runs[-1][0] == grain:
            runs[-1] = (grain, Window(runs[-1][1].since, at + size))
        else:
            runs.append((grain, Window(at, at + size)))
        at += size
    return Buckets(Window(since, at), runs)


def _choose(at: datetime, until: datetime, now: datetime) -> tuple[str, timedelta]:
    """Return the coarsest grain whose bucket begins here and does not reach beyond the end, or the finest there is."""
    finest = _finest(at, now)
    return next(
        (grain, size)
        for grain, size, _ in reversed(GRAINS)
        if size == finest or (_floor(at, size) == at and at + size <= until)
    )


def _finest(at: datetime, now: datetime) -> timedelta:
    return next((size for grain, size, _ in GRAINS if at >= kept_since(grain, now)), DAY)


def _floor(at: datetime, size: timedelta) -> datetime:
    return at - (at - _ORIGIN) % size
