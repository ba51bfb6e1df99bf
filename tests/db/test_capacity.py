"""Capacity is what an independent recount finds, projected only from enough history, and advice names what caused it."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.analytics.calendar import refresh_calendar
from event_stream_engine.campaigns.campaigns import load_campaign
from event_stream_engine.campaigns.quiet_hours import QuietHours
from event_stream_engine.infra.database import Connection, connect, snapshot, transaction
from event_stream_engine.insights.audiences import EVERYBODY, load_campaign_reach, load_people_reach
from event_stream_engine.insights.capacity import Capacity, load_capacity
from event_stream_engine.insights.outlook import list_ahead, list_past
from event_stream_engine.insights.projection import HORIZON_DAYS
from event_stream_engine.insights.what_if import Assumptions, reckon
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.monitoring import postgres_disk
from event_stream_engine.monitoring.postgres_snapshots import take_snapshot
from tests import capacity_history as past
from tests.sending import add_campaign, add_people, fill_outbox

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
UTC_ZONE, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")


async def load(conn: Connection, now: datetime, zone: ZoneInfo = UTC_ZONE) -> Capacity:
    async with snapshot(conn):
        return await load_capacity(conn, zone, now)


async def set_zone(url: str, zone: ZoneInfo) -> None:
    async with await connect(url, "test") as conn, transaction(conn):
        await refresh_calendar(conn, zone)


def count_by_hour(instants: Sequence[datetime], since: datetime) -> Counter[int]:
    return Counter(int((at - since) / HOUR) for at in instants if at >= since)


@pytest.mark.parametrize(
    ("zone_name", "today"),
    [("Europe/Berlin", date(2026, 4, 1)), ("Asia/Kolkata", date(2028, 3, 3)), ("UTC", date(2027, 1, 4))],
    ids=["clocks go forward", "half an hour and a leap day", "turn of the year"],
)
async def test_present_use_is_what_a_recount_finds(database_url: str, zone_name: str, today: date) -> None:
    zone, rng = ZoneInfo(zone_name), random.Random(zone_name)
    await set_zone(database_url, zone)
    counts, came = [rng.randint(0, 12) for _ in range(32)], [rng.randint(0, 3) for _ in range(32)]
    counts[0], came[0] = 5, 2
    first = today - 32 * DAY
    now = datetime(today.year, today.month, today.day, 9, tzinfo=zone).astimezone(UTC)
    sent = past.draw_instants(first, counts, zone, rng)
    await past.send(database_url, [*sent, now - HOUR], now)
    await past.sign_up(database_url, past.draw_instants(first, came, zone, rng), now)
    async with await connect(database_url, "test") as conn:
        found = await load(conn, now, zone)

    begins = datetime(today.year, today.month, today.day, tzinfo=zone) - 7 * DAY
    since = datetime(begins.year, begins.month, begins.day, tzinfo=zone).astimezone(UTC)
    assert (found.window.since, found.window.until) == (since, now - 9 * HOUR)
    assert found.daily_message_volume == pytest.approx(sum(counts[-7:]) / 7)
    by_hour = count_by_hour(sent, since)
    assert found.peak_hourly_rate == max(by_hour.values())
    assert (
        found.peak_hour_at == since + min(h for h, n in by_hour.items() if n == found.peak_hourly_rate) * HOUR
    )
    assert (found.volume.begins_on, found.volume.days) == (first, counts)
    assert found.signups.days == came
    assert found.senders == 2
    assert [day.messages for day in list_past(found, zone)] == counts
    assert found.projected.daily_volume is not None
    assert found.projected.additional_users is not None
    assert len(list_ahead(found, zone)) == HORIZON_DAYS
    assert list_ahead(found, zone)[0].on == today


async def test_ten_days_are_too_little_and_say_so(database_url: str, clock: SettableClock) -> None:
    now = clock.now()
    instants = past.draw_instants(now.date() - 10 * DAY, [4] * 10, UTC_ZONE, random.Random(1))
    await past.send(database_url, instants, now)
    async with await connect(database_url, "test") as conn:
        found = await load(conn, now)
    assert found.projected.daily_volume is None
    reason = found.unknown["capacity_metrics.projected_growth.3_month_projection.daily_volume"]
    assert reason == "Too little history: 10 full days of messages, and a projection needs 28."
    assert found.daily_message_volume == 4
    assert list_ahead(found, UTC_ZONE) == []


async def test_without_traffic_zero_is_known_and_the_first_day_is_not(
    database_url: str, clock: SettableClock
) -> None:
    now = clock.now()
    async with await connect(database_url, "test") as conn:
        silent = await load(conn, now)
        assert (silent.daily_message_volume, silent.peak_hourly_rate, silent.peak_hour_at) == (0, 0, None)
        await past.send(database_url, [now - HOUR], now)
        begun = await load(conn, now)
    assert (begun.daily_message_volume, begun.peak_hourly_rate) == (None, None)
    assert "first message" in begun.unknown["capacity_metrics.current_utilization.daily_message_volume"]


async def test_storage_is_projected_from_its_growth_and_the_disk_has_a_day(
    database_url: str, clock: SettableClock
) -> None:
    now, mega = clock.now(), 1_000_000
    async with await connect(database_url, "test") as conn:
        await past.note_sizes(conn, now.date() - DAY, [1_000 * mega + 10 * mega * day for day in range(60)])
        await past.note_disk(conn, now, total=5_000 * mega, free=305 * mega)
        found = await load(conn, now)
    storage, projected = found.storage, found.projected.storage_bytes
    assert projected is not None
    assert projected.value == pytest.approx(storage.size.bytes + 91 * 10 * mega)
    assert (storage.full_in_days, storage.full_in_days_at_earliest) == (31, 31)
    [advice] = found.scaling
    assert advice.slug == "disk"
    assert "2026-04-02" in advice.text
    assert (advice.value, advice.limit, advice.unit) == (31, 91, "days")
    assert storage.disk is not None
    assert storage.disk.used_percent == 93.9


async def test_days_on_which_nobody_looked_are_taken_to_have_grown_evenly(
    database_url: str, clock: SettableClock
) -> None:
    now = clock.now()
    async with await connect(database_url, "test") as conn:
        await past.note_sizes(conn, now.date() - 11 * DAY, [100, 200])
        await past.note_sizes(conn, now.date() - 8 * DAY, [500])
        found = await load(conn, now)
    assert found.storage.sizes.days == [100, 200, 300, 400, 500]
    assert found.storage.growth.days == [100] * 4


async def test_a_disk_nobody_sees_is_unknown_with_a_remedy(database_url: str, clock: SettableClock) -> None:
    now = clock.now()
    async with await connect(database_url, "test") as conn:
        await past.note_disk(conn, now - 3 * MINUTE, total=100, free=10)  # of a process that is gone
        found = await load(conn, now)
    assert found.storage.disk is None
    assert (
        "Run a worker beside it"
        in found.unknown["capacity_metrics.current_utilization.storage_usage_percent"]
    )


async def test_disk_of_a_server_on_this_host_is_measured(database_url: str, clock: SettableClock) -> None:
    now = clock.now()
    async with await connect(database_url, "test") as conn:
        await postgres_disk.note_disk(conn, now)
        disk = await postgres_disk.find_disk(conn, now + MINUTE)
        assert disk is not None
        assert 0 < disk.free_bytes <= disk.total_bytes
        await conn.execute("UPDATE database_disk SET free_bytes = 1")
        await postgres_disk.note_disk(conn, now + timedelta(seconds=10))  # another process, just after
        kept = await postgres_disk.find_disk(conn, now)
        assert kept is not None
        assert kept.free_bytes == 1


async def test_a_role_that_may_not_know_the_folder_is_told_which_right_it_lacks(
    database_url: str, clock: SettableClock
) -> None:
    async with await connect(database_url, "test") as conn:
        await conn.execute("CREATE ROLE capacity_reader LOGIN")
        try:
            await conn.execute("SET ROLE capacity_reader")
            reason = await postgres_disk.explain_no_disk(conn)
        finally:
            await conn.execute("RESET ROLE")
            await conn.execute("DROP ROLE capacity_reader")
    assert "GRANT pg_read_all_settings" in reason


async def test_nothing_near_its_limit_is_no_advice(database_url: str, clock: SettableClock) -> None:
    now = clock.now()
    async with await connect(database_url, "test") as conn:
        await past.note_disk(conn, now, total=100, free=50)
        await past.note_load(conn, now, cpu_percent=30, memory_percent=40)
        await note_pool(conn, now, requests=50_000, waited=100)
        found = await load(conn, now)
    assert found.scaling == []


async def test_each_piece_of_advice_names_the_figure_that_caused_it(
    database_url: str, clock: SettableClock
) -> None:
    now = clock.now()
    async with await connect(database_url, "test") as conn:
        await past.note_disk(conn, now, total=100, free=15)
        await past.note_load(conn, now, cpu_percent=75, memory_percent=90)
        await note_pool(conn, now, requests=2000, waited=60)
        await note_stage(conn, now, "applied", seconds=20)
        await note_stage(conn, now, "stored", seconds=0.8)
        await conn.execute(
            "INSERT INTO intake_counts (minute, source, event_type, outcome, events) VALUES (%s, %s, 'receipt.received', 'spooled', 12)",
            (now - HOUR, UUID(int=1)),
        )
        await conn.execute(
            "INSERT INTO redis_state (measured_at, latency_ms, since) VALUES (%s, 25, %s)", (now, now - DAY)
        )
        await conn.execute(
            "INSERT INTO database_marks (kind, id, owner, began_at, counters) VALUES ('statements', 0, 0, %s, '{}'), ('statement', 7, 1, NULL, ARRAY[1, %s])",
            (now - 4 * DAY, 86_400 * 10**9),
        )
        found = await load(conn, now)
    causes = {one.slug: (one.value, one.limit, one.unit) for one in found.scaling}
    assert list(causes) == [
        "pool",
        "spool",
        "disk",
        "processor",
        "memory",
        "projector",
        "intake",
        "replica",
        "redis",
    ]
    assert causes["pool"] == (3.0, 1.0, "%")
    assert causes["spool"] == (12, 0, "webhooks")
    assert causes["disk"] == (85.0, 80.0, "%")
    assert causes["processor"] == (75.0, 70.0, "%")
    assert causes["memory"] == (90.0, 80.0, "%")
    assert causes["projector"][0] == pytest.approx(20, rel=0.01)
    assert causes["intake"][0] == pytest.approx(800, rel=0.01)
    assert causes["replica"] == (25.0, 10.0, "%")
    assert causes["redis"] == (25.0, 10.0, "ms")


async def test_processor_that_will_be_too_small_is_told_before_it_is(
    database_url: str, clock: SettableClock
) -> None:
    now = clock.now()
    counts = [20 + 2 * day for day in range(40)]
    first = now.date() - 40 * DAY
    await past.send(database_url, past.draw_instants(first, counts, UTC_ZONE, random.Random(2)), now)
    async with await connect(database_url, "test") as conn:
        await past.note_load(conn, now, cpu_percent=40)
        found = await load(conn, now)
    [advice] = found.scaling
    assert (advice.slug, advice.figure) == ("processor", "processor of the busiest host, projected")
    present, ahead = sum(counts[-7:]) / 7, 20 + 2 * (40 + 87)
    assert advice.value == pytest.approx(40 * ahead / present, rel=0.02)


async def test_what_if_reckons_present_use_anew(database_url: str, clock: SettableClock) -> None:
    now, counts = clock.now(), [24] * 30
    await past.send(
        database_url, past.draw_instants(now.date() - 30 * DAY, counts, UTC_ZONE, random.Random(3)), now
    )
    async with await connect(database_url, "test") as conn:
        for at in (now - 9 * DAY, now - 2 * DAY, now - MINUTE):
            await take_snapshot(conn, at)
        await conn.execute(
            "UPDATE table_rollups SET bytes = bytes - 8 * 1000000 WHERE relation = 'events' AND bucket < %s",
            (now - 8 * DAY,),
        )
        found = await load(conn, now)
        usual = await reckon(conn, found, Assumptions(), now)
        doubled = await reckon(conn, found, Assumptions(volume_factor=2, senders=4, retention_days=10), now)
    assert usual.daily_volume == 24
    assert usual.growth_bytes_per_day == found.storage.growth_bytes_per_day
    assert doubled.daily_volume == 48
    assert found.peak_hourly_rate is not None
    assert doubled.peak_hourly_rate == 2 * found.peak_hourly_rate
    assert doubled.sender_rate_per_second == pytest.approx(2 * found.peak_hourly_rate / 3600 / 4)
    events = next(table for table in found.tables if table.state.relation == "events")
    assert events.growth_bytes_per_day is not None
    assert doubled.log_bytes == pytest.approx(max(0, events.growth_bytes_per_day) * 2 * 10)
    assert doubled.log_freed_bytes is not None
    assert events.state.bytes is not None
    assert 0 < doubled.log_freed_bytes < events.state.bytes


async def test_people_are_reached_in_their_own_zones_and_under_the_rules_of_their_place(
    database_url: str, clock: SettableClock
) -> None:
    hours = QuietHours(time(21), time(8))
    people = [
        ("+4930123456", "OPT_IN", "Europe/Berlin"),
        ("+4930123457", "OPT_IN", None),  # by the number
        ("+12125550100", "OPT_IN", None),  # the United States have a rule of their own
        ("+4930123458", "STOP", None),
        ("+999123456789012", "OPT_IN", None),  # nobody knows where
    ]
    async with await connect(database_url, "test") as conn:
        for phone, state, zone in people:
            await conn.execute(
                "INSERT INTO users (phone_e164, consent_state, timezone, created_at, updated_at) VALUES (%s, %s, %s, now(), now())",
                (phone, state, zone),
            )
        reach = await load_people_reach(conn, EVERYBODY, hours, clock.now())
    found = {(one.zones[0].key, len(one.hours)): one.recipients for one in reach.audiences}
    assert found == {("Europe/Berlin", 1): 2, ("America/New_York", 2): 1}
    assert reach.zone_unknown == 1
    assert reach.scale(300, BERLIN, hours).recipients == pytest.approx(300)


async def test_campaign_reaches_whom_its_segment_finds_and_once_started_who_still_waits(
    database_url: str, clock: SettableClock
) -> None:
    now = clock.now()
    async with await connect(database_url, "test") as conn:
        await add_people(conn, 30, now)
        await add_people(conn, 5, now, first=30, state="OPT_OUT")
        campaign_id = await add_campaign(conn, now, quiet=("21:00", "08:00"))
        draft = await load_campaign_reach(conn, await load_campaign(conn, campaign_id), now)
        assert draft.recipients == 30
        assert await fill_outbox(conn, campaign_id, now) == 35
        await conn.execute(
            "DELETE FROM outbox WHERE message_id IN (SELECT message_id FROM outbox ORDER BY message_id LIMIT 15)"
        )
        running = await load_campaign_reach(conn, await load_campaign(conn, campaign_id), now)
    assert running.recipients == 20
    assert {zone.key for one in running.audiences for zone in one.zones} == {"Etc/UTC"}


async def note_pool(conn: Connection, now: datetime, *, requests: int, waited: int) -> None:
    await conn.execute(
        "INSERT INTO pool_rollups VALUES (%s, %s, %s, %s, %s, 0, 0)",
        (now - HOUR, UUID(int=1), requests, waited, waited * 40),
    )


async def note_stage(conn: Connection, now: datetime, stage: str, *, seconds: float) -> None:
    """Let a hundred webhooks have come to a stage after so long."""
    await conn.execute(
        "INSERT INTO pipeline_rollups (grain, bucket, stage, events, dead, microseconds, slowest, sketch)"
        " VALUES ('quarter', %s, %s, 100, 0, %s, %s, ARRAY[(sketch_index(%s)::bigint << 40) + 100])",
        (now - 2 * HOUR, stage, int(seconds * 1e8), int(seconds * 1e6), int(seconds * 1e6)),
    )
