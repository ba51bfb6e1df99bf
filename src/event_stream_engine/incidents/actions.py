"""What people do about an incident, and the engine in their stead: each change is a row of its timeline, and audited.

A change says which version of the incident it was decided on; when somebody was faster, it is refused with what they did.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from uuid import UUID, uuid4

import orjson

from event_stream_engine.alerting import episodes
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.incidents import lifecycle, timeline, timers
from event_stream_engine.incidents.incidents import (
    Incident,
    IncidentId,
    list_alerts,
    list_assignees,
    load_incident,
)
from event_stream_engine.incidents.lifecycle import SEVERITIES, Severity, Standing, is_more_severe
from event_stream_engine.incidents.notices import tell_resolved
from event_stream_engine.incidents.policy import load_policy
from event_stream_engine.incidents.timeline import Happening
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound
from event_stream_engine.notifications import outbox

SQL = load_queries(__package__)
LONGEST_TITLE, LONGEST_TEXT = 200, 20_000
_REPORT_PARTS = {"summary": "summary", "root_cause": "root cause", "follow_ups": "follow-ups"}


@dataclass(frozen=True, slots=True)
class Opening:
    """What an incident begins with; `grouping` and `labels` are those of the alert that opens it."""

    title: str
    severity: Severity
    summary: str = ""
    grouping: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """Which incident a change is for, and which version of it was seen by whoever decides."""

    incident_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Report:
    """What people write for the report of an incident."""

    summary: str
    root_cause: str
    follow_ups: str


@dataclass(frozen=True, slots=True)
class Told:
    """What the timeline tells of a change; `kind`: one of timeline.KINDS."""

    kind: str
    note: str
    now: datetime


# What is done with nothing more than words.
Act = Callable[[Connection, Actor, Seen, str, datetime], Awaitable[Incident]]


async def open_incident(conn: Connection, actor: Actor, opening: Opening, now: datetime) -> Incident:
    """Open an incident, start its clock and tell people. Errors: Invalid naming the field."""
    return await announce(conn, await add_incident(conn, actor, opening, now), "opened", now)


async def add_incident(conn: Connection, actor: Actor, opening: Opening, now: datetime) -> Incident:
    """Make an incident that nobody is told of yet. Errors: Invalid naming the field; Conflict with an open one."""
    _check_severity(opening.severity)
    if not 1 <= len(opening.title.strip()) <= LONGEST_TITLE:
        raise Invalid(f"A title of 1 to {LONGEST_TITLE} characters is needed.", "title")
    _check_text(opening.summary, "summary")
    policy = await load_policy(conn)
    standing = lifecycle.begin(opening.severity, policy.levels[opening.severity].response, now)
    incident_id = uuid4()
    row = asdict(opening) | {
        "id": incident_id,
        "title": opening.title.strip(),
        "labels": orjson.dumps(dict(opening.labels)).decode(),
        "now": now,
        "opened_by": actor.name,
        "due_at": standing.due_at,
    }
    if await SQL.add_incident.value(conn, row) is None:
        raise Conflict("An incident of this grouping is open already.")
    happening = Happening(incident_id, 1, "opened", opening.summary, after=opening.severity)
    await timeline.add(conn, actor, now, [happening])
    after = {"severity": opening.severity, "grouping": opening.grouping}
    await record(conn, actor, Entry(now, "incident.opened", _subject(incident_id), after=after))
    return await load_incident(conn, incident_id)


async def announce(conn: Connection, incident: Incident, what: str, now: datetime) -> Incident:
    """Tell people of an incident that waits for somebody, and begin its escalation."""
    await timers.begin_round(conn, incident, await load_policy(conn), what, now)
    return incident


async def acknowledge(conn: Connection, actor: Actor, seen: Seen, note: str, now: datetime) -> Incident:
    """Take it and its alerts in hand; nobody else is told any more. Errors: NotFound, Conflict, Invalid."""
    await _take_alerts(conn, actor, seen.incident_id, now)
    incident = await lock(conn, seen.incident_id, seen.version)
    standing = lifecycle.acknowledge(incident.standing, now)
    return await enter(conn, actor, incident, standing, Told("acknowledged", note, now))


async def mitigate(conn: Connection, actor: Actor, seen: Seen, note: str, now: datetime) -> Incident:
    """Note that it does no more harm. Errors: NotFound, Conflict, Invalid."""
    await _take_alerts(conn, actor, seen.incident_id, now)
    incident = await lock(conn, seen.incident_id, seen.version)
    standing = lifecycle.mitigate(incident.standing, now)
    return await enter(conn, actor, incident, standing, Told("mitigated", note, now))


async def resolve(conn: Connection, actor: Actor, seen: Seen, note: str, now: datetime) -> Incident:
    """End it; whoever was told hears of it. Errors: NotFound, Conflict, Invalid."""
    await _take_alerts(conn, actor, seen.incident_id, now)
    incident = await lock(conn, seen.incident_id, seen.version)
    return await end(conn, actor, incident, lifecycle.resolve(incident.standing, now), note)


async def reopen(conn: Connection, actor: Actor, seen: Seen, note: str, now: datetime) -> Incident:
    """Take it up again: the clock and the escalation begin anew. Errors: NotFound, Conflict, Invalid."""
    incident = await lock(conn, seen.incident_id, seen.version)
    other = None if incident.grouping is None else await find_open(conn, incident.grouping)
    if other is not None and other.id != incident.id:
        raise Conflict(f"{other.name} about the same alerts is open. Go on there.")
    response = (await load_policy(conn)).levels[incident.severity].response
    standing = lifecycle.reopen(incident.standing, response, now)
    moved = await enter(conn, actor, incident, standing, Told("reopened", note, now))
    return await announce(conn, moved, "reopened", now)


async def change_severity(
    conn: Connection,
    actor: Actor,
    seen: Seen,
    severity: Severity,
    *,
    note: str,
    now: datetime,
) -> Incident:
    """Give it another severity; a higher one begins clock and escalation anew. Errors: NotFound, Conflict, Invalid."""
    _check_severity(severity)
    incident = await lock(conn, seen.incident_id, seen.version)
    if severity == incident.severity:
        return incident
    return await regrade(conn, actor, incident, severity, note=note, now=now)


async def assign(
    conn: Connection,
    actor: Actor,
    seen: Seen,
    assignee_id: UUID | None,
    now: datetime,
) -> Incident:
    """Give it into somebody's hands, or out of them. Errors: NotFound, Conflict, Invalid."""
    incident = await lock(conn, seen.incident_id, seen.version)
    if assignee_id == incident.assignee_id:
        return incident
    if assignee_id is not None and assignee_id not in {one.id for one in await list_assignees(conn)}:
        raise Invalid("There is no such operator, or they may not change anything.", "assignee_id")
    await SQL.assign_incident.execute(conn, {"id": incident.id, "assignee_id": assignee_id})
    moved = await load_incident(conn, incident.id)
    row = Happening(
        moved.id, moved.version, "assigned", before=incident.assignee_name, after=moved.assignee_name
    )
    await timeline.add(conn, actor, now, [row])
    before, after = ({"assignee_id": one.assignee_id and str(one.assignee_id)} for one in (incident, moved))
    await record(conn, actor, Entry(now, "incident.assigned", _subject(moved.id), before, after))
    return moved


