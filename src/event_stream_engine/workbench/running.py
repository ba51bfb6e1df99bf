"""Running a person's SQL: one SELECT, read-only, by a login that can do nothing else, within limits."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg import AsyncRawCursor, adapters

from event_stream_engine.infra.database import Connection, snapshot
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Invalid, Unavailable
from event_stream_engine.workbench.readers import Readers
from event_stream_engine.workbench.statement import HARMLESS_FUNCTIONS, Refused, Statement, read_statement

SQL = load_queries(__package__)
MOST_COLUMNS = 200
MOST_ROW_LETTERS = 400_000  # of a row: shared among its columns that are text
_CHUNK_ROWS = 20
# Webhooks come in by the same loop. After so many values, about a millisecond, it is theirs for several times as long; to
# give way for a moment only would let four queries at once have it most of the time.
PIECE_VALUES = 500
REST_SECONDS = 0.005
_VALUE_KINDS = (str, int, float, bool, Decimal, datetime, date, time_of_day, timedelta, UUID, type(None))
# What is of bounded size travels as it is, everything else as text, so that it can be cut before it leaves the server.
AS_IT_IS = frozenset(
    adapters.types[name].regtype
    for name in (
        *("bool", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "uuid"),
        *("date", "time", "timetz", "timestamp", "timestamptz", "interval"),
    )
)
_BYTES_OF_A_VALUE = 16  # that is no text
_LONGEST_MESSAGE = 500
_SERVER_GONE = (psycopg.errors.AdminShutdown, psycopg.errors.CrashShutdown, psycopg.errors.CannotConnectNow)
_SLACK_SECONDS = 10.0  # to get a place and a connection; the statements themselves are ended by the server


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may take. `cost` is in the planner's units, `bytes` counts what is sent of the rows, `letters` are of
    one value."""

    rows: int = 2_000
    bytes: int = 2 * 1024 * 1024
    letters: int = 20_000
    seconds: float = 30.0
    cost: float = 10_000_000.0


ON_SCREEN = Limits()


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str  # as PostgreSQL names it: bigint, text, timestamp with time zone


@dataclass(frozen=True, slots=True)
class Result:
    """`truncated`: there are more rows, or a value was cut. `cost`: what the planner reckoned beforehand.

    A value is a number, a truth value, an instant, date or interval, a UUID, a text or None; arrays, JSON and the like are
    their text.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool
    duration_ms: float
    cost: float


async def run(
    readers: Readers,
    sql: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    sees_numbers: bool,
    limits: Limits = ON_SCREEN,
) -> Result:
    """Run one SELECT; `:name` in it stands for a parameter. When the caller is cancelled, so is the query.

    Errors: Refused with the reason and the place; Invalid (`parameters.<name>`); Unavailable when there is no login, no
    server or no free place.
    """
    statement = read_statement(sql)
    values = order_values(statement, parameters or {})
    began = time.perf_counter()
    try:
        async with (
            asyncio.timeout(limits.seconds + _SLACK_SECONDS),
            readers.connection(sees_numbers=sees_numbers, seconds=limits.seconds) as conn,
            snapshot(conn),
        ):
            wrapped = await look_at(conn, statement, values, limits, _write_for_screen)
            rows, truncated = await _fetch(conn, wrapped, values, limits)
    except TimeoutError:
        raise Unavailable("The server did not answer in time. Try again in a moment.") from None
    except psycopg.Error as error:
        raise explain(error, statement, limits) from None
    duration_ms = (time.perf_counter() - began) * 1000
    return Result(wrapped.columns, rows, truncated, round(duration_ms, 1), wrapped.cost)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A query as it is run: `text` gives its columns, of which a text has at most one letter more than `letters`."""

    text: str
    columns: tuple[Column, ...]
    letters: int
    cost: float
    estimated_rows: int


_BEFORE = "SELECT * FROM (\n"


def _write_for_screen(name: str, column_type: str, letters: int) -> str:
    return name if column_type in AS_IT_IS else f"left({name}::text, {letters})"


