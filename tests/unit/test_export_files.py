"""Files of exports: what a spreadsheet makes of them, what other programs read from them."""

import csv
import io
import json
import zipfile
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pytest

from event_stream_engine.exports import files
from event_stream_engine.exports.files import open_file
from event_stream_engine.exports.making import PART_BYTES, Parts
from event_stream_engine.exports.sets import Column
from event_stream_engine.kernel.errors import Invalid
from tests.unit.test_cells import FORMULAS, HARMLESS

COLUMNS = (Column("id", "integer"), Column("body", "text"), Column("extra", "json"), Column("at", "instant"))


def write(file_format: str, bodies: tuple[str | None, ...]) -> bytes:
    is_typed = file_format in ("parquet", "xlsx")
    at = [datetime(2026, 3, 2, 16, 45, tzinfo=UTC)] if is_typed else ["2026-03-02T16:45:00Z"]
    table = pa.table(
        {
            "id": pa.array(range(len(bodies)), pa.int64()),
            "body": pa.array(bodies, pa.string()),
            "extra": pa.array(['{"a": [1, null]}'] * len(bodies), pa.string()),
            "at": pa.array(at * len(bodies), pa.timestamp("us", tz="UTC") if is_typed else pa.string()),
        }
    )
    sink = Parts(is_compressed=False)
    file = open_file(file_format, COLUMNS, sink)
    try:
        file.write(table)
    finally:
        file.close()
    return b"".join(sink.finish())


def read_csv(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_formula_opens_as_text(text: str) -> None:
    assert read_csv(write("csv", (text,)))[1][1] == f"'{text}"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert read_csv(write("csv", (text,)))[1][1] == text


def test_formula_beside_harmless_cells_alone_is_changed() -> None:
    cells = [row[1] for row in read_csv(write("csv", ("hello", "=1", None)))[1:]]
    assert cells == ["hello", "'=1", ""]


def test_csv_tells_null_from_an_empty_text() -> None:
    lines = write("csv", (None, "")).decode().splitlines()
    assert lines[0] == '"id","body","extra","at"'
    assert lines[1].startswith("0,,")
    assert lines[2].startswith('1,"",')


def test_ndjson_is_json_whatever_the_words_are() -> None:
    bodies = (*FORMULAS, *HARMLESS, None, "\x00\x1f\\\u2028", '"')
    rows = [json.loads(line) for line in write("ndjson", bodies).decode().split("\n") if line]
    assert [row["body"] for row in rows] == list(bodies)
    assert rows[0] == {"id": 0, "body": FORMULAS[0], "extra": {"a": [1, None]}, "at": "2026-03-02T16:45:00Z"}


def test_parquet_has_types_that_another_program_reads(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "rows.parquet"
    path.write_bytes(write("parquet", ("=1", None)))
    found = duckdb.sql(f"SELECT id, body, extra, epoch(\"at\") FROM '{path}' ORDER BY id").fetchall()
    assert found == [
        (0, "=1", '{"a": [1, null]}', 1772469900.0),
        (1, None, '{"a": [1, null]}', 1772469900.0),
    ]


def test_spreadsheet_has_no_formula_and_real_dates() -> None:
    with zipfile.ZipFile(io.BytesIO(write("xlsx", FORMULAS))) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "<v>46083.69791" in sheet


def test_spreadsheet_refuses_what_excel_could_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_XLSX_ROWS", 2)
    with pytest.raises(Invalid, match="csv or parquet"):
        write("xlsx", ("a", "b", "c"))


def test_parts_are_cut_by_size_and_make_the_file() -> None:
    sink = Parts(is_compressed=False)
    sink.write(b"x" * (PART_BYTES + 5))
    (full,) = sink.take()
    (rest,) = sink.finish()
    assert (len(full), len(rest), sink.file_bytes) == (PART_BYTES, 5, PART_BYTES + 5)
