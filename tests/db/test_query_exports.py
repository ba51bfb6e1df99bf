"""Whole results of saved queries as files: what is on screen, all of it, and nothing that is refused there."""

import csv
import gzip
import io
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest
from pyarrow import parquet

from event_stream_engine.access.roles import Role
from event_stream_engine.audit.entries import Actor
from event_stream_engine.audit.trails import list_of_subject
from event_stream_engine.exports import query_results
from event_stream_engine.exports.jobs import Export
from event_stream_engine.exports.orders import Order, Progress, narrow_to_query
from event_stream_engine.exports.query_results import pack_query
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.workbench.parameters import Parameter
from event_stream_engine.workbench.readers import Readers
from event_stream_engine.workbench.running import ON_SCREEN, Limits, run
from event_stream_engine.workbench.saved_queries import Draft, Person, create_query
from tests.db.test_queries import FILL, HOSTILE, take_stock
from tests.exports import ask, load_stored, make_next
from tests.querying import prepare_readers

OWNER = Person(Actor(f"operator:{uuid4()}"), "Ada")
# One parameter of each type, with what a careless writer would let out of its quotation marks.
TYPED = {
    "text": "it's \\ \"$$ 100% :x\n'); DROP TABLE users; --",
    "integer": -7,
    "number": -1.5,
    "date": "2026-03-02",
    "timestamp": "2026-03-02T09:00:00.5+01:00",
    "boolean": False,
}


@pytest.fixture
async def readers(database_url: str) -> Readers:
    async with await connect(database_url, "test") as conn:
        await conn.execute(FILL.encode())
    return await prepare_readers(database_url)


def order(
    sql: str, file_format: str = "csv", values: dict[str, Any] | None = None, *, sees_numbers: bool = False
) -> Order:
    """Return an order as it is stored: with the text and the values it was asked with."""
    parameters = [Parameter(name, name, value).described for name, value in (values or {}).items()]
    filters = {"query_id": str(uuid4()), "name": "Query", "version": 1, "is_shared": True}
    return Order("query", file_format, {**filters, "sql": sql, "parameters": parameters}, sees_numbers)


async def make(url: str, clock: SettableClock, asked: Order) -> tuple[Export, bytes]:
    """Return an export of a query, made, with the content of its file."""
    await ask(url, asked, clock)
    made = await make_next(url, clock)
    async with await connect(url, "test") as conn:
        stored = await load_stored(conn, made)
    return made, gzip.decompress(stored) if asked.format in ("csv", "ndjson") and stored else stored


