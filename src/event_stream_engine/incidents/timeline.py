"""What happened in an incident, in order. Rows are only ever added."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from event_stream_engine.audit.entries import Actor
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
# kind: how people read it
KINDS = {
    "opened": "Opened",
    "alert_fired": "Alert",
    "alert_resolved": "Alert over",
    "alerts_over": "All alerts are over",
    "acknowledged": "Acknowledged",
    "assigned": "Assigned",
    "noted": "Note",
    "mitigated": "Mitigated",
    "resolved": "Resolved",
    "reopened": "Reopened",
    "severity_changed": "Severity",
    "report_changed": "Report edited",
    "escalated": "Escalated",
    "response_missed": "Response time missed",
}


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to be added. `before` and `after`: from what to what; `version`: the incident's after it."""

    incident_id: UUID
    version: int
    kind: str  # one of KINDS
    text: str = ""
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """`actor_name` is None for the engine."""

    id: int
    version: int
    at: datetime
    actor: str
    actor_name: str | None
    kind: str
    before: str | None
    after: str | None
    text: str

    @property
    def who(self) -> str:
        return self.actor_name or "the engine"

    @property
    def headline(self) -> str:
        """Return what happened without the text: `Severity: high → critical`."""
        name = KINDS[self.kind]
        if self.kind == "severity_changed":
            return f"{name}: {self.before} → {self.after}"
        if self.kind == "assigned":
            return f"{name} to {self.after}" if self.after else f"Taken from {self.before}"
        return name


async def add(conn: Connection, actor: Actor, now: datetime, happenings: Sequence[Happening]) -> None:
    if happenings:
        columns = {
            name: [getattr(one, name) for one in happenings]
            for name in ("incident_id", "version", "kind", "text", "before", "after")
        }
        await SQL.add_happenings.execute(conn, columns | {"actor": actor.name, "now": now})


async def list_rows(conn: Connection, incident_id: UUID, since_version: int = 0) -> list[TimelineRow]:
    """Return the rows, or those after a version of the incident, oldest first."""
    return await SQL.list_happenings.many(
        conn, TimelineRow, {"incident_id": incident_id, "version": since_version}
    )
