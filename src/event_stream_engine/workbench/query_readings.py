"""The numbers that alert rules ask saved queries for: read once a minute, by one worker each, and kept for the evaluator.

The evaluator only looks at what was read, so that a slow query holds up no alert.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Invalid

SQL = load_queries(__package__)
EVERY = timedelta(minutes=1)
CLAIM = timedelta(minutes=3)  # well above the longest query


@dataclass(frozen=True, slots=True)
class Claim:
    """A query whose number is due, and until when it is this worker's."""

    query_id: UUID
    until: datetime


async def claim_reading(conn: Connection, now: datetime) -> Claim | None:
    """Take the query that has waited longest, if one is due."""
    until = now + CLAIM
    due = {"read_before": now - EVERY, "now": now, "claimed_until": until}
    query_id: UUID | None = await SQL.claim_query_reading.value(conn, due)
    return None if query_id is None else Claim(query_id, until)


async def record_reading(
    conn: Connection, claim: Claim, value: float | None, reason: str, now: datetime
) -> None:
    """Keep a number, or the reason why there is none; nothing if the claim has run out meanwhile."""
    given = {
        "id": claim.query_id,
        "claimed_until": claim.until,
        "value": value,
        "reason": reason,
        "now": now,
    }
    await SQL.record_query_reading.execute(conn, given)


async def forget_readings(conn: Connection) -> None:
    """Drop the numbers that no enabled rule asks for any more."""
    await SQL.forget_query_readings.execute(conn)


def read_number(columns: Sequence[Any], rows: Sequence[Sequence[Any]]) -> float:
    """Return the number a result consists of. Errors: Invalid saying what it is instead."""
    if len(columns) != 1 or len(rows) != 1:
        raise Invalid(
            f"A rule needs one row with one column. This query answers with {len(rows)} row{'s' * (len(rows) != 1)}"
            f" and {len(columns)} column{'s' * (len(columns) != 1)}."
        )
    value = rows[0][0]
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Invalid(
            "A rule needs a number. This query answers with "
            + ("no value." if value is None else "something else.")
        )
    number = float(value)
    if not math.isfinite(number):
        raise Invalid("A rule needs a number. This query answers with one that is infinite or none at all.")
    return number
