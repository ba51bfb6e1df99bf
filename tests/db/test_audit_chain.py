"""The chain of the audit trail: what is sealed, and what verifying finds (fault 32)."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from event_stream_engine.audit import chain, entries
from event_stream_engine.audit.anchors import Anchor, append_anchor, find_last_anchor, read_anchors
from event_stream_engine.audit.entries import Actor, Entry
from event_stream_engine.audit.verification import Verdict, verify_chain
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ANA = Actor("operator:ana", "request-1")
AFTER_RESTORE = Path(__file__).parents[2] / "docs" / "operations" / "after-restore.sql"


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url, "test") as conn:
        yield conn


def make_entry(number: int) -> Entry:
    return Entry(NOW, "campaign.started", f"campaign:{number}", {"state": "draft"}, {"state": "running"})


async def record(conn: Connection, *numbers: int) -> None:
    async with transaction(conn):
        await entries.record(conn, ANA, *(make_entry(number) for number in numbers))


async def seal(conn: Connection, most: int = chain.BATCH_ROWS) -> list[chain.Sealed]:
    """Seal all that is there; transactions of other databases of this server may hold it up for a moment."""
    done: list[chain.Sealed] = []
    async with asyncio.timeout(30):
        while (await chain.load_chain_status(conn)).unsealed:
            async with transaction(conn):
                sealed = await chain.seal_batch(conn, NOW, most)
            if sealed is None:
                await asyncio.sleep(0.01)
            else:
                done.append(sealed)
    return done


async def verify(conn: Connection, *anchors: Anchor) -> Verdict:
    return await verify_chain(conn, iter(anchors), lambda _: None)


async def make_trail(conn: Connection) -> list[Anchor]:
    """Make three batches of three rows, ids 1 to 9, and return their anchors."""
    await record(conn, *range(9))
    return [Anchor(sealed.number, sealed.hash, NOW) for sealed in await seal(conn, most=3)]


async def tamper(conn: Connection, statement: str) -> None:
    """Do what somebody does who owns the tables."""
    async with transaction(conn):
        await conn.execute("SET LOCAL session_replication_role = replica")  # no trigger fires
        await conn.execute(statement)  # type: ignore[arg-type]


def describe(verdict: Verdict) -> list[tuple[str, int, int | None]]:
    return [(fault.kind, fault.batch, fault.row_id) for fault in verdict.faults]


@pytest.mark.parametrize(("table", "column"), [("audit_log", "actor"), ("audit_batches", "hash")])
@pytest.mark.parametrize(
    "statement", ["UPDATE {table} SET {column} = {column}", "DELETE FROM {table}", "TRUNCATE {table}"]
)
async def test_the_tables_refuse_to_be_changed(
    conn: Connection, table: str, column: str, statement: str
) -> None:
    await make_trail(conn)
    statement = statement.format(table=table, column=column)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        await conn.execute(statement)  # type: ignore[arg-type]


async def test_a_whole_chain_has_no_fault(conn: Connection) -> None:
    anchors = await make_trail(conn)
    verdict = await verify(conn, *anchors)
    assert (verdict.batches, verdict.rows, verdict.anchors, verdict.faults) == (3, 9, 3, [])
    status = await chain.load_chain_status(conn)
    assert status.head is not None
    assert (status.head.number, status.head.hash) == (3, anchors[-1].hash)
    assert (status.unsealed, status.oldest_unsealed_at) == (0, None)


async def test_what_is_not_sealed_yet_is_counted_and_no_fault(conn: Connection) -> None:
    await record(conn, 1, 2)
    assert await verify(conn) == Verdict(None)
    status = await chain.load_chain_status(conn)
    assert (status.head, status.unsealed, status.oldest_unsealed_at) == (None, 2, NOW)


@pytest.mark.parametrize(
    ("statement", "kind", "batch", "row_id"),
    [
        ("UPDATE audit_log SET actor = 'operator:eve' WHERE id = 5", "edited", 2, 5),
        ("UPDATE audit_log SET action = '' WHERE id = 1", "edited", 1, 1),
        ("UPDATE audit_log SET subject = 'campaign:5' WHERE id = 5", "edited", 2, 5),
        ("UPDATE audit_log SET at = at + interval '1 us' WHERE id = 9", "edited", 3, 9),
        ("UPDATE audit_log SET before = NULL WHERE id = 5", "edited", 2, 5),
        ("UPDATE audit_log SET before = 'null' WHERE id = 5", "edited", 2, 5),
        ("UPDATE audit_log SET after = after || '{\"x\": 1}' WHERE id = 5", "edited", 2, 5),
        ("UPDATE audit_log SET request_id = NULL WHERE id = 5", "edited", 2, 5),
        ("UPDATE audit_log SET request_id = '' WHERE id = 5", "edited", 2, 5),
        ("DELETE FROM audit_log WHERE id = 1", "deleted", 1, None),
        ("DELETE FROM audit_log WHERE id = 5", "deleted", 2, None),
        ("DELETE FROM audit_log WHERE id = 9", "deleted", 3, None),
        (
            "INSERT INTO audit_log (id, xid, at, actor, action, subject) OVERRIDING SYSTEM VALUE"
            " SELECT 0, xid, at, 'operator:eve', 'a.b', 'c' FROM audit_log WHERE id = 1",
            "inserted",
            1,
            0,
        ),
        (
            "INSERT INTO audit_log (xid, at, actor, action, subject) VALUES ('3', now(), 'operator:eve', 'a.b', 'c')",
            "inserted",
            1,
            10,
        ),
    ],
)
async def test_the_first_bad_row_is_named(
    conn: Connection, statement: str, kind: str, batch: int, row_id: int | None
) -> None:
    anchors = await make_trail(conn)
    await tamper(conn, statement)
    assert describe(await verify(conn, *anchors)) == [(kind, batch, row_id)]


async def test_a_deleted_row_is_placed_between_its_neighbours(conn: Connection) -> None:
    await make_trail(conn)
    await tamper(conn, "DELETE FROM audit_log WHERE id = 5")
    (fault,) = (await verify(conn)).faults
    assert fault.text.startswith("A row after row 4 and before row 6 was deleted (batch 2")


async def test_null_and_empty_and_json_null_are_three_things(conn: Connection) -> None:
    await record(conn, 1)
    hashes = set()
    for before, request_id in (("NULL", "NULL"), ("'null'", "NULL"), ("NULL", "''"), ("NULL", "'null'")):
        await tamper(conn, f"UPDATE audit_log SET before = {before}, request_id = {request_id}")
        hashes.add((await list_all(conn))[0].hash)
    assert len(hashes) == 4


async def test_the_hash_depends_on_no_setting_of_the_session(conn: Connection) -> None:
    await make_trail(conn)
    plain = await list_all(conn)
    for setting in ("timezone = 'Asia/Kathmandu'", "datestyle = 'SQL, DMY'", "bytea_output = 'escape'"):
        await conn.execute(f"SET {setting}")  # type: ignore[arg-type]
    assert await list_all(conn) == plain


async def list_all(conn: Connection) -> list[chain.RowHash]:
    behind_all = (str(2**63), chain.LAST_ID)
    ids = (chain.FIRST_ID, chain.LAST_ID)
    return [*await chain.list_hashes(conn, after=("0", chain.FIRST_ID), until=behind_all, ids=ids, most=99)]


async def test_whoever_edits_a_row_and_its_hash_breaks_the_chain(conn: Connection) -> None:
    anchors = await make_trail(conn)
    await tamper(conn, "UPDATE audit_log SET actor = 'operator:eve' WHERE id = 5")
    await tamper(conn, RESEAL_THE_SECOND)
    assert describe(await verify(conn, *anchors)) == [("broken", 2, None)]


async def test_a_batch_that_is_gone_is_missing(conn: Connection) -> None:
    anchors = await make_trail(conn)
    await tamper(conn, "DELETE FROM audit_batches WHERE number = 2")
    assert describe(await verify(conn, *anchors)) == [("missing", 2, None)]
    await tamper(conn, "DELETE FROM audit_batches WHERE number = 1")
    assert [fault.text for fault in (await verify(conn)).faults] == ["Batch 1 to 2 of the chain is gone."]


async def test_a_tail_cut_with_its_batches_is_told_by_the_anchor(conn: Connection) -> None:
    anchors = await make_trail(conn)
    await tamper(conn, "DELETE FROM audit_log WHERE id > 6")
    assert [kind for kind, *_ in describe(await verify(conn))] == ["deleted"] * 3
    await tamper(conn, "DELETE FROM audit_batches WHERE number = 3")
    assert (await verify(conn)).faults == []
    assert describe(await verify(conn, *anchors)) == [("cut", 3, None)]
    await tamper(conn, "DELETE FROM audit_log")
    await tamper(conn, "DELETE FROM audit_batches")
    assert describe(await verify(conn, *anchors)) == [("cut", 1, None)]


async def test_a_chain_written_anew_is_told_by_the_anchors(conn: Connection) -> None:
    anchors = await make_trail(conn)
    await tamper(conn, "UPDATE audit_log SET actor = 'operator:eve' WHERE id = 5")
    await tamper(conn, "DELETE FROM audit_batches WHERE number >= 2")
    assert len(await seal(conn, most=3)) == 2
    assert (await verify(conn)).faults == []
    assert describe(await verify(conn, *anchors)) == [("rewritten", 2, None), ("rewritten", 3, None)]
    assert describe(await verify(conn, anchors[2])) == [("rewritten", 3, None)]


RESEAL_THE_SECOND = """
    UPDATE audit_batches SET row_hashes = (
        SELECT string_agg(sha256(convert_to(jsonb_build_array(
            xid::text, id::text, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
            actor, action, subject, before::text, after::text, request_id)::text, 'UTF8')), '' ORDER BY xid, id)
        FROM audit_log WHERE id BETWEEN 4 AND 6)
    WHERE number = 2"""


async def test_nothing_is_sealed_while_an_older_transaction_runs(conn: Connection, database_url: str) -> None:
    async with await connect(database_url, "test") as slow:
        async with transaction(slow):
            await entries.record(slow, ANA, make_entry(1))
            await record(conn, 2)
            async with transaction(conn):
                assert await chain.seal_batch(conn, NOW) is None
        await seal(conn)
    verdict = await verify(conn)
    assert (verdict.rows, verdict.faults) == (2, [])


@pytest.mark.parametrize("seed", range(4))
async def test_every_row_is_sealed_once_whatever_the_order_of_commits(
    conn: Connection, database_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    written = 0

    async def write(writer: random.Random) -> None:
        nonlocal written
        async with await connect(database_url, "test") as mine:
            for _ in range(12):
                async with mine.transaction(force_rollback=writer.random() < 0.2) as begun:
                    for _ in range(writer.randint(1, 5)):
                        await entries.record(mine, ANA, make_entry(0))
                        written += 0 if begun.force_rollback else 1
                        await asyncio.sleep(writer.random() * 0.01)

    writing = asyncio.gather(*(write(random.Random(chance.random())) for _ in range(5)))
    while not writing.done():
        async with transaction(conn):
            await chain.seal_batch(conn, NOW, chance.randint(1, 7))
        await asyncio.sleep(0)
    await writing
    await seal(conn)
    verdict = await verify(conn)
    assert (verdict.rows, verdict.faults) == (written, [])
    ((sealed,),) = await (await conn.execute("SELECT sum(rows) FROM audit_batches")).fetchall()
    assert sealed == written


async def test_only_one_connection_holds_the_seal(conn: Connection, database_url: str) -> None:
    assert await chain.try_hold_seal(conn)
    async with await connect(database_url, "test") as other:
        assert not await chain.try_hold_seal(other)
        await conn.close()
        while not await chain.try_hold_seal(other):
            await asyncio.sleep(0.01)


# -- a restore into another cluster


async def pretend_restore(conn: Connection) -> None:
    """Give all rows and batches transaction ids of a cluster that has seen more than this one."""
    far = "(xid::text::bigint + 4000000000)::text::xid8"
    await tamper(conn, f"UPDATE audit_log SET xid = {far}")
    await tamper(conn, f"UPDATE events SET xid = {far}")


async def run_after_restore(url: str) -> None:
    text = AFTER_RESTORE.read_text("utf-8").replace("VACUUM ANALYZE events;", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        await admin.execute(text)  # type: ignore[arg-type]


async def test_after_a_restore_into_another_cluster_the_chain_goes_on(
    conn: Connection, database_url: str
) -> None:
    await record(conn, *range(9))
    await pretend_restore(conn)
    far = ("4300000000", chain.FIRST_ID)
    rows = await chain.list_hashes(conn, after=("0", 0), until=far, ids=(0, 6), most=9)
    hashes = b"".join(row.hash for row in rows)
    await conn.execute(  # as the other cluster sealed it
        "INSERT INTO audit_batches VALUES (1, %s::xid8, 6, 6, %s, %s, now())",
        (str(rows[-1].xid), hashes, chain.hash_batch(chain.BEFORE_THE_FIRST, 1, hashes)),
    )
    async with transaction(conn):
        with pytest.raises(Conflict, match="after-restore"):
            await chain.seal_batch(conn, NOW)
    for restores in (1, 2):
        await run_after_restore(database_url)
        await record(conn, 10, 11)
        await seal(conn, most=1)
        verdict = await verify(conn)
        assert (verdict.rows, verdict.faults) == (9 + 2 * restores, [])
    await tamper(conn, "UPDATE audit_log SET actor = 'operator:eve' WHERE id IN (3, 8, 10, 13)")
    assert describe(await verify(conn)) == [
        ("edited", 1, 3),
        ("edited", 2, 8),
        ("edited", 3, 10),
        ("edited", 7, 13),
    ]


async def test_a_database_restored_before_anything_was_sealed_is_sealed_by_the_restore(
    conn: Connection, database_url: str
) -> None:
    await run_after_restore(database_url)
    assert (await chain.load_chain_status(conn)).head is None
    await record(conn, 1, 2)
    await pretend_restore(conn)
    await run_after_restore(database_url)
    assert await seal(conn) == []
    verdict = await verify(conn)
    assert (verdict.batches, verdict.rows, verdict.faults) == (1, 2, [])


# -- anchors


def make_anchor(number: int) -> Anchor:
    return Anchor(number, bytes([number % 256]) * 32, NOW + timedelta(seconds=number))


def test_anchors_are_read_as_written_also_behind_a_torn_line(tmp_path: Path) -> None:
    file = tmp_path / "new" / "anchors.ndjson"
    assert find_last_anchor(file) is None
    for number in (1, 2, 3):
        append_anchor(file, make_anchor(number))
    assert find_last_anchor(file) == make_anchor(3)
    with file.open("ab") as lines:
        lines.write(b'{"number": 4, "ha')
    assert find_last_anchor(file) == make_anchor(3)
    assert list(read_anchors([file])) == [make_anchor(number) for number in (1, 2, 3)]


def test_anchors_of_several_hosts_are_read_by_number(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for number in range(10):
        append_anchor(files[number % 3 == 0], make_anchor(number))
    assert [anchor.number for anchor in read_anchors(files)] == list(range(10))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{}"], "line 1 is no anchor"),
        (['{"number": 2, "hash": "00", "at": "2026-03-02T12:00:00Z"}', "nonsense"], "line 2 is no anchor"),
        (
            [f'{{"number": {number}, "hash": "00", "at": "2026-03-02T12:00:00Z"}}' for number in (2, 1)],
            "batch 1 was anchored after batch 2",
        ),
    ],
)
def test_a_file_that_is_no_list_of_anchors_is_refused_by_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    file = tmp_path / "anchors"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(Invalid, match=message):
        list(read_anchors([file]))
    with pytest.raises(NotFound):
        list(read_anchors([tmp_path / "gone"]))