async def note(conn: Connection, actor: Actor, incident_id: UUID, text: str, now: datetime) -> Incident:
    """Add a note; it takes nothing back that others do at the same time. Errors: NotFound, Invalid."""
    if not text.strip():
        raise Invalid("The note is empty.", "text")
    _check_text(text, "text")
    incident = await lock(conn, incident_id)
    await timeline.add(conn, actor, now, [Happening(incident.id, incident.version, "noted", text.strip())])
    after = {"characters": len(text.strip())}  # words may name people
    await record(conn, actor, Entry(now, "incident.noted", _subject(incident.id), after=after))
    return incident


async def write_report(conn: Connection, actor: Actor, seen: Seen, report: Report, now: datetime) -> Incident:
    """Store what people write for the report. Errors: NotFound, Conflict, Invalid."""
    wanted = {name: text.strip() for name, text in asdict(report).items()}
    for name, text in wanted.items():
        _check_text(text, name)
    incident = await lock(conn, seen.incident_id, seen.version)
    changed = [name for name, text in wanted.items() if getattr(incident, name) != text]
    if not changed:
        return incident
    await SQL.write_report.execute(conn, {"id": incident.id, **wanted})
    words = ", ".join(_REPORT_PARTS[name] for name in changed)
    row = Happening(incident.id, incident.version + 1, "report_changed", f"{words[:1].upper()}{words[1:]}.")
    await timeline.add(conn, actor, now, [row])
    entry = Entry(now, "incident.report_changed", _subject(incident.id), after={"changed": changed})
    await record(conn, actor, entry)
    return await load_incident(conn, incident.id)


