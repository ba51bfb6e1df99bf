"""What the last whole verification of the chain found, for those who watch over it."""

from dataclasses import dataclass
from datetime import datetime

from event_stream_engine.audit.verification import Verdict
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class NotedVerdict:
    """`faults` counts the signs of damage, `first_fault` tells of the first of them."""

    verified_at: datetime
    took_seconds: float
    rows: int
    faults: int
    first_fault: str | None


async def note_verdict(conn: Connection, verdict: Verdict, now: datetime, took_seconds: float) -> None:
    """Put a verdict in the place of the one before."""
    await SQL.note_verdict.execute(
        conn,
        {
            "now": now,
            "took_seconds": took_seconds,
            "rows": verdict.rows,
            "faults": verdict.fault_count,
            "first_fault": verdict.faults[0].text if verdict.faults else None,
        },
    )


async def find_verdict(conn: Connection) -> NotedVerdict | None:
    return await SQL.find_verdict.maybe(conn, NotedVerdict)
