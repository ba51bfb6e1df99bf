"""The report of a day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.analytics.failures import FailureRow
from event_stream_engine.analytics.metric import DAILY_REPORT
from event_stream_engine.infra.database import Connection
from event_stream_engine.reporting.answers import (
    describe_campaigns,
    describe_comparison,
    describe_failures,
    describe_figures,
    describe_frame,
    describe_improvements,
    describe_points,
    explain_frame,
    explain_rate,
    explain_unknown,
)
from event_stream_engine.reporting.comparison import Named, name_failures, name_figures, name_points
from event_stream_engine.reporting.days import load_span
from event_stream_engine.reporting.figures import gather, make_frame
from event_stream_engine.reporting.report import DAILY, Figures, Frame, Improvement, TopCampaign

_RATES = {"delivery_rate": "delivery_rate_percent", "error_rate": "error_rate_percent"}


@dataclass(frozen=True, slots=True)
class DailyReport:
    """`hours`: 23 to 25 of them, by the moment messages were sent; `before`: the day before, None: not wholly recorded.

    `unknown`: reasons by the place in the answer, like `summary.delivery_rate`.
    """

    frame: Frame
    figures: Figures
    before: Figures | None
    hours: tuple[DeliveryPoint, ...]
    top_campaigns: tuple[TopCampaign, ...]
    failures: tuple[FailureRow, ...]
    improvements: tuple[Improvement, ...]
    unknown: Mapping[str, str]


async def count_daily(conn: Connection, now: datetime, zone: ZoneInfo, on: date) -> DailyReport:
    """Count a local day as it is known now; in a snapshot. Errors: Invalid."""
    span = await load_span(conn, on, 1, now, zone)
    content = await gather(conn, span, timedelta(hours=1), now, zone)
    frame = make_frame(DAILY, span, DAILY_REPORT, now, zone)
    return DailyReport(
        frame=frame,
        figures=content.figures,
        before=content.before,
        hours=content.points,
        top_campaigns=content.top_campaigns,
        failures=content.failures,
        improvements=content.improvements,
        unknown=_explain(content.figures, content.before),
    )


def _explain(figures: Figures, before: Figures | None) -> dict[str, str]:
    reasons = explain_unknown(figures, before, "hours")
    for name, key in _RATES.items():
        if getattr(figures.counts, key) is None:
            reasons[f"summary.{name}"] = explain_rate(key)
    return reasons


def describe_daily(report: DailyReport) -> dict[str, Any]:
    """Return the document's object of a day, with more keys beside."""
    figures = report.figures
    return {
        "report_type": "daily_performance",
        "date": report.frame.first.isoformat(),
        "summary": {
            "campaigns_executed": figures.campaigns_executed,
            "total_messages_sent": figures.counts.sent,
            "delivery_rate": figures.counts.delivery_rate_percent,
            "error_rate": figures.counts.error_rate_percent,
            "new_users_added": figures.new_users,
            "opt_out_requests": figures.opt_outs,
        },
        "top_performing_campaigns": describe_campaigns(report.top_campaigns),
        "areas_for_improvement": [one.text for one in report.improvements],
        **describe_figures(figures),
        "hours": describe_points(report.hours, report.frame.zone),
        "failures": describe_failures(report.failures),
        "improvements": describe_improvements(report.improvements),
        "compared_with": describe_comparison(report.frame, figures, report.before),
        **describe_frame(report.frame),
        "unknown": {**report.unknown, **explain_frame(report.frame)},
    }


def name_daily(report: DailyReport) -> Named:
    """Return the figures that may change after the report, by slug with their names."""
    zone = ZoneInfo(report.frame.zone)
    return {
        **name_figures(report.figures),
        **name_failures(report.failures),
        **name_points(report.hours, zone, "%H:%M"),
    }