async def find_open(conn: Connection, grouping: str) -> Incident | None:
    """Lock and return the open incident of a grouping."""
    found = await SQL.lock_open.value(conn, {"grouping": grouping})
    return None if found is None else await load_incident(conn, found)


async def lock(conn: Connection, incident_id: UUID, version: int | None = None) -> Incident:
    """Lock an incident for a change. Errors: NotFound; Conflict when it is not of this version any more."""
    if await SQL.lock_incident.maybe(conn, IncidentId, {"id": incident_id}) is None:
        raise NotFound("There is no such incident.")
    incident = await load_incident(conn, incident_id)
    if version is not None and version != incident.version:
        rows = await timeline.list_rows(conn, incident_id, version)
        changes = "; ".join(f"{row.headline} ({row.who}, {row.at:%H:%M} UTC)" for row in rows)
        raise Conflict(
            f"{incident.name} has changed since you looked: {changes or 'another version'}."
            " Look at it again, then decide."
        )
    return incident


async def enter(
    conn: Connection, actor: Actor, incident: Incident, standing: Standing, told: Told
) -> Incident:
    """Bring a locked incident to a standing, with everything that tells of it."""
    _check_text(told.note, "note")
    await SQL.move_incident.execute(conn, {"id": incident.id, **asdict(standing)})
    moved = await load_incident(conn, incident.id)
    name = "severity" if told.kind == "severity_changed" else "state"
    before, after = getattr(incident, name), getattr(moved, name)
    row = Happening(moved.id, moved.version, told.kind, told.note.strip(), before, after)
    await timeline.add(conn, actor, told.now, [row])
    entry = Entry(told.now, f"incident.{told.kind}", _subject(moved.id), {name: before}, {name: after})
    await record(conn, actor, entry)
    if not moved.standing.is_waiting:
        await timers.stop(conn, moved.id)
    return moved


async def end(conn: Connection, actor: Actor, incident: Incident, standing: Standing, note: str) -> Incident:
    """Resolve a locked incident and tell whoever was told of it."""
    assert standing.resolved_at is not None  # noqa: S101 - narrows the type
    now = standing.resolved_at
    ended = await enter(conn, actor, incident, standing, Told("resolved", note, now))
    await outbox.queue(conn, [tell_resolved(ended, note.strip() or "It is over.", now)])
    return ended


async def regrade(
    conn: Connection, actor: Actor, incident: Incident, severity: Severity, *, note: str, now: datetime
) -> Incident:
    """Give a locked incident another severity, and its escalation other times."""
    policy = await load_policy(conn)
    standing = lifecycle.change_severity(incident.standing, severity, policy.levels[severity].response, now)
    moved = await enter(conn, actor, incident, standing, Told("severity_changed", note, now))
    if moved.standing.is_waiting:
        if is_more_severe(severity, incident.severity):
            return await announce(conn, moved, f"is now {severity}", now)
        await timers.replan(conn, moved, policy)
    return moved


async def _take_alerts(conn: Connection, actor: Actor, incident_id: UUID, now: datetime) -> None:
    """Acknowledge what fires. Before the incident is locked: the evaluator, too, takes its tick first and incidents after."""
    for alert in await list_alerts(conn, incident_id):
        if alert.resolved_at is None:
            with suppress(NotFound, Conflict):  # it has ended, or been cleared away
                await episodes.acknowledge(conn, actor, str(alert.episode_id), now)


def _check_severity(severity: str) -> None:
    if severity not in SEVERITIES:
        raise Invalid(f"{severity!r} is no severity; use one of {', '.join(SEVERITIES)}.", "severity")


def _check_text(text: str, name: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise Invalid(f"At most {LONGEST_TEXT:,} characters are possible.", name)


def _subject(incident_id: UUID) -> str:
    return f"incident:{incident_id}"
