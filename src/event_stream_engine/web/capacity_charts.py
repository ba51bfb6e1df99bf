"""The charts of capacity: what was, what is expected and how sure that is; and how a campaign drains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.insights.capacity import Capacity
from event_stream_engine.insights.drain import Drain
from event_stream_engine.insights.outlook import DayAhead, PastDay
from event_stream_engine.insights.projection import LEVEL_PERCENT, Estimate
from event_stream_engine.kernel.formats import UNKNOWN, format_bytes, format_date, format_day, format_whole
from event_stream_engine.web.charts import Chart, Spec, TimeAxis, lay_over_time, make_time_axis, name_tip

_TITLES = ("Measured", "Expected", "At least", "At most")
_DRAIN_TITLES = ("Not handed over", "In the provider’s queue")
_DRAIN_STEPS = 60
_BYTES = ((1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"))


@dataclass(frozen=True, slots=True)
class _Line:
    """A figure of days behind and ahead. `units`: what its values can be told in, the smallest first."""

    name: str
    past: list[tuple[date, float | None]]
    ahead: list[tuple[date, Estimate | None]]
    write: Callable[[float | None], str]
    units: Sequence[tuple[float, str]] = ((1.0, ""),)


def chart_volume(past: Sequence[PastDay], ahead: Sequence[DayAhead], zone: ZoneInfo) -> Chart:
    """Draw messages a day as they were and as they are expected, with the interval of a single day."""
    line = _Line(
        "Messages a day",
        [(day.on, day.messages) for day in past],
        [(day.on, day.messages) for day in ahead],
        format_whole,
    )
    return _draw(line, zone, limit=None)


def chart_storage(
    found: Capacity, past: Sequence[PastDay], ahead: Sequence[DayAhead], zone: ZoneInfo
) -> Chart:
    """Draw the size of the database as it was and as it is expected, below the size at which its disk is full."""
    disk, size = found.storage.disk, found.storage.size.bytes
    line = _Line(
        "Size of the database",
        [(day.on, day.database_bytes) for day in past],
        [(day.on, day.database_bytes) for day in ahead],
        _write_bytes,
        _BYTES,
    )
    return _draw(line, zone, limit=None if disk is None else size + disk.free_bytes)


def chart_drain(drain: Drain, zone: ZoneInfo) -> Chart:
    """Draw how many messages still wait for us, and how many at the provider."""
    end = max((point.at for point in drain.points), default=drain.starts_at)
    step = max((end - drain.starts_at) / _DRAIN_STEPS, timedelta(seconds=1))
    instants = [drain.starts_at + number * step for number in range(_DRAIN_STEPS + 1)]
    axis = make_time_axis(instants, timedelta(minutes=15), zone)
    spaced = TimeAxis(axis.slots, axis.slots[:: _DRAIN_STEPS // 4])
    rows: list[dict[str, Any]] = []
    table: list[list[tuple[str, object]]] = []
    for slot, at in zip(axis.slots, instants, strict=True):
        waiting, queued = _read_drain(drain, at)
        when, texts = format_date(at, zone), (format_whole(waiting), format_whole(queued))
        tips = {f"tip_{name_tip(title)}": text for title, text in zip(_DRAIN_TITLES, texts, strict=True)}
        rows.append({"slot": slot, "waiting": waiting, "queued": queued, "tip_when": when, **tips})
        table.append([(when, at.isoformat()), (texts[0], waiting), (texts[1], queued)])
    is_empty = not drain.recipients
    y: Spec = {
        "type": "quantitative",
        "axis": {"format": "~s", "tickCount": 3},
        "scale": {"domain": [0, 4]} if is_empty else {},
        "stack": None,
    }
    lines = (("waiting", "accent"), ("queued", "warning"))
    layers: list[Spec] = [
        {
            "mark": {
                "type": "area",
                "color": {"expr": colour},
                "opacity": 0.16,
                "line": {"color": {"expr": colour}},
            },
            "encoding": {"x": spaced.encode(), "y": {**y, "field": field}},
        }
        for field, colour in (lines if drain.longest_wait_seconds is not None else lines[:1])
    ]
    return Chart(
        spec=lay_over_time(spaced, layers, _DRAIN_TITLES),
        rows=rows,
        summary=f"Messages that wait, from {format_date(drain.starts_at, zone)} to {format_date(end, zone)}",
        columns=[("At", "text"), *((title, "number") for title in _DRAIN_TITLES)],
        table=table,
        nothing="Nobody is to be written to." if is_empty else "",
    )


def _draw(line: _Line, zone: ZoneInfo, limit: float | None) -> Chart:
    days = [day for day, _ in line.past] + [day for day, _ in line.ahead]
    instants = [datetime.combine(day, time(), zone).astimezone(UTC) for day in days]
    whole = make_time_axis(instants, timedelta(days=1), zone)
    axis = TimeAxis(
        whole.slots, whole.ticks[: -max(1, len(whole.ticks) // 25)]
    )  # a last label would be cut off
    highest = max([value for _, value in line.past if value is not None], default=0.0)
    highest = max([highest, *(found.high for _, found in line.ahead if found is not None)])
    unit, unit_name = next((one for one in reversed(line.units) if highest >= one[0]), line.units[0])
    rows: list[dict[str, Any]] = []
    table: list[list[tuple[str, object]]] = []
    values = [(measured, None) for _, measured in line.past] + [(None, found) for _, found in line.ahead]
    for slot, day, (measured, expected) in zip(axis.slots, days, values, strict=True):
        ends = (None, None, None) if expected is None else (expected.value, expected.low, expected.high)
        found = (measured, *ends)
        texts, when = [line.write(value) for value in found], format_day(day)
        fields = {
            name: None if value is None else value / unit
            for name, value in zip(("measured", "value", "low", "high"), found, strict=True)
        }
        tips = {f"tip_{name_tip(title)}": text for title, text in zip(_TITLES, texts, strict=True)}
        rows.append({"slot": slot, "tip_when": when, **fields, **tips})
        table.append([(when, day.isoformat()), *zip(texts, found, strict=True)])
    has_any = any(measured is not None for measured, _ in values)
    y: Spec = {
        "type": "quantitative",
        "axis": {"tickCount": 4, "labelExpr": f"format(datum.value, '~s') + ' {unit_name}'"},
        "scale": {"zero": True} if has_any else {"domain": [0, 4]},
    }
    layers = _layer(axis.encode(), y)
    # A disk many times as large as what is on it would press the line to the ground.
    if limit is not None and limit <= 3 * highest:
        layers += _mark_limit(y, limit / unit, f"disk full at {line.write(limit)}")
    return Chart(
        spec=lay_over_time(axis, layers, _TITLES),
        rows=rows,
        summary=_summarize(line),
        columns=[("Day", "text"), *((title, "number") for title in _TITLES)],
        table=table,
        nothing="" if has_any else "No full day has been measured yet.",
    )


def _layer(x: Spec, y: Spec) -> list[Spec]:
    """Draw the interval as a band, what is expected dashed, and what was measured."""
    stroke: Spec = {"type": "line", "color": {"expr": "accent"}, "strokeJoin": "round"}
    return [
        {
            "mark": {"type": "area", "color": {"expr": "accent"}, "opacity": 0.14},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "mark": {**stroke, "strokeWidth": 1.5, "strokeDash": [4, 3]},
            "encoding": {"x": x, "y": {**y, "field": "value"}},
        },
        {"mark": {**stroke, "strokeWidth": 1.5}, "encoding": {"x": x, "y": {**y, "field": "measured"}}},
    ]


def _mark_limit(y: Spec, at: float, text: str) -> list[Spec]:
    data: Spec = {"values": [{"at": at, "text": text}]}
    return [
        {
            "data": data,
            "mark": {"type": "rule", "color": {"expr": "failed"}, "strokeDash": [3, 3]},
            "encoding": {"y": {**y, "field": "at"}},
        },
        {
            "data": data,
            "mark": {"type": "text", "align": "left", "baseline": "top", "dy": 6, "x": 6},
            "encoding": {"y": {**y, "field": "at"}, "text": {"field": "text"}},
        },
    ]


def _summarize(line: _Line) -> str:
    last = next((found for _, found in reversed(line.ahead) if found is not None), None)
    if last is None:
        return f"{line.name}: {len(line.past)} days"
    between = f"{line.write(last.low)} to {line.write(last.high)}"
    return f"{line.name}: {line.write(last.value)} expected in three months, {between} in {LEVEL_PERCENT} of 100 cases"


def _read_drain(drain: Drain, at: datetime) -> tuple[float, float]:
    """Return what waits at a moment: between two points it flows evenly."""
    before = drain.points[0]
    for point in drain.points[1:]:
        if point.at >= at:
            length = (point.at - before.at) / timedelta(seconds=1)
            share = 1.0 if not length else (at - before.at) / timedelta(seconds=1) / length
            return (
                before.waiting + share * (point.waiting - before.waiting),
                before.queued + share * (point.queued - before.queued),
            )
        before = point
    return before.waiting, before.queued


def _write_bytes(value: float | None) -> str:
    return UNKNOWN if value is None else format_bytes(round(value))
