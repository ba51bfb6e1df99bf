"""What all charts share: the palette, the theme, the time axis, and how a chart reaches the browser.

Charts are defined in Vega-Lite. A definition carries no colours: it names those of the palette, which the theme binds,
so one definition serves light and dark pages, mail and print. Definitions are plain dictionaries because importing
Altair takes half a second and 40 MB in every process (measured); the tests hold them against Altair's schema.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.scope import MONTH
from event_stream_engine.kernel.clock import format_instant

Spec = dict[str, Any]

# name: (light, dark). console.css has the same; a test compares them.
PALETTE: dict[str, tuple[str, str]] = {
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
_SLOT_LABEL_AT = 21  # a slot is an instant like 2026-03-02T16:00:00Z, a blank, and the label of its tick
_NARROW_FROM = 16  # steps: from so many on a label is wider than its step
# From which step on a label may stand at every how many minutes of the day; the narrower the chart, the fewer do.
_TICKS = (
    (timedelta(hours=6), 24 * 60),
    (timedelta(hours=3), 12 * 60),
    (timedelta(hours=1), 3 * 60),
    (timedelta(minutes=15), 60),
    (timedelta(0), 15),
)


@dataclass(frozen=True, slots=True)
class Chart:
    """A definition with its rows, a summary for who cannot see it, and the table behind it.

    `nothing` says in its place that there is nothing to draw.
    Shape: `columns` are (title, `text` or `number`), a cell is (text, value to sort by).
    """

    spec: Spec
    rows: list[dict[str, Any]]
    summary: str
    columns: Sequence[tuple[str, str]]
    table: list[list[tuple[str, object]]]
    nothing: str


def theme(scheme: Literal["light", "dark"]) -> Spec:
    """Return the Vega-Lite configuration that binds the palette's names, and `small`, the text size in pixels."""
    colours = {name: pair[scheme == "dark"] for name, pair in PALETTE.items()}
    return {
        "background": "transparent",
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
        "axisX": {
            "grid": False,
            "labelAngle": 0,
            "labelFlush": True,
            "labelOverlap": "greedy",
            "labelSeparation": 28,
        },
        "axisY": {"tickCount": 4},
        "text": {"fontSize": {"expr": "small"}, "color": {"expr": "muted"}},
        "scale": {"bandPaddingInner": 0.14, "bandPaddingOuter": 0.07},
    }


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The steps of an axis of time or duration by name, and those that bear a label.

    They are names, not times, so that the hour which a clock change repeats stays two.
    """

    slots: list[str]
    ticks: list[str]

    def encode(self) -> Spec:
        return {
            "field": "slot",
            "type": "ordinal",
            "scale": {"type": "band"},
            "axis": {"values": self.ticks, "labelExpr": f"slice(datum.label, {_SLOT_LABEL_AT})"},
        }


def make_time_axis(instants: Sequence[datetime], step: timedelta, zone: ZoneInfo) -> TimeAxis:
    """Name the steps of a series, labelled at round times of a zone."""
    slots, ticks = [], []
    has_days = step >= timedelta(hours=6)
    every_minutes = next(every for least, every in _TICKS if step >= least)
    for at in instants:
        local = at.astimezone(zone)
        day = f"{local:%b %Y}" if step >= MONTH else f"{local.day} {local:%b}"
        label = day if has_days else f"{local:%H:%M}"
        slots.append(f"{format_instant(at.replace(microsecond=0))} {label}")
        if (local.hour * 60 + local.minute) % every_minutes == 0:
            ticks.append(slots[-1])
    if len(slots) > _NARROW_FROM and ticks[-1:] == slots[-1:]:
        ticks.pop()  # its label would be cut off
    return TimeAxis(slots, ticks)


def make_bin_axis(labels: Sequence[str]) -> TimeAxis:
    """Name the bins of a histogram by where each begins; about six of them bear their label."""
    slots = [f"{number:0{_SLOT_LABEL_AT - 1}d} {label}" for number, label in enumerate(labels)]
    return TimeAxis(slots, slots[:: max(1, round(len(slots) / 6))])


def lay_over_time(axis: TimeAxis, layers: Sequence[Spec], tips: Sequence[str]) -> Spec:
    """Lay layers over each other and, on top, one invisible column per slot that shows when hovered what it holds.

    Shape: rows have `slot`, what the layers encode, and for each title in `tips` its text under `tip_title`.
    """
    hover = {
        "params": [
            {
                "name": "hovered",
                "select": {"type": "point", "encodings": ["x"], "on": "pointerover", "clear": "pointerout"},
            }
        ],
        "mark": {"type": "rect", "color": {"expr": "ink"}},
        "encoding": {
            "x": axis.encode(),
            "opacity": {"condition": {"param": "hovered", "empty": False, "value": 0.06}, "value": 0},
            "tooltip": [{"field": f"tip_{name_tip(title)}", "title": title} for title in ("When", *tips)],
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


def name_tip(title: str) -> str:
    return title.lower().replace(" ", "_")


def name_line(rows: list[dict[str, Any]], field: str, name: str) -> None:
    """Put the name of a line where it begins, above whatever it does on the name's width."""
    drawn = [row for row in rows if row[field] is not None]
    if drawn:
        width = len(rows) // 4 + 1
        drawn[0] |= {f"{field}_name": name, f"{field}_above": max(row[field] for row in drawn[:width])}
