"""What a kind of recommendation has to go by in one run, and what it says of itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.infra.database import Connection
from event_stream_engine.insights.recommendation import Examination
from event_stream_engine.kernel.windows import Window

DAYS = 90


@dataclass(frozen=True, slots=True)
class Look:
    """One run. `secret_key`: suppressed people are known by keyed hashes alone."""

    now: datetime
    zone: ZoneInfo
    secret_key: str

    @property
    def window(self) -> Window:
        return Window(self.now - timedelta(days=DAYS), self.now)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of recommendation. `figure`: of insights/aftermath.py, which tells afterwards whether it helped; `{}` in it stands
    for the second part of the advice's key; None: whether the advice is still found tells it."""

    slug: str
    name: str
    examine: Callable[[Connection, Look], Awaitable[Examination]]
    figure: str | None = None
