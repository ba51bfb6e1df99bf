"""The charts of the people: how consent changes, and when they came."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.consent import ENTERED, ConsentPoint
from event_stream_engine.analytics.demographics import Signups
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.formats import format_moment, format_number
from event_stream_engine.web.charts import Chart, Spec, lay_over_time, make_time_axis, name_tip
from event_stream_engine.web.periods import Period

_TITLES = {"OPT_IN": "Opted in", "OPT_OUT": "Opted out", "STOP": "STOP"}
_COLOURS = ("delivered", "warning", "failed")


def chart_consent(points: Sequence[ConsentPoint], period: Period, zone: ZoneInfo) -> Chart:
    """Draw those who opted in above the line, and those who left below it."""
    axis = make_time_axis([point.at for point in points], period.step, zone)
    rows: list[dict[str, Any]] = []
    table: list[list[tuple[str, object]]] = []
    for slot, point in zip(axis.slots, points, strict=True):
        when = format_moment(point.at, zone)
        row: dict[str, Any] = {"slot": slot, "tip_when": when}
        for state in ENTERED:
            count = point.by_state[state]
            row[state] = count if state == "OPT_IN" else -count
            row[f"tip_{name_tip(_TITLES[state])}"] = format_number(count)
        rows.append(row)
        cells: list[tuple[str, object]] = [
            (format_number(point.by_state[state]), point.by_state[state]) for state in ENTERED
        ]
        table.append([(when, format_instant(point.at)), *cells])
    totals = {state: sum(point.by_state[state] for point in points) for state in ENTERED}
    is_empty = not any(totals.values())
    bars: Spec = {
        "transform": [
            {"fold": list(ENTERED), "as": ["state", "count"]},
            {"calculate": f"indexof({list(ENTERED)}, datum.state)", "as": "rank"},
        ],
        "mark": {"type": "bar", "strokeWidth": 1, "stroke": {"expr": "panel"}},
        "encoding": {
            "x": axis.encode(),
            "y": {
                "field": "count",
                "type": "quantitative",
                "scale": {"domain": [-2, 2]} if is_empty else {},
                "axis": {"labelExpr": "format(abs(datum.value), ',d')", "tickMinStep": 1},
            },
            "order": {"field": "rank", "type": "quantitative"},
            "color": {
                "field": "state",
                "type": "nominal",
                "legend": None,
                "scale": {"domain": list(ENTERED), "range": [{"expr": name} for name in _COLOURS]},
            },
        },
    }
    zero: Spec = {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "color": {"expr": "muted"}},
        "encoding": {"y": {"field": "zero", "type": "quantitative"}},
    }
    said = ", ".join(f"{format_number(totals[state])} {_TITLES[state]}" for state in ENTERED)
    return Chart(
        spec=lay_over_time(axis, [bars, zero], list(_TITLES.values())),
        rows=rows,
        summary=f"Changes of consent, {period.label}: {said}",
        columns=[("From", "text"), *((title, "number") for title in _TITLES.values())],
        table=table,
        nothing="No consent changed in this period." if is_empty else "",
    )


def chart_signups(points: Sequence[Signups], period: Period, zone: ZoneInfo) -> Chart:
    """Draw bars of new users."""
    axis = make_time_axis([point.at for point in points], period.step, zone)
    rows: list[dict[str, Any]] = []
    table: list[list[tuple[str, object]]] = []
    for slot, point in zip(axis.slots, points, strict=True):
        when, text = format_moment(point.at, zone), format_number(point.users)
        rows.append({"slot": slot, "users": point.users, "tip_when": when, "tip_signups": text})
        table.append([(when, format_instant(point.at)), (text, point.users)])
    total = sum(point.users for point in points)
    bars: Spec = {
        "mark": {"type": "bar", "color": {"expr": "accent"}, "opacity": 0.75},
        "encoding": {
            "x": axis.encode(),
            "y": {
                "field": "users",
                "type": "quantitative",
                "scale": {"domain": [0, 4]} if all(row["users"] < 4 for row in rows) else {},
                "axis": {"format": ",d", "tickMinStep": 1, "tickCount": 3},
            },
        },
    }
    return Chart(
        spec=lay_over_time(axis, [bars], ["Signups"]),
        rows=rows,
        summary=f"Signups, {period.label}: {format_number(total)}",
        columns=[("From", "text"), ("Signups", "number")],
        table=table,
        nothing="" if total else "Nobody came in this period.",
    )
