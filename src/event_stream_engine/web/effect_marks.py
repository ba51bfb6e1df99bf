"""An effect and its 95 % interval beside zero, so that an eye sees how far from nothing it is."""

from dataclasses import dataclass

_ROOM = 0.06  # of the scale, on both sides


@dataclass(frozen=True, slots=True)
class EffectMark:
    """Each in 0..100 of the scale; `zero`: where nothing would be."""

    begins: float
    width: float
    at: float
    zero: float


def draw_effect(effect: float | None, low: float | None, high: float | None) -> EffectMark | None:
    """Return the marks of an effect, None where it or its interval is not known."""
    if effect is None or low is None or high is None:
        return None
    least, most = min(0.0, low), max(0.0, high)
    span = (most - least or 1.0) * (1 + 2 * _ROOM)
    origin = (least + most - span) / 2
    begins, ends, at, zero = ((one - origin) * 100 / span for one in (low, high, effect, 0.0))
    return EffectMark(begins, max(ends - begins, 0.5), at, zero)
