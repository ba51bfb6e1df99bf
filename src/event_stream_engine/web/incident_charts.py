"""The chart of an alert: its value over the time of its incident, against its threshold."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.alerting.history import STEP, Timeline, load_history
from event_stream_engine.alerting.measure import Question
from event_stream_engine.alerting.measures import MEASURES
from event_stream_engine.alerting.telling import format_value
from event_stream_engine.incidents.incidents import LinkedAlert
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.formats import format_moment
from event_stream_engine.web.charts import Chart, Spec, lay_over_time, make_time_axis

BEFORE, AFTER = timedelta(hours=2), timedelta(minutes=30)
LONGEST = timedelta(days=2)
MOST_CHARTS = 6


async def draw_alerts(
    conn: Connection, alerts: Sequence[LinkedAlert], zone: ZoneInfo, now: datetime
) -> list[tuple[LinkedAlert, Chart]]:
    """Draw the first alerts whose metric has a past."""
    drawn: list[tuple[LinkedAlert, Chart]] = []
    for alert in alerts:
        measure = MEASURES.get(alert.metric)
        if measure is not None and measure.has_history and len(drawn) < MOST_CHARTS:
            since = _floor(alert.fired_at - BEFORE)
            until = min(_floor((alert.resolved_at or now) + AFTER), _floor(now)) + STEP
            question = Question(alert.metric, alert.scope, alert.window_seconds)
            found = await load_history(conn, question, since, min(until, since + LONGEST))
            if alert.subject in found:
                drawn.append((alert, chart_alert(alert, found[alert.subject], zone, now)))
    return drawn


def chart_alert(alert: LinkedAlert, timeline: Timeline, zone: ZoneInfo, now: datetime) -> Chart:
    """Draw a line; the time in which the alert fired lies on a tinted ground."""
    axis = make_time_axis([at - STEP for at, _ in timeline], STEP, zone)
    ended = alert.resolved_at or now
    rows, table = [], []
    for slot, (at, reading) in zip(axis.slots, timeline, strict=True):
        value = None if reading.value is None else round(reading.value, 4)
        shown, when = format_value(value, alert.metric), format_moment(at - STEP, zone)
        fires = alert.fired_at < at and at - STEP < ended
        rows.append(
            {
                "slot": slot,
                "value": value,
                "fires": fires,
                "tip_when": when,
                "tip_value": shown,
                "tip_alert": "fires" if fires else "quiet",
            }
        )
        cells: list[tuple[str, object]] = [
            (when, at.isoformat()),
            (shown, value),
            ("fires" if fires else "quiet", fires),
        ]
        table.append(cells)
    values = [reading.value for _, reading in timeline if reading.value is not None]
    ends = [alert.threshold, *values]
    room = max((max(ends) - min(ends)) * 0.15, abs(alert.threshold) * 0.02, 0.5)
    domain = [max(0.0, min(ends) - room), max(ends) + room]
    y: Spec = {
        "type": "quantitative",
        "scale": {"domain": domain, "nice": False, "zero": False},
        "axis": {"tickCount": 3},
    }
    threshold = f"threshold {format_value(alert.threshold, alert.metric)}"
    line = {"at": alert.threshold, "text": threshold}
    layers: list[Spec] = [
        {
            "transform": [{"filter": "datum.fires"}],
            "mark": {"type": "bar", "color": {"expr": "failed"}, "opacity": 0.1, "width": {"band": 1.16}},
            "encoding": {"x": axis.encode(), "y": {"value": 0}, "y2": {"value": {"expr": "height"}}},
        },
        {
            "data": {"values": [line]},
            "mark": {"type": "rule", "color": {"expr": "failed"}, "strokeDash": [3, 3]},
            "encoding": {"y": {**y, "field": "at"}},
        },
        {
            "data": {"values": [line]},
            "mark": {"type": "text", "align": "left", "baseline": "bottom", "dy": -4, "x": 6},
            "encoding": {"y": {**y, "field": "at"}, "text": {"field": "text"}},
        },
        {
            "mark": {"type": "line", "color": {"expr": "accent"}, "strokeWidth": 1.75, "strokeJoin": "round", "point": {"color": {"expr": "accent"}, "size": 12}},
            "encoding": {"x": axis.encode(), "y": {**y, "field": "value"}},
        },
    ]  # fmt: skip
    return Chart(
        spec=lay_over_time(axis, layers, ("Value", "Alert")),
        rows=rows,
        summary=f"{alert.name}, {alert.subject_name}: by 15 minutes, {threshold}",
        columns=(("From", "text"), ("Value", "number"), ("Alert", "text")),
        table=table,
        nothing="" if values else "Nothing was measured in this time.",
    )


def _floor(at: datetime) -> datetime:
    return at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)
