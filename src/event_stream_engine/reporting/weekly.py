"""The report of seven days."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.consent import count_users
from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.analytics.demographics import count_signups
from event_stream_engine.analytics.failures import FailureRow
from event_stream_engine.analytics.metric import WEEKLY_REPORT
from event_stream_engine.analytics.rates import Rate, list_rates
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.formats import format_growth
from event_stream_engine.kernel.stats import change_percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.processes import list_uptime
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
from event_stream_engine.reporting.comparison import (
    Named,
    find_trend,
    name_failures,
    name_figures,
    name_points,
)
from event_stream_engine.reporting.days import DAY, DAYS_OF_WEEK, load_span
from event_stream_engine.reporting.figures import gather, make_frame
from event_stream_engine.reporting.report import WEEKLY, Figures, Frame, Improvement, TopCampaign

# From which delivery rate on a week is called so, in percent.
GRADES = ((95, "excellent"), (90, "good"), (80, "fair"), (0, "poor"))
TRENDS = {
    "delivery_rate_trend": "delivery_rate_percent",
    "error_rate_trend": "error_rate_percent",
    "user_engagement_trend": "reply_rate_percent",
}


@dataclass(frozen=True, slots=True)
class WeeklyReport:
    """`days`: seven points, by the moment messages were sent; `before`: the week before, None: not wholly recorded.

    `users_before` and `users`: how many there were when the week began and ended. `minutes_up` of `minutes`: in which all
    needed processes were alive. `unknown`: reasons by the place in the answer, like `trends.error_rate_trend`.
    """

    frame: Frame
    figures: Figures
    before: Figures | None
    users: int
    users_before: int
    minutes_up: int
    minutes: int
    days: tuple[DeliveryPoint, ...]
    top_campaigns: tuple[TopCampaign, ...]
    failures: tuple[FailureRow, ...]
    improvements: tuple[Improvement, ...]
    unknown: Mapping[str, str]

    @property
    def calendar_week(self) -> str | None:
        """Return the week's name by ISO 8601, like 2026-W53; None when it does not end on a Sunday."""
        year, week, weekday = self.frame.last.isocalendar()
        return f"{year}-W{week:02d}" if weekday == DAYS_OF_WEEK else None

    @property
    def grade(self) -> str | None:
        counts = self.figures.counts
        return next(
            (name for least, name in GRADES if counts.sent and counts.delivered * 100 >= least * counts.sent),
            None,
        )

    @property
    def user_growth(self) -> str | None:
        return _write(change_percent(self.users, self.users_before))

    @property
    def system_uptime(self) -> str | None:
        return f"{self.minutes_up * 100 / self.minutes:.2f}%" if self.minutes else None

    @property
    def trends(self) -> dict[str, str | None]:
        """Return how rates changed against the week before, by their names in the document."""
        rates = list_rates(self.figures.counts)
        before: Mapping[str, Rate] = {} if self.before is None else list_rates(self.before.counts)
        return {name: _write(find_trend(rates[key], before.get(key))) for name, key in TRENDS.items()}


def _write(change: float | None) -> str | None:
    return None if change is None else format_growth(change)


async def count_weekly(conn: Connection, now: datetime, zone: ZoneInfo, ending: date) -> WeeklyReport:
    """Count the seven local days that end with a date as they are known now; in a snapshot. Errors: Invalid."""
    span = await load_span(conn, ending, DAYS_OF_WEEK, now, zone)
    content = await gather(conn, span, timedelta(days=1), now, zone)
    users = sum((await count_users(conn)).values()) - await _count_later(conn, span.window, now)
    new_users = content.figures.new_users
    uptime = await list_uptime(conn, [span.window.since, min(span.window.until, now)])
    report = WeeklyReport(
        frame=make_frame(WEEKLY, span, WEEKLY_REPORT, now, zone),
        figures=content.figures,
        before=content.before,
        users=users,
        users_before=users - new_users,
        minutes_up=sum(row.minutes_up for row in uptime),
        minutes=sum(row.minutes for row in uptime),
        days=content.points,
        top_campaigns=content.top_campaigns,
        failures=content.failures,
        improvements=content.improvements,
        unknown={},
    )
    return replace(report, unknown=_explain(report))


async def _count_later(conn: Connection, window: Window, now: datetime) -> int:
    """Count the users who came after the window; a day more, because clocks of other hosts may be ahead."""
    return await count_signups(conn, Window(window.until, max(now, window.until) + DAY))


def _explain(report: WeeklyReport) -> dict[str, str]:
    reasons = explain_unknown(report.figures, report.before, "days")
    if report.calendar_week is None:
        reasons["calendar_week"] = "The seven days do not end on a Sunday."
    if report.grade is None:
        reasons["weekly_metrics.delivery_rate_avg"] = explain_rate("delivery_rate_percent")
        reasons["weekly_metrics.campaign_performance"] = explain_rate("delivery_rate_percent")
    if report.user_growth is None:
        reasons["weekly_metrics.user_growth"] = "There were no users when the week began."
    if report.system_uptime is None:
        reasons["weekly_metrics.system_uptime"] = "No full minute of the week was recorded."
    for name, trend in report.trends.items():
        if trend is None:
            reasons[f"trends.{name}"] = (
                "The rate of this week or of the week before is not known, or was 0 before."
            )
    return reasons


def describe_weekly(report: WeeklyReport) -> dict[str, Any]:
    """Return the document's object of a week, with more keys beside."""
    figures, frame = report.figures, report.frame
    return {
        "report_period": f"{frame.first} to {frame.last}",
        "weekly_metrics": {
            "total_messages": figures.counts.sent,
            "delivery_rate_avg": figures.counts.delivery_rate_percent,
            "user_growth": report.user_growth,
            "campaign_performance": report.grade,
            "system_uptime": report.system_uptime,
        },
        "trends": report.trends,
        "calendar_week": report.calendar_week,
        "campaigns_executed": figures.campaigns_executed,
        "new_users_added": figures.new_users,
        "opt_out_requests": figures.opt_outs,
        "users": {"at_begin": report.users_before, "at_end": report.users},
        "uptime": {"minutes_up": report.minutes_up, "minutes": report.minutes},
        "top_performing_campaigns": describe_campaigns(report.top_campaigns),
        "areas_for_improvement": [one.text for one in report.improvements],
        **describe_figures(figures),
        "days": describe_points(report.days, frame.zone),
        "failures": describe_failures(report.failures),
        "improvements": describe_improvements(report.improvements),
        "compared_with": describe_comparison(frame, figures, report.before),
        **describe_frame(frame),
        "unknown": {**report.unknown, **explain_frame(report.frame)},
    }


def name_weekly(report: WeeklyReport) -> Named:
    """Return the figures that may change after the report, by slug with their names."""
    return {
        **name_figures(report.figures),
        "users_at_begin": ("Users at the begin", report.users_before),
        "users_at_end": ("Users at the end", report.users),
        "system_uptime": ("System uptime", report.system_uptime),
        **{name: (name.replace("_", " ").capitalize(), trend) for name, trend in report.trends.items()},
        **name_failures(report.failures),
        **name_points(report.days, ZoneInfo(report.frame.zone), "%-d %B"),
    }
