"""Hand-written SQL, one `queries.sql` per slice, read once and checked against the database at start.

A query begins with a header of comment lines::

    -- name: read_events :many
    -- for: …            what it is for
    -- in: …             parameters with units
    -- out: …            columns with units
    -- index: …          the index it relies on
    -- note: …           the reason of its shape

Cardinality is one of `:one :maybe :many :exec`. Parameters are psycopg's `%(name)s`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, LiteralString, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import class_row

Row = TypeVar("Row")
Parameters = Mapping[str, Any]
_HEADER = re.compile(
    r"^-- name: (?P<name>[a-z][a-z0-9_]*) :(?P<cardinality>one|maybe|many|exec)\s*$", re.MULTILINE
)
# The header goes behind the first word: what stands before it PostgreSQL 18 leaves out of its statistics of statements.
_FIRST_WORD = re.compile(r"\A((?:--[^\n]*\n)+)(\w+)")
_REQUIRED_KEYS = ("for", "note")


@dataclass(frozen=True, slots=True)
class Query:
    name: str
    cardinality: str
    sql: LiteralString

    async def one(
        self, conn: AsyncConnection[Any], row: type[Row], parameters: Parameters | None = None
    ) -> Row:
        """Return the only row. Errors: LookupError when there is none."""
        found = await self.maybe(conn, row, parameters)
        if found is None:
            raise LookupError(f"query {self.name} returned no row")
        return found

    async def maybe(
        self, conn: AsyncConnection[Any], row: type[Row], parameters: Parameters | None = None
    ) -> Row | None:
        async with conn.cursor(row_factory=class_row(row)) as cursor:
            await cursor.execute(self.sql, parameters or {})
            return await cursor.fetchone()

    async def value(self, conn: AsyncConnection[Any], parameters: Parameters | None = None) -> Any:
        """Return the only column of the only row, None when there is no row."""
        cursor = await conn.execute(self.sql, parameters or {})
        found = await cursor.fetchone()
        return None if found is None else found[0]

    async def many(
        self, conn: AsyncConnection[Any], row: type[Row], parameters: Parameters | None = None
    ) -> list[Row]:
        async with conn.cursor(row_factory=class_row(row)) as cursor:
            await cursor.execute(self.sql, parameters or {})
            return await cursor.fetchall()

    async def execute(self, conn: AsyncConnection[Any], parameters: Parameters | None = None) -> int:
        """Run it for its effect and return the number of rows touched."""
        cursor = await conn.execute(self.sql, parameters or {})
        return cursor.rowcount


class Queries:
    """The named queries of one slice; an unknown name is an AttributeError at import time of its user."""

    def __init__(self, package: str, by_name: Mapping[str, Query]) -> None:
        self.package = package
        self.by_name = by_name

    def __getattr__(self, name: str) -> Query:
        try:
            return self.by_name[name]
        except KeyError:
            raise AttributeError(f"{self.package}/queries.sql has no query named {name}") from None


@cache
def load_queries(package: str) -> Queries:
    """Read `queries.sql` of a package. Errors: ValueError naming the query whose header is incomplete."""
    text = resources.files(package).joinpath("queries.sql").read_text("utf-8")
    heads = list(_HEADER.finditer(text))
    by_name: dict[str, Query] = {}
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        name = head["name"]
        body = text[head.end() : following.start() if following else len(text)].strip()
        missing = [key for key in _REQUIRED_KEYS if f"-- {key}: " not in body]
        if missing or name in by_name:
            raise ValueError(f"{package}/queries.sql: {name} lacks {missing} or is there twice")
        by_name[name] = Query(name, head["cardinality"], _FIRST_WORD.sub(r"\2\n\1", body))
    return Queries(package, by_name)
