"""A campaign that arrives badly and then well, sent by a real engine to the simulated provider: alert and recovery."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging.simulated_behaviour import Behaviour
from tests.browser.running import find_ports, make_environment, running_up
from tests.document import OBJECTS
from tests.sending import add_campaign, add_people, fill_outbox
from tests.sending_running import running_simulator

PEOPLE = 400
# What the n-th message of a seed comes to is drawn before anything happens: of the first 200 of this one 177 arrive,
# which is the document's 88.5 %, and of the next 200 188, which makes 91.25 % of all.
BEHAVIOUR = Behaviour(
    seed=2822,
    speed=400.0,
    failed_share=0.0,
    undelivered_share=0.115,
    unknown_share=0.0,
    conflict_share=0.0,
    long_tail_share=0.0,
    lost_share=0.0,
    late_share=0.0,
    reply_share=0.0,
)


async def wait_for(client: httpx.AsyncClient, path: str, name: str, **expected: Any) -> dict[str, Any]:
    """Ask until the one of a list that is about the delivery rate has these values, and return it."""
    found: Any = None
    try:
        async with asyncio.timeout(120):
            while True:
                listed = (await client.get(path)).raise_for_status().json()[name]
                found = [alert for alert in listed if alert["metric"] == "delivery_rate"]
                if len(found) == 1 and found[0].items() >= expected.items():
                    return dict(found[0])
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"{path} still says {found}") from None


@pytest.mark.parametrize("postgres", [None], ids=["pg18"], indirect=True)
async def test_a_campaign_driven_to_88_5_by_the_simulator_raises_the_documents_alert_and_its_recovery_resolves_it(
    database_url: str, tmp_path: Path
) -> None:
    clock = SystemClock()
    port, simulator_port = find_ports(2)
    url = f"http://127.0.0.1:{port}"
    async with await connect(database_url, "test") as conn:
        await add_people(conn, PEOPLE, clock.now())
        campaign_id = await add_campaign(conn, clock.now(), name="Spring Promotion 2024")
        await fill_outbox(conn, campaign_id, clock.now())
        # Half of them live where it is night: due later, as the step of quiet hours would say it.
        await conn.execute(
            "UPDATE outbox SET due_at = due_at + interval '1 hour'"
            " WHERE message_id IN (SELECT message_id FROM outbox ORDER BY message_id LIMIT 200)"
        )
        async with transaction(conn):
            key = (await add_api_key(conn, "test", Role.operator, clock.now())).key
    environment = make_environment(
        tmp_path,
        port,
        DATABASE_URL=database_url,
        PUBLIC_URL=url,
        SIMULATOR_URL=f"http://127.0.0.1:{simulator_port}",
    )
    async with (
        running_simulator(simulator_port, clock, BEHAVIOUR),
        httpx.AsyncClient(base_url=f"{url}/api/v1", headers={"authorization": f"Bearer {key}"}) as client,
    ):
        engine = running_up(environment)
        await asyncio.to_thread(engine.__enter__)
        try:
            expected = OBJECTS["active_alerts"][0]
            same = ("severity", "message", "current_value", "threshold")
            alert = await wait_for(client, "/alerts", "active_alerts", **{key: expected[key] for key in same})
            assert alert["subject_name"] == "Spring Promotion 2024"
            assert alert["state"] == "firing"

            async with await connect(database_url, "test") as conn:
                await conn.execute("UPDATE outbox SET due_at = now()")
            resolved = await wait_for(client, "/alerts/resolved", "items", alert_id=alert["alert_id"])
            assert resolved["current_value"] == 91.25
            firing = (await client.get("/alerts")).json()["active_alerts"]
            assert "delivery_rate" not in [alert["metric"] for alert in firing]
        finally:
            await asyncio.to_thread(engine.__exit__, None, None, None)
