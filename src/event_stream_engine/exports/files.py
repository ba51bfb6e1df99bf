"""Tables written as files. Each kind of file takes tables as they come and holds no more than a row group of them."""

import io
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import xlsxwriter
from pyarrow import parquet

from event_stream_engine.exports.reading import column_type
from event_stream_engine.exports.sets import Column
from event_stream_engine.kernel.cells import FORMULA, SIGNED_NUMBER, make_cell_safe
from event_stream_engine.kernel.errors import Invalid

GROUP_ROWS = 16_384  # of Parquet, or as many as have …
GROUP_BYTES = 8 * 1024 * 1024
MOST_XLSX_ROWS = 100_000
LONGEST_CELL = 32_767  # of Excel
FIRST_YEAR = 1900  # that Excel has dates of
MOST_EXACT = 2**53  # what is larger would lose digits as a number
_TO_ESCAPE = r'["\\\x00-\x1f]'


class Sink(Protocol):
    """Where the bytes of a file go."""

    def write(self, data: bytes, /) -> object: ...


class File(Protocol):
    """A file that is being written."""

    def write(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


def make_cells_safe(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Do for a column what `make_cell_safe` does for a cell."""
    is_formula = pc.fill_null(pc.match_substring_regex(values, FORMULA), False)
    if not pc.any(is_formula).as_py():
        return values
    is_formula = pc.and_not(
        is_formula, pc.fill_null(pc.match_substring_regex(values, f"^{SIGNED_NUMBER}$"), False)
    )
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", values, ""), values)


class CsvFile:
    """RFC 4180 in UTF-8 with a header; NULL is nothing between commas, an empty text is `""`."""

    def __init__(self, columns: Sequence[Column], sink: Sink) -> None:
        self._columns = columns
        schema = _schema(columns, is_typed=False)
        self._names = [make_cell_safe(column.name) for column in columns]
        self._writer = arrow_csv.CSVWriter(sink, pa.schema(list(zip(self._names, schema.types, strict=True))))

    def write(self, table: pa.Table) -> None:
        cells = [
            make_cells_safe(values) if column.kind in ("text", "json") else values
            for column, values in zip(self._columns, table.columns, strict=True)
        ]
        self._writer.write_table(pa.table(cells, names=self._names))

    def close(self) -> None:
        self._writer.close()


class NdjsonFile:
    """One JSON object in each line. Lines are put together column by column, never row by row."""

    def __init__(self, columns: Sequence[Column], sink: Sink) -> None:
        self._columns = columns
        self._sink = sink

    def write(self, table: pa.Table) -> None:
        pieces: list[Any] = []
        for number, (column, values) in enumerate(zip(self._columns, table.columns, strict=True)):
            pieces += [
                f"{',' if number else '{'}{orjson.dumps(column.name).decode()}:",
                _write_json(column.kind, values),
            ]
        lines = pc.binary_join_element_wise(*pieces, "}\n", "")
        for chunk in lines.chunks:
            # The text of a fresh array is one piece of memory.
            length = pc.sum(pc.binary_length(chunk)).as_py()
            self._sink.write(chunk.buffers()[2].slice(0, length).to_pybytes())

    def close(self) -> None:
        """Nothing follows the last line."""


def _write_json(kind: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    if kind in ("code", "text", "phone", "instant"):
        if pc.any(pc.match_substring_regex(values, _TO_ESCAPE)).as_py():
            texts = (None if text is None else orjson.dumps(text).decode() for text in values.to_pylist())
            written = pa.chunked_array([pa.array(texts, pa.string())])
        else:
            written = pc.binary_join_element_wise('"', values, '"', "")
    elif kind == "decimal":
        quoted = pc.binary_join_element_wise('"', values, '"', "")  # JSON has no word for NaN and Infinity
        written = pc.if_else(pc.match_substring_regex(values, "^-?[0-9]"), values, quoted)
    else:
        written = values.cast(pa.string())
    return pc.fill_null(written, "null")


class ParquetFile:
    """Parquet with typed columns; instants are microseconds in UTC, JSON is text."""

    def __init__(self, columns: Sequence[Column], sink: Sink) -> None:
        self._writer = parquet.ParquetWriter(
            pa.PythonFile(sink, mode="w"), _schema(columns, is_typed=True), compression="zstd"
        )
        self._waiting: list[pa.Table] = []
        self._rows = self._bytes = 0

    def write(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=self._rows)
        self._waiting, self._rows, self._bytes = [], 0, 0

    def close(self) -> None:
        self._flush()
        self._writer.close()


class XlsxFile:
    """One sheet; instants are dates in UTC, and no cell is ever a formula."""

    def __init__(self, columns: Sequence[Column], sink: Sink) -> None:
        self._columns, self._sink, self._rows = columns, sink, 0
        self._content = io.BytesIO()
        self._book = xlsxwriter.Workbook(
            self._content,
            {"constant_memory": True, "remove_timezone": True, "default_date_format": "yyyy-mm-dd hh:mm:ss"},
        )
        self._day = self._book.add_format({"num_format": "yyyy-mm-dd"})
        self._sheet = self._book.add_worksheet()
        self._sheet.freeze_panes(1, 0)
        self._sheet.set_column(0, len(columns) - 1, 20)
        for place, column in enumerate(columns):
            self._sheet.write_string(0, place, column.name)

    def write(self, table: pa.Table) -> None:
        if self._rows + table.num_rows > MOST_XLSX_ROWS:
            raise Invalid(
                f"A spreadsheet takes {MOST_XLSX_ROWS:,} rows, and there are more. Use csv or parquet, or narrow the filters.",
                "format",
            )
        for row in zip(*(values.to_pylist() for values in table.columns), strict=True):
            self._rows += 1
            for place, value in enumerate(row):
                self._write_cell(place, value)

    def _write_cell(self, place: int, value: object) -> None:
        if isinstance(value, date) and value.year < FIRST_YEAR:
            value = value.isoformat()
        elif isinstance(value, int | float) and not -MOST_EXACT <= value <= MOST_EXACT:  # NaN neither
            value = str(value)
        if isinstance(value, str):
            self._sheet.write_string(self._rows, place, value[:LONGEST_CELL])
        elif isinstance(value, bool):
            self._sheet.write_boolean(self._rows, place, value)
        elif isinstance(value, datetime):
            self._sheet.write_datetime(self._rows, place, value)
        elif isinstance(value, date):
            self._sheet.write_datetime(self._rows, place, value, self._day)
        elif isinstance(value, int | float):
            self._sheet.write_number(self._rows, place, value)

    def close(self) -> None:
        self._book.close()
        self._sink.write(self._content.getvalue())


_KINDS: dict[str, Callable[[Sequence[Column], Sink], File]] = {
    "csv": CsvFile,
    "ndjson": NdjsonFile,
    "parquet": ParquetFile,
    "xlsx": XlsxFile,
}


def open_file(file_format: str, columns: Sequence[Column], sink: Sink) -> File:
    """Begin a file of a format that `formats.FORMATS` names."""
    return _KINDS[file_format](columns, sink)


def _schema(columns: Sequence[Column], *, is_typed: bool) -> pa.Schema:
    return pa.schema([(column.name, column_type(column, is_typed=is_typed)) for column in columns])
