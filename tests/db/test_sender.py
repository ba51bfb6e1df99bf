"""The sender on a real database, against a provider whose calls the test sees."""

import asyncio
from pathlib import Path

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.worker.sender import run_sender
from tests.engine import make_settings
from tests.sending import WatchedProvider, add_campaign, add_people, count, fill_outbox


async def send_all(url: str, folder: Path, provider: WatchedProvider, clock: SystemClock) -> None:
    """Run one sender until nothing waits."""
    stopping = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(
            run_sender(make_settings(folder, PROVIDER="simulator"), url, clock, stopping, provider)
        )
        while await count(url, "SELECT count(*) FROM outbox"):
            await asyncio.sleep(0.05)
        stopping.set()


async def test_everybody_with_consent_gets_one_message(database_url: str, tmp_path: Path) -> None:
    clock, provider = SystemClock(), WatchedProvider()
    async with await connect(database_url, "test") as conn:
        await add_people(conn, 500, clock.now())
        await add_people(conn, 20, clock.now(), first=1000, state="STOP")
        campaign_id = await add_campaign(conn, clock.now(), rate=10_000)
        assert await fill_outbox(conn, campaign_id, clock.now()) == 520
    await send_all(database_url, tmp_path, provider, clock)
    assert len({message.recipient_phone for message in provider.taken}) == len(provider.taken) == 500
    async with await connect(database_url, "test") as conn:
        rows = await (
            await conn.execute("SELECT action, after FROM audit_log WHERE action LIKE 'compliance.%'")
        ).fetchall()
    print(rows[0], rows[-1])
    assert sorted(action for action, _ in rows) == ["compliance.allowed"] * 500 + ["compliance.denied"] * 20
