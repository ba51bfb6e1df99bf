"""Sparklines as SVG paths."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 96, 24
_MARGIN = 3


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A line in a box of `WIDTH` by `HEIGHT`: SVG path data and the place of its end."""

    path: str
    end_x: float
    end_y: float


def draw_sparkline(points: Sequence[float | None]) -> Sparkline | None:
    """Draw a series, oldest first; None when there is no line in it. What is unknown stays a gap."""
    known = [point for point in points if point is not None]
    if len(known) < 2:
        return None
    # A span of at least 2 % of the value, lest the noise of a steady figure looks like an event.
    span = max(max(known) - min(known), 0.02 * max(abs(point) for point in known)) or 1.0
    middle = (max(known) + min(known)) / 2
    stride = (WIDTH - 2 * _MARGIN) / (len(points) - 1)
    commands, x, y, is_drawing = [], 0.0, 0.0, False
    for place, point in enumerate(points):
        if point is not None:
            x = _MARGIN + place * stride
            y = HEIGHT / 2 - (point - middle) / span * (HEIGHT - 2 * _MARGIN)
            commands.append(f"{'L' if is_drawing else 'M'}{x:.1f} {y:.1f}")
        is_drawing = point is not None
    return Sparkline("".join(commands), round(x, 1), round(y, 1))
