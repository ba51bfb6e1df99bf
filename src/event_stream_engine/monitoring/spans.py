"""Which buckets make up a window, where what is old is kept in coarser ones."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from event_stream_engine.kernel.windows import Window

KEPT = {
    "tick": timedelta(hours=2),
    "minute": timedelta(days=8),
    "quarter": timedelta(days=100),
    "day": timedelta(days=3 * 365),
}
SECONDS = {"tick": 5, "minute": 60, "quarter": 900}


@dataclass(frozen=True, slots=True)
class Span:
    """The buckets of one grain that begin in `[begins, ends)`."""

    grain: str
    begins: datetime
    ends: datetime


def floor_to(grain: str, at: datetime) -> datetime:
    """Return the beginning of the tick, minute or quarter-hour of an instant."""
    seconds = int(at.timestamp())
    return datetime.fromtimestamp(seconds - seconds % SECONDS[grain], UTC)


def list_spans(window: Window, now: datetime, days: Sequence[datetime] = ()) -> list[Span]:
    """Return the buckets that make up a window. `days`: starts of the local days that are counted as a whole, ascending.

    Both ends are put back to the beginning of a bucket, so that neighbouring windows share none: of a minute, of what is
    older than 8 days of a quarter-hour. A window that ends in the present minute has what that holds so far.
    """
    oldest_minute = floor_to("quarter", now - KEPT["minute"])
    since, until = _put_back(window.since, oldest_minute), _put_back(window.until, oldest_minute)
    if window.until >= (minute := floor_to("minute", now)):
        until = minute + timedelta(minutes=1)
    first_quarter = floor_to("quarter", since + timedelta(seconds=SECONDS["quarter"] - 1))
    last_quarter = floor_to("quarter", until)
    if first_quarter >= last_quarter:
        return _keep(Span("minute", since, until))
    first, last = bisect_left(days, first_quarter), bisect_right(days, last_quarter) - 1
    if first < last:
        middle = [
            Span("quarter", first_quarter, days[first]),
            Span("day", days[first], days[last]),
            Span("quarter", days[last], last_quarter),
        ]
    else:
        middle = [Span("quarter", first_quarter, last_quarter)]
    return _keep(Span("minute", since, first_quarter), *middle, Span("minute", last_quarter, until))


def as_columns(spans: Sequence[tuple[int, Span]]) -> dict[str, Any]:
    """Return numbered spans as the parameters of a query."""
    return {
        "numbers": [number for number, _ in spans],
        "grains": [span.grain for _, span in spans],
        "begins": [span.begins for _, span in spans],
        "ends": [span.ends for _, span in spans],
    }


def _put_back(at: datetime, oldest_minute: datetime) -> datetime:
    return floor_to("minute" if at >= oldest_minute else "quarter", at)


def _keep(*spans: Span) -> list[Span]:
    return [span for span in spans if span.begins < span.ends]
