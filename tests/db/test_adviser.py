"""The adviser's loop: one of several looks, once an hour, and what breaks off leaves nothing half-done."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest

from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.insights import following
from event_stream_engine.insights.look import Kind, Look
from event_stream_engine.insights.recommendation import Evidence, Examination, Recommendation
from event_stream_engine.insights.recommendations import KINDS, run_all
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.worker.adviser import advise_once, run_adviser
from tests.engine import LIVE, make_settings

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LOOK = Look(NOW, ZoneInfo("UTC"), LIVE.secret_key)


async def find_last_look(url: str) -> datetime | None:
    async with await connect(url, "test") as conn:
        return await following.find_last_look(conn)


async def wait_for_look(url: str, at: datetime) -> None:
    async with asyncio.timeout(60):
        while await find_last_look(url) != at:
            await asyncio.sleep(0.1)


async def test_of_two_advisers_one_looks_at_once_and_the_other_goes_on_after_a_kill(
    database_url: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("event_stream_engine.worker.adviser.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("event_stream_engine.worker.adviser.STANDBY_SECONDS", 0.05)
    settings, clock, stopping = make_settings(tmp_path), SettableClock(NOW), asyncio.Event()  # type: ignore[arg-type]
    rounds = [0, 0]

    def count_round(place: int) -> None:
        rounds[place] += 1

    advisers = [
        asyncio.create_task(
            run_adviser(
                settings, database_url, clock, stopping, came_round=lambda place=place: count_round(place)
            )  # type: ignore[misc]
        )
        for place in range(2)
    ]
    try:
        await wait_for_look(database_url, NOW)
        clock.advance(timedelta(minutes=59))
        before = list(rounds)
        async with asyncio.timeout(30):
            while not all(now > then + 2 for now, then in zip(rounds, before, strict=True)):
                await asyncio.sleep(0.05)
        assert await find_last_look(database_url) == NOW, "both come round, and the hour is not over"
        async with await connect(database_url, "test") as conn:
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND objsubid = 2 AND classid = (hashtext('adviser')::bigint & 4294967295)::oid"
            )
        clock.advance(timedelta(minutes=1))
        await wait_for_look(database_url, NOW + timedelta(hours=1))
    finally:
        stopping.set()
        await asyncio.gather(*advisers)


async def test_a_kind_that_takes_too_long_is_said_and_keeps_its_advice_and_the_others(
    database_url: str,
) -> None:
    advice = Recommendation(
        "slow:1", "slow", "all", "Be quick", "Now.", Evidence((), ()), 1, "thing", "/insights"
    )

    async def be_quick(_conn: Connection, _look: Look) -> Examination:
        return Examination("slow", "nothing", facts=[advice])

    async def be_slow(conn: Connection, _look: Look) -> Examination:
        await conn.execute("SELECT pg_sleep(30)")
        raise AssertionError

    async with await connect(database_url, "test", statement_timeout_ms=2000) as conn:
        for place, examine in enumerate((be_quick, be_slow)):
            kinds = [Kind("slow", "Slow", examine), *KINDS]
            now = NOW + timedelta(hours=place)
            run = await run_all(conn, Look(now, LOOK.zone, LOOK.secret_key), kinds)
            async with transaction(conn):
                await following.follow(conn, run, now)
        looks = {one.kind: one for one in await following.list_last_looks(conn)}
        assert looks["slow"].failed
        assert looks["slow"].text == "Counting took too long this time."
        assert not looks["index"].failed
        (kept,) = await following.list_followed(conn, ["open"])
        assert kept.key == "slow:1", "nobody has looked whether it still holds"


async def test_what_breaks_off_before_the_commit_is_no_look(database_url: str) -> None:
    async with await connect(database_url, "test") as conn, await connect(database_url, "other") as other:
        await other.execute("BEGIN")
        await other.execute("LOCK TABLE recommendation_looks IN ACCESS EXCLUSIVE MODE")
        looking = asyncio.create_task(advise_once(conn, LOOK))
        async with asyncio.timeout(30):
            while True:
                row = await (
                    await other.execute(
                        "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s",
                        (conn.info.backend_pid,),
                    )
                ).fetchone()
                if row and row[0]:
                    break
                await asyncio.sleep(0.05)
        await other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            await looking
        await other.execute("ROLLBACK")
        assert await following.find_last_look(other) is None
        assert await following.list_followed(other, following.STATES) == []
