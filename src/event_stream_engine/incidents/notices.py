"""What people are told of an incident."""

from datetime import datetime, timedelta
from uuid import uuid5

from event_stream_engine.incidents.incidents import Incident
from event_stream_engine.incidents.policy import Policy, word_seconds
from event_stream_engine.notifications.notice import Notice


def tell_opened(incident: Incident, policy: Policy, what: str, now: datetime) -> Notice:
    """Tell that a round of the escalation begins. `what`: opened, reopened, is now critical."""
    level = policy.levels[incident.severity]
    text = f"{level.meaning}. Acknowledge it within {word_seconds(level.response_seconds)}."
    title = f"{incident.name} {what}: {incident.title}"
    return _make(incident, "incident.opened", title, text, step="opened", now=now)


def tell_step(incident: Incident, position: int, step: str, late: timedelta | None, now: datetime) -> Notice:
    """Tell whoever is next that nobody has acknowledged."""
    waited = word_seconds(round((now - incident.clock_at).total_seconds()))
    text = f"Nobody has acknowledged it for {waited}, so it comes to you as {step}."
    if late is not None:
        text += (
            f" This message is late by {word_seconds(round(late.total_seconds()))}: no worker was running."
        )
    title = f"{incident.name} escalated to {step}: {incident.title}"
    return _make(incident, "incident.escalated", title, text, step=f"step {position}", now=now)


def tell_resolved(incident: Incident, text: str, now: datetime) -> Notice:
    """Tell whoever was told of it that it is over."""
    title = f"{incident.name} resolved: {incident.title}"
    return _make(incident, "incident.resolved", title, text, step="resolved", now=now)


def _make(incident: Incident, kind: str, title: str, text: str, *, step: str, now: datetime) -> Notice:
    facts: list[tuple[str, str]] = [("Severity", incident.severity), ("State", incident.state)]
    if incident.standing.is_waiting:
        facts.append(("Answer until", f"{incident.due_at:%Y-%m-%d %H:%M} UTC"))
    if incident.assignee_name:
        facts.append(("Assigned to", incident.assignee_name))
    if incident.alerts:
        facts.append(("Alerts", f"{incident.open_alerts} of {incident.alerts} still firing"))
    return Notice(
        key=uuid5(incident.id, f"{incident.round} {step}"),
        kind=kind,
        severity=incident.severity,
        labels={**incident.labels, "incident": incident.name},
        group=f"incident {incident.id}",
        episode_id=incident.id,
        title=title,
        text=text,
        facts=tuple(facts),
        path=f"/incidents/{incident.id}",
        at=now,
    )