def read_csv(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


async def keep(progress: Progress) -> None:
    """Nobody asks."""


async def test_file_has_all_rows_though_the_screen_has_not(
    database_url: str, readers: Readers, clock: SettableClock
) -> None:
    sql = "SELECT n, n % :integer AS rest FROM generate_series(1, 50000) n ORDER BY n DESC; -- all"
    shown = await run(readers, sql, {"integer": 7}, sees_numbers=False)
    made, content = await make(database_url, clock, order(sql, values={"integer": 7}))
    assert (shown.truncated, len(shown.rows)) == (True, ON_SCREEN.rows)
    assert (made.state, made.rows, made.as_of, made.error) == ("completed", 50_000, clock.now(), None)
    rows = read_csv(content)
    assert rows[0] == ["n", "rest"]
    assert [tuple(map(int, row)) for row in rows[1 : ON_SCREEN.rows + 1]] == list(shown.rows)
    assert rows[-1] == ["1", "1"]


async def test_values_stay_values_and_mean_what_they_mean_on_screen(
    database_url: str, readers: Readers, clock: SettableClock
) -> None:
    names = ", ".join(f":{name} AS {name}, pg_typeof(:{name})::text AS {name}_type" for name in TYPED)
    sql = (
        f"SELECT {names}, ':text' AS quoted, ARRAY[1, :integer] AS both FROM users WHERE 1 > :integer LIMIT 1"
    )
    asked = order(sql, "ndjson", TYPED)
    shown = await run(
        readers, sql.replace(":text AS", ":text::text AS"), query_values(asked), sees_numbers=False
    )
    [told] = [json.loads(line) for line in (await make(database_url, clock, asked))[1].splitlines()]
    types = {name: value for name, value in told.items() if name.endswith("_type")}
    columns = [column.name for column in shown.columns]
    on_screen = dict(zip(columns, shown.rows[0], strict=True))
    assert types | {"text_type": "text"} == {name: on_screen[name] for name in types} | {"text_type": "text"}
    assert {name: told[name] for name in TYPED} == TYPED | {"timestamp": "2026-03-02T08:00:00.5Z"}
    assert (told["quoted"], told["both"]) == (":text", "{1,-7}")


def query_values(asked: Order) -> dict[str, Any]:
    return query_results.read_values([Parameter(**one) for one in asked.filters["parameters"]], {})


async def test_numbers_are_as_the_person_sees_them_on_screen(
    database_url: str, readers: Readers, clock: SettableClock
) -> None:
    sql = "SELECT phone_e164 FROM users ORDER BY created_at, phone_e164"
    for sees_numbers in (False, True):
        shown = await run(readers, sql, sees_numbers=sees_numbers)
        _, content = await make(database_url, clock, order(sql, "ndjson", sees_numbers=sees_numbers))
        assert [json.loads(line)["phone_e164"] for line in content.splitlines()] == [
            row[0] for row in shown.rows
        ]
        assert (b"+1415" in content) is sees_numbers


KINDS = """
SELECT 9007199254740993 AS big, 0.1::numeric AS exact, 1e300::float8 AS float, 'NaN'::float8 AS none, true AS flag,
       timestamptz '2026-03-02 16:45:00.5+00' AS at, timestamp '2026-03-02 16:45' AS local, date '2026-03-02' AS day,
       '{"a": [1, null]}'::jsonb AS extra, '=1+1' AS words, 'twice' AS words, NULL::text AS nothing, '' AS "=empty",
       gen_random_uuid() IS NOT NULL AS made, interval '90 minutes' AS lasted
"""


async def test_columns_have_types_in_every_format(
    database_url: str, readers: Readers, clock: SettableClock, tmp_path: Path
) -> None:
    files = {
        name: (await make(database_url, clock, order(KINDS, name)))[1]
        for name in ("csv", "ndjson", "parquet", "xlsx")
    }
    told = json.loads(files["ndjson"])
    assert (told["big"], told["exact"], told["none"]) == (9007199254740993, 0.1, "NaN")
    assert (told["at"], told["day"], told["lasted"]) == ("2026-03-02T16:45:00.5Z", "2026-03-02", "01:30:00")
    assert (told["extra"], told["words"], told["words_2"]) == ({"a": [1, None]}, "=1+1", "twice")
    assert (told["nothing"], told["=empty"]) == (None, "")
    head, row = read_csv(files["csv"])
    cells = dict(zip(head, row, strict=True))
    assert (cells["words"], cells["'=empty"], cells["exact"], cells["flag"]) == ("'=1+1", "", "0.1", "true")
    path = tmp_path / "query.parquet"
    path.write_bytes(files["parquet"])
    types = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{path}')").fetchall())
    assert [types[name] for name in ("big", "exact", "flag", "at", "local", "day", "words")] == [
        *("BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP", "DATE", "VARCHAR")
    ]
    with zipfile.ZipFile(io.BytesIO(files["xlsx"])) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "9007199254740993" in sheet


async def test_what_is_refused_on_screen_makes_no_file_and_changes_nothing(
    database_url: str, readers: Readers, clock: SettableClock
) -> None:
    limits = Limits(seconds=0.5)
    before = await take_stock(database_url)
    faults = []
    for one in HOSTILE:
        try:
            await pack_query(
                readers, order(one["sql"]), io.BytesIO(), clock=clock, on_progress=keep, limits=limits
            )
        except Invalid:
            continue
        shown = await run(readers, one["sql"], sees_numbers=False, limits=limits)
        if not shown.truncated:
            faults.append(one["sql"])
    assert faults == []
    assert await take_stock(database_url) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1) TO '/tmp/stolen.csv' --",
        "SELECT 1) TO PROGRAM 'id' --",
        "SELECT 1) TO STDOUT; DROP TABLE users; COPY (SELECT 1",
        "SELECT $:text ( $:text ) AS q, generate_series(1, 9)",
        "SELECT u&:text",
        "SELECT 'a'\n:text",
    ],
)
async def test_nothing_leads_out_of_the_copy(
    database_url: str, readers: Readers, clock: SettableClock, sql: str
) -> None:
    values = {"text": "'); DROP TABLE users; --"} if ":text" in sql else None
    before = await take_stock(database_url)
    with pytest.raises(Invalid):
        await pack_query(readers, order(sql, values=values), io.BytesIO(), clock=clock, on_progress=keep)
    assert await take_stock(database_url) == before


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT 'é€😀'\n  , nothing FROM users", 'Line 2, column 5: Column "nothing" does not exist'),
        ("SELECT 1 / (n - 3000) FROM generate_series(1, 5000) n", "Division by zero"),
        ("SELECT pg_sleep(9)", "Line 1, column 8: pg_sleep is of the system"),
        (
            "SELECT count(*) FROM generate_series(1, 9e12::bigint) a, generate_series(1, 9e12::bigint) b",
            "reckons",
        ),
        ("SELECT repeat('x', 500000) AS long", "more than 400,000 characters"),
    ],
)
async def test_query_that_fails_says_why_and_where(
    database_url: str, readers: Readers, clock: SettableClock, sql: str, says: str
) -> None:
    made, content = await make(database_url, clock, order(sql))
    assert (made.state, content) == ("failed", b"")
    assert made.error is not None
    assert says in made.error
    async with await connect(database_url, "test") as conn:
        trail = await list_of_subject(conn, f"export:{made.id}", 9)
    assert [entry.after for entry in trail if entry.action == "export.failed"] == [
        {"error": "refused or stopped"}
    ]


