"""The chart of delivery times: how many messages took how long, and how many had arrived by then."""

from event_stream_engine.analytics.distribution import Bin, spread
from event_stream_engine.analytics.durations import Durations
from event_stream_engine.kernel.formats import format_duration, format_number, format_rate
from event_stream_engine.kernel.stats import percent
from event_stream_engine.web.charts import Chart, Spec, lay_over_time, make_bin_axis

_NAMED = ("p50", "p95")


def chart_delivery_times(times: Durations) -> Chart:
    """Draw a histogram under its cumulative curve; median and 95th percentile are named where they lie."""
    bins = spread(times.sketch)
    axis = make_bin_axis([format_duration(one.since_seconds) if one.since_seconds else "0" for one in bins])
    rows = []
    table: list[list[tuple[str, object]]] = []
    for slot, one in zip(axis.slots, bins, strict=True):
        took, share, so_far = _name(one), percent(one.messages, times.count), percent(one.so_far, times.count)
        rows.append(
            {
                "slot": slot,
                "messages": one.messages,
                "so_far": so_far,
                "tip_when": took,
                "tip_messages": format_number(one.messages),
                "tip_share": format_rate(share),
                "tip_so_far": format_rate(so_far),
            }
        )
        table.append(
            [
                (took, one.since_seconds),
                (format_number(one.messages), one.messages),
                (format_rate(share), share),
                (format_rate(so_far), so_far),
            ]
        )
    x = axis.encode()
    percentiles = times.percentiles
    marks = [
        {"slot": place, "text": f"{name} {format_duration(value)}", "at": 100}
        for name in _NAMED
        if (value := percentiles[name]) is not None and (place := _find_slot(bins, axis.slots, value))
    ]
    share_axis = {"orient": "right", "grid": False, "values": [0, 50, 100], "labelExpr": "datum.label + ' %'"}
    share_y: Spec = {"type": "quantitative", "scale": {"domain": [0, 115], "nice": False}, "axis": share_axis}
    layers: list[Spec] = [
        {
            "mark": {"type": "bar", "color": {"expr": "delivered"}, "opacity": 0.7},
            "encoding": {
                "x": x,
                "y": {
                    "field": "messages",
                    "type": "quantitative",
                    "axis": {"format": ",d", "tickMinStep": 1, "tickCount": 3},
                },
            },
        },
        {
            "mark": {"type": "line", "color": {"expr": "accent"}, "strokeWidth": 1.75, "strokeJoin": "round"},
            "encoding": {"x": x, "y": {**share_y, "field": "so_far"}},
        },
        {
            "data": {"values": marks},
            "mark": {"type": "rule", "color": {"expr": "muted"}, "strokeDash": [3, 3]},
            "encoding": {"x": x, "y": {**share_y, "field": "at"}, "y2": {"datum": 0}},
        },
        {
            "data": {"values": marks},
            "mark": {"type": "text", "align": "left", "baseline": "bottom", "dx": 4, "dy": -2},
            "encoding": {"x": x, "y": {**share_y, "field": "at"}, "text": {"field": "text"}},
        },
    ]
    spec = lay_over_time(axis, layers, ("Messages", "Share", "So far"))
    return Chart(
        spec=spec | {"resolve": {"scale": {"y": "independent"}}},
        rows=rows,
        summary=f"Delivery time of {format_number(times.count)} messages: "
        + ", ".join(f"{name} {format_duration(percentiles[name])}" for name in _NAMED),
        columns=(("Took", "text"), ("Messages", "number"), ("Share", "number"), ("So far", "number")),
        table=table,
        nothing="" if bins else "No delivery time has been measured yet.",
    )


def _name(one: Bin) -> str:
    if one.until_seconds is None:
        return f"{format_duration(one.since_seconds)} and more"
    since = format_duration(one.since_seconds) if one.since_seconds else "0"
    return f"{since} – {format_duration(one.until_seconds)}"


def _find_slot(bins: list[Bin], slots: list[str], seconds: float) -> str | None:
    for slot, one in zip(slots, bins, strict=True):
        if one.until_seconds is None or seconds < one.until_seconds:
            return slot
    return None
