"""What becomes of people after they subscribe: messages, answers, and how far they come."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.errors import QueryCanceled

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
LONGEST_MS = 5000
STEPS = ("subscribed", "messaged", "delivered", "read", "replied")


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """The people of one consent state. `messaged` … `replied`: how many of them have at least one such message."""

    consent_state: str
    users: int
    avg_messages_received: float
    avg_responses: float
    engagement_rate: float | None
    messaged: int
    delivered: int
    read: int
    replied: int


@dataclass(frozen=True, slots=True)
class Funnel:
    """`steps`: users at each step of the journey, in its order."""

    rows: Sequence[FunnelRow]
    steps: dict[str, int]


async def load_funnel(conn: Connection, window: Window) -> Funnel:
    """Count the people who were made users in a window, from the rows themselves; in a transaction that ends with it.

    Errors: Unavailable when there are too many of them to be counted in 5 s.
    """
    await SQL.bound_statement.execute(conn, {"milliseconds": str(LONGEST_MS)})
    try:
        rows = await SQL.list_funnel.many(conn, FunnelRow, {"since": window.since, "until": window.until})
    except QueryCanceled:
        raise Unavailable(
            f"Counting took longer than {LONGEST_MS // 1000} s and was given up: it looks at each person who was made a"
            " user between since and until. Ask for a shorter period."
        ) from None
    steps = {step: sum(getattr(row, step) for row in rows) for step in STEPS[1:]}
    return Funnel(
        sorted(rows, key=lambda row: row.consent_state),
        {"subscribed": sum(row.users for row in rows)} | steps,
    )
