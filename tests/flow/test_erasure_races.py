"""Erasure against a running campaign: nothing is handed over once it is committed, and nobody is left behind."""

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path

from event_stream_engine.audience.erasure import list_erasures
from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns.erasure import erase_person
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging.provider import Accepted, Outcome, OutgoingMessage, Unknown
from event_stream_engine.worker.eraser import finish
from event_stream_engine.worker.projector import open_projector, run_once
from event_stream_engine.worker.sender import run_sender
from tests.engine import LIVE, make_settings
from tests.sending import WatchedProvider, add_campaign, add_people, fill_outbox

PEOPLE = 80
SECONDS = 1.5
RATE = 25


async def test_nothing_is_handed_over_after_the_erasure_was_committed(
    database_url: str, tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance, clock, stopping = random.Random(seed), SystemClock(), asyncio.Event()
    settings = make_settings(tmp_path, PROVIDER="simulator")
    began_at: dict[str, datetime] = {}
    erased_at: dict[str, datetime] = {}

    async def take(message: OutgoingMessage) -> Outcome:
        began_at[message.recipient_phone] = datetime.now(UTC)
        await asyncio.sleep(chance.uniform(0, 0.03))
        return (
            Unknown("cut off") if chance.random() < 0.2 else Accepted(f"SM{message.message_id.hex}", "queued")
        )

    async def erase(phone: str, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        async with await connect(database_url, "test") as conn, transaction(conn):
            await erase_person(conn, Actor("engine:test"), settings.secret_key, phone, clock.now())
            erased_at[phone] = datetime.now(UTC)  # before its commit, which is stricter than what is promised

    async def project() -> None:
        async with await open_projector(database_url) as conn:
            while not stopping.is_set():
                await run_once(conn, LIVE)
                await asyncio.sleep(chance.uniform(0, 0.02))

    async with await connect(database_url, "test") as conn:
        await add_people(conn, PEOPLE, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now(), rate=RATE), clock.now())
        phones = [row[0] for row in await (await conn.execute("SELECT phone_e164 FROM users")).fetchall()]
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(run_sender(settings, database_url, clock, stopping, WatchedProvider(take)))
            tasks.create_task(project())
            async with asyncio.TaskGroup() as erasing:
                for phone in phones:
                    erasing.create_task(erase(phone, chance.uniform(0, SECONDS)))
            for one in await list_erasures(conn):
                await finish(conn, settings.secret_key, one, clock)
            left = (
                "SELECT (SELECT count(*) FROM outbox WHERE unsure_since IS NULL)"
                " + (SELECT count(*) FROM messages WHERE status = 'PENDING')"
            )
            while (await (await conn.execute(left)).fetchone())[0]:  # type: ignore[index]
                await asyncio.sleep(0.05)
            stopping.set()
        late = {phone: at - erased_at[phone] for phone, at in began_at.items() if at > erased_at[phone]}
        assert late == {}
        print(f"{len(began_at)} handed over before their erasure")
        assert 0 < len(began_at) < PEOPLE
        for table in ("users", "messages", "outbox", "consent_ledger", "events", "erasures", "audit_log"):
            rows = await conn.execute(f"SELECT t::text FROM {table} t")
            text = "\n".join(row for (row,) in await rows.fetchall())
            assert [phone for phone in phones if phone[1:] in text] == [], table
