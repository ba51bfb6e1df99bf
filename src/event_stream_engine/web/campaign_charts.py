"""The chart of a campaign's speed: messages a second against its limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.kernel.formats import format_clock, format_moment, format_number
from event_stream_engine.web.charts import Chart, Spec, lay_over_time, make_time_axis

MOST_BARS = 120
_STEPS = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 900, 1800, 3600, 7200, 21600, 43200, 86400, 604800)
)


@dataclass(frozen=True, slots=True)
class Speed:
    """Messages in the step that begins at `at`."""

    at: datetime
    messages: int


def choose_step(span: timedelta, smallest: timedelta) -> timedelta:
    """Return the shortest step with which a span has few enough bars."""
    return next((step for step in _STEPS if step >= smallest and span / step <= MOST_BARS), _STEPS[-1])


def chart_speed(points: Sequence[Speed], step: timedelta, limit: int, zone: ZoneInfo, *, name: str) -> Chart:
    """Draw bars under the line of the limit."""
    axis = make_time_axis([point.at for point in points], step, zone)
    seconds = step.total_seconds()
    fastest = max((point.messages / seconds for point in points), default=0.0)
    rows = []
    table: list[list[tuple[str, object]]] = []
    for slot, point in zip(axis.slots, points, strict=True):
        speed = round(point.messages / seconds, 2)
        when = format_clock(point.at, zone) if seconds < 60 else format_moment(point.at, zone)
        rows.append(
            {
                "slot": slot,
                "speed": speed,
                "tip_when": when,
                "tip_a_second": format_number(speed),
                "tip_messages": format_number(point.messages),
            }
        )
        table.append(
            [
                (when, point.at.isoformat()),
                (format_number(speed), speed),
                (format_number(point.messages), point.messages),
            ]
        )
    scale = {"domain": [0, max(limit, fastest) * 1.15], "nice": False}
    y: Spec = {"type": "quantitative", "scale": scale, "axis": {"tickCount": 3, "tickMinStep": 1}}
    line = {"at": limit, "text": f"limit {limit:,}"}
    layers: list[Spec] = [
        {
            "mark": {"type": "bar", "color": {"expr": "accent"}, "opacity": 0.75},
            "encoding": {"x": axis.encode(), "y": {**y, "field": "speed"}},
        },
        {
            "data": {"values": [line]},
            "mark": {"type": "rule", "color": {"expr": "muted"}, "strokeDash": [3, 3]},
            "encoding": {"y": {**y, "field": "at"}},
        },
        {
            "data": {"values": [line]},
            "mark": {"type": "text", "align": "left", "baseline": "bottom", "dy": -4, "x": 6},
            "encoding": {"y": {**y, "field": "at"}, "text": {"field": "text"}},
        },
    ]
    is_empty = not any(point.messages for point in points)
    return Chart(
        spec=lay_over_time(axis, layers, ("A second", "Messages")),
        rows=rows,
        summary=f"Messages a second, {name}: at most {format_number(round(fastest, 1))} of {limit:,}",
        columns=(("When", "text"), ("A second", "number"), ("Messages", "number")),
        table=table,
        nothing="Nothing was handed over yet." if is_empty else "",
    )