async def look_at(
    conn: Connection,
    statement: Statement,
    values: Sequence[Any],
    limits: Limits,
    write: Callable[[str, str, int], str],
) -> Wrapped:
    """Find out what a query gives and costs, without running it.

    `write` says by which expression a column is sent: of its name, its type, and the letters of a text. What is executed
    here is prepared, because psycopg would otherwise send a query without parameters by the protocol that takes several at once.
    Errors: Refused; psycopg.Error.
    """
    refused = await SQL.list_refused_functions.value(
        conn, {"names": sorted(statement.names), "allowed": list(HARMLESS_FUNCTIONS)}
    )
    if refused:
        raise Refused(
            f"The function {refused[0]} may not be used here: it has an effect of its own, or waits.",
            statement.names[refused[0]],
        )
    async with AsyncRawCursor(conn) as cursor:
        await cursor.execute(f"{_BEFORE}{statement.text}\n) AS q LIMIT 0".encode(), values, prepare=True)
        description = cursor.description or []
        if not 1 <= len(description) <= MOST_COLUMNS:
            raise Refused(f"A query gives 1 to {MOST_COLUMNS} columns, this one gives {len(description)}.")
        known = [conn.adapters.types.get(column.type_code) for column in description]
        columns = tuple(
            Column(
                column.name,
                (kind.regtype if column.type_code == kind.oid else f"{kind.regtype}[]") if kind else "text",
            )
            for column, kind in zip(description, known, strict=True)
        )
        texts = sum(column.type not in AS_IT_IS for column in columns)
        letters = min(limits.letters, MOST_ROW_LETTERS // max(1, texts))
        given = [write(f"q.c{number}", column.type, letters + 1) for number, column in enumerate(columns)]
        names = ", ".join(f"c{number}" for number in range(len(given)))
        # The query is the person's, by a login that may run any: nothing could be injected.
        wrapped = (
            f"SELECT {', '.join(given)} FROM (\n{statement.text}\n) AS q ({names}) LIMIT {limits.rows + 1}"  # noqa: S608
        )
        await cursor.execute(f"EXPLAIN (FORMAT JSON) {wrapped}".encode(), values, prepare=True)
        row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - EXPLAIN always answers
    plan = row[0][0]["Plan"]
    cost = float(plan["Total Cost"])
    if cost > limits.cost:
        raise Refused(
            f"PostgreSQL reckons that this query costs {cost:,.0f}, and at most {limits.cost:,.0f} is run here. Narrow it,"
            " by time for instance, join by equal columns, or ask a roll-up."
        )
    return Wrapped(wrapped, columns, letters, cost, int(plan["Plan Rows"]))


async def _fetch(
    conn: Connection, wrapped: Wrapped, values: Sequence[Any], limits: Limits
) -> tuple[tuple[tuple[Any, ...], ...], bool]:
    """Return the rows, as far as they are taken, and whether there is more of them."""
    rows: list[tuple[Any, ...]] = []
    taken, truncated = 0, False
    piece_rows = max(1, PIECE_VALUES // len(wrapped.columns))
    size = _CHUNK_ROWS if psycopg.capabilities.has_stream_chunked() else 1
    async with AsyncRawCursor(conn) as cursor:
        stream = cast(
            "AsyncGenerator[tuple[Any, ...]]", cursor.stream(wrapped.text.encode(), values, size=size)
        )
        async with aclosing(stream):  # left early, it ends the query
            async for row in stream:
                taken += sum(len(value) if isinstance(value, str) else _BYTES_OF_A_VALUE for value in row)
                if len(rows) == limits.rows or taken > limits.bytes:
                    truncated = True
                    break
                shown = tuple(
                    f"{value[: wrapped.letters]}…"
                    if isinstance(value, str) and len(value) > wrapped.letters
                    else value
                    for value in row
                )
                truncated = truncated or shown != row
                rows.append(shown)
                if len(rows) % piece_rows == 0:
                    await asyncio.sleep(REST_SECONDS)
    return tuple(rows), truncated


def order_values(statement: Statement, parameters: Mapping[str, Any]) -> list[Any]:
    """Return the values of a statement's parameters in their order. Errors: Invalid (`parameters.<name>`)."""
    for name in statement.parameters:
        if name not in parameters:
            raise Invalid(f"The query asks for :{name}, which has no value.", f"parameters.{name}")
    for name, value in parameters.items():
        if name not in statement.parameters:
            raise Invalid(f"The query has no :{name}.", f"parameters.{name}")
        if not isinstance(value, _VALUE_KINDS):
            raise Invalid(f"{name} needs a text, a number, true, false or null.", f"parameters.{name}")
        if isinstance(value, str) and "\0" in value:
            raise Invalid(f"There is a NUL in {name}. Take it out.", f"parameters.{name}")
    return [parameters[name] for name in statement.parameters]


def explain(error: psycopg.Error, statement: Statement, limits: Limits) -> Refused | Unavailable:
    """Say what became of a query in PostgreSQL's own words, of which only the first sentence: the rest may quote rows."""
    if isinstance(error, _SERVER_GONE) or (
        isinstance(error, psycopg.OperationalError) and not error.sqlstate
    ):
        return Unavailable("The database went away while the query ran. Try again in a moment.")
    words = (error.diag.message_primary or str(error).strip())[:_LONGEST_MESSAGE]
    said = f"{words[:1].upper()}{words[1:]}"
    place = None
    if error.diag.statement_position:
        sent = int(error.diag.statement_position) - 1 - len(_BEFORE)
        if sent >= len(statement.text):
            return Refused("The query ends too early: something is missing at its end.", len(statement.text))
        place = statement.find_place(max(0, sent))
    match error:
        case psycopg.errors.QueryCanceled():
            text = f"Stopped after {limits.seconds:g} s. Narrow the query, by time for instance, or ask a roll-up."
        case psycopg.errors.OutOfMemory() | psycopg.errors.ProgramLimitExceeded():
            text = f"Stopped: it needs more memory than a query gets ({words})."
        case psycopg.errors.ConfigurationLimitExceeded():
            text = f"Stopped: it needs more room on disk than a query gets ({words})."
        case psycopg.errors.InsufficientPrivilege():
            text = f"Not for queries: {words}. The list of tables says what may be read."
        case psycopg.errors.ReadOnlySqlTransaction():
            text = f"Only reading is possible: {words}."
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            text = f"{said}. The list of tables says what there is."
        case psycopg.errors.IndeterminateDatatype():
            text = f"{said}. Write its type, like :name::date."
        case _:
            text = f"{said}. {error.diag.message_hint or ''}".strip()
    return Refused(text, place)
