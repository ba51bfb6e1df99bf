"""A window is made of the widest buckets that fit in it, without gap or overlap."""

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.analytics import rollups
from event_stream_engine.analytics.calendar import find_timezone, list_local_days, refresh_calendar
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SettableClock

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
UNITS = [
    timedelta(microseconds=1),
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(minutes=15),
    timedelta(days=1),
]
GRAINS = ["raw", "minute", "quarter", "day", "month"]


async def set_zone(conn: Connection, name: str) -> bool:
    async with transaction(conn):
        return await refresh_calendar(conn, ZoneInfo(name))


async def settle_until(conn: Connection, now: datetime) -> None:
    """Settle all days that are over; without messages that is one step."""
    await rollups.prepare_connection(conn)
    is_settled = True
    while is_settled:
        async with transaction(conn):
            is_settled = await rollups.settle_day(conn, now + rollups.SETTLED_AFTER)


async def list_pieces(
    conn: Connection, since: datetime, until: datetime, coarsest: str
) -> list[tuple[str, datetime, datetime]]:
    rows = await conn.execute(
        "SELECT * FROM window_pieces(%s, %s, %s) ORDER BY begins", (since, until, coarsest)
    )
    return await rows.fetchall()


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
async def test_pieces_cover_a_window_without_gap_or_overlap(database_url: str, zone: str) -> None:
    chance = random.Random(zone)
    days = list_local_days(ZoneInfo(zone))
    starts = {"day": {day for day, _ in days}, "month": {month for _, month in days}}
    async with await connect(database_url, "test") as conn:
        await set_zone(conn, zone)
        await settle_until(conn, BEGIN + timedelta(days=300))
        for _ in range(300):
            since = BEGIN + chance.randrange(40_000) * chance.choice(UNITS)
            until = since + chance.randrange(1, 3000) * chance.choice(UNITS)
            coarsest = chance.choice(GRAINS[1:])
            pieces = await list_pieces(conn, since, until, coarsest)
            assert (pieces[0][1], pieces[-1][2]) == (since, until)
            assert all(one[2] == other[1] for one, other in pairwise(pieces))
            for grain, begins, ends in pieces:
                assert GRAINS.index(grain) <= GRAINS.index(coarsest)
                if grain in ("day", "month"):
                    assert {begins, ends} <= starts[grain] | starts["day"]
                elif grain != "raw":
                    step = timedelta(minutes=15 if grain == "quarter" else 1)
                    assert (begins - BEGIN) % step == (ends - BEGIN) % step == timedelta(0)
            raw = sum((ends - begins for grain, begins, ends in pieces if grain == "raw"), timedelta(0))
            assert raw < timedelta(minutes=2)


async def test_a_year_is_a_few_pieces(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        await settle_until(conn, BEGIN + timedelta(days=400))
        pieces = await list_pieces(
            conn, BEGIN + timedelta(days=9, hours=3, minutes=2), BEGIN + timedelta(days=400), "month"
        )
    assert [grain for grain, _, _ in pieces] == ["minute", "quarter", "day", "month", "day"]


async def test_minutes_that_were_dropped_are_counted_from_the_messages(
    database_url: str, clock: SettableClock
) -> None:
    async with await connect(database_url, "test") as conn:
        async with transaction(conn):
            await rollups.drop_old_minutes(conn, clock.now())
        old = clock.now() - rollups.MINUTES_KEPT - timedelta(days=1, minutes=7)
        assert [
            grain for grain, _, _ in await list_pieces(conn, old, old + timedelta(minutes=30), "month")
        ] == ["raw", "quarter", "raw"]
        new = clock.now() - timedelta(minutes=37)
        assert [
            grain for grain, _, _ in await list_pieces(conn, new, new + timedelta(minutes=30), "month")
        ] == ["minute", "quarter", "minute"]


async def test_a_calendar_is_made_once_and_again_for_another_zone(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        assert await set_zone(conn, "Asia/Kathmandu")
        assert not await set_zone(conn, "Asia/Kathmandu")
        assert await find_timezone(conn) == "Asia/Kathmandu"
