"""Chart definitions in Vega-Lite, one theme for them, and sparklines.

A definition carries no colours: it names those of the palette, which the theme binds. So one definition serves light
and dark pages, mail and print. They are plain dictionaries because importing Altair takes half a second and 40 MB in
every process; the tests hold them against Altair's schema.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from event_stream_engine.kernel.clock import format_instant

Spec = dict[str, Any]

PALETTE: dict[
    str, tuple[str, str]
] = {  # name: (light, dark); console.css has the same, and a test compares them
    "ground": ("#fafaf8", "#121417"),
    "panel": ("#ffffff", "#181b1f"),
    "ink": ("#1b1d21", "#e9eaec"),
    "muted": ("#6b7078", "#8f959e"),
    "hairline": ("#e5e5e1", "#282c32"),
    "accent": ("#2f5bd7", "#7c9cff"),
    "delivered": ("#2a7f62", "#4fb891"),
    "in_flight": ("#8ea3b8", "#5d6b7a"),
    "warning": ("#b7791f", "#d9a441"),
    "failed": ("#c2413b", "#e5706a"),
}
STATUSES = ("delivered", "in_flight", "failed")
_SLOT_LABEL_AT = 21  # a slot is an instant like 2026-03-02T16:00:00Z, a blank, and the label of its tick


def theme(scheme: Literal["light", "dark"]) -> Spec:
    """Return the Vega-Lite configuration that binds the palette's names; `small` is the text size in pixels."""
    colours = {name: pair[scheme == "dark"] for name, pair in PALETTE.items()}
    return {
        "background": None,
        "font": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
        "params": [{"name": name, "value": value} for name, value in ({**colours, "small": 11.5}).items()],
        "view": {"stroke": None},
        "aria": False,
        "axis": {
            "domain": False,
            "ticks": False,
            "title": None,
            "gridColor": {"expr": "hairline"},
            "labelColor": {"expr": "muted"},
            "labelFontSize": {"expr": "small"},
            "labelPadding": 8,
        },
        "axisX": {"grid": False, "labelAngle": 0, "labelOverlap": "greedy", "labelSeparation": 28},
        "axisY": {"tickCount": 4},
        "text": {"fontSize": {"expr": "small"}, "color": {"expr": "muted"}},
        "bar": {"discreteBandSize": {"band": 1}},
        "scale": {"bandPaddingInner": 0.14, "bandPaddingOuter": 0.07},
    }


def name_slots(instants: Sequence[datetime], step: timedelta, zone: ZoneInfo) -> list[str]:
    """Name the steps of a time axis. They are names, not times, so that the hour a clock change repeats stays two."""
    whole_days = step >= timedelta(hours=6)
    slots = []
    for at in instants:
        local = at.astimezone(zone)
        label = f"{local:%a} {local.day} {local:%b}" if whole_days else f"{local:%H:%M}"
        slots.append(f"{format_instant(at.replace(microsecond=0))} {label}")
    return slots


