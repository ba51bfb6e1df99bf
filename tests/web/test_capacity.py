"""Capacity and drain time over HTTP: known traffic, campaigns, refused questions, and the page."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.insights.projection import HORIZON_DAYS
from tests import capacity_history as past
from tests.document import OBJECTS, find_faults
from tests.engine import Engine
from tests.sending import add_campaign
from tests.web.test_monitoring_page import Page
from tests.web.test_room_pages import load_page

CAPACITY, DRAIN, PAGE = "/api/v1/insights/capacity", "/api/v1/insights/drain", "/insights/capacity"
DAY = timedelta(days=1)
MEGA = 1_000_000


async def live_for(engine: Engine, days: int) -> list[int]:
    """Let the engine have worked for some days, and return how many messages each had."""
    now, rng = datetime.now(UTC), random.Random(days)
    counts = [10 + day // 4 + rng.randint(0, 3) for day in range(days)]
    instants = past.draw_instants(now.date() - days * DAY, counts, ZoneInfo("UTC"), rng)
    await past.send(engine.url, instants, now)
    async with await connect(engine.url, "test") as conn:
        sizes = [500 * MEGA + 3 * MEGA * day for day in range(days)]
        await past.note_sizes(conn, now.date() - DAY, sizes)
        await past.note_disk(conn, now + timedelta(hours=1), total=2_000 * MEGA, free=600 * MEGA)
        await past.note_load(conn, now, cpu_percent=20, memory_percent=30)
    return counts


async def test_whole_object_of_the_document_is_known_after_a_month(engine: Engine) -> None:
    counts = await live_for(engine, 40)
    answer = await engine.get(CAPACITY)
    metrics = answer["capacity_metrics"]
    assert find_faults(OBJECTS["capacity_metrics"], metrics, "capacity_metrics") == []
    use, growth = metrics["current_utilization"], metrics["projected_growth"]
    assert use["daily_message_volume"] == round(sum(counts[-7:]) / 7)
    assert use["storage_usage_percent"] == 70.0
    ahead = growth["3_month_projection"]
    assert ahead["storage_needs_gb"] > answer["storage"]["database_bytes"] / 1000**3
    for name, value in ahead.items():
        if value is not None:
            assert answer["intervals"][name]["low"] <= value <= answer["intervals"][name]["high"]
    assert ahead["daily_volume"] > use["daily_message_volume"]
    assert growth["scaling_recommendations"] == [one["text"] for one in answer["scaling"]] == []
    assert [day["messages"] for day in answer["history"]] == counts
    assert len(answer["ahead"]) == HORIZON_DAYS
    assert answer["storage"]["full_on"] == (datetime.now(UTC) + 200 * DAY).date().isoformat()
    assert "capacity_metrics.projected_growth.3_month_projection.daily_volume" not in answer["unknown"]


async def test_what_if_is_asked_by_parameters(engine: Engine) -> None:
    await live_for(engine, 30)
    plain = await engine.get(CAPACITY)
    more = await engine.get(CAPACITY, volume_factor="3", senders="6", retention_days="5")
    assert plain["what_if"]["volume_factor"] == 1
    assert more["what_if"]["peak_hourly_rate"] == 3 * plain["what_if"]["peak_hourly_rate"]
    assert (more["what_if"]["senders"], more["what_if"]["retention_days"]) == (6, 5)
    assert more["what_if"]["processor_percent"] == 60
    present = [one["capacity_metrics"]["current_utilization"]["peak_hourly_rate"] for one in (plain, more)]
    assert present == 2 * [plain["what_if"]["peak_hourly_rate"]]


async def test_drain_of_a_campaign_is_that_of_its_recipients_pace_and_hours(engine: Engine) -> None:
    now = datetime.now(UTC)
    async with await connect(engine.url, "test") as conn:
        await conn.execute(
            "INSERT INTO users (phone_e164, consent_state, timezone, created_at, updated_at)"
            " SELECT '+4930' || lpad(n::text, 6, '0'), 'OPT_IN', 'Europe/Berlin', now(), now() FROM generate_series(1, 600) n"
        )
        campaign_id = await add_campaign(conn, now, name="Spring")
    asked = {"campaign_id": str(campaign_id), "rate": "3", "quiet_starts": "00:00", "quiet_ends": "00:00"}
    drain = (await engine.get(DRAIN, **asked))["drain"]
    assert (drain["campaign_name"], drain["recipients"], drain["segments"]) == ("Spring", 600, 1)
    assert drain["handed_over_seconds"] == 200
    assert drain["sent_at"] is None
    slower = (await engine.get(DRAIN, **asked, sender_rate="1"))["drain"]
    assert (slower["provider_rate_per_second"], slower["sent_seconds"]) == (1, 600)
    assert slower["steps"][-1] == {"at": slower["sent_at"], "waiting": 0, "provider_queue": 0}


async def test_drain_of_a_number_is_spread_as_the_people_are(engine: Engine) -> None:
    nobody = await engine.get(DRAIN, recipients="1000", rate="10", quiet_starts="00:00", quiet_ends="00:00")
    assert nobody["drain"]["handed_over_seconds"] == 100
    assert "sender_rate" in nobody["unknown"]["drain.sent_at"]
    everybody = await engine.get(DRAIN)
    assert everybody["drain"]["recipients"] == 0


async def test_wrong_questions_are_refused_with_the_field_at_fault(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn, transaction(conn):
        over = await add_campaign(conn, datetime.now(UTC), name="Over")
        await conn.execute("UPDATE campaigns SET state = 'cancelled' WHERE id = %s", (over,))
    for path, field in (
        (f"{CAPACITY}?volume_factor=0", "volume_factor"),
        (f"{CAPACITY}?senders=many", "senders"),
        (f"{CAPACITY}?volume=2", "volume"),
        (f"{DRAIN}?rate=0", "rate"),
        (f"{DRAIN}?recipients=10&campaign_id={over}", "recipients"),
        (f"{DRAIN}?campaign_id={over}", "campaign_id"),
        (f"{DRAIN}?quiet_starts=late", "quiet_starts"),
        (f"{PAGE}?drain_rate=-1", "drain_rate"),
        (f"{PAGE}?period=7d", "period"),
    ):
        answer = await engine.client.get(path)
        assert answer.status_code in (400, 422), path
        assert field in answer.text, path
    assert (await engine.anonymous.get(CAPACITY)).status_code == 401


async def test_page_teaches_what_is_missing_on_the_first_day(engine: Engine) -> None:
    page = await load_page(engine, PAGE)
    assert_sound(page)
    assert "Too little history: 0 full days" in page.text
    assert "Nothing is near its limit" in page.text


async def test_page_keeps_one_form_when_the_other_is_asked(engine: Engine) -> None:
    await live_for(engine, 30)
    page = await load_page(
        engine,
        f"{PAGE}?volume_factor=2&retention_days=9&drain_recipients=500&drain_sender_rate=0.5&drain_rate=7",
    )
    assert_sound(page)
    for kept in ("volume_factor", "retention_days", "drain_recipients", "drain_rate"):
        assert f'<input type="hidden" name="{kept}"' in page.text
    assert f"{DRAIN}?recipients=500&amp;rate=7&amp;sender_rate=0.5" in page.text
    assert "30001" in page.text or "what is faster only waits" in page.text


def assert_sound(page: Page) -> None:
    assert page.refused == []
    assert len(page.ids) == len(set(page.ids))
