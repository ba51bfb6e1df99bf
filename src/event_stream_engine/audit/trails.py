"""What the audit trail says about one thing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """One thing done; `actor_name` is None for the engine itself."""

    at: datetime
    action: str
    actor: str
    actor_name: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


async def list_of_subject(conn: Connection, subject: str, most: int) -> list[TrailEntry]:
    """Return the entries about one thing, newest first."""
    return await SQL.list_of_subject.many(conn, TrailEntry, {"subject": subject, "most": most})
