"""The figures of a report as rows for a spreadsheet."""

import csv
import io

from event_stream_engine.kernel.cells import make_cell_safe
from event_stream_engine.reporting.daily import describe_daily
from event_stream_engine.reporting.report import Value
from event_stream_engine.reporting.versions import Report
from event_stream_engine.reporting.weekly import WeeklyReport, describe_weekly

TITLES = ("part", "subject", "figure", "value")
_STEPS = ("sent", "delivered", "in_flight", "failed", "delivery_rate_percent", "p50_seconds", "p95_seconds")


def write_csv(report: Report) -> str:
    """Return each figure in a row: to which part and subject it belongs, its name in the API's answer, its value."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(TITLES)
    writer.writerows((*map(make_cell_safe, row[:3]), _write(row[3])) for row in _list_rows(report))
    return file.getvalue()


def _list_rows(report: Report) -> list[tuple[str, str, str, Value]]:
    told = describe_weekly(report) if isinstance(report, WeeklyReport) else describe_daily(report)
    frame = report.frame
    rows: list[tuple[str, str, str, Value]] = [
        ("report", "", "kind", frame.kind),
        ("report", "", "first_day", frame.first.isoformat()),
        ("report", "", "last_day", frame.last.isoformat()),
        *(("report", "", name, told[name]) for name in ("time_zone", "cut_off_at", "is_so_far", "version")),
    ]
    for part in ("summary", "weekly_metrics", "trends"):
        rows += [(part, "", name, value) for name, value in told.get(part, {}).items()]
    for name, rate in told["rates"].items():
        rows += [("rates", name, key, value) for key, value in rate.items()]
    rows += [
        ("statuses", status, "messages", count) for status, count in told["performance_breakdown"].items()
    ]
    times = told["timing_analysis"]
    rows += [
        ("delivery_times", "", name, value) for name, value in times.items() if not isinstance(value, dict)
    ]
    rows += [
        ("delivery_times", "", f"{name}_seconds", value)
        for name, value in times["delivery_time_percentiles"].items()
    ]
    rows.append(("inbound", "", "inbound_messages", told["inbound_messages"]))
    for series in ("hours", "days"):
        rows += [
            (series, step["local"], name, step[name]) for step in told.get(series, []) for name in _STEPS
        ]
    for one in told["top_performing_campaigns"]:
        rows += [
            ("best_campaigns", one["campaign_name"], name, value)
            for name, value in one.items()
            if name != "campaign_name"
        ]
    for code, one in told["failures"].items():
        rows += [("failures", code, name, one[name]) for name in ("count", "percentage", "description")]
    rows += [
        ("improvements", str(number), "text", text)
        for number, text in enumerate(told["areas_for_improvement"], 1)
    ]
    return rows


def _write(value: Value) -> object:
    return make_cell_safe(value) if isinstance(value, str) else value
