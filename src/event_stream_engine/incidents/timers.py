"""The escalation at work: its timers are rows, so that a restart loses none and no two workers tell anybody twice.

Everything happens in the caller's transaction, the notices with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.incidents import timeline
from event_stream_engine.incidents.escalation import RESPONSE, find_lateness, plan
from event_stream_engine.incidents.incidents import Incident, load_incident
from event_stream_engine.incidents.notices import tell_opened, tell_step
from event_stream_engine.incidents.policy import Policy, Step, list_channels, load_policy, word_seconds
from event_stream_engine.incidents.timeline import Happening
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.notifications import outbox
from event_stream_engine.notifications.notice import Notice

SQL = load_queries(__package__)
ESCALATOR = Actor("engine:escalator")
MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class _Due:
    incident_id: UUID
    position: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class _Position:
    position: int


async def begin_round(conn: Connection, incident: Incident, policy: Policy, what: str, now: datetime) -> None:
    """Begin the escalation of a locked incident: tell by the routes and the steps that do not wait, plan the others."""
    await stop(conn, incident.id)
    due = plan(incident.standing, policy.steps)
    notice = tell_opened(incident, policy, what, now)
    await outbox.queue(conn, [notice])
    later = {}
    for position, at in due.items():
        if position == RESPONSE or at > now:
            later[position] = at
        else:
            await _tell(conn, incident, policy.steps[position - 1], notice)
    await _store(conn, incident.id, later)


async def replan(conn: Connection, incident: Incident, policy: Policy) -> None:
    """Give what has not happened yet in this round its new time; the incident is locked."""
    left = await SQL.clear_timers.many(conn, _Position, {"incident_id": incident.id})
    await _store(conn, incident.id, plan(incident.standing, policy.steps, {one.position for one in left}))


async def stop(conn: Connection, incident_id: UUID) -> None:
    """Tell nobody any more; the incident is locked."""
    await SQL.clear_timers.execute(conn, {"incident_id": incident_id})


async def escalate(conn: Connection, now: datetime) -> int:
    """Do what is due, and return how much it was. What was missed, because no worker ran, is done at once and says so."""
    due = await SQL.take_due_timers.many(conn, _Due, {"now": now, "limit": MOST_AT_ONCE})
    if due:
        policy = await load_policy(conn)
        for one in sorted(due, key=lambda one: (one.due_at, one.position)):
            await _fire(conn, await load_incident(conn, one.incident_id), one, policy, now)
    return len(due)


async def _fire(conn: Connection, incident: Incident, due: _Due, policy: Policy, now: datetime) -> None:
    late = find_lateness(due.due_at, now)
    if due.position == RESPONSE:
        text = f"Nobody acknowledged within {word_seconds(round((due.due_at - incident.clock_at).total_seconds()))}."
        await timeline.add(
            conn, ESCALATOR, now, [Happening(incident.id, incident.version, "response_missed", text)]
        )
    elif due.position <= len(policy.steps):  # else the path has become shorter meanwhile
        step = policy.steps[due.position - 1]
        notice = tell_step(incident, due.position, step.name, late, now)
        await _tell(conn, incident, step, notice, late)


async def _tell(
    conn: Connection, incident: Incident, step: Step, notice: Notice, late: timedelta | None = None
) -> None:
    now, usable = notice.at, {channel.id for channel in await list_channels(conn) if channel.is_enabled}
    told = [contact.name for contact in step.contacts if usable.intersection(contact.channel_ids)]
    channel_ids = [one for one in step.channel_ids if one in usable]
    await outbox.queue(conn, [notice], channel_ids)
    text = _word_told(step, told, len(channel_ids))
    if late is not None:
        text += f" Late by {word_seconds(round(late.total_seconds()))}: no worker was running."
    await timeline.add(conn, ESCALATOR, now, [Happening(incident.id, incident.version, "escalated", text)])
    after = {"step": step.name, "contacts": len(told), "channels": len(channel_ids)}
    await record(conn, ESCALATOR, Entry(now, "incident.escalated", f"incident:{incident.id}", after=after))


def _word_told(step: Step, told: Sequence[str], channels: int) -> str:
    if told:
        return f"{step.name}: told {', '.join(told)} by {channels} channel{'' if channels == 1 else 's'}."
    if step.contacts:
        return f"{step.name}: nobody was told, because the channels of all contacts are switched off."
    return (
        f"{step.name}: nobody was told, because the step has no contacts. Name them at /settings/escalation."
    )


async def _store(conn: Connection, incident_id: UUID, due: Mapping[int, datetime]) -> None:
    columns = {"incident_id": incident_id, "position": list(due), "due_at": list(due.values())}
    await SQL.plan_timers.execute(conn, columns)
