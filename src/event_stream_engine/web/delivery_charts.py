"""The charts of deliveries: messages by status, delivery rate, delivery time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import floor
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.formats import format_duration, format_moment, format_number, format_rate
from event_stream_engine.web.charts import (
    Chart,
    Spec,
    TimeAxis,
    lay_over_time,
    make_time_axis,
    name_line,
    name_tip,
)
from event_stream_engine.web.periods import Period

STATUSES = ("delivered", "in_flight", "failed")
# A rate can hardly change any more when this few are in flight, or after this long: then they have lost their callback.
_SETTLED_SHARE = 0.02
_SETTLED_AFTER = timedelta(hours=1)
_MINUTE, _HOUR = 60, 3600
_TICKS_SECONDS = (
    *(1, 2, 5, 10, 20, 30),
    *(minutes * _MINUTE for minutes in (1, 2, 5, 10, 20, 30)),
    *(hours * _HOUR for hours in (1, 2, 6, 12, 24)),
)
# What a column of a table or a line of a tip holds: its value, and how people read it.
_CELLS: dict[str, tuple[Callable[[DeliveryPoint], float | None], Callable[[float | None], str]]] = {
    "Sent": (attrgetter("sent"), format_number),
    "Delivered": (attrgetter("delivered"), format_number),
    "In flight": (attrgetter("in_flight"), format_number),
    "Failed": (attrgetter("failed"), format_number),
    "Delivery rate": (attrgetter("delivery_rate_percent"), format_rate),
    "p50": (attrgetter("p50_seconds"), format_duration),
    "p95": (attrgetter("p95_seconds"), format_duration),
}


@dataclass(frozen=True, slots=True)
class Series:
    """The points of a period and the axis they are drawn on."""

    points: Sequence[DeliveryPoint]
    period: Period
    zone: ZoneInfo
    as_of: datetime
    axis: TimeAxis


def make_series(points: Sequence[DeliveryPoint], period: Period, zone: ZoneInfo, as_of: datetime) -> Series:
    axis = make_time_axis([point.at for point in points], period.step, zone)
    return Series(points, period, zone, as_of, axis)


def chart_messages_by_status(series: Series) -> Chart:
    """Draw stacked bars. What is in flight is outlined: it is not final, and no reader needs the hues to see it."""
    rows = [
        {"slot": slot, "delivered": point.delivered, "in_flight": point.in_flight, "failed": point.failed}
        for slot, point in _slots(series)
    ]
    stack: Spec = {
        "transform": [
            {"fold": list(STATUSES), "as": ["status", "count"]},
            {"calculate": f"indexof({list(STATUSES)}, datum.status)", "as": "rank"},
        ],
        "mark": {"type": "bar", "strokeWidth": 1},
        "encoding": {
            "x": series.axis.encode(),
            "y": {
                "field": "count",
                "type": "quantitative",
                "scale": {} if any(point.sent for point in series.points) else {"domain": [0, 4]},
                "axis": {"format": ",d", "tickMinStep": 1},
            },
            "order": {"field": "rank", "type": "quantitative"},
            "color": {
                "field": "status",
                "type": "nominal",
                "legend": None,
                "scale": {"domain": list(STATUSES), "range": [{"expr": name} for name in STATUSES]},
            },
            "stroke": {
                "condition": {"test": "datum.status == 'in_flight'", "value": {"expr": "muted"}},
                "value": {"expr": "panel"},
            },
        },
    }
    titles = ("Sent", "Delivered", "In flight", "Failed")
    sent = format_number(sum(point.sent for point in series.points))
    return _finish(series, [stack], rows, titles, f"Messages by status, {series.period.label}: {sent} sent")


def chart_delivery_rate(series: Series, rate_percent: float | None, threshold_percent: float | None) -> Chart:
    """Draw a line, over a zone below the threshold if there is one; dashed where messages are in flight and the rate still rises."""
    rows: list[dict[str, Any]] = []
    for slot, point in _slots(series):
        settled = {"settled": point.delivery_rate_percent} if _is_settled(point, series) else {}
        rows.append({"slot": slot, "open": point.delivery_rate_percent, **settled})
    rates = [row["settled"] for row in rows if row.get("settled") is not None]
    lowest = min(rates or [row["open"] for row in rows if row["open"] is not None], default=100.0)
    least = 90 if threshold_percent is None else threshold_percent - 10
    floor_percent = max(0, min(least, 10 * floor(lowest / 10)))
    scale = {"domain": [floor_percent, 100], "nice": False, "zero": False}
    axis = {"values": [floor_percent, 100], "labelExpr": "datum.label + ' %'"}
    y = {"type": "quantitative", "scale": scale, "axis": axis}
    line = {
        "type": "line",
        "color": {"expr": "accent"},
        "strokeWidth": 1.75,
        "strokeJoin": "round",
        "strokeCap": "round",
        "clip": True,
    }
    layers: list[Spec] = [
        *_lay_threshold(threshold_percent, floor_percent, y),
        {
            "mark": {**line, "strokeDash": [2, 3]},
            "encoding": {"x": series.axis.encode(), "y": {**y, "field": "open"}},
        },
        {"mark": line, "encoding": {"x": series.axis.encode(), "y": {**y, "field": "settled"}}},
    ]
    threshold = "" if threshold_percent is None else f", threshold {threshold_percent:g} %"
    summary = f"Delivery rate, {series.period.label}: {format_rate(rate_percent)}{threshold}"
    return _finish(series, layers, rows, ("Delivery rate", "Sent", "In flight"), summary)


def _lay_threshold(threshold_percent: float | None, floor_percent: float, y: Spec) -> list[Spec]:
    if threshold_percent is None:
        return []
    threshold = {"at": threshold_percent, "text": f"threshold {threshold_percent:g} %"}
    return [
        {
            "data": {"values": [{"top": threshold_percent, "bottom": floor_percent}]},
            "mark": {"type": "rect", "color": {"expr": "failed"}, "opacity": 0.08},
            "encoding": {"y": {**y, "field": "bottom"}, "y2": {"field": "top"}},
        },
        {
            "data": {"values": [threshold]},
            "mark": {"type": "rule", "color": {"expr": "failed"}, "strokeDash": [3, 3]},
            "encoding": {"y": {**y, "field": "at"}},
        },
        {
            "data": {"values": [threshold]},
            "mark": {"type": "text", "align": "left", "baseline": "top", "dy": 6, "x": 6},
            "encoding": {"y": {**y, "field": "at"}, "text": {"field": "text"}},
        },
    ]


def chart_delivery_time(series: Series, times: Mapping[str, float | None]) -> Chart:
    """Draw the median as a line and the 95th percentile as an area, each named where it begins."""
    rows = [
        {"slot": slot, "p50": point.p50_seconds, "p95": point.p95_seconds} for slot, point in _slots(series)
    ]
    for name in ("p50", "p95"):
        name_line(rows, name, f"{name} {format_duration(times.get(name))}")
    longest = max((point.p95_seconds for point in series.points if point.p95_seconds is not None), default=45)
    room = 1.15 * longest  # for a name above the line
    tick = next((tick for tick in _TICKS_SECONDS if 3 * tick >= room), room / 3)
    values = [tick * number for number in range(1, 4) if tick * (number - 1) < room]
    labels = f"datum.value < {_MINUTE} ? datum.value + ' s' : datum.value < {_HOUR} ? datum.value / {_MINUTE} + ' m' : datum.value / {_HOUR} + ' h'"
    y = {
        "type": "quantitative",
        "scale": {"domain": [0, values[-1]], "nice": False},
        "axis": {"values": values, "labelExpr": labels},
    }
    line = {"type": "line", "color": {"expr": "accent"}, "strokeJoin": "round", "strokeCap": "round"}
    x = series.axis.encode()
    layers: list[Spec] = [
        {
            "mark": {"type": "area", "color": {"expr": "accent"}, "opacity": 0.09},
            "encoding": {"x": x, "y": {**y, "field": "p95"}},
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
            for name in ("p95", "p50")
        ),
    ]
    summary = f"Delivery time, {series.period.label}: p50 {format_duration(times.get('p50'))}, p95 {format_duration(times.get('p95'))}"
    return _finish(series, layers, rows, ("p50", "p95", "Delivered"), summary)


def _slots(series: Series) -> list[tuple[str, DeliveryPoint]]:
    return list(zip(series.axis.slots, series.points, strict=True))


def _is_settled(point: DeliveryPoint, series: Series) -> bool:
    is_old = point.at + series.period.step <= series.as_of - _SETTLED_AFTER
    return is_old or point.in_flight <= _SETTLED_SHARE * point.sent


def _read_cell(title: str, point: DeliveryPoint) -> tuple[str, object]:
    read, write = _CELLS[title]
    value = read(point)
    return write(value), value


def _finish(
    series: Series, layers: list[Spec], rows: list[dict[str, Any]], titles: Sequence[str], summary: str
) -> Chart:
    """Add to a chart what hovering shows and the table behind it: the same cells under the same titles."""
    table = []
    for row, point in zip(rows, series.points, strict=True):
        cells = [_read_cell(title, point) for title in titles]
        when = format_moment(point.at, series.zone)
        row |= {
            "tip_when": when,
            **{f"tip_{name_tip(t)}": text for t, (text, _) in zip(titles, cells, strict=True)},
        }
        table.append([(when, format_instant(point.at)), *cells])
    is_empty = not any(point.sent for point in series.points)
    nothing = "No message was sent in this period." if is_empty else ""
    columns = [("From", "text"), *((title, "number") for title in titles)]
    return Chart(lay_over_time(series.axis, layers, titles), rows, summary, columns, table, nothing)
