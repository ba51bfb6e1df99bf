"""Campaigns that were really sent, to a provider that refuses some, and answered by some of the people."""

from datetime import datetime, timedelta
from uuid import UUID

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging.deliveries import prepare_queueing
from event_stream_engine.messaging.provider import Accepted, Outcome, OutgoingMessage, Postponed, Refused
from event_stream_engine.worker.runner import run_once
from tests.engine import Engine
from tests.sending import WatchedProvider, add_campaign, add_people, fill_outbox, send_all
from tests.web.test_api import happen, inbound, receipt

CLOCK = SystemClock()
DAYS = timedelta(days=3)
SECONDS = (3, 4, 5, 9, 31, 40, 47, 260)


async def answer_variously(message: OutgoingMessage, tried: set[UUID]) -> Outcome:
    """Refuse every eleventh number, put every thirteenth off once, take the others."""
    number = int(message.recipient_phone[-4:])
    if number % 11 == 0:
        return Refused(21211, "invalid")
    if number % 13 == 0 and message.message_id not in tried:
        tried.add(message.message_id)
        return Postponed(30001, "queue overflow", None)
    return Accepted(f"SM{message.message_id.hex}", "queued")


async def send_campaign(engine: Engine, name: str, people: int, first: int = 0) -> UUID:
    """Send a campaign to new people, two thirds of them in the US, and let the runner end it."""
    tried: set[UUID] = set()
    provider = WatchedProvider(lambda message: answer_variously(message, tried))
    async with await connect(engine.url, "test") as conn:
        await add_people(conn, people, CLOCK.now() - DAYS, first=first)
        await add_people(conn, 7, CLOCK.now() - DAYS, first=first + 500, state="STOP")
        await conn.execute(
            "UPDATE users SET country = 'CA' WHERE right(phone_e164, 4)::int % 3 = 0 AND country = 'US'"
        )
        campaign_id = await add_campaign(conn, CLOCK.now(), name=name, rate=1000)
        await fill_outbox(conn, campaign_id, CLOCK.now())
        await send_all(engine.url, engine.settings.data_dir, provider, CLOCK)
        await prepare_queueing(conn)
        while await run_once(conn, CLOCK):
            pass
    await engine.project()
    return campaign_id


async def answer_campaign(engine: Engine, campaign_id: UUID) -> None:
    """Let receipts and answers come for what the provider took: most arrive, some are read, some people write back."""
    taken = await engine.rows(
        "SELECT provider_sid, recipient_phone, answered_at FROM messages WHERE campaign_id = %s AND provider_sid IS NOT NULL ORDER BY id",
        campaign_id,
    )
    told: list[tuple[datetime, str, dict[str, str]]] = []
    for number, (sid, phone, at) in enumerate(taken):
        whom = {"To": phone, "From": "+14155238886"}
        sent_at = at + timedelta(seconds=1 + number % 3)
        told.append(receipt(sent_at, sid, "sent", **whom))
        done_at = sent_at + timedelta(seconds=SECONDS[number % len(SECONDS)])
        if number % 9 == 4:
            told.append(
                receipt(done_at, sid, "undelivered", ErrorCode="30003" if number % 2 else "30007", **whom)
            )
        elif number % 9 != 5:
            told.append(receipt(done_at, sid, "delivered", **whom))
            if number % 4 == 0:
                told.append(receipt(done_at + timedelta(seconds=5), sid, "read", **whom))
            if number % 6 == 0:
                words = "STOP" if number % 12 == 0 else "thanks"
                told.append(inbound(done_at + timedelta(seconds=20), f"IN{sid}", words, From=phone))
    await happen(engine, *told)