def messages_by_status() -> Spec:
    """Stacked bars. Rows: slot, delivered, in_flight, failed, tip_…"""
    order = "indexof(['delivered', 'in_flight', 'failed'], datum.status)"
    stack = {
        "transform": [
            {"fold": list(STATUSES), "as": ["status", "count"]},
            {"calculate": order, "as": "rank"},
        ],
        # The panel's colour between the parts, and an outline around what is not final: no reader needs the hues.
        "mark": {"type": "bar", "strokeWidth": 1},
        "encoding": {
            "y": {"field": "count", "type": "quantitative", "axis": {"format": ",d", "tickMinStep": 1}},
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
    return _over_slots([stack], ["Delivered", "In flight", "Failed", "Delivery rate"])


def delivery_rate(threshold_percent: float, floor_percent: float) -> Spec:
    """Line over a shaded zone below the threshold. Rows: slot, settled, open, tip_…

    `settled` holds the rate where it can hardly change any more, `open` where messages are still in flight (dashed).
    """
    scale = {"domain": [floor_percent, 100], "nice": False, "zero": False}
    y = {
        "type": "quantitative",
        "scale": scale,
        "axis": {"values": [floor_percent, 100], "labelExpr": "datum.label + ' %'"},
    }
    zone = {
        "data": {"values": [{"top": threshold_percent, "bottom": floor_percent}]},
        "mark": {"type": "rect", "color": {"expr": "failed"}, "opacity": 0.08},
        "encoding": {"y": {**y, "field": "bottom"}, "y2": {"field": "top"}},
    }
    rule = {
        "data": {"values": [{"at": threshold_percent}]},
        "mark": {"type": "rule", "color": {"expr": "failed"}, "strokeDash": [3, 3], "opacity": 0.8},
        "encoding": {"y": {**y, "field": "at"}},
    }
    label = {
        "data": {"values": [{"at": threshold_percent, "text": f"threshold {threshold_percent:g} %"}]},
        "mark": {"type": "text", "align": "left", "baseline": "top", "dy": 5, "x": 4},
        "encoding": {"y": {**y, "field": "at"}, "text": {"field": "text"}},
    }
    line = {"type": "line", "color": {"expr": "accent"}, "strokeWidth": 1.75, "strokeJoin": "round"}
    return _over_slots(
        [
            zone,
            rule,
            label,
            {"mark": {**line, "strokeDash": [2, 3]}, "encoding": {"y": {**y, "field": "open"}}},
            {"mark": line, "encoding": {"y": {**y, "field": "settled"}}},
        ],
        ["Delivery rate", "Sent", "In flight"],
        with_slots=(3, 4),
    )


def delivery_time() -> Spec:
    """The median as a line, the 95th percentile as an area. Rows: slot, p50, p95, tip_…; labels: text, at."""
    label = "datum.value < 120 ? datum.value + ' s' : datum.value < 7200 ? format(datum.value / 60, '.3~r') + ' m' : format(datum.value / 3600, '.3~r') + ' h'"
    y = {"type": "quantitative", "scale": {"zero": True}, "axis": {"labelExpr": label, "tickCount": 3}}
    line = {"type": "line", "color": {"expr": "accent"}, "strokeJoin": "round"}
    return _over_slots(
        [
            {
                "mark": {"type": "area", "color": {"expr": "accent"}, "opacity": 0.09},
                "encoding": {"y": {**y, "field": "p95"}},
            },
            {"mark": {**line, "strokeWidth": 1, "opacity": 0.65}, "encoding": {"y": {**y, "field": "p95"}}},
            {"mark": {**line, "strokeWidth": 1.75}, "encoding": {"y": {**y, "field": "p50"}}},
            *(
                {
                    "mark": {
                        "type": "text",
                        "align": "left",
                        "baseline": "bottom",
                        "dx": -6,
                        "dy": -4,
                        **halo,
                    },
                    "encoding": {"y": {**y, "field": "label_at"}, "text": {"field": f"label_{percentile}"}},
                    "transform": [
                        {"filter": f"isValid(datum.label_{percentile})"},
                        {"calculate": f"datum.{percentile}", "as": "label_at"},
                    ],
                }
                for percentile in ("p95", "p50")
                for halo in ({"stroke": {"expr": "panel"}, "strokeWidth": 4}, {})
            ),
        ],
        ["p50", "p95", "Delivered"],
    )


def _over_slots(layers: list[Spec], tips: Sequence[str], *, with_slots: Sequence[int] | None = None) -> Spec:
    """Lay layers over the time axis and, above them, one invisible column per slot that carries what hovering shows."""
    x = {
        "field": "slot",
        "type": "ordinal",
        "scale": {"type": "band"},
        "axis": {"labelExpr": f"slice(datum.label, {_SLOT_LABEL_AT})"},
    }
    for place, layer in enumerate(layers):
        if with_slots is None or place in with_slots:
            layer["encoding"] = {"x": x, **layer["encoding"]}
    hover = {
        "params": [
            {
                "name": "hovered",
                "select": {"type": "point", "encodings": ["x"], "on": "pointerover", "clear": "pointerout"},
            }
        ],
        "mark": {"type": "rect", "color": {"expr": "ink"}},
        "encoding": {
            "x": x,
            "opacity": {"condition": {"param": "hovered", "empty": False, "value": 0.06}, "value": 0},
            "tooltip": [
                {"field": "tip_when", "title": "When"},
                *({"field": f"tip_{title.lower().replace(' ', '_')}", "title": title} for title in tips),
            ],
        },
    }
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"name": "rows"},
        "width": "container",
        "height": "container",
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 0,
        "layer": [*layers, hover],
    }


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A line in a box of `WIDTH` by `HEIGHT`: SVG path data and the place of its end."""

    path: str
    end_x: float
    end_y: float


SPARKLINE_WIDTH, SPARKLINE_HEIGHT, _SPARKLINE_MARGIN = 96, 24, 3


def draw_sparkline(points: Sequence[float | None]) -> Sparkline | None:
    """Draw a series, oldest first; None when there is no line in it. What is unknown stays a gap."""
    known = [point for point in points if point is not None]
    if len(known) < 2:
        return None
    # A span of at least 2 % of the value, lest the noise of a steady figure looks like an event.
    span = max(max(known) - min(known), 0.02 * max(abs(point) for point in known)) or 1.0
    middle = (max(known) + min(known)) / 2
    room = SPARKLINE_HEIGHT - 2 * _SPARKLINE_MARGIN
    stride = (SPARKLINE_WIDTH - 2 * _SPARKLINE_MARGIN) / (len(points) - 1)
    commands, x, y, drawing = [], 0.0, 0.0, False
    for place, point in enumerate(points):
        if point is not None:
            x = _SPARKLINE_MARGIN + place * stride
            y = SPARKLINE_HEIGHT / 2 - (point - middle) / span * room
            commands.append(f"{'L' if drawing else 'M'}{x:.1f} {y:.1f}")
        drawing = point is not None
    return Sparkline("".join(commands), round(x, 1), round(y, 1))
