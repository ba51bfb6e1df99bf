"""The whole result of a saved query as a file: run by the login that runs it on screen, within the limits of a file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from event_stream_engine.exports.files import File, Sink, open_file
from event_stream_engine.exports.formats import FORMATS
from event_stream_engine.exports.orders import Order, Progress
from event_stream_engine.exports.packing import OnProgress, write_file
from event_stream_engine.exports.reading import Reading
from event_stream_engine.exports.sets import Column
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.workbench import running
from event_stream_engine.workbench.parameters import Parameter, read_values
from event_stream_engine.workbench.readers import Readers
from event_stream_engine.workbench.running import Limits, Wrapped, explain
from event_stream_engine.workbench.statement import Refused, word_place
from event_stream_engine.workbench.whole_results import IN_A_FILE, look_at_whole, write_in_values

MOST_XLSX_BYTES = 128 * 1024**2  # a spreadsheet is put together in memory
_KINDS = {
    **dict.fromkeys(("smallint", "integer", "bigint", "oid"), "integer"),
    **dict.fromkeys(("real", "double precision", "numeric"), "decimal"),
    "boolean": "boolean",
    "jsonb": "json",
}
_KINDS_OF_TYPED_FILES = {
    "timestamp with time zone": "instant",
    "timestamp without time zone": "moment",
    "date": "date",
}


async def pack_query(
    readers: Readers,
    order: Order,
    sink: Sink,
    *,
    clock: Clock,
    on_progress: OnProgress,
    limits: Limits = IN_A_FILE,
) -> Progress:
    """Write the whole result of an order's query into a sink, and return how many rows it has.

    Errors: Invalid when the query is refused, fails or has too large a result, with PostgreSQL's words and the place;
    Unavailable when nothing can run it at present.
    """
    sql = str(order.filters["sql"])
    values = read_values([Parameter(**one) for one in order.filters["parameters"]], {})
    form = FORMATS[order.format]
    if order.format == "xlsx":
        limits = replace(limits, bytes=min(limits.bytes, MOST_XLSX_BYTES))
    try:
        async with (
            readers.connection(sees_numbers=order.shows_numbers, seconds=limits.seconds) as conn,
            snapshot(conn),
        ):
            statement = write_in_values(conn, sql, values)
            try:
                wrapped = await look_at_whole(conn, statement, limits)
                columns = list_columns(wrapped.columns, is_typed=form.is_typed)
                reading = Reading(wrapped.text, columns, is_typed=form.is_typed, shows_numbers=True)
                file = BoundedFile(open_file(order.format, columns, sink), wrapped, limits)
                begun = Progress(clock.now(), wrapped.estimated_rows)
                return await write_file(conn, reading, file, begun, on_progress)
            except psycopg.Error as error:
                raise explain(error, statement, limits) from None
    except Refused as refused:
        if refused.position is None:
            raise
        raise Invalid(f"{word_place(sql, refused.position)}: {refused}", "sql") from None
    except pa.ArrowInvalid:
        raise Invalid(
            f"A value of this result does not fit into {form.name}: an infinite date, or one before our era. Write it as"
            " text, like due_at::text, or use csv.",
            "format",
        ) from None


def list_columns(columns: Sequence[running.Column], *, is_typed: bool) -> list[Column]:
    """Return the columns of a file. A name that comes again gets a number, because files know columns by their names."""
    kinds = _KINDS | (_KINDS_OF_TYPED_FILES if is_typed else {})
    taken: set[str] = set()
    listed = []
    for column in columns:
        name, number = column.name, 1
        while name in taken:
            number += 1
            name = f"{column.name}_{number}"
        taken.add(name)
        listed.append(Column(name, kinds.get(column.type, "text")))
    return listed


class BoundedFile:
    """A file that takes a whole result or nothing: what is too much is an error, and never cut off."""

    def __init__(self, file: File, wrapped: Wrapped, limits: Limits) -> None:
        self._file, self._letters, self._limits = file, wrapped.letters, limits
        self._rows = self._bytes = 0

    def write(self, table: pa.Table) -> None:
        """Errors: Invalid."""
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows > self._limits.rows:
            raise Invalid(
                f"There are more than {self._limits.rows:,} rows, which is what a file of a query takes. Narrow it."
            )
        if self._bytes > self._limits.bytes:
            raise Invalid(
                f"The result is larger than {self._limits.bytes // 1024**2:,} MB, which is what such a file of a query takes. Narrow it."
            )
        for name, values in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_string(values.type) and self._is_cut(values):
                raise Invalid(
                    f"A value of {name} has more than {self._letters:,} characters, which is what one takes here. Shorten"
                    f" it, like left({name}, 1000)."
                )
        self._file.write(table)

    def _is_cut(self, values: Any) -> bool:
        longest = pc.max(pc.utf8_length(values)).as_py()
        return longest is not None and longest > self._letters

    def close(self) -> None:
        self._file.close()
