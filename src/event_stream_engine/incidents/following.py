"""Alerts make incidents: a firing one opens one or joins the open one, and when all are over, that is said.

An incident that nobody has touched ends by itself with its last alert (decision 0018): to wake more people for what is over
helps nobody. Once a person has done anything about it, only a person ends it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from event_stream_engine.alerting.state import Transition
from event_stream_engine.audit.entries import Actor
from event_stream_engine.incidents import actions, lifecycle, timeline
from event_stream_engine.incidents.actions import Opening
from event_stream_engine.incidents.incidents import Incident, IncidentId, load_incident
from event_stream_engine.incidents.lifecycle import is_more_severe
from event_stream_engine.incidents.timeline import Happening
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
ENGINE = Actor("engine:evaluator")
GROUPING_LABEL = "incident"
_ALARMED = ("firing", "acknowledged")


@dataclass(frozen=True, slots=True)
class _Alert:
    name: str
    subject_name: str
    value: float | None
    threshold: float


async def follow(conn: Connection, transitions: Sequence[Transition], now: datetime) -> None:
    """Bring incidents up to what alerts have become, in the transaction of the alerts."""
    ended = [one for one in transitions if one.before in _ALARMED and one.after not in _ALARMED]
    if ended:
        await _end(conn, [one.episode_id for one in ended], now)
    fired = [one for one in transitions if one.after == "firing" and one.before not in _ALARMED]
    for grouping, group in groupby(sorted(fired, key=find_grouping), find_grouping):
        await _join(conn, grouping, list(group), now)


def find_grouping(transition: Transition) -> str:
    """Return what alerts must share to share an incident: the label `incident` if their rules have it, else the rule."""
    return transition.labels.get(GROUPING_LABEL) or f"rule:{transition.rule_id}"


async def _join(conn: Connection, grouping: str, fired: Sequence[Transition], now: datetime) -> None:
    asked = {one.opens_incident for one in fired}
    severity = next((one for one in lifecycle.SEVERITIES if one in asked), None)
    incident = await actions.find_open(conn, grouping)
    is_new = incident is None
    if incident is None:
        if severity is None:
            return
        first = next(one for one in fired if one.opens_incident == severity)
        opening = Opening(first.name, severity, grouping=grouping, labels=first.labels)
        incident = await actions.add_incident(conn, ENGINE, opening, now)
    columns: dict[str, Any] = {
        name: [getattr(one, name) for one in fired]
        for name in ("episode_id", "rule_id", "subject", "name", "severity", "value", "threshold")
    }
    columns |= {"incident_id": incident.id, "fired_at": [one.at for one in fired]}
    linked = await SQL.add_alerts.many(conn, _Alert, columns)
    await _note(conn, incident, "alert_fired", linked, now)
    await SQL.note_quiet.execute(conn, {"id": incident.id, "quiet_at": None})
    incident = await load_incident(conn, incident.id)
    if is_new:
        await actions.announce(conn, incident, "opened", now)
    elif severity is not None and is_more_severe(severity, incident.severity):
        await actions.regrade(
            conn, ENGINE, incident, severity, note="An alert that joined asks for it.", now=now
        )


async def _end(conn: Connection, episode_ids: Sequence[UUID], now: datetime) -> None:
    asked = {"episode_id": list(episode_ids)}
    for one in await SQL.list_incidents_of_alerts.many(conn, IncidentId, asked):
        incident = await actions.lock(conn, one.id)
        over = await SQL.end_alerts.many(conn, _Alert, asked | {"incident_id": one.id, "now": now})
        await _note(conn, incident, "alert_resolved", over, now)
        incident = await load_incident(conn, one.id)
        if not incident.open_alerts and incident.resolved_at is None:
            await _calm(conn, incident, now)


async def _calm(conn: Connection, incident: Incident, now: datetime) -> None:
    await SQL.note_quiet.execute(conn, {"id": incident.id, "quiet_at": now})
    has_person = await SQL.has_person.value(conn, {"incident_id": incident.id})
    text = "" if not has_person else "Resolve it if nothing is left to do."
    row = Happening(incident.id, incident.version, "alerts_over", text)
    await timeline.add(conn, ENGINE, now, [row])
    if not has_person:
        standing = lifecycle.resolve(incident.standing, now, by_itself=True)
        text = "All of its alerts are over and nobody has touched it, so it ends by itself."
        await actions.end(conn, ENGINE, incident, standing, text)


async def _note(
    conn: Connection, incident: Incident, kind: str, alerts: Sequence[_Alert], now: datetime
) -> None:
    """Add one row for each rule, however many subjects it has."""
    rows = []
    for name, group in groupby(sorted(alerts, key=lambda one: one.name), lambda one: one.name):
        subjects = list(group)
        first = subjects[0]
        place = "" if first.subject_name == "all" else f", {first.subject_name}"
        value = "" if first.value is None else f": {first.value:g}, threshold {first.threshold:g}"
        more = "" if len(subjects) == 1 else f" and {len(subjects) - 1} more"
        text = f"{name}{place}{more}" + (value if kind == "alert_fired" else "") + "."
        rows.append(Happening(incident.id, incident.version, kind, text))
    await timeline.add(conn, ENGINE, now, rows)
