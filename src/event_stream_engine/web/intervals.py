"""95 % intervals of rates as marks on one common scale, so that an eye sees which of them overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

from event_stream_engine.analytics.rates import Rate
from event_stream_engine.kernel.formats import format_percent

_ROOM = 0.06  # of the scale, on both sides
_LEAST_PERCENT = 1.0  # a narrower scale would make chance look large


@dataclass(frozen=True, slots=True)
class IntervalMark:
    """A range and the rate in it, each in 0..100 of the scale."""

    begins: float
    width: float
    at: float
    text: str


def draw_intervals(rates: Sequence[Rate]) -> list[IntervalMark | None]:
    """Return the mark of each rate on the scale that has them all; None for a rate that is not known."""
    known = [interval for rate in rates if (interval := rate.interval) is not None]
    if not known:
        return [None] * len(rates)
    low, high = min(low for low, _ in known), max(high for _, high in known)
    span = max(high - low, _LEAST_PERCENT) * (1 + 2 * _ROOM)
    origin = (low + high - span) / 2
    return [_draw(rate, origin, span) for rate in rates]


def _draw(rate: Rate, origin: float, span: float) -> IntervalMark | None:
    interval, percent = rate.interval, rate.percent
    if interval is None or percent is None:
        return None
    low, high = interval
    text = f"{format_percent(low)}–{format_percent(high)} %"
    return IntervalMark(
        (low - origin) * 100 / span, (high - low) * 100 / span, (percent - origin) * 100 / span, text
    )
