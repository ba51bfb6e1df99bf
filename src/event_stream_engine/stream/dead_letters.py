"""Events that could not be projected, kept with their reason until they can."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    id: int
    received_at: datetime
    event_type: str
    reason: str
    attempts: int


async def bury_faulty_events(conn: Connection) -> None:
    """Turn the rows of the temporary table `faults` into dead letters."""
    await SQL.bury_faulty_events.execute(conn)


async def bury_event(conn: Connection, reason: str) -> UUID:
    """Turn the one event in `log_batch` into a dead letter; return its key."""
    key: UUID = await SQL.bury_event.value(conn, {"reason": reason})
    return key


async def read_batch(conn: Connection, ids: Sequence[int]) -> None:
    """Fill `log_batch` with the events of these letters, as far as they are unresolved."""
    await SQL.read_dead_letters.execute(conn, {"ids": list(ids)})


async def resolve_batch(conn: Connection) -> None:
    """Mark the letters of the batch as resolved, but those that died again."""
    await SQL.resolve_batch.execute(conn)


async def list_unresolved(conn: Connection) -> list[DeadLetter]:
    """Return all unresolved dead letters, oldest first."""
    return await SQL.list_dead_letters.many(conn, DeadLetter)
