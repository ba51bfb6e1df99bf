"""Statements of the database counted: exactly what was run, over resets, evictions, versions and missing rights."""

from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from event_stream_engine.infra.database import connect
from event_stream_engine.monitoring.postgres_server import (
    create_statements_extension,
    find_missing_statements,
    list_missing,
    load_server,
)
from event_stream_engine.monitoring.postgres_snapshots import MOST_STATEMENTS, take_snapshot
from tests.observed import MINUTE, Observed


async def test_statements_run_between_two_looks_are_counted_exactly(observed: Observed) -> None:
    await observed.run("SELECT 'before' AS early", 3)
    await observed.look()
    assert (await observed.load()).statements.calls == 0
    await observed.run("SELECT 'before' AS early", 2)
    await observed.run("SELECT 40 + 2 AS answer FROM generate_series(1, 7)", 5)
    await observed.look()
    assert await observed.calls("AS early") == 2
    answer = await observed.find("AS answer")
    assert answer is not None
    assert (answer.calls, answer.rows) == (5, 35)
    assert answer.text == "SELECT $1 + $2 AS answer FROM generate_series($3, $4)"
    assert answer.fastest_ns <= answer.total_ns / 5 <= answer.slowest_ns <= answer.total_ns
    await observed.look()
    assert await observed.calls("AS answer") == 5


async def test_total_is_the_sum_of_the_statements(observed: Observed) -> None:
    await observed.look()
    await observed.run("SELECT 1 AS one", 4)
    await observed.look()
    totals = (await observed.load()).statements
    statements = await observed.statements()
    assert totals.calls == sum(one.calls for one in statements) > 4
    assert totals.total_ns == sum(one.total_ns for one in statements)


async def test_slow_call_is_the_slowest_of_its_minute_alone(observed: Observed) -> None:
    await observed.look()
    await observed.run("SELECT pg_sleep(0.05) AS nap")
    await observed.look()
    nap = await observed.find("AS nap")
    assert nap is not None
    assert nap.slowest_ns >= 50_000_000
    await observed.run("SELECT pg_sleep(0) AS nap", 3)
    await observed.look(timedelta(minutes=5))
    now = observed.clock.now()
    latest = [one for one in await observed.statements(now - 2 * MINUTE) if "AS nap" in (one.text or "")]
    assert latest[0].calls == 3
    assert latest[0].slowest_ns < 50_000_000


async def test_reset_in_between_loses_nothing_after_it_and_is_told(observed: Observed) -> None:
    await observed.run("SELECT 1 AS mine", 9)
    await observed.look()
    await observed.run("SELECT 1 AS mine", 2)
    await observed.run("SELECT pg_stat_statements_reset()")
    await observed.run("SELECT 1 AS mine", 20)  # more than before: no counter has fallen
    await observed.look()
    assert await observed.calls("AS mine") == 20
    [loss] = (await observed.load()).losses
    assert (loss.kind, loss.unseen_since) == ("statements_reset", observed.clock.now() - MINUTE)
    assert loss.at is not None
    await observed.look()
    assert await observed.calls("AS mine") == 20
    assert len((await observed.load()).losses) == 1


async def test_reset_of_one_statement_counts_it_anew(observed: Observed) -> None:
    await observed.run("SELECT 1 AS mine", 9)
    await observed.look()
    [(query_id,)] = await observed.rows(
        "SELECT queryid FROM pg_stat_statements WHERE query = 'SELECT $1 AS mine'"
    )
    await observed.run(f"SELECT pg_stat_statements_reset(0, 0, {query_id})")
    await observed.run("SELECT 1 AS mine", 4)
    await observed.look()
    assert await observed.calls("AS mine") == 4


async def test_look_that_fails_counts_nothing_and_the_next_one_all(observed: Observed) -> None:
    await observed.look()
    await observed.run("SELECT 1 AS mine", 3)
    observed.clock.advance(MINUTE)
    await observed.run("ALTER TABLE database_snapshots ADD CONSTRAINT full_disk CHECK (since IS NULL)")
    with pytest.raises(psycopg.errors.CheckViolation):
        await take_snapshot(observed.conn, observed.clock.now())
    await observed.run("ALTER TABLE database_snapshots DROP CONSTRAINT full_disk")
    await observed.run("SELECT 1 AS mine", 2)
    await observed.look()
    assert await observed.calls("AS mine") == 5


async def test_of_very_many_statements_the_most_expensive_have_names_and_none_is_lost(
    observed: Observed,
) -> None:
    await observed.look()
    for number in range(MOST_STATEMENTS + 20):
        await observed.run(f"SELECT {', '.join('1' * (number + 1))}")
    await observed.run("SELECT pg_sleep(0.02) AS expensive")
    await observed.look()
    statements = await observed.statements()
    named = [one for one in statements if one.text]
    assert len(named) == MOST_STATEMENTS
    assert "SELECT pg_sleep($1) AS expensive" in [one.text for one in named]
    [others] = [one for one in statements if one.text is None]
    assert others.calls + sum(one.calls for one in named) == (await observed.load()).statements.calls


