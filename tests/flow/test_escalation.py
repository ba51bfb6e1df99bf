"""Nobody acknowledges: each step hears of it at its time by a real message, also after nobody worked for hours."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from event_stream_engine.incidents import actions
from event_stream_engine.incidents.actions import Opening, Seen
from event_stream_engine.incidents.policy import Contact, change_policy, load_policy
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SettableClock, SystemClock
from event_stream_engine.worker.escalator import run_escalator
from tests.engine import make_settings
from tests.incidents import ADMIN, PEOPLE
from tests.receivers import add_channel, deliver_all, running_receiver


async def work_once(url: str, clock: SettableClock) -> None:
    """Run a worker's escalator for one turn: it begins with one, and has been told to stop by its end."""
    stopping = asyncio.Event()
    running = asyncio.create_task(run_escalator(url, clock, stopping, every_seconds=60))
    async with await connect(url, "test") as conn, asyncio.timeout(20):
        due = "SELECT count(*) FROM incident_timers WHERE due_at <= %s"
        while (await (await conn.execute(due, (clock.now(),))).fetchone()) != (0,):
            await asyncio.sleep(0.01)
    stopping.set()
    await running


async def test_each_step_gets_its_message_at_its_time_until_somebody_acknowledges(
    database_url: str, tmp_path: Path, free_port: int
) -> None:
    settings = make_settings(tmp_path, PRIVATE_TARGETS="127.0.0.0/8")
    clock = SettableClock(SystemClock().now())
    async with running_receiver(free_port) as receiver, await connect(database_url, "test") as conn:
        channels = [
            await add_channel(database_url, settings, clock, name, f"{receiver.url}/{name}")
            for name in PEOPLE
        ]
        policy = await load_policy(conn)
        steps = [
            replace(step, contacts=[Contact(name, [channel])])
            for step, name, channel in zip(policy.steps, PEOPLE, channels, strict=True)
        ]
        async with transaction(conn):
            await change_policy(conn, ADMIN, replace(policy, steps=steps), policy.version, clock.now())
            # Without a route everybody is told of everything; this one keeps incidents to the path.
            await conn.execute(
                "INSERT INTO notification_routes (id, position, severities, kinds, matchers, channel_id,"
                " fallback_after_seconds, group_wait_seconds, created_at)"
                " VALUES (gen_random_uuid(), 1, '{}', '{alert.fired}', '[]', %s, 0, 0, now())",
                (channels[0],),
            )
            opening = Opening("Nothing arrives", "critical")
            incident = await actions.open_incident(conn, ADMIN, opening, clock.now())

        async def pass_time(minutes: float) -> list[str]:
            """Let time pass, then have a worker begin, work and end; return what has arrived meanwhile."""
            before = len(receiver.got)
            clock.advance(timedelta(minutes=minutes))
            await work_once(database_url, clock)
            await deliver_all(database_url, settings, clock)
            return receiver.titles[before:]

        assert await pass_time(0) == ["INC-0001 opened: Nothing arrives"]
        assert await pass_time(14) == []
        assert await pass_time(1) == ["INC-0001 escalated to Technical Lead: Nothing arrives"]
        assert await pass_time(0) == []
        assert await pass_time(25) == ["INC-0001 escalated to Engineering Manager: Nothing arrives"]
        assert "late by 10 minutes: no worker was running" in receiver.got[-1]["message"]
        async with transaction(conn):
            await actions.acknowledge(conn, ADMIN, Seen(incident.id, incident.version), "", clock.now())
        assert await pass_time(600) == []
        async with transaction(conn):
            await actions.resolve(conn, ADMIN, Seen(incident.id, incident.version + 1), "Over.", clock.now())
        assert await pass_time(0) == ["INC-0001 resolved: Nothing arrives"] * 3
