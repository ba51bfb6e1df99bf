"""Senders killed at every point of a handover: nothing goes twice, and nothing stays unknown."""

import asyncio
import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from event_stream_engine.infra.database import connect
from event_stream_engine.messaging.twilio import open_provider
from event_stream_engine.worker.reconciler import reconcile
from tests.engine import make_settings, project_all
from tests.sending import add_campaign, add_people, count, fill_outbox
from tests.sending_process import ShiftedClock
from tests.sending_running import list_given, running_sender, running_simulator

PEOPLE = 60
LEASE_SECONDS = 100  # a lease and a little


@pytest.mark.parametrize(
    ("failpoint", "number"),
    [
        ("after claim commit", 2),
        ("before call", 22),
        ("after answer", 22),
        ("mid record", 1),
        ("after record commit", 1),
    ],
)
async def test_killed_sender_sends_nothing_twice_and_leaves_nothing_unknown(
    database_url: str, tmp_path: Path, free_port: int, failpoint: str, number: int
) -> None:
    clock = ShiftedClock(0)
    settings = make_settings(tmp_path, PROVIDER="simulator", SIMULATOR_URL=f"http://127.0.0.1:{free_port}")
    async with (
        asyncio.timeout(60),
        running_simulator(free_port, clock) as simulator,
        open_provider(settings) as provider,
        await connect(database_url, "test") as conn,
    ):
        await add_people(conn, PEOPLE, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now(), rate=10_000), clock.now())

        async with running_sender(database_url, tmp_path, simulator, "0", failpoint, str(number)) as process:
            assert await process.wait() == -signal.SIGKILL
        left = await count(database_url, "SELECT count(*) FROM outbox WHERE claimed_by IS NOT NULL")
        given = Counter(message["to"] for message in await list_given(simulator))
        print(f"{failpoint}: {given.total()} given to the provider, {left} left claimed")

        clock.seconds += LEASE_SECONDS
        while await count(
            database_url,
            "SELECT count(*) FROM outbox WHERE claimed_by IS NOT NULL OR unsure_since IS NOT NULL",
        ):
            print(await reconcile(conn, provider, clock, settling=timedelta(0), grace=timedelta(0)))
        async with running_sender(database_url, tmp_path, simulator, str(clock.seconds)):
            while await count(database_url, "SELECT count(*) FROM outbox"):
                await asyncio.sleep(0.05)

        given = Counter(message["to"] for message in await list_given(simulator))
        assert set(given.values()) == {1}
        assert len(given) == PEOPLE
        await project_all(database_url)
        assert (
            await count(
                database_url,
                "SELECT count(*) FROM messages WHERE provider_sid IS NULL OR answered_at IS NULL",
            )
            == 0
        )
        told = await conn.execute(
            "SELECT subject FROM audit_log WHERE action = 'compliance.allowed' AND after #>> '{steps,4,outcome}' IN ('accepted', 'found')"
        )
        subjects = [row[0] for row in await told.fetchall()]
        assert len(subjects) == len(set(subjects)) == PEOPLE
