"""The charts of what people write: over time, and by hour of the week."""

from calendar import day_abbr, day_name
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.inbound import INTENTS, InboundPoint
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.formats import format_hour, format_moment, format_number
from event_stream_engine.web.charts import Chart, Spec, lay_over_time, make_time_axis, name_tip
from event_stream_engine.web.periods import Period
from event_stream_engine.web.wording import INTENT_NAMES

_HOURS = range(24)


def chart_inbound(points: Sequence[InboundPoint], period: Period, zone: ZoneInfo) -> Chart:
    """Draw bars of all messages; hovering and the table tell the intents apart."""
    axis = make_time_axis([point.at for point in points], period.step, zone)
    titles = ["Messages", *(INTENT_NAMES[intent] for intent in INTENTS)]
    rows: list[dict[str, Any]] = []
    table: list[list[tuple[str, object]]] = []
    for slot, point in zip(axis.slots, points, strict=True):
        counts = [sum(point.by_intent.values()), *(point.by_intent[intent] for intent in INTENTS)]
        when = format_moment(point.at, zone)
        tips = {
            f"tip_{name_tip(title)}": format_number(count)
            for title, count in zip(titles, counts, strict=True)
        }
        rows.append({"slot": slot, "messages": counts[0], "tip_when": when, **tips})
        cells: list[tuple[str, object]] = [(format_number(count), count) for count in counts]
        table.append([(when, format_instant(point.at)), *cells])
    total = sum(row["messages"] for row in rows)
    bars: Spec = {
        "mark": {"type": "bar", "color": {"expr": "accent"}, "opacity": 0.75},
        "encoding": {
            "x": axis.encode(),
            "y": {
                "field": "messages",
                "type": "quantitative",
                "scale": {"domain": [0, 4]} if all(row["messages"] < 4 for row in rows) else {},
                "axis": {"format": ",d", "tickMinStep": 1, "tickCount": 3},
            },
        },
    }
    return Chart(
        spec=lay_over_time(axis, [bars], titles),
        rows=rows,
        summary=f"Inbound messages, {period.label}: {format_number(total)}",
        columns=[("From", "text"), *((title, "number") for title in titles)],
        table=table,
        nothing="" if total else "Nobody wrote in this period.",
    )


def chart_week(week: Sequence[Sequence[int]], period: Period) -> Chart:
    """Draw a heat map of weekdays and hours, in shades of the square root, so that quiet hours can be told apart too.

    The fullest hour bears its number: no reader needs the shades to find it.
    """
    most = max(max(hours) for hours in week)
    rows = [
        {
            "day": day_abbr[weekday],
            "hour": hour,
            "messages": messages,
            "peak": format_number(messages) if messages == most and most else "",
            "tip_when": f"{day_name[weekday]} {format_hour(hour)}",
            "tip_messages": format_number(messages),
        }
        for weekday, hours in enumerate(week)
        for hour, messages in enumerate(hours)
    ]
    x = {
        "field": "hour",
        "type": "ordinal",
        "axis": {"values": list(_HOURS)[::3], "labelExpr": "pad(datum.label, 2, '0', 'left') + ':00'"},
    }
    y = {"field": "day", "type": "ordinal", "sort": list(day_abbr)}
    cells: Spec = {
        "mark": {"type": "rect", "color": {"expr": "accent"}, "cornerRadius": 2},
        "encoding": {
            "opacity": {
                "field": "messages",
                "type": "quantitative",
                "legend": None,
                "scale": {"type": "sqrt", "domain": [0, max(most, 1)], "range": [0.05, 1]},
            },
            "tooltip": [
                {"field": "tip_when", "title": "When"},
                {"field": "tip_messages", "title": "Messages"},
            ],
        },
    }
    number: Spec = {
        "mark": {
            "type": "text",
            "color": {"expr": "panel"},
            "fontWeight": 600,
            "opacity": {"expr": "width < 480 ? 0 : 1"},  # there the cells are narrower than a number
            "tooltip": None,
        },
        "encoding": {"text": {"field": "peak"}},
    }
    spec: Spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"name": "rows"},
        "width": "container",
        "height": "container",
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 0,
        "encoding": {"x": x, "y": y},
        "layer": [cells, number],
    }
    fullest = next((row["tip_when"] for row in rows if row["peak"]), None)
    table: list[list[tuple[str, object]]] = [
        [
            (format_hour(hour), hour),
            *[(format_number(week[weekday][hour]), week[weekday][hour]) for weekday in range(7)],
        ]
        for hour in _HOURS
    ]
    return Chart(
        spec=spec,
        rows=rows,
        summary=f"Inbound messages by weekday and hour, {period.label}"
        + (f": most on {fullest}, {format_number(most)}" if fullest else ""),
        columns=[("Hour", "text"), *((day_abbr[weekday], "number") for weekday in range(7))],
        table=table,
        nothing="" if most else "Nobody wrote in this period.",
    )