async def test_text_holds_no_string_and_no_secret(observed: Observed) -> None:
    await observed.look()
    await observed.run("-- it's a comment\nDO $$BEGIN PERFORM 'secret'; END$$")
    await observed.run("SET application_name = 'it''s +14155551234'")
    await observed.look()
    for (text,) in await observed.rows("SELECT text FROM statement_texts"):
        assert "secret" not in text
        assert "4155551234" not in text


async def test_what_others_run_in_another_database_is_not_counted(
    observed: Observed, empty_database_url: str
) -> None:
    await observed.look()
    async with await connect(empty_database_url, "test") as stranger:
        await stranger.execute("SELECT 1 AS elsewhere")
    await observed.look()
    assert await observed.calls("AS elsewhere") == 0


async def test_statements_of_another_role_are_counted_without_their_text(observed: Observed) -> None:
    await observed.look()
    async with observed.role("stranger") as stranger:
        await stranger.execute("SELECT 1 AS private")
        await stranger.execute("SELECT 1 AS private")
    await observed.look()
    assert await observed.calls("AS private") == 0
    assert await observed.rows("SELECT 1 FROM statement_texts WHERE text LIKE %s", "%private%") == []
    [others] = [one for one in await observed.statements() if one.text is None]
    assert others.calls >= 2


async def test_role_without_the_right_sees_its_own_statements_and_is_told_the_grant(
    observed: Observed,
) -> None:
    async with observed.role("lowly", owns_tables=True) as lowly:
        narrow = Observed(lowly, lowly, observed.clock)
        await narrow.look()
        await narrow.run("SELECT 1 AS mine", 3)
        await observed.run("SELECT 1 AS hidden", 3)
        await narrow.look()
        assert await narrow.calls("AS mine") == 3
        assert all("hidden" not in (one.text or "") for one in await narrow.statements())
        missing = {one.name: one for one in list_missing(await load_server(lowly))}
        assert missing["pg_read_all_stats"].commands == (f"GRANT pg_read_all_stats TO {narrow.role_name};",)
        assert (
            (await narrow.load())
            .unknown["missing.pg_read_all_stats"]
            .endswith(f"As a superuser: GRANT pg_read_all_stats TO {narrow.role_name};")
        )
        await observed.run(f"GRANT pg_read_all_stats TO {narrow.role_name}")
        assert "pg_read_all_stats" not in {one.name for one in list_missing(await load_server(lowly))}


async def test_without_the_extension_all_else_is_counted_and_the_command_told(observed: Observed) -> None:
    await observed.run("DROP EXTENSION pg_stat_statements")
    await observed.look()
    await observed.run(
        "INSERT INTO log_cursors SELECT 'x' || n, '0', 0, 0, now() FROM generate_series(1, 5) n"
    )
    await observed.look_settled()
    found = await observed.load()
    assert found.statements.calls == 0
    assert found.counts.commits > 0
    assert "CREATE EXTENSION pg_stat_statements;" in found.unknown["database_performance.query_metrics"]
    assert await create_statements_extension(observed.worker)
    assert find_missing_statements(await load_server(observed.conn)) is None
    await observed.look()
    await observed.run("SELECT 1 AS mine", 3)
    await observed.look()
    assert await observed.calls("AS mine") == 3


async def test_extension_is_not_made_without_the_right_and_nothing_fails(observed: Observed) -> None:
    await observed.run("DROP EXTENSION pg_stat_statements")
    async with observed.role("lowly") as lowly:
        assert not await create_statements_extension(lowly)
        assert await (await lowly.execute("SELECT 1")).fetchone() == (1,)


async def test_function_that_may_not_be_called_is_told(observed: Observed) -> None:
    await observed.run("REVOKE EXECUTE ON FUNCTION pg_stat_statements(boolean) FROM PUBLIC")
    async with observed.role("lowly", owns_tables=True) as lowly:
        missing = find_missing_statements(await load_server(lowly))
        assert missing is not None
        [command] = missing.commands
        assert await Observed(lowly, lowly, observed.clock).look()
        await observed.run(command)
        assert find_missing_statements(await load_server(lowly)) is None


@pytest.mark.parametrize("version", ["1.9", "1.10", "1.11"])
async def test_columns_of_every_version_are_understood(observed: Observed, version: str) -> None:
    """1.9 is PostgreSQL 14's, 1.10 that of 15 and 16, 1.11 that of 17, 1.12 that of 18."""
    query = "SELECT 1 FROM pg_available_extension_versions WHERE name = 'pg_stat_statements' AND version = %s"
    if version != "1.9" and not await observed.rows(query, version):
        pytest.skip("a newer PostgreSQL's")
    await observed.run("DROP EXTENSION pg_stat_statements")
    await observed.run(sql.SQL("CREATE EXTENSION pg_stat_statements VERSION {}").format(version))
    await observed.look()
    await observed.run("SELECT 1 AS mine", 3)
    await observed.look()
    assert await observed.calls("AS mine") == 3


async def test_extension_in_a_schema_of_its_own_is_found(observed: Observed) -> None:
    await observed.run('CREATE SCHEMA "Its own"')
    await observed.run('ALTER EXTENSION pg_stat_statements SET SCHEMA "Its own"')
    await observed.look()
    await observed.run("SELECT 1 AS mine", 3)
    await observed.look()
    assert await observed.calls("AS mine") == 3
