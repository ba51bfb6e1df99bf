"""The chart of a query's result: bars or lines of its numbers over one of its columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from math import isfinite
from typing import Any, Literal
from zoneinfo import ZoneInfo

from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.formats import format_number
from event_stream_engine.web.charts import Chart, Spec, TimeAxis, lay_over_time, make_bin_axis

MOST_POINTS = 500  # more cannot be told apart on a screen
_MOST_LABELS = 8
_LONGEST_LABEL = 18
_COLOURS = ("accent", "ink", "muted")  # those of states are for states
_STATUS_COLOURS = ("delivered", "in_flight", "failed")  # the same thing has the same colour everywhere


@dataclass(frozen=True, slots=True)
class Drawn:
    """A column of a result: its name, and its values in the order of the rows."""

    name: str
    values: Sequence[str | float | bool | None]


def chart_result(
    kind: Literal["bar", "line"], along: Drawn, numbers: Sequence[Drawn], zone: ZoneInfo
) -> Chart:
    """Draw numbers over the values of a column, in the order of the rows; the page names the colours.

    Errors: Invalid naming the column.
    """
    labels = [_write_label(value, zone) for value in along.values]
    series = [Drawn(one.name, [_read_number(value, one.name) for value in one.values]) for one in numbers]
    axis = _make_axis(labels)
    colours = _choose_colours([one.name for one in series])
    tips = [_clean(one.name) for one in series]
    rows: list[dict[str, Any]] = []
    for place, slot in enumerate(axis.slots):
        row: dict[str, Any] = {"slot": slot, "tip_when": labels[place] or "no value"}
        for number, one in enumerate(series):
            value = one.values[place]
            row[f"y{number}"] = value
            row[f"tip_{tips[number].lower()}"] = (
                format_number(value) if isinstance(value, float) else "no value"
            )
        rows.append(row)
    layers = _draw_bars(axis, colours) if kind == "bar" else _draw_lines(axis, colours)
    names = ", ".join(one.name for one in series)
    nothing = "" if rows else "The query answered with no rows."
    return Chart(lay_over_time(axis, layers, tips), rows, f"{names} by {along.name}", [], [], nothing)


def name_colours(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of the palette that each column of a chart has."""
    return dict(zip(names, _choose_colours(names), strict=True))


def _choose_colours(names: Sequence[str]) -> list[str]:
    fixed = {name: name for name in names if name in _STATUS_COLOURS}
    free = [one for one in _COLOURS if one not in fixed]
    return [fixed.get(name) or free.pop(0) for name in names]


def _draw_bars(axis: TimeAxis, colours: Sequence[str]) -> list[Spec]:
    fields = [f"y{number}" for number in range(len(colours))]
    x = axis.encode()
    encoding: Spec = {
        "x": x,
        "y": {"field": "value", "type": "quantitative"},
        "color": {
            "field": "column",
            "type": "nominal",
            "legend": None,
            "scale": {"domain": fields, "range": [{"expr": name} for name in colours]},
        },
    }
    if len(fields) > 1:
        encoding["xOffset"] = {"field": "column", "type": "nominal", "scale": {"domain": fields}}
    return [
        {
            "transform": [{"fold": fields, "as": ["column", "value"]}],
            "mark": {"type": "bar"},
            "encoding": encoding,
        }
    ]


def _draw_lines(axis: TimeAxis, colours: Sequence[str]) -> list[Spec]:
    layers: list[Spec] = []
    for number, colour in enumerate(colours):
        y = {"field": f"y{number}", "type": "quantitative", "scale": {"zero": False, "nice": True}}
        layers.append(
            {
                "mark": {
                    "type": "line",
                    "color": {"expr": colour},
                    "strokeWidth": 1.75,
                    "strokeJoin": "round",
                    "point": {"color": {"expr": colour}, "size": 16},
                },
                "encoding": {"x": axis.encode(), "y": y},
            }
        )
    return layers


def _make_axis(labels: Sequence[str]) -> TimeAxis:
    short = [label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…" for label in labels]
    axis = make_bin_axis(short)
    return TimeAxis(axis.slots, axis.slots) if len(short) <= _MOST_LABELS else axis


def _write_label(value: str | float | bool | None, zone: ZoneInfo) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if not isinstance(value, str):
        return format_number(value)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        day = date.fromisoformat(value)
        return f"{day.day} {day:%b %Y}"
    if re.match(r"\d{4}-\d\d-\d\dT", value):
        at = datetime.fromisoformat(value)
        local = at if at.tzinfo is None else at.astimezone(UTC).astimezone(zone)
        return f"{local.day} {local:%b %Y}" if local.time() == time() else f"{local.day} {local:%b %H:%M}"
    return " ".join(value.split())


def _read_number(value: str | float | bool | None, name: str) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if isinstance(value, bool) or not isfinite(number):
        raise Invalid(f"The column {name} does not hold numbers alone. Choose another one to draw.", "y")
    return number


def _clean(name: str) -> str:
    """Take out of a name what Vega would read as the way to a part of a value."""
    return re.sub(r"\W", "_", name) or "_"
