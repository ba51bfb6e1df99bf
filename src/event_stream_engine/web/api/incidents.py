"""Incidents: what needs a person, what was done about it, whom it touched, the policy, the report."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from event_stream_engine.access.roles import Role
from event_stream_engine.audit.entries import Actor
from event_stream_engine.incidents import actions, affected, incidents, timeline
from event_stream_engine.incidents.actions import Act, Opening, Report, Seen
from event_stream_engine.incidents.affected import MOST_CAMPAIGNS, Affected
from event_stream_engine.incidents.figures import UNKNOWN, IncidentFigures, load_figures
from event_stream_engine.incidents.incidents import Incident, LinkedAlert, Timer
from event_stream_engine.incidents.timeline import TimelineRow
from event_stream_engine.infra.database import Connection, snapshot, transaction
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.figures import describe_frame, round_seconds
from event_stream_engine.web.periods import describe_window, read_period_with
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/incidents", tags=["incidents"])
_MAY_WRITE = [Depends(require_role(Role.operator))]
SeverityName = Literal["critical", "high", "medium", "low"]
StateName = Literal["open", "acknowledged", "mitigated", "resolved"]


class OpeningBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str
    severity: SeverityName
    summary: str = ""


class ActBody(BaseModel):
    """`version`: that of the incident as it was seen; when somebody was faster, the answer is 409 with what they did."""

    model_config = ConfigDict(extra="forbid")

    version: int
    note: str = ""


class SeverityBody(ActBody):
    severity: SeverityName


class AssigneeBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int
    assignee_id: UUID | None


class NoteBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str


class ReportBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int
    summary: str
    root_cause: str
    follow_ups: str


@router.get("")
async def list_incidents(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the answer before")] = None,
    state: Annotated[list[StateName] | None, Query(description="any of these; may be given again")] = None,
    severity: Annotated[
        list[SeverityName] | None, Query(description="any of these; may be given again")
    ] = None,
) -> dict[str, Any]:
    """Incidents, newest first."""
    resources = resources_of(request)
    before = read_cursor(cursor, parse_instant, UUID) if cursor else None
    async with resources.pool.connection() as conn:
        found = await incidents.list_incidents(
            conn,
            limit=limit + 1,
            before=(before[0], before[1]) if before else None,
            states=state,
            severities=severity,
        )
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    return {
        "items": [describe_incident(one, resources.clock.now()) for one in shown],
        "next_cursor": None if last is None else write_cursor(format_instant(last.opened_at), last.id),
    }


@router.post("", status_code=201, dependencies=_MAY_WRITE)
async def open_incident(request: Request, body: OpeningBody) -> dict[str, Any]:
    """Open one by hand: its clock starts, and people are told."""
    resources, now = resources_of(request), resources_of(request).clock.now()
    async with resources.pool.connection() as conn, transaction(conn):
        made = await actions.open_incident(conn, actor_of(request), Opening(**body.model_dump()), now)
    return describe_incident(made, now)


@router.get("/figures", openapi_extra=describe_window("30d"))
async def show_figures(request: Request) -> dict[str, Any]:
    """How soon incidents are answered and how long they last: median, mean and how many, by severity."""
    resources = resources_of(request)
    window = read_period_with(request, default="30d").window
    async with resources.pool.connection() as conn, snapshot(conn):
        every, by_severity = await load_figures(conn, window, resources.clock.now())
    groups = {"incident_figures": every} | {f"by_severity.{name}": one for name, one in by_severity.items()}
    return describe_frame(request, window) | {
        "incident_figures": describe_figures(every),
        "by_severity": {name: describe_figures(one) for name, one in by_severity.items()},
        "rates": {
            f"{place}.responded_in_time_percent": {"numerator": one.in_time, "denominator": one.responses}
            for place, one in groups.items()
        },
        "unknown": {
            f"{place}.{name}": reason
            for place, one in groups.items()
            for name, reason in UNKNOWN.items()
            if getattr(one, name) is None
        },
    }


@router.get("/{incident_id}")
async def show_incident(request: Request, incident_id: UUID) -> dict[str, Any]:
    """One incident with its timeline, its alerts, and what happens next if nobody acknowledges."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await incidents.load_incident(conn, incident_id)
        rows = await timeline.list_rows(conn, incident_id)
        alerts = await incidents.list_alerts(conn, incident_id)
        timers = await incidents.list_timers(conn, incident_id)
    return describe_incident(found, resources.clock.now()) | {
        "summary": found.summary,
        "root_cause": found.root_cause,
        "follow_ups": found.follow_ups,
        "timeline": [_describe_row(row) for row in rows],
        "alerts": [_describe_alert(one) for one in alerts],
        "timers": [_describe_timer(one) for one in timers],
    }