async def test_infinite_date_is_told_where_a_type_cannot_hold_it(
    database_url: str, readers: Readers, clock: SettableClock
) -> None:
    sql = "SELECT 'infinity'::timestamptz AS at, '-infinity'::date AS day"
    made, _ = await make(database_url, clock, order(sql, "parquet"))
    assert made.error is not None
    assert "as text" in made.error
    _, content = await make(database_url, clock, order(sql))
    assert read_csv(content)[1] == ["infinity", "'-infinity"]


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(rows=4999, bytes=1024**3), "more than 4,999 rows"),
        (Limits(rows=5000, bytes=1024**2), "larger than 1 MB"),
        (Limits(rows=5000, bytes=1024**3, seconds=0.3), "Stopped after 0.3 s"),
    ],
)
async def test_result_that_is_too_large_or_too_slow_is_no_file(
    readers: Readers, clock: SettableClock, limits: Limits, says: str
) -> None:
    sql = "SELECT n, repeat('x', 1000) AS filling FROM generate_series(1, 5000) n"
    if limits.seconds < 1:
        sql = "SELECT count(*) FROM generate_series(1, 3000) a, generate_series(1, 3000) b, generate_series(1, 9) c"
        limits = Limits(seconds=limits.seconds, cost=1e15)
    with pytest.raises(Invalid, match=says):
        await pack_query(readers, order(sql), io.BytesIO(), clock=clock, on_progress=keep, limits=limits)


async def test_memory_holds_no_more_than_a_block_and_a_row(readers: Readers, clock: SettableClock) -> None:
    """Rows of 400,000 letters, 100 MB in all: what comes between two looks at the progress is bounded."""
    seen: list[int] = []

    class Counting(io.BytesIO):
        total = 0

        def write(self, data: Any, /) -> int:
            self.total += len(data)
            return len(data)

    sink = Counting()

    async def look(progress: Progress) -> None:
        seen.append(progress.rows)

    sql = "SELECT n, repeat('é', 200000) AS a, repeat(chr(10), 200000) AS b FROM generate_series(1, 170) n"
    packed = await pack_query(readers, order(sql), sink, clock=clock, on_progress=look)
    assert packed.rows == 170
    assert sink.total > 100_000_000
    kept = io.BytesIO()
    await pack_query(readers, order(sql, "parquet"), kept, clock=clock, on_progress=look)
    assert parquet.ParquetFile(kept).num_row_groups >= 3
    with pytest.raises(Invalid, match="larger than 1 MB"):
        await pack_query(
            readers,
            order(sql, "xlsx"),
            kept,
            clock=clock,
            on_progress=look,
            limits=Limits(letters=10**6, bytes=1024**2),
        )
    assert max(after - before for before, after in itertools.pairwise(seen)) <= 3


async def test_order_keeps_the_text_and_values_it_was_asked_with(
    database_url: str, readers: Readers, clock: SettableClock
) -> None:
    async with await connect(database_url, "test") as conn, transaction(conn):
        draft = Draft(
            "Mine", "SELECT :n AS n, '+14155550100' AS x", parameters=[Parameter("n", "integer", 1)]
        )
        query = await create_query(conn, OWNER, draft, clock.now())
        asked = Order("query", "csv", narrow_to_query(query, {"n": 2}))
        with pytest.raises(Invalid) as caught:
            narrow_to_query(query, {"n": "two"})
        assert caught.value.field == "parameters.n"
    export = await ask(database_url, asked, clock, Role.viewer)
    async with await connect(database_url, "test") as conn:
        await conn.execute("UPDATE saved_queries SET sql = 'SELECT 9'")
        made = await make_next(database_url, clock)
        content = gzip.decompress(await load_stored(conn, made))
        trail = await list_of_subject(conn, f"export:{export.id}", 9)
    assert read_csv(content) == [["n", "x"], ["2", "+14155550100"]]
    assert trail[-1].after is not None
    assert trail[-1].after["filters"] == {"query_id": str(query.id), "version": 1}
    assert "+1415" not in repr(trail)
