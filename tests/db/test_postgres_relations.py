"""Tables and indexes counted, judged and measured; resets and losses of their statistics; who blocks whom."""

import asyncio
from datetime import timedelta

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres_activity import Session, list_sessions
from event_stream_engine.monitoring.postgres_indexes import Verdict, judge_indexes, list_indexes
from event_stream_engine.monitoring.postgres_snapshots import take_snapshot
from event_stream_engine.monitoring.postgres_tables import Table, list_tables
from event_stream_engine.stream.log import try_hold_reader
from event_stream_engine.worker.observer import OBSERVER, run_observer
from tests.observed import DAY, MINUTE, Observed

WEEK = timedelta(days=7)


async def find_table(observed: Observed, name: str) -> Table:
    found = await observed.load()
    return next(table for table in found.tables if table.state.relation == name)


async def judge(observed: Observed, days: int = 7) -> dict[str, Verdict]:
    indexes = await list_indexes(observed.conn, observed.clock.now())
    return {one.index.relation: one for one in judge_indexes(indexes, timedelta(days=days))}


async def make_big(observed: Observed) -> None:
    await observed.run(
        "CREATE TABLE big AS SELECT n AS id, n % 7 AS kind FROM generate_series(1, 12000) AS n"
    )
    await observed.run("ANALYZE big")


async def test_reads_of_a_table_are_counted_exactly_and_one_without_its_index_is_found(
    observed: Observed,
) -> None:
    await make_big(observed)
    await observed.run("CREATE INDEX big_id ON big (id)")
    await observed.look_settled()
    await observed.run("SET enable_seqscan = off")
    await observed.run("SELECT kind FROM big WHERE id = 5", 4)
    await observed.run("RESET enable_seqscan")
    await observed.run("SELECT count(*) FROM big WHERE kind = 3", 16)
    await observed.look_settled()
    table = await find_table(observed, "big")
    assert (table.counts.seq_scans, table.counts.seq_rows, table.counts.index_scans) == (16, 16 * 12000, 4)
    assert (table.scan_ratio, table.lacks_index) == (80.0, True)
    found = await observed.load()
    assert found.table_scan_ratio == 80.0
    assert found.is_index_usage_optimal is False
    assert not (await find_table(observed, "messages")).lacks_index


async def test_reset_of_the_statistics_counts_what_came_after_it_and_is_told(observed: Observed) -> None:
    await make_big(observed)
    await observed.run("SELECT count(*) FROM big", 2)
    await observed.look_settled()
    await observed.run("SELECT count(*) FROM big", 3)
    await observed.run("SELECT pg_stat_force_next_flush()")
    await observed.run("SELECT pg_stat_reset()")
    await observed.run("SELECT count(*) FROM big", 30)  # more than before: no counter has fallen
    await observed.look_settled()
    assert (await find_table(observed, "big")).counts.seq_scans == 30
    [loss] = (await observed.load()).losses
    assert (loss.kind, loss.unseen_since) == ("statistics_reset", observed.clock.now() - MINUTE)
    await observed.look_settled()
    found = await observed.load()
    assert (await find_table(observed, "big")).counts.seq_scans == 30
    assert min(found.counts.commits, found.counts.blocks_hit, found.counts.wal_bytes) >= 0


async def test_counters_that_fell_without_a_reset_are_counted_anew(observed: Observed) -> None:
    """As after a crash of the server, which forgets its statistics and does not say when."""
    await observed.look_settled()
    await observed.run(
        "UPDATE database_marks SET counters = ARRAY(SELECT n + 1000000000 FROM unnest(counters) AS n) WHERE kind IN ('server', 'table', 'index')"
    )
    await observed.look_settled()
    found = await observed.load()
    assert 0 < found.counts.commits < 1_000_000_000
    assert [(loss.kind, loss.at) for loss in found.losses] == [("statistics_reset", None)]


async def test_partitions_count_as_their_table(observed: Observed) -> None:
    await observed.run("SELECT ensure_event_partition('2026-03-01'), ensure_event_partition('2026-03-02')")
    await observed.look_settled()
    await observed.run(
        "INSERT INTO events (received_on, received_at, event_type, dedupe_key, is_live, payload)"
        " SELECT '2026-03-01'::date + n % 2, '2026-03-01', 'x', gen_random_uuid(), false, '{}' FROM generate_series(1, 10) AS n"
    )
    await observed.look_settled()
    table = await find_table(observed, "events")
    assert (table.counts.inserted, table.state.partitions >= 2) == (10, True)
    relations = {table.state.relation for table in (await observed.load()).tables}
    assert not any(name.startswith("events_") for name in relations)
    indexes = {index.relation for index in await list_indexes(observed.conn, observed.clock.now())}
    assert "events_pkey" in indexes
    assert not any(name.startswith("events_2") for name in indexes)


