"""The worker's loops: when each last came round, and how long it may be silent before it counts as standing still.

A worker whose projector hangs still gives its sign of life; only the loop itself can tell that it goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from event_stream_engine.kernel.clock import Clock, format_instant

CameRound = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Loop:
    """`limit`: longest time between two rounds, well above the longest piece of work in one."""

    limit: timedelta
    consequence: str


LOOPS = {
    "projector": Loop(timedelta(seconds=30), "Webhooks are stored, nothing is applied"),
    "sender": Loop(timedelta(minutes=1), "Nothing is handed over to the provider"),
    "runner": Loop(timedelta(minutes=2), "Campaigns neither start nor end"),
    "sealer": Loop(timedelta(minutes=1), "The audit trail is not sealed"),
    "checker": Loop(timedelta(minutes=2), "Compliance is not checked"),
    "evaluator": Loop(timedelta(minutes=1), "No alert fires"),
    "notifier": Loop(timedelta(minutes=1), "Nobody is told of alerts"),
    "scheduler": Loop(
        timedelta(minutes=5), "Scheduled queries do not run, and alerts on queries have no data"
    ),
    "escalator": Loop(timedelta(minutes=1), "Incidents that nobody takes are not escalated"),
    "auditor": Loop(timedelta(minutes=5), "The audit trail is not verified"),
    "adviser": Loop(timedelta(minutes=20), "Nothing is recommended"),
    "observer": Loop(timedelta(minutes=5), "The database is not looked at"),
    "upkeep": Loop(timedelta(minutes=20), "Partitions of coming days are not made"),
    "verifier": Loop(timedelta(minutes=5), "Figures are not checked"),
    "compactor": Loop(timedelta(minutes=20), "Days that are over are not added up"),
    "reporter": Loop(timedelta(minutes=5), "Days and weeks that are over get no report"),
    "importer": Loop(timedelta(minutes=1), "Imports wait"),
    "packer": Loop(timedelta(minutes=1), "Exports wait"),
    "eraser": Loop(timedelta(minutes=10), "Erased people stay in the log"),
}


class Rounds:
    """What the loops of one process tell of themselves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: dict[str, datetime] = {}

    def watch(self, loop: str) -> CameRound:
        """Begin to watch a loop; it calls what it gets whenever it has done what there was to do."""
        self._note(loop)
        return partial(self._note, loop)

    def describe(self) -> dict[str, str]:
        return {loop: format_instant(at) for loop, at in self._times.items()}

    def _note(self, loop: str) -> None:
        self._times[loop] = self._clock.now()


def unwatched() -> None:
    """Stand in for a loop that nobody watches."""
