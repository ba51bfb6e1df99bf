"""STOP against a running campaign: whoever is quicker, nothing is handed over once the STOP is committed."""

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from event_stream_engine.infra.database import connect
from event_stream_engine.ingest.callbacks import INBOUND, make_event
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging.provider import Accepted, Outcome, OutgoingMessage
from event_stream_engine.stream.log import append_events
from event_stream_engine.worker.projector import open_projector, run_once
from event_stream_engine.worker.sender import run_sender
from tests.engine import LIVE, make_settings
from tests.sending import SENDER, WatchedProvider, add_campaign, add_people, fill_outbox

PEOPLE = 200
SECONDS = 2.0
RATE = 60  # so that the campaign takes longer than the STOPs


async def test_nothing_is_handed_over_after_the_stop_was_committed(database_url: str, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance, clock, stopping = random.Random(seed), SystemClock(), asyncio.Event()
    began_at: dict[str, datetime] = {}

    async def take(message: OutgoingMessage) -> Outcome:
        if message.body is not None and message.body.startswith("Hello"):  # not the STOP's confirmation
            began_at[message.recipient_phone] = datetime.now(UTC)
        await asyncio.sleep(chance.uniform(0, 0.03))
        return Accepted(f"SM{message.message_id.hex}", "queued")

    async def stop(phone: str, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        form = {"MessageSid": f"SM{uuid4().hex}", "From": phone, "To": SENDER, "Body": "STOP"}
        async with await connect(database_url, "test") as conn:
            event = make_event(INBOUND, form, clock.now(), None)
            await append_events(conn, [event], source=uuid4(), counted_at=clock.now())

    async def project() -> None:
        async with await open_projector(database_url) as conn:
            while not stopping.is_set():
                await run_once(conn, LIVE)
                await asyncio.sleep(chance.uniform(0, 0.02))

    async with await connect(database_url, "test") as conn:
        await add_people(conn, PEOPLE, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now(), rate=RATE), clock.now())
        phones = [row[0] for row in await (await conn.execute("SELECT phone_e164 FROM users")).fetchall()]
        settings = make_settings(tmp_path, PROVIDER="simulator")
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(run_sender(settings, database_url, clock, stopping, WatchedProvider(take)))
            tasks.create_task(project())
            async with asyncio.TaskGroup() as stops:
                for phone in phones:
                    stops.create_task(stop(phone, chance.uniform(0, SECONDS)))
            left = (
                "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM users WHERE consent_state <> 'STOP')"
                " + (SELECT count(*) FROM messages WHERE status = 'PENDING')"
            )
            while (await (await conn.execute(left)).fetchone())[0]:  # type: ignore[index]
                await asyncio.sleep(0.05)
            stopping.set()
        # Written in the STOP's transaction, before its commit, which makes this stricter than what is promised.
        rows = await conn.execute("SELECT phone_e164, recorded_at FROM consent_ledger WHERE action = 'stop'")
        recorded_at: dict[str, datetime] = dict(await rows.fetchall())
        skipped = await conn.execute(
            "SELECT recipient_phone FROM messages WHERE status = 'SKIPPED' AND campaign_id IS NOT NULL"
        )
        spared = {row[0] for row in await skipped.fetchall()}

    assert recorded_at.keys() == set(phones)
    late = {phone: at - recorded_at[phone] for phone, at in began_at.items() if at > recorded_at[phone]}
    print(f"{len(began_at)} handed over before their STOP, {len(spared)} spared by it")
    assert late == {}
    assert spared == set(phones) - began_at.keys()
    assert len(began_at) > 20
    assert len(spared) > 20
