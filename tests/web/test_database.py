"""The database over HTTP: figures of known traffic, what is missing, the pool, the page, and refused questions."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres import load_database_summary
from event_stream_engine.monitoring.postgres_pools import load_pools, note_pool
from event_stream_engine.monitoring.postgres_snapshots import take_snapshot
from event_stream_engine.monitoring.processes import Process, beat
from event_stream_engine.web.periods import PERIODS, Period
from event_stream_engine.web.render import _TEMPLATES
from tests.engine import Engine, make_settings, running_engine
from tests.observed import Observed
from tests.web.test_room_pages import load_page

DATABASE = "/api/v1/monitoring/database"
PAGE = "/performance/database"
MINUTE = timedelta(minutes=1)
IDLE = {"pool_size": 4, "pool_available": 3, "pool_max": 10, "requests_waiting": 0}


@pytest.fixture
async def looked_at(engine: Engine) -> Engine:
    """An engine whose database ran five slow statements of one kind between two looks."""
    now = datetime.now(UTC)
    async with await connect(engine.url, "test") as conn:
        await conn.execute("SELECT pg_stat_statements_reset()")
        await take_snapshot(conn, now - 2 * MINUTE)
        for _ in range(5):
            await conn.execute("SELECT pg_sleep(0.02) AS nap, '<script>' AS hostile")
        await take_snapshot(conn, now - MINUTE)
    return engine


async def test_known_traffic_is_found_in_the_answer(looked_at: Engine) -> None:
    answer = await looked_at.get(DATABASE)
    metrics = answer["database_performance"]["query_metrics"]
    listed = (await looked_at.get(f"{DATABASE}/statements"))["statements"]
    [nap] = [one for one in listed if "AS nap" in (one["text"] or "")]
    assert nap["calls"] == 5
    assert nap["total_time_ms"] >= 100
    assert nap["mean_time_ms"] == round(nap["total_time_ms"] / 5, 4)
    assert metrics["total_queries_24h"] == sum(one["calls"] for one in listed)
    total = sum(one["total_time_ms"] for one in listed)
    assert abs(metrics["average_query_time_ms"] - total / metrics["total_queries_24h"]) < 0.001
    assert metrics["slowest_query_ms"] == max(one["slowest_ms"] for one in listed) >= 20
    assert metrics["fastest_query_ms"] == min(one["fastest_ms"] for one in listed)
    assert (answer["is_at_least"], answer["losses"], answer["missing"]) == (False, [], [])
    assert sum(one["share_percent"] for one in listed) == pytest.approx(100, abs=1)
    nothing = await looked_at.get(DATABASE, until=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    assert nothing["database_performance"]["query_metrics"]["total_queries_24h"] is None
    assert "Nobody looked" in nothing["unknown"]["database_performance.query_metrics"]


async def test_page_shows_statements_and_keeps_hostile_text_text(looked_at: Engine) -> None:
    page = await load_page(looked_at, PAGE)
    assert "AS nap" in page.text
    assert "&lt;script&gt;" not in page.text  # a literal, so it is not even there
    assert page.refused == []


async def test_reset_is_told_to_the_person(looked_at: Engine) -> None:
    async with await connect(looked_at.url, "test") as conn:
        await conn.execute("SELECT pg_stat_statements_reset()")
        await take_snapshot(conn, datetime.now(UTC))
    answer = await looked_at.get(DATABASE)
    assert answer["is_at_least"] is True
    assert [loss["kind"] for loss in answer["losses"]] == ["statements_reset"]
    text = (await load_page(looked_at, PAGE)).text
    assert "Counts of this period are “at least”" in text
    assert "The statistics of statements were reset at" in text


async def test_missing_extension_is_told_with_the_statement_that_makes_it(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        await conn.execute("DROP EXTENSION pg_stat_statements")
    answer = await engine.get(DATABASE)
    assert answer["database_performance"]["query_metrics"]["average_query_time_ms"] is None
    assert "CREATE EXTENSION pg_stat_statements;" in answer["unknown"]["database_performance.query_metrics"]
    [missing] = answer["missing"]
    assert missing["commands"] == ["CREATE EXTENSION pg_stat_statements;"]
    listed = await engine.get(f"{DATABASE}/statements")
    assert "CREATE EXTENSION pg_stat_statements;" in listed["unknown"]["statements"]
    assert "CREATE EXTENSION pg_stat_statements;" in (await load_page(engine, PAGE)).text


async def test_missing_right_is_told_with_the_grant_that_gives_it(observed: Observed, tmp_path: Path) -> None:
    async with observed.role("lowly", owns_tables=True) as lowly:
        url = observed.url_of(lowly.info.user)
        grant = f"GRANT pg_read_all_stats TO {lowly.info.user};"
        async with running_engine(url, make_settings(tmp_path), SystemClock()) as engine:
            now = datetime.now(UTC)
            await take_snapshot(lowly, now - 2 * MINUTE)
            await take_snapshot(lowly, now - MINUTE)
            answer = await engine.get(DATABASE)
            assert answer["database_performance"]["query_metrics"]["total_queries_24h"] > 0
            assert grant in answer["unknown"]["missing.pg_read_all_stats"]
            assert grant in (await engine.get(f"{DATABASE}/activity"))["unknown"]["missing.pg_read_all_stats"]
            page = await load_page(engine, PAGE)
            assert grant in page.text
            assert "What other roles do is hidden" in page.text


async def test_pools_of_all_processes_add_up_and_telling_twice_counts_once(engine: Engine) -> None:
    now = datetime.now(UTC) + timedelta(minutes=6)  # after whatever this engine's own pool has told
    window = Window(now - MINUTE, now + MINUTE)
    async with await connect(engine.url, "test") as conn:
        processes = [Process(uuid4(), "web", now, now, 0) for _ in range(2)]
        for number, process in enumerate(processes):
            await beat(conn, process)
            stats = IDLE | {"requests_num": 10, "requests_queued": 2, "requests_wait_ms": 50 * number}
            for _ in range(2):  # the answer to the first was lost
                await note_pool(conn, process.id, stats, now)
        more = IDLE | {
            "requests_num": 30,
            "requests_queued": 2,
            "requests_wait_ms": 50,
            "requests_errors": 3,
            "connections_lost": 1,
        }
        await note_pool(conn, processes[1].id, more | {"pool_available": 0, "requests_waiting": 2}, now)
        pools = await load_pools(conn, window, now)
        assert (pools.processes, pools.size, pools.active, pools.idle) == (2, 8, 5, 3)
        assert (pools.largest, pools.waiting, pools.requests, pools.mean_wait_ms) == (20, 2, 40, 50 / 40)
        assert (pools.failed, pools.lost) == (3, 1)
        assert (await load_pools(conn, window, now + MINUTE)).processes == 0


async def test_engine_tells_of_its_own_pool(engine: Engine) -> None:
    while not await engine.rows("SELECT 1 FROM pool_states"):
        pass
    pool = (await engine.get(DATABASE))["database_performance"]["connection_pool"]
    assert pool["max_connections"] == 10
    assert 0 <= pool["active_connections"] <= 10


async def test_verdicts_and_lists_are_answered(looked_at: Engine) -> None:
    async with await connect(looked_at.url, "test") as conn:
        await conn.execute("CREATE INDEX messages_again ON messages (provider_sid)")
    answer = await looked_at.get(f"{DATABASE}/indexes")
    assert [(one["kind"], one["index"], one["command"]) for one in answer["verdicts"]] == [
        ("duplicate", "messages_again", "DROP INDEX CONCURRENTLY messages_again;")
    ]
    tables = (await looked_at.get(f"{DATABASE}/tables"))["tables"]
    assert {"events", "messages"} <= {table["table"] for table in tables}
    assert "DROP INDEX CONCURRENTLY messages_again;" in (await load_page(looked_at, PAGE)).text


async def test_blocked_session_is_shown_with_its_blocker(engine: Engine) -> None:
    async with (
        await connect(engine.url, "holder") as holder,
        await connect(engine.url, "waiter") as waiter,
    ):
        await holder.execute("BEGIN")
        await holder.execute("LOCK TABLE segments")
        waiting = asyncio.create_task(waiter.execute("SELECT '+14155551234' FROM segments"))
        try:
            async with asyncio.timeout(20):
                while True:
                    sessions = (await engine.get(f"{DATABASE}/activity"))["sessions"]
                    blocked = [one for one in sessions if one["blocked_by"]]
                    if blocked:
                        break
            page = await load_page(engine, PAGE)
        finally:
            await holder.execute("ROLLBACK")
            await waiting
    [session] = blocked
    assert (session["application"], session["depth"]) == ("waiter", 1)
    assert session["text"] == "SELECT '…' FROM segments"
    assert f'href="#session-{session["blocked_by"][0]}"' in page.text
    assert "4155551234" not in page.text


async def test_summary_for_another_page_has_its_figures_and_leads_here(looked_at: Engine) -> None:
    now = datetime.now(UTC)
    label, length = PERIODS["24h"]
    window = Window(now - length, now)
    async with await connect(looked_at.url, "test") as conn:
        summary = await load_database_summary(conn, window, now)
    text = _TEMPLATES.get_template("performance_database_summary.html").render(
        database=summary,
        period=Period("24h", label, window, MINUTE, ""),
        zone=looked_at.settings.timezone,
        as_of=now,
    )
    assert len(summary.statements) == 5
    assert 'href="/performance/database"' in text
    assert "AS nap" in text


async def test_a_question_that_is_not_understood_is_refused_by_name(engine: Engine) -> None:
    for path, parameters, field in (
        ("", {"period": "2d"}, "period"),
        ("", {"country": "US"}, "country"),
        ("/statements", {"limit": "0"}, "limit"),
        ("/tables", {"limit": "5"}, "limit"),
        ("/indexes", {"period": "1h"}, "period"),
        ("/activity", {"period": "1h"}, "period"),
    ):
        answer = await engine.client.get(f"{DATABASE}{path}", params=parameters)
        assert (answer.status_code, answer.json()["field"]) == (422, field), (path, parameters)
