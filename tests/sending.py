"""Campaigns for tests: people, a segment, a template, and a provider whose calls a test can watch."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from uuid import UUID, uuid4

from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns import campaigns
from event_stream_engine.campaigns.recipients import fill_campaign
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.messaging.deliveries import prepare_queueing
from event_stream_engine.messaging.provider import Accepted, Outcome, OutgoingMessage
from event_stream_engine.worker.sender import run_sender
from tests.engine import make_settings

OPERATOR = Actor("operator:test", "request-1")
SENDER = "+14155238886"
EVERYBODY = '{"and": []}'


async def add_people(
    conn: Connection, count: int, now: datetime, *, first: int = 0, state: str = "OPT_IN"
) -> None:
    """Add people +1415200xxxx … with a name and, where they opted in, an entry that proves it."""
    await conn.execute(
        """
        INSERT INTO users (phone_e164, attributes, consent_state, created_at, country, timezone, updated_at, consent_entry)
        SELECT '+1415' || 2000000 + n, jsonb_build_object('name', 'Person ' || n), %(state)s, %(now)s, 'US', 'Etc/UTC', %(now)s, gen_random_uuid()
        FROM generate_series(%(first)s::int, %(last)s::int) AS n
        """,
        {"first": first, "last": first + count - 1, "state": state, "now": now},
    )


async def add_campaign(
    conn: Connection,
    now: datetime,
    *,
    name: str = "Spring",
    body: str = "Hello {name}",
    channel: str = "sms",
    rate: int = 1000,
    quiet: tuple[str, str] = ("00:00", "00:00"),
    sender: str = SENDER,
    filter: str = EVERYBODY,
) -> UUID:
    """Add a draft with a segment and a template of its own."""
    segment_id, template_id = uuid4(), uuid4()
    await conn.execute(
        "INSERT INTO segments (id, name, filter, created_at, updated_at) VALUES (%s, %s, %s, %s, %s)",
        (segment_id, f"{name} {segment_id}", filter, now, now),
    )
    await conn.execute(
        "INSERT INTO templates (id, name, channel, locale, body, created_at, updated_at) VALUES (%s, %s, %s, 'en', %s, %s, %s)",
        (template_id, f"{name} {template_id}", channel, body, now, now),
    )
    draft = campaigns.Draft(
        name, segment_id, template_id, sender, rate, *(time.fromisoformat(at) for at in quiet)
    )
    async with transaction(conn):
        return (await campaigns.create_campaign(conn, OPERATOR, draft, now)).id


async def fill_outbox(conn: Connection, campaign_id: UUID, now: datetime) -> int:
    """Start a campaign and make all its recipients."""
    await prepare_queueing(conn)
    async with transaction(conn):
        await campaigns.start_campaign(conn, OPERATOR, campaign_id, now)
    while True:
        campaign = await campaigns.load_campaign(conn, campaign_id)
        if campaign.filled_at is not None:
            return campaign.recipients
        async with transaction(conn):
            await fill_campaign(conn, campaign, now)


@dataclass(slots=True)
class WatchedProvider:
    """Takes every message and notes when; `answer` may say otherwise."""

    answer: Callable[[OutgoingMessage], Awaitable[Outcome]] | None = None
    seconds: float = 0.0
    taken: list[OutgoingMessage] = field(default_factory=list)

    async def send_message(self, message: OutgoingMessage) -> Outcome:
        self.taken.append(message)
        if self.answer is not None:
            return await self.answer(message)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return Accepted(f"SM{message.message_id.hex}", "queued")


async def count(url: str, query: str, *parameters: object) -> int:
    async with await connect(url, "test") as conn:
        row = await (await conn.execute(query, parameters)).fetchone()  # type: ignore[arg-type]
    return int(row[0]) if row else 0


async def send_all(url: str, folder: Path, provider: WatchedProvider, clock: Clock) -> None:
    """Run one sender until nothing waits."""
    stopping = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(
            run_sender(make_settings(folder, PROVIDER="simulator"), url, clock, stopping, provider)
        )
        while await count(url, "SELECT count(*) FROM outbox"):
            await asyncio.sleep(0.05)
        stopping.set()
