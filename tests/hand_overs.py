"""Hand-overs for tests, planted with or without what proves them, and the check that judges them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from event_stream_engine.analytics.compliance_check import check_next
from event_stream_engine.audit.entries import COMMAND_LINE, Entry, record
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.messaging import outcomes
from event_stream_engine.stream.log import Event, append_own_events
from tests.sending import add_campaign, add_people, fill_outbox

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


async def check(conn: Connection, now: datetime = NOON, most: int = 5000) -> None:
    """Check all that is committed; the horizon is that of the whole server, so the next try may find what one did not."""
    async with asyncio.timeout(30):
        while True:
            async with transaction(conn):
                is_behind = await check_next(conn, now, most)
            waiting = await conn.execute(
                "SELECT EXISTS (SELECT FROM audit_log a, compliance_place p WHERE a.xid > p.xid AND a.id > p.floor_id)"
                " OR EXISTS (SELECT FROM events e, compliance_place p WHERE e.xid > p.xid)"
                " OR EXISTS (SELECT FROM consent_ledger l, compliance_place p WHERE l.xid > p.xid)"
            )
            row = await waiting.fetchone()
            if not is_behind and row is not None and not row[0]:
                return
            await asyncio.sleep(0.01)


async def consent(conn: Connection, phone: str, action: str, at: datetime) -> None:
    await conn.execute(
        "INSERT INTO consent_ledger (id, phone_e164, occurred_at, recorded_at, action, source, evidence) VALUES (gen_random_uuid(), %s, %s, %s, %s, 'api', 'form')",
        (phone, at, at, action),
    )


async def add_consenting(conn: Connection, count: int, at: datetime = NOON - timedelta(days=1)) -> None:
    await add_people(conn, count, at)
    await conn.execute(
        "INSERT INTO consent_ledger (id, phone_e164, occurred_at, recorded_at, action, source, evidence)"
        " SELECT gen_random_uuid(), phone_e164, %s, %s, 'prove', 'api', 'form' FROM users",
        (at, at),
    )


async def start(conn: Connection, people: int = 0, now: datetime = NOON, **campaign: object) -> UUID:
    if people:
        await add_consenting(conn, people, now - timedelta(days=1))
    campaign_id = await add_campaign(conn, now, **campaign)  # type: ignore[arg-type]
    await fill_outbox(conn, campaign_id, now)
    return campaign_id


async def list_messages(conn: Connection, campaign_id: UUID) -> list[UUID]:
    rows = await conn.execute(
        "SELECT id FROM messages WHERE campaign_id = %s ORDER BY recipient_phone", (campaign_id,)
    )
    return [row[0] for row in await rows.fetchall()]


def decision(campaign_id: UUID, message_id: UUID, at: datetime, outcome: str = "accepted") -> Entry:
    step = {"step": "delivery", "outcome": outcome, "handed_at": format_instant(at)}
    after = {"campaign_id": str(campaign_id), "outcome": "allowed", "steps": [step]}
    return Entry(at + timedelta(milliseconds=80), "compliance.allowed", f"message:{message_id}", after=after)


def event_of(entry: Entry) -> Event:
    message_id = UUID(entry.subject.removeprefix("message:"))
    return outcomes.accepted(message_id, entry.at, f"SM{message_id.hex}", "queued")


async def hand_over(conn: Connection, *entries: Entry) -> None:
    """Plant hand-overs that went around the steps, with a history as the sender writes it."""
    async with transaction(conn):
        await record(conn, COMMAND_LINE, *entries)
        await append_own_events(conn, [event_of(entry) for entry in entries])


async def hand_over_undecided(conn: Connection, campaign_id: UUID, at: datetime) -> None:
    """Let the log tell of a hand-over to everybody that no decision knows."""
    messages = await list_messages(conn, campaign_id)
    await append_own_events(conn, [event_of(decision(campaign_id, one, at)) for one in messages])
