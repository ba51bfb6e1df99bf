"""A campaign's messages per second, exact over all workers: what a second has left is kept under one row's lock.

Tokens of a second come over its first three quarters, so that messages are spread over it; none is given near its end,
because a call must begin in the second its token is of.
"""

from datetime import datetime, timedelta

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
COMING_PART = 0.75  # of a second
CLOSING_PART = 0.9
KEPT = timedelta(minutes=10)


def second_of(at: datetime) -> datetime:
    return at.replace(microsecond=0)


def count_tokens(rate_per_second: int, taken: int, at: datetime) -> int:
    """Return how many more messages may be handed over at this moment of its second."""
    part = at.microsecond / 1_000_000
    if part >= CLOSING_PART:
        return 0
    come = min(rate_per_second, int(rate_per_second * part / COMING_PART) + 1)
    return max(0, come - taken)


def count_seconds_to_token(rate_per_second: int, taken: int, at: datetime) -> float:
    """Return how long it takes until the next token comes, in this second or the one after it."""
    part = at.microsecond / 1_000_000
    coming = taken * COMING_PART / rate_per_second
    if taken >= rate_per_second or part >= CLOSING_PART:
        return 1 - part
    return max(0.0, coming - part)


async def open_second(conn: Connection, campaign_id: object, provider: str, at: datetime) -> int | None:
    """Hold the campaign and its pace until the transaction ends and return how many messages the second has had.

    None when nothing may be handed over: the campaign does not run, or the provider asked for a pause.
    """
    taken: int | None = await SQL.open_second.value(
        conn, {"campaign_id": campaign_id, "provider": provider, "second": second_of(at), "now": at}
    )
    return taken


async def forget_past_seconds(conn: Connection, now: datetime) -> None:
    """Clear away the seconds nobody will ask for any more."""
    await SQL.forget_past_seconds.execute(conn, {"until": now - KEPT})


async def pause_provider(conn: Connection, provider: str, until: datetime, reason: str) -> None:
    """Make all workers wait with the provider; the longest pause asked for holds."""
    await SQL.pause_provider.execute(conn, {"provider": provider, "until": until, "reason": reason})
