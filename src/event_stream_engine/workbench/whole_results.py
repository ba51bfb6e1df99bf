"""The whole result of a query, for a file: gated as on screen, within limits of its own, and read by one COPY."""

from collections.abc import Mapping
from typing import Any

from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import Escaping

from event_stream_engine.infra.database import Connection
from event_stream_engine.workbench.running import (
    AS_IT_IS,
    MOST_ROW_LETTERS,
    Limits,
    Wrapped,
    look_at,
    order_values,
)
from event_stream_engine.workbench.statement import Statement, read_statement

IN_A_FILE = Limits(
    rows=5_000_000, bytes=2 * 1024**3, letters=MOST_ROW_LETTERS, seconds=600.0, cost=500_000_000.0
)
_OF_A_CALENDAR = frozenset(["date", "timestamp without time zone", "timestamp with time zone"])


def write_in_values(conn: Connection, sql: str, parameters: Mapping[str, Any]) -> Statement:
    """Read one SELECT and write the values of its parameters in, because COPY takes none.

    A value becomes a string of SQL with the type that it is bound with on screen, in parentheses, so that whatever stands
    before it can only be applied to it. Errors: Refused; Invalid (`parameters.<name>`).
    """
    statement = read_statement(sql)
    values = order_values(statement, parameters)
    return statement.write_in([_write_literal(conn, value) for value in values])


async def look_at_whole(conn: Connection, statement: Statement, limits: Limits = IN_A_FILE) -> Wrapped:
    """Find out what a query gives and costs, and how it is copied. Errors: Refused; psycopg.Error."""
    return await look_at(conn, statement, [], limits, _write_for_file)


def _write_for_file(name: str, column_type: str, letters: int) -> str:
    if column_type in _OF_A_CALENDAR:
        # As JSON has it, which is ISO 8601 whatever the DateStyle; sessions of ours are in UTC.
        return f"replace(to_json({name}) #>> '{{}}', '+00:00', 'Z')"
    return name if column_type in AS_IT_IS else f"left({name}::text, {letters})"


def _write_literal(conn: Connection, value: Any) -> str:
    if value is None:
        return " (NULL) "
    dumper = Transformer.from_context(conn).get_dumper(value, PyFormat.TEXT)
    written = Escaping(conn.pgconn).escape_literal(dumper.dump(value) or b"").decode()
    kind = conn.adapters.types.get(dumper.oid)
    return f" ({written}) " if kind is None else f" ({written}::{kind.regtype}) "
