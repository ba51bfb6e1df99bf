"""Senders killed at every point of a handover: nothing goes twice, and nothing stays unknown."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn

from event_stream_engine.infra.database import connect
from event_stream_engine.messaging.simulated_behaviour import Behaviour
from event_stream_engine.messaging.simulator import build_simulator
from event_stream_engine.messaging.twilio import open_provider
from event_stream_engine.worker.reconciler import reconcile
from tests.engine import ACCOUNT_SID, TOKEN, make_settings, project_all
from tests.sending import add_campaign, add_people, count, fill_outbox
from tests.sending_process import ShiftedClock

PEOPLE = 60
LEASE_SECONDS = 100  # a lease and a little
PROGRAM = Path(__file__).parents[1] / "sending_process.py"


@asynccontextmanager
async def running_simulator(port: int, clock: ShiftedClock) -> AsyncIterator[str]:
    # Every callback is lost: nobody listens, and what became of messages must be found out without them.
    app = build_simulator(Behaviour(lost_share=1.0), ACCOUNT_SID, TOKEN, None, clock)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def running_sender(
    url: str, folder: Path, simulator: str, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), url, str(folder), simulator, *arguments, env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 20) == 0


async def list_recipients(simulator: str) -> Counter[str]:
    """Return how often the provider was given a message for each number."""
    async with httpx.AsyncClient(auth=(ACCOUNT_SID, TOKEN)) as client:
        answer = await client.get(
            f"{simulator}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json?PageSize=1000"
        )
    return Counter(message["to"] for message in answer.json()["messages"])


@pytest.mark.parametrize(
    ("failpoint", "number"),
    [
        ("after claim commit", 2),
        ("before call", 22),
        ("after answer", 22),
        ("mid record", 2),
        ("after record commit", 2),
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
        given = await list_recipients(simulator)
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

        given = await list_recipients(simulator)
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
