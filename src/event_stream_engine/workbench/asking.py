"""A run with its entry in the audit trail: who asked what, and what became of it."""

import re
import time
from collections.abc import Mapping
from typing import Any

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Pool, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import EngineError
from event_stream_engine.workbench.readers import Readers
from event_stream_engine.workbench.running import ON_SCREEN, Limits, Result, run

_LONGEST_TEXT = 4_000
# What may be a person's number, which the trail never holds: six digits or more, but no date.
_DIGITS = re.compile(r"(?<![\d-])(?!\d{4}-\d\d-\d\d(?!\d))\d(?:[\s().-]{0,2}\d){5,}")


async def ask(
    readers: Readers,
    pool: Pool,
    clock: Clock,
    actor: Actor,
    sql: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    sees_numbers: bool,
    subject: str = "query:unsaved",
    limits: Limits = ON_SCREEN,
) -> Result:
    """Run a query for somebody and enter it, whatever becomes of it. `subject`: query:<id> of a saved one.

    Errors: as `run`.
    """
    began = time.perf_counter()
    after: dict[str, Any] = {"outcome": "abandoned"}  # nobody waits for it any more
    try:
        result = await run(readers, sql, parameters, sees_numbers=sees_numbers, limits=limits)
        after = {
            "outcome": "answered",
            "rows": len(result.rows),
            "truncated": result.truncated,
            "cost": round(result.cost),
        }
    except EngineError:
        # Not the reason: PostgreSQL's words may quote a row.
        after = {"outcome": "refused"}
        raise
    finally:
        after |= {
            "sql": write_for_trail(sql),
            "sees_numbers": sees_numbers,
            "duration_ms": round((time.perf_counter() - began) * 1000, 1),
        }
        async with pool.connection() as conn, transaction(conn):
            await record(conn, actor, Entry(clock.now(), "query.run", subject, after=after))
    return result


def write_for_trail(sql: str) -> str:
    """Return a query's text as the audit trail tells it, without what may be a number."""
    return _DIGITS.sub("•••", sql[:_LONGEST_TEXT])
