"""The key figures of a report as people read them, with their changes."""

from dataclasses import dataclass, replace

from event_stream_engine.kernel.formats import (
    UNKNOWN,
    format_change,
    format_duration,
    format_number,
)
from event_stream_engine.reporting.comparison import compare
from event_stream_engine.reporting.daily import DailyReport
from event_stream_engine.reporting.report import Comparison
from event_stream_engine.reporting.versions import Report
from event_stream_engine.reporting.weekly import WeeklyReport

# What is good when it rises, and what when it falls.
_RISES = {"delivery_rate", "reply_rate", "new_users_added"}
_FALLS = {"error_rate", "opt_out_requests", "delivery_time_p50"}
# Key figures of a report: metric and what is compared; of a week's rates the trend, too.
_IN_DAILY = {
    "report_messages_sent": "total_messages_sent",
    "report_delivery_rate": "delivery_rate",
    "report_error_rate": "error_rate",
    "report_delivery_times": "delivery_time_p50",
    "report_campaigns_executed": "campaigns_executed",
    "report_new_users": "new_users_added",
    "report_opt_outs": "opt_out_requests",
    "report_inbound": "inbound_messages",
}
_RATES_OF_WEEK = {
    "report_delivery_rate": ("delivery_rate", "delivery_rate_trend"),
    "report_error_rate": ("error_rate", "error_rate_trend"),
    "reply_rate": ("reply_rate", "user_engagement_trend"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure as people read it. `slug`: of its metric; `unit` stands smaller beside the value.

    `is_good`: of the change, None: neither.
    """

    slug: str
    name: str
    value: str
    unit: str
    note: str
    change: str = ""
    is_good: bool | None = None


def write_figures(report: Report) -> tuple[Figure, ...]:
    """Return the eight key figures of a report."""
    return _write_day(report) if isinstance(report, DailyReport) else _write_week(report)


def _write_day(report: DailyReport) -> tuple[Figure, ...]:
    found = _compare(report)
    return tuple(
        _write_figure(report, slug, found[name], _word_change(found[name]))
        for slug, name in _IN_DAILY.items()
    )


def _write_week(report: WeeklyReport) -> tuple[Figure, ...]:
    """Its rates change as the document's trends have it: relatively."""
    found = _compare(report)
    sent, opt_outs = found["total_messages_sent"], found["opt_out_requests"]
    users = f"{format_number(report.users_before)} → {format_number(report.users)} users"
    minutes = (
        _of(report.minutes_up, report.minutes, "minutes") or report.unknown["weekly_metrics.system_uptime"]
    )
    grade, growth, uptime = (
        one or UNKNOWN for one in (report.grade, report.user_growth, report.system_uptime)
    )
    return (
        _write_figure(report, "report_messages_sent", sent, _word_change(sent)),
        *(
            _write_figure(report, slug, found[name], report.trends[trend] or "")
            for slug, (name, trend) in _RATES_OF_WEEK.items()
        ),
        Figure("report_campaign_performance", "Campaigns as a whole", grade, "", "by the delivery rate"),
        Figure("report_user_growth", "User growth", growth, "", users),
        _write_figure(report, "report_opt_outs", opt_outs, _word_change(opt_outs)),
        Figure("report_system_uptime", "Uptime", uptime, "", minutes),
    )


def _compare(report: Report) -> dict[str, Comparison]:
    """Return the figures by name; without a time before each stands beside itself, and no change is shown."""
    return {one.slug: one for one in compare(report.figures, report.before or report.figures)}


def _word_change(one: Comparison) -> str:
    """Write how much more or less it is than before: of shares in points, of all else relatively."""
    if one.now is None or one.before is None:
        return ""
    if one.unit == "%":
        return format_change(one.now - one.before, "points")
    return "" if one.change_percent is None else format_change(one.change_percent, "%")


def _write_figure(report: Report, slug: str, one: Comparison, change: str) -> Figure:
    value, unit = _split_value(one.now, one.unit)
    plain = Figure(slug, one.name, value, unit, _note(report, one))
    if report.before is None or one.now is None or one.before is None:
        return plain
    if one.now == one.before or change in ("0", "0%"):
        return replace(plain, change="unchanged")
    is_judged = one.slug in _RISES | _FALLS and one.now != one.before
    is_good = (one.now > one.before) == (one.slug in _RISES) if is_judged else None
    return replace(plain, change=change, is_good=is_good)


def _note(report: Report, one: Comparison) -> str:
    counts, times = report.figures.counts, report.figures.times
    if one.slug == "delivery_rate":
        return _of(counts.delivered, counts.sent)
    if one.slug == "error_rate":
        return _of(counts.failed, counts.messages)
    if one.slug == "reply_rate":
        return _of(counts.replied, counts.delivered)
    if one.slug == "delivery_time_p50":
        return f"95 % within {format_duration(times.percentiles['p95'])}" if times.count else ""
    if report.before is None:
        return ""
    return f"{_join(*_split_value(one.before, one.unit))} before"


def _of(numerator: int, denominator: int, unit: str = "") -> str:
    return (
        f"{format_number(numerator)} of {format_number(denominator)} {unit}".rstrip() if denominator else ""
    )


def _split_value(value: float | None, unit: str) -> tuple[str, str]:
    """Return a value and the unit that stands beside it."""
    if unit == "%":
        return (UNKNOWN, "") if value is None else (f"{value:,.2f}", "%")
    if unit == "s":
        number, _, rest = format_duration(value).partition(" ")
        return number, rest
    return format_number(value), ""


def _join(value: str, unit: str) -> str:
    return f"{value} {unit}".rstrip()