async def test_growth_a_day_is_known_after_a_day(observed: Observed) -> None:
    await observed.run("CREATE TABLE growing (word text)")
    await observed.look_settled()
    assert (await find_table(observed, "growing")).growth_bytes_per_day is None
    before = (await find_table(observed, "growing")).state.bytes or 0
    for _ in range(3):
        await observed.run("INSERT INTO growing SELECT repeat('x', 1000) FROM generate_series(1, 800)")
        await observed.look_settled(DAY)
    await observed.run("CREATE TABLE later AS SELECT n FROM generate_series(1, 30000) AS n")
    await observed.look_settled()
    table, later = await find_table(observed, "growing"), await find_table(observed, "later")
    size, later_size = table.state.bytes or 0, later.state.bytes or 0
    grown = size - before
    assert grown > 2_000_000
    # From the quarter-hour of the first look on.
    assert table.growth_bytes_per_day is not None
    assert abs(table.growth_bytes_per_day - grown / 3) < grown / 3 * 0.01
    assert later.growth_bytes_per_day is not None
    assert abs(later.growth_bytes_per_day - later_size / 3) < later_size / 3 * 0.01
    assert (await find_table(observed, "segments")).growth_bytes_per_day == 0
    found = await observed.load()
    growth = found.size.growth_bytes_per_day(observed.clock.now())
    assert growth is not None
    assert growth > 0


async def test_indexes_of_no_use_are_found_with_the_command_that_acts(observed: Observed) -> None:
    await make_big(observed)
    await observed.run("ALTER TABLE big ADD PRIMARY KEY (id)")
    await observed.run("CREATE INDEX big_kind ON big (kind)")
    await observed.run("CREATE INDEX big_kind_again ON big (kind)")
    await observed.run("CREATE INDEX big_kind_id ON big (kind, id)")
    await observed.run("CREATE INDEX big_idle ON big ((kind + 1))")
    await observed.run("CREATE UNIQUE INDEX big_rule ON big (id, kind)")
    await observed.run("CREATE INDEX big_used ON big ((kind + 2))")
    await observed.run("CREATE INDEX big_broken ON big ((kind + 3))")
    await observed.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'big_broken'::regclass")
    await observed.run("SET enable_seqscan = off")
    await observed.run("SELECT id FROM big WHERE kind + 2 = 4")
    await observed.look_settled()
    verdicts = {name: one for name, one in (await judge(observed)).items() if name.startswith("big")}
    assert {name: one.kind for name, one in verdicts.items()} == {
        "big_kind": "duplicate",
        "big_kind_again": "covered",
        "big_kind_id": "unused",
        "big_idle": "unused",
        "big_broken": "invalid",
    }
    assert verdicts["big_broken"].command == "REINDEX INDEX CONCURRENTLY big_broken;"
    assert verdicts["big_idle"].command == "DROP INDEX CONCURRENTLY big_idle;"
    assert (verdicts["big_idle"].index.bytes or 0) > 0
    assert "big_idle" not in await judge(observed, days=6)
    for verdict in verdicts.values():
        await observed.run(verdict.command)  # type: ignore[arg-type]
    assert not [name for name in await judge(observed) if name.startswith("big") and name != "big_broken"]


async def test_use_of_an_index_is_remembered_over_a_reset(observed: Observed) -> None:
    await make_big(observed)
    await observed.run("CREATE INDEX big_kind ON big (kind)")
    await observed.look_settled()
    await observed.run("SET enable_seqscan = off")
    await observed.run("SELECT id FROM big WHERE kind = 4", 3)
    await observed.look_settled()
    await observed.run("SELECT pg_stat_reset()")
    await observed.look_settled()
    [index] = [
        one for one in await list_indexes(observed.conn, observed.clock.now()) if one.relation == "big_kind"
    ]
    assert (index.scans, index.scans_kept) == (0, 3)
    assert "big_kind" not in await judge(observed)


async def test_of_two_observers_one_looks_once_a_minute(observed: Observed, database_url: str) -> None:
    stopping = asyncio.Event()
    observers = [asyncio.create_task(run_observer(database_url, observed.clock, stopping)) for _ in range(2)]
    try:
        for minute in range(1, 4):
            async with asyncio.timeout(20):
                while len(await observed.rows("SELECT 1 FROM database_snapshots")) < minute:
                    await asyncio.sleep(0.05)
            observed.clock.advance(MINUTE)
    finally:
        stopping.set()
        await asyncio.gather(*observers)
    assert len(await observed.rows("SELECT minute FROM database_snapshots")) in (3, 4)
    async with asyncio.timeout(20):  # whoever looked has let go, and the next one may
        while not await try_hold_reader(observed.conn, OBSERVER):
            await asyncio.sleep(0.02)


