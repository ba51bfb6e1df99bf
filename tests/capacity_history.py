"""A past for capacity: messages, people, sizes and loads at instants that the test knows."""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

from event_stream_engine.analytics import rollups
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest.callbacks import make_event
from event_stream_engine.messaging import deliveries
from event_stream_engine.stream.log import append_events
from tests.engine import ACCOUNT_SID, project_all

DAY = timedelta(days=1)


def draw_instants(first: date, counts: Sequence[int], zone: ZoneInfo, rng: random.Random) -> list[datetime]:
    """Draw so many instants of each local day, most of them in the afternoon."""
    instants = []
    for number, count in enumerate(counts):
        begins, ends = (
            datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
            for day in (first + number * DAY, first + (number + 1) * DAY)
        )
        length = (ends - begins).total_seconds()
        instants += [
            begins + timedelta(seconds=min(length - 1, length * rng.triangular(0, 1, 0.6)))
            for _ in range(count)
        ]
    return instants


async def send(url: str, instants: Iterable[datetime], now: datetime) -> None:
    """Let a message have been sent at each instant, and settle the days that are over."""
    events = [
        make_event(
            "receipt",
            {
                "AccountSid": ACCOUNT_SID,
                "MessageSid": f"SM{number:032x}",
                "MessageStatus": "sent",
                "To": "+14155551234",
                "From": f"+1415523888{number % 2}",
            },
            at,
            None,
        )
        for number, at in enumerate(instants)
    ]
    async with await connect(url, "test") as conn:
        for begin in range(0, len(events), 5000):
            batch = events[begin : begin + 5000]
            await append_events(conn, batch, source=uuid4(), counted_at=now, is_live=False)
    await project_all(url)
    await settle(url, now)


async def settle(url: str, now: datetime) -> None:
    """Count the days that are over, as the projector does."""
    async with await connect(url, "test") as conn:
        await rollups.prepare_connection(conn)
        await deliveries.prepare_connection(conn)
        is_left = True
        while is_left:
            async with transaction(conn):
                is_left = await rollups.settle_day(conn, now)


async def sign_up(url: str, instants: Sequence[datetime], now: datetime) -> None:
    """Let somebody have come at each instant, by the word STOP."""
    events = [
        make_event(
            "inbound",
            {
                "AccountSid": ACCOUNT_SID,
                "MessageSid": f"SI{number:032x}",
                "Body": "STOP",
                "From": f"+1415{5550000 + number}",
                "To": "+14155238886",
            },
            at,
            None,
        )
        for number, at in enumerate(instants)
    ]
    async with await connect(url, "test") as conn:
        await append_events(conn, events, source=uuid4(), counted_at=now, is_live=False)
    await project_all(url)
    await settle(url, now)


async def note_sizes(conn: Connection, last: date, sizes: Sequence[int]) -> None:
    """Let the database have had a size at the end of each day up to the last one."""
    for number, size in enumerate(reversed(sizes)):
        day = datetime(last.year, last.month, last.day, tzinfo=UTC) - number * DAY
        await conn.execute(
            "INSERT INTO database_rollups VALUES ('day', %s, 0, 0, 0, 0, 0, 0, 0, %s)", (day, size)
        )


async def note_disk(conn: Connection, at: datetime, total: int, free: int) -> None:
    await conn.execute(
        "INSERT INTO database_disk (measured_at, host, total_bytes, free_bytes) VALUES (%s, 'db-1', %s, %s)"
        " ON CONFLICT (only_row) DO UPDATE SET measured_at = excluded.measured_at, host = excluded.host,"
        " total_bytes = excluded.total_bytes, free_bytes = excluded.free_bytes",
        (at, total, free),
    )


async def note_load(conn: Connection, until: datetime, **percents: float) -> None:
    """Let a host have been busy for ten hours."""
    for metric, value in percents.items():
        await conn.execute(
            "INSERT INTO resource_rollups SELECT 'quarter', %s - n * interval '15 minutes', 'web-1', 'host', 0, %s, 1, %s, %s"
            " FROM generate_series(1, 40) AS n",
            (until, metric, value, value),
        )
