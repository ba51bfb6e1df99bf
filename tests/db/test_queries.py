"""People's own SQL on a real server: what it may read, what it may not, and what stops it."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.errors import EngineError, Invalid, Unavailable
from event_stream_engine.workbench.readers import (
    Readers,
    derive_password,
    find_lacking,
    list_statements,
    make_readers,
    name_readers,
)
from event_stream_engine.workbench.running import Limits, Result, run
from event_stream_engine.workbench.statement import Refused
from tests.engine import LIVE
from tests.querying import prepare_readers

DATA = Path(__file__).parents[1] / "data"
HOSTILE: list[dict[str, str]] = json.loads((DATA / "hostile_queries.json").read_text())
DOCUMENT = {
    "consent_state_distribution": ["consent_state", "user_count", "percentage"],
    "query_performance_analysis": ["query", "calls", "total_time", "mean_time", "rows"],
    "campaign_roi_analysis": ["campaign_name", "segment_name", "messages_sent", "delivered", "delivery_rate"],
    "user_engagement_funnel": [
        "consent_state",
        "users",
        "avg_messages_received",
        "avg_responses",
        "engagement_rate",
    ],
    "index_usage_analysis": [
        "schemaname",
        "tablename",
        "indexname",
        "idx_scan",
        "idx_tup_read",
        "idx_tup_fetch",
    ],
}
# Short, so that what has to be stopped is stopped soon.
TIGHT = Limits(seconds=0.5)
FILL = """
INSERT INTO segments (id, name, filter, created_at, updated_at) VALUES ('00000000-0000-4000-8000-000000000001', 'All', '{}', now(), now());
INSERT INTO users (phone_e164, attributes, consent_state, created_at, updated_at)
SELECT '+1415555' || to_char(n, 'FM0000'), '{"city": "Austin"}', (ARRAY['OPT_IN', 'OPT_IN', 'OPT_OUT', 'STOP'])[n % 4 + 1], now() - interval '1 day', now() FROM generate_series(1, 20) n;
INSERT INTO messages (id, recipient_phone, provider_sid, channel, sender, first_seen_at, last_seen_at, first_status, last_status, sent_at, delivered_at)
SELECT gen_random_uuid(), '+1415555' || to_char(n % 10 + 1, 'FM0000'), 'SM' || n, 'sms', '+15550001111', now(), now(), status_code('sent'), status_code('delivered'), now(), now() FROM generate_series(1, 40) n;
INSERT INTO inbound_events (id, message_sid, from_phone, to_phone, channel, body, received_at, keyword, intent, is_immediate)
SELECT gen_random_uuid(), 'SMi' || n, '+1415555' || to_char(n, 'FM0000'), '+15550001111', 'sms', 'Hello', now(), '', 'general', true FROM generate_series(1, 5) n;
"""


@pytest.fixture
async def readers(database_url: str) -> Readers:
    async with await connect(database_url, "test") as conn:
        await conn.execute(FILL.encode())
    return await prepare_readers(database_url)


async def ask(readers: Readers, sql: str, *, sees_numbers: bool = False, **parameters: Any) -> Result:
    return await run(readers, sql, parameters, sees_numbers=sees_numbers)


async def take_stock(url: str) -> dict[str, Any]:
    """Return what hostile queries could change: rows, relations, roles and their settings, sequences, large objects."""
    async with await connect(url, "test") as conn:

        async def fetch(query: str) -> list[Any]:
            return await (await conn.execute(query.encode())).fetchall()

        tables = await fetch(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"
        )
        return {
            "rows": {
                name: await fetch(
                    f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {name} t"
                )
                for (name,) in tables
            },
            "relations": await fetch(
                "SELECT oid, relname, relacl::text FROM pg_class WHERE relnamespace::regnamespace::text !~ '^pg_' ORDER BY oid"
            ),
            "functions": await fetch("SELECT count(*) FROM pg_proc"),
            "roles": await fetch("SELECT rolname, rolpassword, rolconnlimit FROM pg_authid ORDER BY oid"),
            "settings": await fetch(
                "SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2"
            ),
            "sequences": await fetch("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"),
            "objects": await fetch("SELECT oid FROM pg_largeobject_metadata"),
            "sessions": await fetch(
                "SELECT pid FROM pg_stat_activity WHERE usename LIKE 'ese_queries_%%' AND datname = current_database()".replace(
                    "%%", "%"
                )
            ),
            "locks": await fetch(
                "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE locktype = 'advisory' AND d.datname = current_database()"
            ),
        }


async def test_hostile_queries_are_refused_or_stopped_and_change_nothing(
    database_url: str, readers: Readers
) -> None:
    assert len({one["sql"] for one in HOSTILE}) >= 40
    before = await take_stock(database_url)
    assert before["rows"]["public.users"][0][0] == 20
    faults: list[str] = []

    async def attack(one: dict[str, str], *, sees_numbers: bool) -> None:
        try:
            result = await run(readers, one["sql"], sees_numbers=sees_numbers, limits=TIGHT)
            faults.append(f"{one['reason']}: {one['sql'][:80]} gave {result.rows[:1]}")
        except Refused as refused:
            if not re.search(one["says"], str(refused)):
                faults.append(f"{one['reason']}: {one['sql'][:80]} was told: {refused}")

    attacks = [
        attack(one, sees_numbers=sees)
        for one in HOSTILE
        for sees in (False, True)
        if not (sees and "reading_numbers" in one["sql"])
    ]
    for first, second in zip(attacks[::2], [*attacks[1::2], None], strict=False):
        await asyncio.gather(first, *([second] if second else []))
    assert faults == []
    async with asyncio.timeout(10):
        while (after := await take_stock(database_url))["sessions"]:
            await asyncio.sleep(0.02)
    assert after == before


@pytest.mark.parametrize("name", DOCUMENT)
@pytest.mark.parametrize("sees_numbers", [False, True], ids=["masked", "numbers"])
async def test_sql_of_the_document_runs_as_printed(readers: Readers, name: str, sees_numbers: bool) -> None:
    result = await ask(readers, (DATA / f"{name}.sql").read_text(), sees_numbers=sees_numbers)
    assert [column.name for column in result.columns] == DOCUMENT[name]
    assert result.rows or name == "campaign_roi_analysis"  # there is no campaign here


async def test_joins_by_masked_numbers_count_as_by_the_numbers_themselves(readers: Readers) -> None:
    funnel = (DATA / "user_engagement_funnel.sql").read_text()
    masked, shown = [await ask(readers, funnel, sees_numbers=sees) for sees in (False, True)]
    assert sorted(masked.rows) == sorted(shown.rows)
    assert sum(row[1] for row in masked.rows) == 20


async def test_numbers_are_masked_in_every_column_and_in_conditions_and_errors(readers: Readers) -> None:
    for query in (
        "SELECT phone_e164 FROM users",
        "SELECT recipient_phone FROM messages",
        "SELECT from_phone FROM inbound_events",
        "SELECT u::text FROM users u",
        "SELECT to_jsonb(m) FROM messages m",
        "SELECT string_agg(phone_e164, ',') FROM users",
    ):
        result = await ask(readers, query)
        assert result.rows
        assert not re.search(r"1415555\d", str(result.rows)), query
    assert (await ask(readers, "SELECT count(*) FROM users WHERE phone_e164 ~ '^.1415555'")).rows == ((0,),)
    assert (
        await ask(readers, "SELECT count(*) FROM users WHERE phone_e164 = :number", number="+14155550001")
    ).rows == ((0,),)
    with pytest.raises(Refused) as refused:
        await ask(readers, "SELECT phone_e164::bigint FROM users")
    assert not re.search(r"1415555\d", str(refused.value))
    [row] = (
        await ask(
            readers,
            "SELECT count(*) FROM users WHERE phone_e164 = :number",
            sees_numbers=True,
            number="+14155550001",
        )
    ).rows
    assert row == (1,)


async def test_statements_of_others_are_shown_without_what_they_were_about(
    database_url: str, readers: Readers
) -> None:
    async with await connect(database_url, "test") as conn:
        await conn.execute(b"COMMENT ON TABLE users IS 'call +14155550199 about 20260302'")
    found = await ask(
        readers, "SELECT query FROM pg_stat_statements WHERE query LIKE 'COMMENT ON TABLE users%'"
    )
    assert [row[0] for row in found.rows] == ["COMMENT ON TABLE users IS '…'"]


async def test_a_query_for_a_number_uses_the_index_for_those_who_see_numbers(readers: Readers) -> None:
    async with readers.connection(sees_numbers=True, seconds=5) as conn:
        await conn.execute(b"SET enable_seqscan = off")
        plan = await (
            await conn.execute(b"EXPLAIN SELECT * FROM users WHERE phone_e164 = '+14155550001'")
        ).fetchall()
    assert "users_pkey" in str(plan)


async def test_more_rows_than_are_taken_are_cut_and_said(readers: Readers) -> None:
    many = "SELECT g FROM generate_series(1, 100000) g"
    result = await run(readers, many, sees_numbers=False, limits=Limits(rows=10))
    assert (len(result.rows), result.truncated) == (10, True)
    exact = await run(readers, f"{many} LIMIT 10", sees_numbers=False, limits=Limits(rows=10))
    assert (len(exact.rows), exact.truncated) == (10, False)
    wide = await run(
        readers,
        "SELECT repeat('x', 1000) FROM generate_series(1, 100)",
        sees_numbers=False,
        limits=Limits(bytes=10_500),
    )
    assert (len(wide.rows), wide.truncated) == (10, True)
    long = await ask(readers, "SELECT repeat('x', 30000), 1")
    assert (len(long.rows[0][0]), long.rows[0][1], long.truncated) == (20_001, 1, True)


async def test_values_come_with_their_types(readers: Readers) -> None:
    result = await ask(
        readers,
        """SELECT 1 AS a, 1.50 AS b, true AS c, ARRAY[1, 2] AS d, '{"k": 1}'::jsonb AS e, NULL::date AS f, 'x' AS "g h" """,
    )
    assert [(column.name, column.type) for column in result.columns] == [
        ("a", "integer"),
        ("b", "numeric"),
        ("c", "boolean"),
        ("d", "integer[]"),
        ("e", "jsonb"),
        ("f", "date"),
        ("g h", "text"),
    ]
    [row] = result.rows
    assert str(row) == """(1, Decimal('1.50'), True, '{1,2}', '{"k": 1}', None, 'x')"""


async def test_parameters_are_values_and_never_sql(readers: Readers) -> None:
    sql = "SELECT consent_state, count(*) FROM users WHERE consent_state = :state AND created_at >= :since::timestamptz GROUP BY 1 LIMIT :most -- :not\n"
    result = await ask(readers, sql, state="STOP", since="2000-01-01", most=5)
    assert result.rows == (("STOP", 5),)
    assert (await ask(readers, sql, state="' OR true --", since="2000-01-01", most=5)).rows == ()
    with pytest.raises(Invalid, match=":state, which has no value") as missing:
        await ask(readers, sql)
    assert missing.value.field == "parameters.state"
    with pytest.raises(Invalid, match="The query has no :other"):
        await ask(readers, "SELECT 1", other=1)


@pytest.mark.parametrize(
    ("sql", "marked"),
    [
        ("SELECT nope FROM users", "nope FROM users"),
        ("SELECT :a::int, :a::int,\n  nope FROM users", "nope FROM users"),
        ("SELECT 1 FROM nothing;", "nothing;"),
        ("SELECT 1 +", ""),
    ],
)
async def test_an_error_points_at_its_place(readers: Readers, sql: str, marked: str) -> None:
    with pytest.raises(Refused) as refused:
        await run(readers, sql, {"a": 1} if ":a" in sql else {}, sees_numbers=False)
    assert refused.value.position is not None
    assert sql[refused.value.position :] == marked


async def test_a_query_that_nobody_waits_for_is_ended(database_url: str, readers: Readers) -> None:
    endless = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"
    running = asyncio.create_task(run(readers, endless, sees_numbers=False))
    active = b"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ese-queries' AND datname = current_database() AND state = 'active'"
    async with await connect(database_url, "test") as conn, asyncio.timeout(10):

        async def count_active() -> int:
            row = await (await conn.execute(active)).fetchone()
            return int(row[0]) if row else 0

        while await count_active() == 0:
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        while await count_active() > 0:
            await asyncio.sleep(0.02)


async def test_more_queries_than_places_wait_and_are_then_told(
    readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("event_stream_engine.workbench.readers.WAIT_SECONDS", 0.05)
    async with (
        readers.connection(sees_numbers=False, seconds=5),
        readers.connection(sees_numbers=False, seconds=5),
    ):
        with pytest.raises(Unavailable, match="Try again"):
            await ask(readers, "SELECT 1")
        assert (await ask(readers, "SELECT 1", sees_numbers=True)).rows == ((1,),)
    assert (await ask(readers, "SELECT 1")).rows == ((1,),)


async def test_without_logins_the_error_says_what_to_do(database_url: str) -> None:
    lone = Readers(database_url, "nowhere", LIVE.secret_key)
    with pytest.raises(Unavailable, match=r"ese_queries_masked_nowhere.*ese doctor"):
        await ask(lone, "SELECT 1")


async def test_logins_are_made_anew_without_harm_also_by_two_at_once(
    database_url: str, readers: Readers
) -> None:
    async with await connect(database_url, "one") as one, await connect(database_url, "two") as two:
        assert await asyncio.gather(
            make_readers(one, LIVE.secret_key), make_readers(two, LIVE.secret_key)
        ) == [[], []]
        assert await find_lacking(one) == []
        await one.execute(b"CREATE VIEW reading.later AS SELECT 1 AS x")  # as an upgrade would
        assert await find_lacking(one) == [reader.name for reader in name_readers(one.info.dbname)]
        await make_readers(one, LIVE.secret_key)
        assert await find_lacking(one) == []
    assert (await ask(readers, "SELECT x FROM later")).rows == ((1,),)


async def test_who_may_not_make_logins_is_told_the_statements_and_no_secret(database_url: str) -> None:
    async with await connect(database_url, "test") as admin, admin.transaction(force_rollback=True):
        await admin.execute(b"CREATE ROLE ese_test_plain")
        await admin.execute(b"SET LOCAL ROLE ese_test_plain")
        statements = await make_readers(admin, LIVE.secret_key)
        readers = name_readers(admin.info.dbname)
    text = "\n".join(statements)
    for reader in readers:
        assert f'CREATE ROLE "{reader.name}" LOGIN' in text
        assert derive_password(LIVE.secret_key, reader.name) not in text
    assert text.count("PASSWORD 'SCRAM-SHA-256$") == 2
    async with await connect(database_url, "test") as conn:  # what is printed is what works
        for statement in statements:
            await conn.execute(statement.encode())
        assert await find_lacking(conn) == []


async def test_an_engine_without_superuser_makes_its_logins_itself(empty_database_url: str) -> None:
    async with await connect(empty_database_url, "test") as admin:
        name = admin.info.dbname
        await admin.execute(b"CREATE ROLE ese_test_maker LOGIN CREATEROLE")
        try:
            await admin.execute(f"ALTER DATABASE {name} OWNER TO ese_test_maker".encode())
            url = empty_database_url.replace("ese@", "ese_test_maker@")
            await prepare_database(url, ZoneInfo("UTC"))
            readers = await prepare_readers(url)
            assert await prepare_readers(url)  # again, when they are there
            for sees_numbers in (False, True):
                assert (await ask(readers, "SELECT count(*) FROM users", sees_numbers=sees_numbers)).rows == (
                    (0,),
                )
        finally:
            await admin.execute(b"REASSIGN OWNED BY ese_test_maker TO ese")
            await admin.execute(b"DROP OWNED BY ese_test_maker CASCADE")
            for reader in name_readers(name):
                await admin.execute(f'DROP OWNED BY "{reader.name}"; DROP ROLE "{reader.name}"'.encode())
            await admin.execute(b"DROP ROLE ese_test_maker")


async def try_to_ask(readers: Readers) -> str | None:
    try:
        await ask(readers, "SELECT 1")
    except EngineError as error:
        return str(error)
    return None


async def test_the_password_is_the_one_that_the_server_knows(database_url: str, readers: Readers) -> None:
    async with await connect(database_url, "test") as admin:
        row = await (await admin.execute(b"SHOW hba_file")).fetchone()
        assert row is not None
        hba = Path(row[0])
        before = hba.read_text()
        name = readers.find_reader(sees_numbers=False).name
        try:
            hba.write_text(f'local all "{name}" scram-sha-256\n{before}')
            await admin.execute(b"SELECT pg_reload_conf()")
            other = Readers(database_url, admin.info.dbname, "another secret key, as long as it has to be")
            async with asyncio.timeout(10):
                while (told := await try_to_ask(other)) is None:  # until the server has read its file again
                    await asyncio.sleep(0.02)
            assert "password authentication failed" in told
            assert (await ask(readers, "SELECT 1")).rows == ((1,),)
        finally:
            hba.write_text(before)
            await admin.execute(b"SELECT pg_reload_conf()")


async def test_logins_can_do_nothing_beside_reading_the_views(database_url: str, readers: Readers) -> None:
    """The database's own walls, without the checks before them."""
    for sees_numbers in (False, True):
        async with readers.connection(sees_numbers=sees_numbers, seconds=5) as conn:
            for statement, error in (
                ("CREATE TABLE mine (x int)", psycopg.Error),
                ("CREATE TEMP TABLE mine (x int)", psycopg.errors.ReadOnlySqlTransaction),
                ("SELECT * FROM public.sessions", psycopg.errors.InsufficientPrivilege),
                ("SET SESSION AUTHORIZATION postgres", psycopg.Error),
                ("SET ROLE ese", psycopg.errors.InsufficientPrivilege),
                ("SELECT pg_read_file('/etc/passwd')", psycopg.errors.InsufficientPrivilege),
                ("COPY (SELECT 1) TO '/tmp/x'", psycopg.errors.InsufficientPrivilege),
                ("SELECT * FROM pg_authid", psycopg.errors.InsufficientPrivilege),
                ("SELECT key FROM public.masking_key", psycopg.errors.InsufficientPrivilege),
            ):
                with pytest.raises(error):
                    await conn.execute(statement.encode())
            for changed in ("users", "messages", "campaigns"):
                with pytest.raises(psycopg.Error):
                    await conn.execute(f"BEGIN; SET TRANSACTION READ WRITE; DELETE FROM {changed}".encode())
                await conn.execute(b"ROLLBACK")


async def test_statements_name_only_this_database_and_its_own_logins(
    database_url: str, postgres: str
) -> None:
    async with await connect(database_url, "test") as conn, await connect(postgres, "test") as other:
        here = {reader.name for reader in name_readers(conn.info.dbname)}
        there = {reader.name for reader in name_readers(other.info.dbname)}
        assert not here & there
        roles = set(re.findall(r"ese_queries_\w+", " ".join(await list_statements(conn, LIVE.secret_key))))
        assert roles == here
    long = name_readers("d" * 63)
    assert all(len(reader.name.encode()) <= 63 for reader in long)
    assert long != name_readers("d" * 62 + "e")