async def test_minute_is_looked_at_once_whoever_tries(observed: Observed) -> None:
    assert await observed.look()
    assert not await take_snapshot(observed.worker, observed.clock.now())
    assert not await take_snapshot(
        observed.worker, observed.clock.now() - MINUTE
    )  # a clock that was set back


async def test_old_buckets_go_and_figures_of_their_time_stay(observed: Observed) -> None:
    await observed.look_settled()
    await observed.run("SELECT count(*) FROM segments", 5)
    await observed.look_settled()
    began = observed.clock.now()
    await observed.look_settled(timedelta(days=20))
    [(minutes, quarters, days)] = await observed.rows(
        "SELECT count(*) FILTER (WHERE grain = 'minute'), count(*) FILTER (WHERE grain = 'quarter'), count(*) FILTER (WHERE grain = 'day') FROM table_rollups WHERE relation = 'segments'"
    )
    assert (minutes, quarters, days) == (0, 0, 1)
    [(first,)] = await observed.rows("SELECT min(minute) FROM database_snapshots")
    assert first < began
    now = observed.clock.now()
    buckets = (await observed.load(timedelta(days=21))).buckets
    [table] = [
        one for one in await list_tables(observed.conn, buckets, now) if one.state.relation == "segments"
    ]
    assert table.counts.seq_scans == 5


async def test_blocked_session_stands_behind_the_one_that_blocks_it(
    observed: Observed, database_url: str
) -> None:
    await observed.run("INSERT INTO log_cursors VALUES ('reader', '0', 0, 0, now())")
    async with (
        await connect(database_url, "holder") as holder,
        await connect(database_url, "waiter") as waiter,
    ):
        await holder.execute("BEGIN")
        await holder.execute("UPDATE log_cursors SET id = 1 WHERE reader = 'reader'")
        waiting = asyncio.create_task(
            waiter.execute("UPDATE log_cursors SET id = 2 WHERE reader = 'reader' AND '+14155551234' <> ''")
        )
        try:
            async with asyncio.timeout(20):
                while True:
                    by_name = {one.application: one for one in await list_sessions(observed.conn)}
                    if "waiter" in by_name and by_name["waiter"].blocked_by:
                        break
                    await asyncio.sleep(0.02)
        finally:
            await holder.execute("ROLLBACK")
            await waiting
    blocked, blocker = by_name["waiter"], by_name["holder"]
    assert blocked.blocked_by == [blocker.pid]
    assert (blocker.depth, blocked.depth) == (0, 1)
    assert list(by_name).index("holder") < list(by_name).index("waiter")
    assert blocker.state == "idle in transaction"
    assert (blocked.wait or "").startswith("Lock ")
    assert blocked.text is not None
    assert "4155551234" not in blocked.text


async def test_role_without_the_right_sees_that_others_work_and_not_what(observed: Observed) -> None:
    async with observed.role("lowly") as lowly:
        await observed.worker.execute("BEGIN")
        try:
            found: list[Session] = await list_sessions(lowly)
        finally:
            await observed.worker.execute("ROLLBACK")
    assert all(one.text is None for one in found if one.pid == observed.worker.info.backend_pid)


async def test_answer_says_what_of_the_window_was_looked_at(observed: Observed) -> None:
    assert (await observed.load()).measured is None
    await observed.look()
    began = observed.clock.now()
    await observed.look()
    await observed.look()
    assert (await observed.load()).measured == Window(began, began + 2 * MINUTE)


async def test_table_that_somebody_holds_is_looked_at_without_waiting(
    observed: Observed, database_url: str
) -> None:
    await make_big(observed)
    await observed.run("CREATE INDEX big_kind ON big ((kind + 1))")
    await observed.look_settled()
    size = (await find_table(observed, "big")).state.bytes
    async with await connect(database_url, "holder") as holder:
        await holder.execute("BEGIN")
        await holder.execute("LOCK TABLE big")
        await holder.execute("REINDEX INDEX segments_pkey")
        await observed.conn.execute("SET lock_timeout = '1s'")
        assert await observed.look_settled()
        assert (await find_table(observed, "big")).state.bytes == size
        assert "big_kind" in await judge(observed)
        await holder.execute("ROLLBACK")
