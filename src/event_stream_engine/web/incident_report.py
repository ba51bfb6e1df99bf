"""The post-incident report: what the engine knows of an incident and what people wrote, as Markdown and as PDF."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from event_stream_engine.alerting.telling import format_value
from event_stream_engine.incidents import affected, incidents, timeline
from event_stream_engine.incidents.affected import Affected, AffectedMessage
from event_stream_engine.incidents.incidents import Incident, LinkedAlert
from event_stream_engine.incidents.policy import Level, load_policy, word_seconds
from event_stream_engine.incidents.timeline import TimelineRow
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.formats import format_date, format_duration, format_number, format_window
from event_stream_engine.kernel.markdown import escape, write_table
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.web.charts import Chart
from event_stream_engine.web.incident_charts import draw_alerts
from event_stream_engine.web.typesetting import typeset
from event_stream_engine.web.wording import MESSAGE_STATUSES

TEMPLATE = "incident.typ"
PEOPLE_LISTED, CAMPAIGNS_LISTED = 10, 25
_JUDGED = {"met": "in time", "missed": "too late", "not_needed": "not needed", "running": "running"}


@dataclass(frozen=True, slots=True)
class IncidentReport:
    """What the report is made of."""

    incident: Incident
    level: Level
    rows: Sequence[TimelineRow]
    alerts: Sequence[LinkedAlert]
    charts: Sequence[tuple[LinkedAlert, Chart]]
    touched: Affected
    failed: Sequence[AffectedMessage]
    zone: ZoneInfo
    as_of: datetime


async def load_report(conn: Connection, incident_id: UUID, zone: ZoneInfo, now: datetime) -> IncidentReport:
    """Read all of it. Errors: NotFound."""
    incident = await incidents.load_incident(conn, incident_id)
    alerts = await incidents.list_alerts(conn, incident_id)
    return IncidentReport(
        incident,
        (await load_policy(conn)).levels[incident.severity],
        await timeline.list_rows(conn, incident_id),
        alerts,
        await draw_alerts(conn, alerts, zone, now),
        await affected.load_affected(conn, incident, now),
        await affected.list_failed(conn, incident, now, most=PEOPLE_LISTED),
        zone,
        now,
    )


async def print_report(report: IncidentReport) -> bytes:
    """Return the report as PDF. Errors: Unavailable."""
    return await typeset(TEMPLATE, describe_report(report), [chart for _, chart in report.charts])


def describe_report(report: IncidentReport) -> dict[str, Any]:
    """Return all texts of the report, as people read them."""
    incident, zone = report.incident, report.zone
    return {
        "name": incident.name,
        "title": incident.title,
        "severity": incident.severity,
        "meaning": report.level.meaning,
        "state": incident.state,
        "as_of": format_date(report.as_of, zone),
        "zone": zone.key,
        "summary": incident.summary,
        "root_cause": incident.root_cause,
        "follow_ups": [line.strip() for line in incident.follow_ups.splitlines() if line.strip()],
        "clock": _describe_clock(report),
        "affected": _describe_affected(report),
        "alerts": [_describe_alert(alert, zone) for alert in report.alerts],
        "charts": [chart.summary for _, chart in report.charts],
        "timeline": [[format_date(row.at, zone), row.headline, row.who, row.text] for row in report.rows],
    }


def write_markdown(report: IncidentReport) -> str:
    """Return the report as Markdown; the values of its charts are tables."""
    told = describe_report(report)
    touched = told["affected"]
    follow_ups = "\n".join(f"- {escape(one)}" for one in told["follow_ups"])
    parts = [
        f"# {told['name']} {escape(told['title'])}",
        f"{told['severity']}: {escape(told['meaning'])} · {told['state']} · as of {told['as_of']} {told['zone']}",
        "## Summary",
        escape(told["summary"]) or "Not written yet.",
        "## Clock",
        write_table(("", ""), told["clock"]),
        "## Root cause",
        escape(told["root_cause"]) or "Not written yet.",
        "## Follow-ups",
        follow_ups or "Not written yet.",
        "## Affected",
        touched["reason"],
        write_table(("", touched["window"]), touched["counts"]),
        write_table(("Campaign", "Messages", "Delivered", "Failed"), touched["campaigns"]),
        write_table(("Recipients to whom a message failed last", "Status", "Handed over"), touched["people"]),
        "## Alerts",
        write_table(("Alert", "Value", "Threshold", "Fired", "Over"), told["alerts"])
        or "It was opened by hand; no alert belongs to it.",
    ]
    for _, chart in report.charts:
        rows = [[text for text, _ in row] for row in chart.table]
        parts += [f"### {escape(chart.summary)}", write_table([title for title, _ in chart.columns], rows)]
    parts += ["## Timeline", write_table((f"When, {told['zone']}", "What", "Who", ""), told["timeline"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe_clock(report: IncidentReport) -> list[list[str]]:
    incident, zone = report.incident, report.zone
    judged = _JUDGED[incident.standing.judge_response(report.as_of)]
    rows = [
        ["Opened", format_date(incident.opened_at, zone)],
        ["Response time", f"{word_seconds(incident.response_seconds)}: {judged}"],
    ]
    for name, at in (("Acknowledged", incident.acknowledged_at), ("Mitigated", incident.mitigated_at), ("Resolved", incident.resolved_at)):  # fmt: skip
        rows.append([name, "–" if at is None else format_date(at, zone)])
    return [
        *rows,
        ["Time to acknowledge", format_duration(incident.acknowledge_seconds)],
        ["Time to resolve", format_duration(incident.resolve_seconds)],
        ["Assigned to", incident.assignee_name or "nobody"],
    ]


def _describe_affected(report: IncidentReport) -> dict[str, Any]:
    touched, zone = report.touched, report.zone
    names = {
        "messages": "messages in its scope",
        "delivered": "delivered",
        "failed": "failed",
        "recipients": "recipients to whom one failed",
    }
    counts = [[words, format_number(getattr(touched, name))] for name, words in names.items()]
    campaigns = touched.campaigns[:CAMPAIGNS_LISTED]
    return {
        "window": format_window(touched.window, zone),
        "reason": touched.reason,
        "counts": counts if touched.is_counted else [],
        "campaigns": [
            [one.name or "no campaign", *map(format_number, (one.messages, one.delivered, one.failed))]
            for one in campaigns
        ],
        "people": [
            [
                mask_phone(one.recipient_phone),
                MESSAGE_STATUSES[one.status][1] + (f", error {one.error_code}" if one.error_code else ""),
                format_date(one.cohort_at, zone),
            ]
            for one in report.failed
        ],
    }


def _describe_alert(alert: LinkedAlert, zone: ZoneInfo) -> list[str]:
    place = "" if alert.subject == "all" else f"\n{alert.subject_name}"
    worst = "" if alert.peak is None else f"\nworst {format_value(alert.peak, alert.metric)}"
    return [
        f"{alert.name}{place}",
        f"{format_value(alert.value, alert.metric)}{worst}",
        f"{alert.comparison} {format_value(alert.threshold, alert.metric)}",
        format_date(alert.fired_at, zone),
        "still fires" if alert.resolved_at is None else format_date(alert.resolved_at, zone),
    ]
