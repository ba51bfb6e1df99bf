"""Campaigns from draft to end: what may follow what, who becomes a recipient, how each ends."""

from datetime import timedelta
from uuid import UUID

import pytest

from event_stream_engine.analytics.campaign_progress import find_progress
from event_stream_engine.campaigns import campaigns, recipients
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Conflict, Invalid
from event_stream_engine.messaging.deliveries import prepare_queueing
from event_stream_engine.worker.runner import run_once
from tests.engine import project_all
from tests.sending import OPERATOR, add_campaign, add_people, count, fill_outbox

MOVES = {
    "start": campaigns.start_campaign,
    "pause": campaigns.pause_campaign,
    "resume": campaigns.resume_campaign,
    "cancel": campaigns.cancel_campaign,
}


async def move(conn: Connection, what: str, campaign_id: UUID, clock: SettableClock) -> str:
    clock.advance(timedelta(seconds=1))
    async with transaction(conn):
        return (await MOVES[what](conn, OPERATOR, campaign_id, clock.now())).state


async def test_transitions_are_checked_told_and_audited(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        campaign_id = await add_campaign(conn, clock.now())
        with pytest.raises(
            Conflict,
            match="is draft, so it cannot pause; what is possible: change or schedule or start or cancel",
        ):
            await move(conn, "pause", campaign_id, clock)
        states = [
            await move(conn, what, campaign_id, clock)
            for what in ("start", "pause", "resume", "cancel", "cancel")
        ]
        assert states == ["running", "paused", "running", "cancelled", "cancelled"]
        with pytest.raises(Conflict, match="it has ended"):
            await move(conn, "start", campaign_id, clock)
        told = await (await conn.execute("SELECT event_type FROM events ORDER BY received_at")).fetchall()
        assert [row[0] for row in told] == [
            "campaign.started",
            "campaign.paused",
            "campaign.resumed",
            "campaign.cancelled",
        ]
        trail = await (
            await conn.execute("SELECT action, actor, request_id FROM audit_log ORDER BY id")
        ).fetchall()
        assert [row[0] for row in trail] == ["campaign.created", *(row[0] for row in told)]
        assert {row[1:] for row in trail} == {(OPERATOR.name, OPERATOR.request_id)}


async def test_campaign_started_twice_is_one_start(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        await add_people(conn, 10, clock.now())
        campaign_id = await add_campaign(conn, clock.now())
        await fill_outbox(conn, campaign_id, clock.now())
        await move(conn, "start", campaign_id, clock)
        await prepare_queueing(conn)
        await run_once(conn, clock)
        assert await count(database_url, "SELECT count(*) FROM messages") == 10
        assert (
            await count(database_url, "SELECT count(*) FROM events WHERE event_type = 'campaign.started'")
            == 1
        )


async def test_start_freezes_template_and_segment(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        campaign_id = await add_campaign(conn, clock.now(), body="as it was")
        await move(conn, "start", campaign_id, clock)
        await conn.execute("UPDATE templates SET body = 'changed'")
        await conn.execute("""UPDATE segments SET filter = '{"or": []}'""")
        campaign = await campaigns.load_campaign(conn, campaign_id)
        assert campaign.template is not None
        assert campaign.template["body"] == "as it was"
        assert campaign.filter == {"and": []}


async def test_draft_names_the_field_at_fault(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        with pytest.raises(Invalid) as fault:
            await add_campaign(conn, clock.now(), sender="Acme")
        assert fault.value.field == "sender"


async def test_filling_stops_with_a_pause_and_goes_on_where_it_was(
    database_url: str, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipients, "STRETCH", 10)
    async with await connect(database_url, "test") as conn:
        await prepare_queueing(conn)
        await add_people(conn, 35, clock.now())
        campaign_id = await add_campaign(conn, clock.now())
        await move(conn, "start", campaign_id, clock)
        assert await run_once(conn, clock)
        await move(conn, "pause", campaign_id, clock)
        assert not await run_once(conn, clock)
        assert (await campaigns.load_campaign(conn, campaign_id)).recipients == 10
        await move(conn, "resume", campaign_id, clock)
        while await run_once(conn, clock):
            pass
        campaign = await campaigns.load_campaign(conn, campaign_id)
        assert (campaign.recipients, campaign.filled_at is not None) == (35, True)
        assert await count(database_url, "SELECT count(*) FROM outbox") == 35


async def test_cancelled_campaign_skips_what_waits(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        await prepare_queueing(conn)
        await add_people(conn, 12, clock.now())
        campaign_id = await add_campaign(conn, clock.now())
        await fill_outbox(conn, campaign_id, clock.now())
        await move(conn, "cancel", campaign_id, clock)
        while await run_once(conn, clock):
            pass
        await project_all(database_url)
        progress = await find_progress(conn, await campaigns.load_campaign(conn, campaign_id), clock.now())
        assert progress.by_status == {"SKIPPED": 12}
        assert progress.denied == {"campaign_cancelled": 12}
        assert progress.pending == 0


async def test_scheduled_campaign_starts_when_it_is_due_and_completes_without_recipients(
    database_url: str, clock: SettableClock
) -> None:
    async with await connect(database_url, "test") as conn:
        await prepare_queueing(conn)
        campaign_id = await add_campaign(conn, clock.now())
        at = clock.now() + timedelta(hours=1)
        async with transaction(conn):
            await campaigns.schedule_campaign(conn, OPERATOR, campaign_id, at, now=clock.now())
        await run_once(conn, clock)
        assert (await campaigns.load_campaign(conn, campaign_id)).state == "scheduled"
        clock.set(at)
        while await run_once(conn, clock):
            pass
        campaign = await campaigns.load_campaign(conn, campaign_id)
        assert (campaign.state, campaign.started_at, campaign.recipients) == ("completed", at, 0)


async def test_scheduled_campaign_that_cannot_start_is_a_draft_again(
    database_url: str, clock: SettableClock
) -> None:
    async with await connect(database_url, "test") as conn:
        await prepare_queueing(conn)
        campaign_id = await add_campaign(conn, clock.now())
        at = clock.now() + timedelta(hours=1)
        async with transaction(conn):
            await campaigns.schedule_campaign(conn, OPERATOR, campaign_id, at, now=clock.now())
        await conn.execute("UPDATE segments SET archived_at = %s", (clock.now(),))
        clock.set(at)
        await run_once(conn, clock)
        assert (await campaigns.load_campaign(conn, campaign_id)).state == "draft"
        row = await (
            await conn.execute("SELECT after ->> 'reason' FROM audit_log ORDER BY id DESC LIMIT 1")
        ).fetchone()
        assert row == ("The campaign's segment is archived. Choose another one.",)