@router.get("/{incident_id}/affected")
async def show_affected(request: Request, incident_id: UUID) -> dict[str, Any]:
    """Whom it touched: the messages its alerts are about, by campaign, and to how many people one failed."""
    resources = resources_of(request)
    now = resources.clock.now()
    async with resources.pool.connection() as conn, snapshot(conn):
        incident = await incidents.load_incident(conn, incident_id)
        found = await affected.load_affected(conn, incident, now)
    return describe_frame(request, found.window) | describe_affected(found)


@router.get("/{incident_id}/failed-messages")
async def list_failed_messages(
    request: Request,
    incident_id: UUID,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the answer before")] = None,
) -> dict[str, Any]:
    """The messages its alerts are about that failed, newest first; numbers are masked."""
    resources = resources_of(request)
    before = read_cursor(cursor, parse_instant, UUID) if cursor else None
    async with resources.pool.connection() as conn, snapshot(conn):
        incident = await incidents.load_incident(conn, incident_id)
        place = (before[0], before[1]) if before else None
        found = await affected.list_failed(
            conn, incident, resources.clock.now(), most=limit + 1, before=place
        )
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    return {
        "items": [
            {
                "id": str(one.id),
                "campaign_id": one.campaign_id and str(one.campaign_id),
                "recipient": mask_phone(one.recipient_phone),
                "status": one.status,
                "error_code": one.error_code,
                "at": format_instant(one.cohort_at),
            }
            for one in shown
        ],
        "next_cursor": None if last is None else write_cursor(format_instant(last.cohort_at), last.id),
    }


@router.post("/{incident_id}/acknowledge", dependencies=_MAY_WRITE)
async def acknowledge_incident(request: Request, incident_id: UUID, body: ActBody) -> dict[str, Any]:
    """Take it in hand; nobody else is told any more."""
    return await _act(request, incident_id, body, actions.acknowledge)


@router.post("/{incident_id}/mitigate", dependencies=_MAY_WRITE)
async def mitigate_incident(request: Request, incident_id: UUID, body: ActBody) -> dict[str, Any]:
    """Note that it does no more harm."""
    return await _act(request, incident_id, body, actions.mitigate)


@router.post("/{incident_id}/resolve", dependencies=_MAY_WRITE)
async def resolve_incident(request: Request, incident_id: UUID, body: ActBody) -> dict[str, Any]:
    """End it; whoever was told hears of it."""
    return await _act(request, incident_id, body, actions.resolve)


@router.post("/{incident_id}/reopen", dependencies=_MAY_WRITE)
async def reopen_incident(request: Request, incident_id: UUID, body: ActBody) -> dict[str, Any]:
    """Take it up again: clock and escalation begin anew."""
    return await _act(request, incident_id, body, actions.reopen)


@router.post("/{incident_id}/severity", dependencies=_MAY_WRITE)
async def change_severity(request: Request, incident_id: UUID, body: SeverityBody) -> dict[str, Any]:
    """Give it another severity; a higher one begins clock and escalation anew."""

    async def act(conn: Connection, actor: Actor, seen: Seen, note: str, now: datetime) -> Incident:
        return await actions.change_severity(conn, actor, seen, body.severity, note=note, now=now)

    return await _act(request, incident_id, body, act)


@router.post("/{incident_id}/assignee", dependencies=_MAY_WRITE)
async def assign_incident(request: Request, incident_id: UUID, body: AssigneeBody) -> dict[str, Any]:
    """Give it into an operator's hands, or with null out of them."""
    resources, now = resources_of(request), resources_of(request).clock.now()
    async with resources.pool.connection() as conn, transaction(conn):
        seen = Seen(incident_id, body.version)
        changed = await actions.assign(conn, actor_of(request), seen, body.assignee_id, now)
    return describe_incident(changed, now)


@router.post("/{incident_id}/notes", status_code=201, dependencies=_MAY_WRITE)
async def add_note(request: Request, incident_id: UUID, body: NoteBody) -> dict[str, Any]:
    """Add a note to the timeline."""
    resources, now = resources_of(request), resources_of(request).clock.now()
    async with resources.pool.connection() as conn, transaction(conn):
        noted = await actions.note(conn, actor_of(request), incident_id, body.text, now)
    return describe_incident(noted, now)


