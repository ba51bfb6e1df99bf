"""What the demo begins with."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.audience.segments import preview
from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns.campaigns import list_campaigns
from event_stream_engine.cli import demo_people
from event_stream_engine.cli.demo_campaigns import make_demo_campaigns, start_small_campaign
from event_stream_engine.cli.demo_people import make_demo_people
from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.messaging.simulated_traffic import draw_crowd

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DEMO = Actor("engine:demo")
SENDER = "+14155238886"


async def make_people(conn: Connection) -> list[int]:
    files: list[int] = []
    await make_demo_people(conn, DEMO, "k" * 32, NOW, crowd=draw_crowd(1, 100, 0.4), on_file=files.append)
    return files


async def test_people_joined_and_left_over_the_past_year_and_are_made_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_people, "PEOPLE", 1000)
    async with await connect(database_url, "test") as conn:
        assert len(await make_people(conn)) == demo_people.FILES
        assert await make_people(conn) == []
        counted = await (
            await conn.execute("SELECT consent_state, count(*) FROM users GROUP BY 1")
        ).fetchall()
        by_state = dict(counted)
        assert sum(by_state.values()) == 1000
        assert by_state["OPT_IN"] > 500
        assert min(by_state["OPT_OUT"], by_state["STOP"]) > 0
        ((first, last, moments),) = await (
            await conn.execute(
                "SELECT min(occurred_at), max(occurred_at), count(DISTINCT occurred_at) FROM consent_ledger"
            )
        ).fetchall()
        assert first < NOW - timedelta(days=330)
        assert NOW - timedelta(days=30) < last < NOW
        assert moments == demo_people.FILES
        unused = "SELECT count(*) FROM import_rejects UNION ALL SELECT count(*) FROM users WHERE NOT attributes ?& ARRAY['first_name', 'city', 'tier']"
        assert await (await conn.execute(unused)).fetchall() == [(0,), (0,)]


async def test_there_is_a_campaign_of_each_state_and_later_a_small_one(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_people, "PEOPLE", 1000)
    async with await connect(database_url, "test") as conn:
        await make_people(conn)
        for _ in range(2):
            await make_demo_campaigns(conn, DEMO, SENDER, NOW)
        made = await list_campaigns(conn, limit=100)
        assert sorted(campaign.state for campaign in made) == [
            "draft",
            "draft",
            "running",
            "running",
            "scheduled",
        ]
        for campaign in made:
            if campaign.filter is not None:
                assert (await preview(conn, campaign.filter, NOW)).people > 0, campaign.name
        for number in (1, 2):
            await start_small_campaign(conn, DEMO, NOW + timedelta(minutes=number))
        first, second, *_ = sorted(
            (one for one in await list_campaigns(conn, limit=100) if "Flash sale " in one.name),
            key=lambda one: one.created_at,
        )
        assert first.state == second.state == "running"
        assert first.segment_id != second.segment_id


@pytest.mark.parametrize("day", [datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 7, 15, tzinfo=UTC)])
def test_at_any_time_it_is_day_for_some_of_the_people(day: datetime) -> None:
    zones = {ZoneInfo(zone) for cities in demo_people._CITIES.values() for _, zone in cities}
    for quarter in range(96):
        at = day + timedelta(minutes=15 * quarter)
        # 20:00 and not 21:00: what is stricter than a campaign's own hours, some states of the US.
        assert any(time(8) <= at.astimezone(zone).time() < time(20) for zone in zones), at
