"""The charts of alerts: a value against its threshold, and when a rule would have fired."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.alerting.backtest import Backtest, Period
from event_stream_engine.alerting.rules import Draft
from event_stream_engine.alerting.telling import format_value
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.formats import format_moment
from event_stream_engine.web.charts import Chart, Spec, lay_over_time, make_time_axis

_HOUR = timedelta(hours=1)
_LABELLED = timedelta(hours=6)  # labels are days, as of this step


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value against its threshold, both as shares of a scale in percent."""

    value: float
    threshold: float


def gauge_value(value: float | None, threshold: float, unit: str) -> Gauge | None:
    """Place a value and a threshold on a scale from 0: to 100 for percentages, else with room beyond both."""
    if value is None or value < 0 or threshold < 0:
        return None
    top = 100.0 if unit == "%" else max(value, threshold, 1e-9) * 1.2
    return Gauge(min(100.0, 100 * value / top), min(100.0, 100 * threshold / top))


def chart_backtest(draft: Draft, found: Backtest, zone: ZoneInfo) -> Chart:
    """Draw a metric's past hour by hour over its threshold, with the times in which the rule would have fired."""
    axis = make_time_axis([point.at for point in found.points], _LABELLED, zone)
    shown = [period for period in found.periods if period.subject == found.shown]
    rows: list[dict[str, Any]] = []
    table: list[list[tuple[str, object]]] = []
    for slot, point in zip(axis.slots, found.points, strict=True):
        has_fired = any(_overlaps(period, found, point.at) for period in shown)
        value, when = format_value(point.value, draft.metric), format_moment(point.at, zone)
        fires = "would have fired" if has_fired else "quiet"
        rows.append(
            {
                "slot": slot,
                "value": point.value,
                "fired": has_fired,
                "tip_when": when,
                "tip_value": value,
                "tip_rule": fires,
            }
        )
        table.append([(when, format_instant(point.at)), (value, point.value), (fires, fires)])
    values = [point.value for point in found.points if point.value is not None]
    lowest, highest = min([*values, draft.threshold]), max([*values, draft.threshold])
    room = (highest - lowest or abs(highest) or 1.0) * 0.1
    y: Spec = {
        "type": "quantitative",
        "scale": {
            "domain": [max(0.0, lowest - room) if lowest >= 0 else lowest - room, highest + room],
            "zero": False,
        },
    }
    layers: list[Spec] = [
        {
            "transform": [{"filter": "datum.fired"}],
            "mark": {"type": "bar", "color": {"expr": "failed"}, "opacity": 0.16},
            "encoding": {"x": {**axis.encode(), "scale": {"type": "band", "padding": 0}}},
        },
        {
            "data": {"values": [{"at": draft.threshold}]},
            "mark": {"type": "rule", "color": {"expr": "failed"}, "strokeDash": [3, 3]},
            "encoding": {"y": {**y, "field": "at"}},
        },
        {
            "mark": {"type": "line", "color": {"expr": "accent"}, "strokeWidth": 1.5, "clip": True},
            "encoding": {"x": axis.encode(), "y": {**y, "field": "value"}},
        },
    ]
    summary = f"{found.shown_name or 'Nothing'}, the last 14 days, {count_fires(len(found.periods))}"
    columns = [("Hour from", "text"), ("Value", "number"), ("Rule", "text")]
    nothing = found.reason or ("Nothing was measured in these 14 days." if not values else "")
    return Chart(lay_over_time(axis, layers, ("Value", "Rule")), rows, summary, columns, table, nothing)


def count_fires(periods: int) -> str:
    return f"would have fired {periods:,} time{'' if periods == 1 else 's'}"


def list_first(periods: Sequence[Period], most: int = 12) -> Sequence[Period]:
    """Return the last times a rule would have fired, the newest first."""
    return list(reversed(periods))[:most]


def _overlaps(period: Period, found: Backtest, hour: Any) -> bool:
    return bool(period.fired_at < hour + _HOUR and (period.resolved_at or found.until) > hour)