@router.put("/{incident_id}/report", dependencies=_MAY_WRITE)
async def write_report(request: Request, incident_id: UUID, body: ReportBody) -> dict[str, Any]:
    """Store what people write for the report: what happened, why, and what follows from it."""
    resources, now = resources_of(request), resources_of(request).clock.now()
    report = Report(body.summary, body.root_cause, body.follow_ups)
    async with resources.pool.connection() as conn, transaction(conn):
        seen = Seen(incident_id, body.version)
        changed = await actions.write_report(conn, actor_of(request), seen, report, now)
    return describe_incident(changed, now)


async def _act(request: Request, incident_id: UUID, body: ActBody, act: Act) -> dict[str, Any]:
    resources, now = resources_of(request), resources_of(request).clock.now()
    async with resources.pool.connection() as conn, transaction(conn):
        moved = await act(conn, actor_of(request), Seen(incident_id, body.version), body.note, now)
    resources.firing.forget()  # its alerts may have been taken in hand with it
    return describe_incident(moved, now)


def describe_incident(incident: Incident, now: datetime) -> dict[str, Any]:
    def moment(at: datetime | None) -> str | None:
        return None if at is None else format_instant(at)

    return {
        "id": str(incident.id),
        "number": incident.name,
        "title": incident.title,
        "severity": incident.severity,
        "state": incident.state,
        "possible": list(incident.possible),
        "version": incident.version,
        "response": incident.standing.judge_response(now),
        "due_at": format_instant(incident.due_at),
        "opened_at": format_instant(incident.opened_at),
        "opened_by": incident.opened_by,
        "acknowledged_at": moment(incident.acknowledged_at),
        "mitigated_at": moment(incident.mitigated_at),
        "resolved_at": moment(incident.resolved_at),
        "quiet_at": moment(incident.quiet_at),
        "assignee_id": incident.assignee_id and str(incident.assignee_id),
        "assignee_name": incident.assignee_name,
        "alert_count": incident.alerts,
        "firing_count": incident.open_alerts,
    }


def describe_figures(figures: IncidentFigures) -> dict[str, Any]:
    return {
        "open": figures.open,
        "opened": figures.opened,
        "acknowledged": figures.acknowledged,
        "mtta_seconds": round_seconds(figures.mtta_seconds),
        "mtta_mean_seconds": round_seconds(figures.mtta_mean_seconds),
        "resolved": figures.resolved,
        "mttr_seconds": round_seconds(figures.mttr_seconds),
        "mttr_mean_seconds": round_seconds(figures.mttr_mean_seconds),
        "responses": figures.responses,
        "responded_in_time_percent": figures.responded_in_time_percent,
    }


def describe_affected(found: Affected) -> dict[str, Any]:
    counts = {name: getattr(found, name) for name in ("messages", "delivered", "failed", "recipients")}
    return {
        "affected": counts
        | {
            "campaigns": [
                {
                    "campaign_id": str(one.id) if one.id.int else None,
                    "campaign_name": one.name,
                    "messages": one.messages,
                    "delivered": one.delivered,
                    "failed": one.failed,
                }
                for one in found.campaigns[:MOST_CAMPAIGNS]
            ]
        },
        "unknown": {f"affected.{name}": found.reason for name, value in counts.items() if value is None},
    }


def _describe_row(row: TimelineRow) -> dict[str, Any]:
    return {
        "at": format_instant(row.at),
        "kind": row.kind,
        "actor": row.actor,
        "actor_name": row.actor_name,
        "before": row.before,
        "after": row.after,
        "text": row.text,
    }


def _describe_alert(alert: LinkedAlert) -> dict[str, Any]:
    return {
        "episode_id": str(alert.episode_id),
        "name": alert.name,
        "subject": alert.subject,
        "subject_name": alert.subject_name,
        "severity": alert.severity,
        "value": alert.value,
        "peak": alert.peak,
        "threshold": alert.threshold,
        "fired_at": format_instant(alert.fired_at),
        "resolved_at": alert.resolved_at and format_instant(alert.resolved_at),
    }


def _describe_timer(timer: Timer) -> dict[str, Any]:
    return {"step": timer.position or None, "due_at": format_instant(timer.due_at)}
