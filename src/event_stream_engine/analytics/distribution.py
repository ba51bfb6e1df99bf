"""How durations are spread: a sketch as a histogram with bins that people can read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from event_stream_engine.kernel.stats import sketch_percentiles, sketch_value

_MOST_BINS = 30
_WIDTHS_SECONDS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
    *(60, 120, 300, 600, 1800),
    *(3600, 7200, 21600, 43200, 86400),
)


@dataclass(frozen=True, slots=True)
class Bin:
    """Messages that took `[since_seconds, until_seconds)`; the last bin may be open. `so_far`: these and all faster ones."""

    since_seconds: float
    until_seconds: float | None
    messages: int
    so_far: int


def spread(sketch: Mapping[int, int]) -> list[Bin]:
    """Return a histogram of equal bins; what is slower than nearly all others shares a last, open bin.

    A duration within 1 % of an edge may lie on its other side, because the sketch knows it no better.
    """
    counted = {sketch_value(place): count for place, count in sketch.items() if count}
    if not counted:
        return []
    nearly_all = sketch_percentiles(sketch, (99,))["p99"] or 0.0
    width = next((one for one in _WIDTHS_SECONDS if nearly_all / one < _MOST_BINS), _WIDTHS_SECONDS[-1])
    closed = min(_MOST_BINS, int(nearly_all / width) + 1)
    messages = [0] * (closed + 1)
    for seconds, count in counted.items():
        messages[min(closed, int(seconds / width))] += count
    if not messages[-1]:
        messages.pop()
    return _add_up(messages, width, closed)


def _add_up(messages: Sequence[int], width: float, closed: int) -> list[Bin]:
    bins, so_far = [], 0
    for number, count in enumerate(messages):
        so_far += count
        until = None if number == closed else round((number + 1) * width, 1)
        bins.append(Bin(round(number * width, 1), until, count, so_far))
    return bins
