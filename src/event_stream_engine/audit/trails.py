"""What the audit trail says about one thing."""

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class _ActorName:
    actor: str
    name: str


async def list_actor_names(conn: Connection, actors: Sequence[str]) -> dict[str, str]:
    """Return what operators and keys are called; the engine's own parts and what is gone are left out."""
    rows = await SQL.list_actor_names.many(conn, _ActorName, {"actors": list(actors)})
    return {row.actor: row.name for row in rows}
