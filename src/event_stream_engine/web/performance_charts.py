"""The charts of the engine's speed: how long requests took, how many there were, how many failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.formats import format_duration, format_moment, format_number, format_rate
from event_stream_engine.monitoring.requests import Requests
from event_stream_engine.web.charts import (
    Chart,
    Spec,
    TimeAxis,
    lay_over_time,
    make_time_axis,
    name_line,
    name_tip,
)

NOTHING = "No request ended in this period."
_NAMES = ("p50", "p95", "p99")
_Cells = dict[str, tuple[str, float | None]]  # by title: text and the value to sort by


@dataclass(frozen=True, slots=True)
class RequestSeries:
    """Requests by steps of a period, and the axis they are drawn on. `label`: what the period is called."""

    points: Sequence[Requests]
    bins: Sequence[datetime]
    axis: TimeAxis
    label: str
    zone: ZoneInfo


def make_request_series(
    points: Sequence[Requests], bins: Sequence[datetime], step: timedelta, label: str, zone: ZoneInfo
) -> RequestSeries:
    return RequestSeries(points, bins, make_time_axis(bins, step, zone), label, zone)


def chart_latency(series: RequestSeries, total: Requests) -> Chart:
    """Draw the median as a line, the 95th percentile as an area, the 99th as a thin line, each named where it begins."""
    rows: list[dict[str, Any]] = [
        {"slot": slot} | point.percentiles_ms
        for slot, point in zip(series.axis.slots, series.points, strict=True)
    ]
    texts = {name: _write(value) for name, value in total.percentiles_ms.items()}
    for name in _NAMES:
        name_line(rows, name, f"{name} {texts[name]}")
    y = {
        "type": "quantitative",
        "scale": {} if total.count else {"domain": [0, 100]},
        "axis": {
            "tickCount": 3,
            "labelExpr": "datum.value < 1000 ? datum.label + ' ms' : datum.value / 1000 + ' s'",
        },
    }
    x = series.axis.encode()
    line = {"type": "line", "color": {"expr": "accent"}, "strokeJoin": "round"}
    layers: list[Spec] = [
        {
            "mark": {"type": "area", "color": {"expr": "accent"}, "opacity": 0.09},
            "encoding": {"x": x, "y": {**y, "field": "p95"}},
        },
        {
            "mark": {**line, "strokeWidth": 1, "strokeDash": [2, 3], "opacity": 0.65},
            "encoding": {"x": x, "y": {**y, "field": "p99"}},
        },
        {
            "mark": {**line, "strokeWidth": 1, "opacity": 0.65},
            "encoding": {"x": x, "y": {**y, "field": "p95"}},
        },
        {"mark": {**line, "strokeWidth": 1.75}, "encoding": {"x": x, "y": {**y, "field": "p50"}}},
        *(
            {
                "mark": {"type": "text", "align": "left", "baseline": "bottom", "dx": -4, "dy": -5},
                "encoding": {"x": x, "y": {**y, "field": f"{name}_above"}, "text": {"field": f"{name}_name"}},
            }
            for name in _NAMES
        ),
    ]
    summary = f"Response time, {series.label}: " + ", ".join(f"{name} {texts[name]}" for name in _NAMES)
    cells: list[_Cells] = [
        {name: (_write(value), value) for name, value in point.percentiles_ms.items()}
        | {"Requests": (format_number(point.count), point.count)}
        for point in series.points
    ]
    return _finish(series, layers, rows, cells, summary)


def chart_requests(series: RequestSeries, total: Requests) -> Chart:
    """Draw bars of all requests, those answered with 5xx at the foot in the colour of failure."""
    rows: list[dict[str, Any]] = [
        {"slot": slot, "failed": point.failed, "answered": point.count - point.failed}
        for slot, point in zip(series.axis.slots, series.points, strict=True)
    ]
    bars: Spec = {
        "transform": [
            {"fold": ["failed", "answered"], "as": ["outcome", "count"]},
            {"calculate": "datum.outcome == 'failed' ? 0 : 1", "as": "rank"},
        ],
        "mark": {"type": "bar"},
        "encoding": {
            "x": series.axis.encode(),
            "y": {
                "field": "count",
                "type": "quantitative",
                "scale": {} if total.count else {"domain": [0, 4]},
                "axis": {"format": ",d", "tickMinStep": 1, "tickCount": 3},
            },
            "order": {"field": "rank", "type": "quantitative"},
            "color": {
                "field": "outcome",
                "type": "nominal",
                "legend": None,
                "scale": {
                    "domain": ["failed", "answered"],
                    "range": [{"expr": "failed"}, {"expr": "in_flight"}],
                },
            },
        },
    }
    cells: list[_Cells] = [
        {
            "Requests": (format_number(point.count), point.count),
            "Failed": (format_number(point.failed), point.failed),
            "Error rate": (format_rate(point.error_rate_percent), point.error_rate_percent),
        }
        for point in series.points
    ]
    summary = f"Requests, {series.label}: {format_number(total.count)}, {format_number(total.failed)} failed with 5xx"
    return _finish(series, [bars], rows, cells, summary)


def _write(ms: float | None) -> str:
    return format_duration(None if ms is None else ms / 1000)


def _finish(
    series: RequestSeries,
    layers: list[Spec],
    rows: list[dict[str, Any]],
    cells: Sequence[_Cells],
    summary: str,
) -> Chart:
    """Add to a chart what hovering shows and the table behind it: the same cells under the same titles."""
    table: list[list[tuple[str, object]]] = []
    for row, at, found in zip(rows, series.bins, cells, strict=True):
        when = format_moment(at, series.zone)
        row.update({f"tip_{name_tip(title)}": text for title, (text, _) in found.items()}, tip_when=when)
        table.append([(when, format_instant(at)), *found.values()])
    titles = list(cells[0])
    nothing = "" if any(point.count for point in series.points) else NOTHING
    columns = [("From", "text"), *((title, "number") for title in titles)]
    return Chart(lay_over_time(series.axis, layers, titles), rows, summary, columns, table, nothing)
