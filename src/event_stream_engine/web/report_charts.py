"""The charts of a report: messages by status, delivery rate and delivery time over its hours or days."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.reporting.documents import word_days
from event_stream_engine.reporting.report import DAILY
from event_stream_engine.reporting.versions import Report
from event_stream_engine.reporting.weekly import WeeklyReport
from event_stream_engine.web.charts import Chart
from event_stream_engine.web.delivery_charts import (
    chart_delivery_rate,
    chart_delivery_time,
    chart_messages_by_status,
    make_series,
)
from event_stream_engine.web.periods import Period


def chart_report(report: Report) -> dict[str, Chart]:
    """Draw the charts of a report by name: `volume`, `rate`, `time`."""
    frame, figures = report.frame, report.figures
    is_daily = frame.kind == DAILY
    step = timedelta(hours=1) if is_daily else timedelta(days=1)
    period = Period(
        None, word_days(frame.first, frame.last), frame.window, step, "hour" if is_daily else "day"
    )
    points = report.days if isinstance(report, WeeklyReport) else report.hours
    series = make_series(points, period, ZoneInfo(frame.zone), frame.cut_off_at)
    return {
        "volume": chart_messages_by_status(series),
        "rate": chart_delivery_rate(series, figures.counts.delivery_rate_percent, None),
        "time": chart_delivery_time(series, figures.times.percentiles),
    }
