"""Incidents as they are stored: reading one, and lists of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from event_stream_engine.incidents.lifecycle import Severity, Standing, State
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import NotFound

SQL = load_queries(__package__)
_NAME = re.compile(r"(?:INC-)?0*([1-9][0-9]{0,17})\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Incident:
    """`version` is raised by each change that two people could make against each other; see also lifecycle.Standing.

    `grouping`: alerts with the same one share an open incident; None: opened by hand. `quiet_at`: all alerts are over.
    """

    id: UUID
    number: int
    title: str
    severity: Severity
    state: State
    version: int
    round: int
    grouping: str | None
    labels: Mapping[str, str]
    opened_at: datetime
    opened_by: str
    clock_at: datetime
    due_at: datetime
    responded_at: datetime | None
    acknowledged_at: datetime | None
    mitigated_at: datetime | None
    resolved_at: datetime | None
    quiet_at: datetime | None
    assignee_id: UUID | None
    assignee_name: str | None
    summary: str
    root_cause: str
    follow_ups: str
    alerts: int
    open_alerts: int

    @property
    def name(self) -> str:
        return name_incident(self.number)

    @property
    def standing(self) -> Standing:
        return Standing(**{field.name: getattr(self, field.name) for field in fields(Standing)})

    @property
    def possible(self) -> Sequence[str]:
        """What may be asked for now."""
        return self.standing.possible

    @property
    def response_seconds(self) -> int:
        """Return the response time that holds for its clock, whatever the policy says by now."""
        return round((self.due_at - self.clock_at).total_seconds())

    @property
    def acknowledge_seconds(self) -> float | None:
        """Return how long nobody had it in hand, the first time."""
        return None if self.responded_at is None else (self.responded_at - self.opened_at).total_seconds()

    @property
    def resolve_seconds(self) -> float | None:
        """Return how long it lasted."""
        return None if self.resolved_at is None else (self.resolved_at - self.opened_at).total_seconds()


@dataclass(frozen=True, slots=True)
class LinkedAlert:
    """An alert of an incident. What follows `resolved_at` is None once the alert itself has been cleared away."""

    episode_id: UUID
    rule_id: UUID
    subject: str
    subject_name: str
    name: str
    severity: str
    metric: str
    comparison: str
    value: float | None
    threshold: float
    window_seconds: int
    fired_at: datetime
    resolved_at: datetime | None
    number: int | None
    peak: float | None

    @property
    def scope(self) -> str:
        return self.subject.partition(":")[0]


@dataclass(frozen=True, slots=True)
class IncidentOfAlert:
    id: UUID
    number: int
    title: str
    state: State

    @property
    def name(self) -> str:
        return name_incident(self.number)


@dataclass(frozen=True, slots=True)
class Timer:
    """What is due when. Position 0 is the end of the response time, others are steps of the policy."""

    position: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Assignee:
    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class IncidentId:
    id: UUID


def name_incident(number: int) -> str:
    """Return a number as people say it: `INC-0001`."""
    return f"INC-{number:04d}"


async def load_incident(conn: Connection, incident_id: UUID) -> Incident:
    """Return an incident. Errors: NotFound."""
    found = await SQL.find_incident.maybe(conn, Incident, {"id": incident_id})
    if found is None:
        raise NotFound("There is no such incident.")
    return found


async def load_by_name(conn: Connection, name: str) -> Incident:
    """Return an incident by its number, like INC-0007 or 7. Errors: NotFound."""
    match = _NAME.match(name.strip())
    found = await SQL.find_incident_id.value(conn, {"number": int(match[1])}) if match else None
    if found is None:
        raise NotFound(f"There is no incident {name!r}. `ese incidents list` lists them.")
    return await load_incident(conn, found)


async def list_incidents(
    conn: Connection,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
    states: Sequence[str] | None = None,
    severities: Sequence[str] | None = None,
) -> list[Incident]:
    """Return incidents, newest first, from behind a place (opened_at, id) on."""
    at, incident_id = before or (None, None)
    asked = {
        "limit": limit,
        "before_at": at,
        "before_id": incident_id,
        "states": states and list(states),
        "severities": severities and list(severities),
    }
    return await SQL.list_incidents.many(conn, Incident, asked)


async def list_alerts(conn: Connection, incident_id: UUID) -> list[LinkedAlert]:
    """Return the alerts of an incident in the order in which they fired."""
    return await SQL.list_alerts.many(conn, LinkedAlert, {"incident_id": incident_id})


async def list_of_alert(conn: Connection, episode_id: UUID) -> list[IncidentOfAlert]:
    """Return the incidents that an alert opened or joined, the newest first."""
    return await SQL.list_names_of_alert.many(conn, IncidentOfAlert, {"episode_id": episode_id})


async def list_timers(conn: Connection, incident_id: UUID) -> list[Timer]:
    """Return what happens next if nobody acknowledges."""
    return await SQL.list_timers.many(conn, Timer, {"incident_id": incident_id})


async def list_assignees(conn: Connection) -> list[Assignee]:
    """Return who can have an incident in hand."""
    return await SQL.list_possible_assignees.many(conn, Assignee)
