"""Saved queries on a real database: kept and shared, run by themselves, and measured by alert rules."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.alerting import rules
from event_stream_engine.alerting import standings as alert_standings
from event_stream_engine.audit.entries import Actor
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Conflict, Denied, Invalid, NotFound
from event_stream_engine.reporting import query_runs, query_schedules
from event_stream_engine.workbench import saved_queries
from event_stream_engine.workbench.parameters import Parameter
from event_stream_engine.workbench.readers import Readers, make_readers, open_readers
from event_stream_engine.workbench.saved_queries import Draft, Person, SavedQuery
from event_stream_engine.worker.evaluator import tick
from event_stream_engine.worker.scheduler import read_next_number, run_next_query
from tests.engine import LIVE, make_settings
from tests.sending import OPERATOR, add_people

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
ADA = Person(Actor("operator:ada"), "Ada")
BOB = Person(Actor("operator:bob"), "Bob")
ADMIN = Person(Actor("operator:eve"), "Eve", is_admin=True)
COUNT = Draft("People", "SELECT count(*) AS people FROM users", is_shared=True)
LIST = Draft(
    "Numbers",
    "SELECT phone_e164, 7 AS seven FROM users ORDER BY created_at LIMIT :most",
    "",
    [Parameter("most", "integer", 10)],
)
SPECIFICATION = Path("/work/shared/spec/monitoring-analytics.md")
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    """A connection to a database with the logins of queries, in which no rule is switched on and one channel is there."""
    async with await connect(database_url, "test") as opened:
        assert await make_readers(opened, LIVE.secret_key) == []
        await opened.execute("UPDATE alert_rules SET is_enabled = false")
        yield opened


@pytest.fixture
def readers(conn: Connection, database_url: str, tmp_path: Path) -> Readers:
    return open_readers(make_settings(tmp_path), database_url)


async def save(conn: Connection, draft: Draft = COUNT, person: Person = ADA) -> SavedQuery:
    async with transaction(conn):
        return await saved_queries.create_query(conn, person, draft, NOON)


async def add_channel(conn: Connection, kind: str = "apprise") -> UUID:
    channel_id = uuid4()
    await conn.execute(
        "INSERT INTO notification_channels (id, name, kind, sealed_target, shown_target, is_enabled, created_at)"
        " VALUES (%s, %s, %s, 'x', 'x', true, %s)",
        (channel_id, f"people {channel_id}", kind, NOON),
    )
    return channel_id


async def schedule(
    conn: Connection, query: SavedQuery, person: Person = ADA, **changes: Any
) -> query_schedules.Schedule:
    """Have a query run every day at half past twelve."""
    draft = query_schedules.Draft(time(12, 30), await add_channel(conn))
    async with transaction(conn):
        return await query_schedules.create_schedule(
            conn, person, query.id, replace(draft, **changes), zone=UTC_ZONE, now=NOON
        )


async def fetch(conn: Connection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    return await (await conn.execute(query, parameters)).fetchall()  # type: ignore[arg-type]


async def list_told(conn: Connection) -> list[tuple[str, str]]:
    return [
        (title, body)
        for title, body in await fetch(
            conn,
            "SELECT n.title, n.body FROM notice_deliveries d JOIN notices n ON n.key = d.notice_key ORDER BY d.id",
        )
    ]


async def test_the_texts_of_the_document_are_shipped_as_they_are_printed(conn: Connection) -> None:
    shipped = {sql for (sql,) in await fetch(conn, "SELECT sql FROM saved_queries WHERE owner IS NULL")}
    for copy in DATA.glob("*.sql"):
        assert copy.read_text("utf-8").rstrip("\n") in shipped, copy.name
    if SPECIFICATION.exists():
        printed = re.findall(r"```sql\n(.*?)\n```", SPECIFICATION.read_text("utf-8"), re.DOTALL)
        assert len(printed) == 5
        assert set(printed) <= shipped


async def test_every_shipped_query_runs_with_its_defaults(conn: Connection, readers: Readers) -> None:
    await add_people(conn, 3, NOON)
    person = Person(OPERATOR, "test")
    clock = SettableClock(NOON)
    for query in await saved_queries.list_queries(conn, person):
        await schedule(conn, query)
    clock.advance(timedelta(hours=1))
    while await run_next_query(conn, readers, UTC_ZONE, clock):
        pass
    failed = await fetch(
        conn,
        "SELECT q.name, r.reason FROM query_runs r JOIN query_schedules s ON s.id = r.schedule_id"
        " JOIN saved_queries q ON q.id = s.query_id WHERE r.reason <> ''",
    )
    assert failed == []
    assert await fetch(conn, "SELECT count(*) FROM query_runs") == [(10,)]


async def test_a_query_is_seen_by_its_owner_until_it_is_shared(conn: Connection) -> None:
    query = await save(conn, LIST)
    with pytest.raises(NotFound):
        await saved_queries.load_query(conn, query.id, BOB)
    assert query.id not in {one.id for one in await saved_queries.list_queries(conn, ADMIN)}
    async with transaction(conn):
        await saved_queries.change_query(conn, ADA, query.id, replace(LIST, is_shared=True), seen=1, now=NOON)
    assert (await saved_queries.load_query(conn, query.id, BOB)).owner_name == "Ada"
    with pytest.raises(Denied, match="Only Ada or an admin"):
        await saved_queries.delete_query(conn, BOB, query.id, NOON)
    await saved_queries.delete_query(conn, ADMIN, query.id, NOON)


async def test_a_shipped_query_is_never_changed(conn: Connection) -> None:
    [(shipped_id,)] = await fetch(conn, "SELECT id FROM saved_queries WHERE name = 'Index usage'")
    with pytest.raises(Denied, match="Save a copy"):
        await saved_queries.change_query(conn, ADMIN, shipped_id, COUNT, seen=1, now=NOON)
    with pytest.raises(Denied, match="Save a copy"):
        await saved_queries.delete_query(conn, ADMIN, shipped_id, NOON)


async def test_two_who_change_a_query_do_not_overwrite_each_other(conn: Connection) -> None:
    query = await save(conn)
    first = replace(COUNT, sql="SELECT 1 AS one")
    await saved_queries.change_query(conn, ADA, query.id, first, seen=1, now=NOON)
    with pytest.raises(Conflict, match="changed since you read it"):
        await saved_queries.change_query(conn, ADMIN, query.id, COUNT, seen=1, now=NOON)
    versions = await saved_queries.list_versions(conn, query.id)
    assert [(one.version, one.sql) for one in versions] == [(2, first.sql), (1, COUNT.sql)]


async def test_a_new_name_alone_makes_no_version_and_the_oldest_versions_go(conn: Connection) -> None:
    query = await save(conn)
    await saved_queries.change_query(conn, ADA, query.id, replace(COUNT, name="All"), seen=1, now=NOON)
    assert len(await saved_queries.list_versions(conn, query.id)) == 1
    for seen in range(2, 60):
        draft = replace(COUNT, sql=f"SELECT {seen} AS n")
        await saved_queries.change_query(conn, ADA, query.id, draft, seen=seen, now=NOON)
    versions = await saved_queries.list_versions(conn, query.id)
    assert len(versions) == saved_queries.MOST_VERSIONS
    assert versions[0].version == 60


async def test_a_name_is_free_for_others_and_taken_for_its_owner(conn: Connection) -> None:
    await save(conn)
    await save(conn, person=BOB)
    with pytest.raises(Invalid) as refused:
        await save(conn, replace(COUNT, name="people"))
    assert refused.value.field == "name"


async def test_the_trail_knows_of_every_change_and_holds_no_text(conn: Connection) -> None:
    query = await save(conn, replace(LIST, sql="SELECT '+14155551234' AS number", parameters=[]))
    await saved_queries.delete_query(conn, ADA, query.id, NOON)
    trail = await fetch(conn, "SELECT action, actor, after::text, before::text FROM audit_log ORDER BY id")
    assert [(action, actor) for action, actor, *_ in trail] == [
        ("saved_query.created", "operator:ada"),
        ("saved_query.deleted", "operator:ada"),
    ]
    assert "4155551234" not in str(trail)


async def test_a_due_query_runs_once_among_several_workers_and_is_told(
    conn: Connection, database_url: str, readers: Readers
) -> None:
    await add_people(conn, 3, NOON)
    made = await schedule(conn, await save(conn, LIST), given={"most": 2})
    clock = SettableClock(NOON)
    assert not await run_next_query(conn, readers, UTC_ZONE, clock)
    clock.set(NOON + timedelta(minutes=31))
    async with await connect(database_url, "other") as other:
        both = await asyncio.gather(
            run_next_query(conn, readers, UTC_ZONE, clock), run_next_query(other, readers, UTC_ZONE, clock)
        )
    assert sorted(both) == [False, True]
    [(title, body)] = await list_told(conn)
    assert title == "Numbers: 2 rows"
    assert re.fullmatch(r"phone_e164 \| seven\n(\+1••••\d\d·[0-9a-f]{16} \| 7\n?){2}", body), body
    [run] = await query_runs.list_runs(conn, [made.id])
    assert (run.reason, run.row_count, run.is_truncated, run.due_at) == ("", 2, False, made.due_at)
    csv = await query_runs.load_csv(conn, made.id, run.due_at)
    assert csv.splitlines()[0] == "phone_e164,seven"
    assert not re.search(r"\d{8}", csv.replace("·", " ").split(" ")[0])
    [again] = await query_schedules.list_schedules(conn, ADA)
    assert again.due_at == NOON + timedelta(days=1, minutes=30)
    assert not await run_next_query(conn, readers, UTC_ZONE, clock)


async def test_a_worker_that_died_while_a_query_ran_is_followed_by_another_and_nobody_is_told_twice(
    conn: Connection, readers: Readers
) -> None:
    await schedule(conn, await save(conn))
    clock = SettableClock(NOON + timedelta(hours=1))
    async with transaction(conn):
        claimed = await query_runs.claim_schedule(conn, clock.now())
    assert claimed is not None
    assert not await run_next_query(conn, readers, UTC_ZONE, clock)  # it is somebody's
    clock.advance(query_runs.CLAIM)
    assert await run_next_query(conn, readers, UTC_ZONE, clock)
    async with transaction(conn):  # the one taken for dead comes back
        is_ours = await query_runs.record_failure(
            conn, claimed[0], claimed[1], "late", zone=UTC_ZONE, now=clock.now()
        )
    assert not is_ours
    assert [title for title, _ in await list_told(conn)] == ["People: 1 row"]


async def test_what_was_missed_for_days_is_made_up_for_once(conn: Connection, readers: Readers) -> None:
    await schedule(conn, await save(conn))
    clock = SettableClock(NOON + timedelta(days=5))
    assert await run_next_query(conn, readers, UTC_ZONE, clock)
    assert not await run_next_query(conn, readers, UTC_ZONE, clock)
    assert len(await list_told(conn)) == 1
    [after] = await query_schedules.list_schedules(conn, ADA)
    assert after.due_at == NOON + timedelta(days=5, minutes=30)


async def test_a_query_that_fails_is_told_with_its_reason_and_runs_again_next_time(
    conn: Connection, readers: Readers
) -> None:
    made = await schedule(
        conn, await save(conn, replace(COUNT, sql="SELECT 1 / count(*) AS n FROM campaigns"))
    )
    clock = SettableClock(NOON + timedelta(hours=1))
    assert await run_next_query(conn, readers, UTC_ZONE, clock)
    [(title, body)] = await list_told(conn)
    assert title == "People: it could not be run"
    assert "Division by zero" in body
    with pytest.raises(NotFound, match="it failed"):
        await query_runs.load_csv(conn, made.id, made.due_at)
    [after] = await query_schedules.list_schedules(conn, ADA)
    assert (after.reason, after.due_at) == (body, NOON + timedelta(days=1, minutes=30))


async def test_while_the_server_for_queries_is_away_a_run_is_tried_for_an_hour(
    conn: Connection, tmp_path: Path, database_url: str
) -> None:
    away = open_readers(
        make_settings(tmp_path, REPORTING_DATABASE_URL="postgresql://127.0.0.1:9/ese"), database_url
    )
    await schedule(conn, await save(conn))
    clock = SettableClock(NOON + timedelta(minutes=31))
    for _ in range(2):
        assert await run_next_query(conn, away, UTC_ZONE, clock)
        assert await list_told(conn) == []
        clock.advance(query_runs.CLAIM)
    clock.set(NOON + timedelta(minutes=31) + query_runs.GIVE_UP_AFTER)
    assert await run_next_query(conn, away, UTC_ZONE, clock)
    assert [title for title, _ in await list_told(conn)] == ["People: it could not be run"]


async def test_a_schedule_ends_to_see_a_query_that_is_no_longer_shared(
    conn: Connection, readers: Readers
) -> None:
    query = await save(conn)
    await schedule(conn, query, BOB)
    await saved_queries.change_query(conn, ADA, query.id, replace(COUNT, is_shared=False), seen=1, now=NOON)
    assert await run_next_query(conn, readers, UTC_ZONE, SettableClock(NOON + timedelta(hours=1)))
    [(_, body)] = await list_told(conn)
    assert body == "The query is no longer shared with whoever scheduled it."


async def test_a_schedule_that_was_changed_while_its_query_ran_keeps_nothing_of_it(conn: Connection) -> None:
    made = await schedule(conn, await save(conn))
    claimed = await query_runs.claim_schedule(conn, NOON + timedelta(hours=1))
    assert claimed is not None
    draft = query_schedules.Draft(time(18), made.channel_id)
    await query_schedules.change_schedule(
        conn, ADA, made.id, draft, zone=UTC_ZONE, now=NOON + timedelta(hours=1)
    )
    assert not await query_runs.record_failure(
        conn, *claimed, "late", zone=UTC_ZONE, now=NOON + timedelta(hours=1)
    )
    assert await list_told(conn) == []


async def test_what_no_schedule_can_be_is_refused_by_field(conn: Connection) -> None:
    query = await save(conn, LIST)
    alertmanager = await add_channel(conn, "alertmanager")
    for changes, field in (
        ({"weekday": 8}, "weekday"),
        ({"runs_at": time(12, 30, 15)}, "runs_at"),
        ({"channel_id": uuid4()}, "channel_id"),
        ({"channel_id": alertmanager}, "channel_id"),
        ({"given": {"most": "many"}}, "given.most"),
    ):
        with pytest.raises(Invalid) as refused:
            await schedule(conn, query, **changes)
        assert refused.value.field == field
    with pytest.raises(NotFound):
        await schedule(conn, query, BOB)
    made = await schedule(conn, await save(conn))
    with pytest.raises(Denied, match="Only Ada or an admin"):
        await query_schedules.delete_schedule(conn, BOB, made.id, NOON)


async def test_old_results_go(conn: Connection, readers: Readers) -> None:
    made = await schedule(conn, await save(conn))
    clock = SettableClock(NOON + timedelta(hours=1))
    await run_next_query(conn, readers, UTC_ZONE, clock)
    await query_runs.forget_runs(conn, clock.now() + query_runs.KEPT)
    assert len(await query_runs.list_runs(conn, [made.id])) == 1
    await query_runs.forget_runs(conn, clock.now() + query_runs.KEPT + timedelta(seconds=1))
    assert await query_runs.list_runs(conn, [made.id]) == []


async def watch(conn: Connection, query_id: UUID) -> rules.Rule:
    draft = rules.Draft("Too many people", "query_value", "query", "above", 2, 2, "warning", str(query_id))
    async with transaction(conn):
        return await rules.create_rule(conn, OPERATOR, draft, NOON)


async def test_a_rule_fires_by_the_number_of_a_query_and_has_no_data_when_it_fails(
    conn: Connection, readers: Readers
) -> None:
    query = await save(conn)
    rule = await watch(conn, query.id)
    clock = SettableClock(NOON)

    async def read_and_tick() -> tuple[str, float | None, str]:
        await read_next_number(conn, readers, clock)
        await tick(conn, clock)
        [standing] = [one for one in await alert_standings.list_standings(conn) if one.rule_id == rule.id]
        clock.advance(timedelta(minutes=1))
        return standing.state, standing.value, standing.reason

    await tick(conn, clock)
    [standing] = await alert_standings.list_standings(conn)
    assert "not been read yet" in standing.reason
    assert (await read_and_tick())[:2] == ("ok", 0)
    await add_people(conn, 3, NOON)
    assert (await read_and_tick())[:2] == ("firing", 3)
    [(title,)] = await fetch(conn, "SELECT title FROM notices")
    assert title == "Too many people (People)"
    two = replace(COUNT, sql="SELECT 1 AS a, 2 AS b")
    await saved_queries.change_query(conn, ADA, query.id, two, seen=1, now=NOON)
    assert "1 row and 2 columns" in (await read_and_tick())[2]
    clock.advance(timedelta(minutes=5))  # no worker reads
    await tick(conn, clock)
    [standing] = await alert_standings.list_standings(conn)
    assert "more than five minutes ago" in standing.reason


async def test_a_number_is_read_once_a_minute_by_one_of_several_workers(
    conn: Connection, database_url: str, readers: Readers
) -> None:
    await watch(conn, (await save(conn)).id)
    clock = SettableClock(NOON)
    async with await connect(database_url, "other") as other:
        both = await asyncio.gather(*(read_next_number(one, readers, clock) for one in (conn, other)))
        assert sorted(both) == [False, True]
    assert not await read_next_number(conn, readers, clock)
    clock.advance(timedelta(minutes=1))
    assert await read_next_number(conn, readers, clock)


async def test_a_rule_measures_shared_queries_alone_and_holds_them(conn: Connection) -> None:
    private = await save(conn, LIST)
    for wanted in (str(private.id), str(uuid4()), "", "people"):
        draft = rules.Draft("Rule", "query_value", "query", "above", 1, 1, "info", wanted)
        with pytest.raises(Invalid) as refused:
            await rules.create_rule(conn, OPERATOR, draft, NOON)
        assert refused.value.field == "scope_filter"
    query = await save(conn)
    await watch(conn, query.id)
    with pytest.raises(Conflict, match="alert rule Too many people measures it"):
        await saved_queries.delete_query(conn, ADA, query.id, NOON)
