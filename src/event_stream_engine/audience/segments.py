"""Segments: named filters over the people, as a typed tree in JSON.

A tree is `{"and": […]}`, `{"or": […]}`, `{"not": …}` or a condition `{"field": …, "operator": …, "value": …}`; see
`conditions.py` for the fields. `{"and": []}` is everybody.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from psycopg import sql
from psycopg.errors import QueryCanceled, UniqueViolation
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from event_stream_engine.audience.conditions import compile_leaf
from event_stream_engine.audience.people import Person
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound, Unavailable

SQL = load_queries(__package__)
DEEPEST = 8
MOST_CONDITIONS = 100
LONGEST_NAME = 200
LARGEST_FILTER_BYTES = 64 * 1024
PREVIEW_MS = 5000
ROOT = "filter"


@dataclass(frozen=True, slots=True)
class Segment:
    id: UUID
    name: str
    filter: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class Preview:
    """Who satisfies a filter now, whatever their consent: how many of all people, and some of them."""

    people: int
    all_people: int
    sample: list[Person]


async def list_segments(conn: Connection, most: int, after: tuple[str, UUID] | None = None) -> list[Segment]:
    """Return the segments that are not archived by name, from the one after (name, id) on."""
    name, id = after or ("", UUID(int=0))
    return await SQL.list_segments.many(conn, Segment, {"most": most, "name": name, "id": id})


async def load_segment(conn: Connection, segment_id: UUID) -> Segment:
    """Return a segment, also an archived one. Errors: NotFound."""
    found = await SQL.find_segment.maybe(conn, Segment, {"id": segment_id})
    if found is None:
        raise NotFound(f"There is no segment {segment_id}.")
    return found


async def create_segment(conn: Connection, actor: Actor, at: datetime, name: str, tree: object) -> Segment:
    """Errors: Invalid; Conflict when the name is taken."""
    segment_id = uuid4()
    content = _check(name, tree, at)
    async with _unique_name(conn, content["name"]):
        await SQL.create_segment.execute(conn, {"id": segment_id, "at": at} | content)
    await record(
        conn, actor, Entry(at, "segment.created", f"segment:{segment_id}", after={"name": content["name"]})
    )
    return await load_segment(conn, segment_id)


async def change_segment(
    conn: Connection, actor: Actor, at: datetime, segment_id: UUID, *, name: str, tree: object
) -> Segment:
    """Put a new name and filter in place of the old. A campaign that has started keeps the filter it started with.

    Errors: NotFound; Invalid; Conflict when the name is taken or the segment archived.
    """
    before = await load_segment(conn, segment_id)
    content = _check(name, tree, at)
    async with _unique_name(conn, content["name"]):
        if not await SQL.change_segment.execute(conn, {"id": segment_id, "at": at} | content):
            raise Conflict("This segment is archived and no longer changes. Make a new one.")
    entry = Entry(
        at,
        "segment.changed",
        f"segment:{segment_id}",
        before={"name": before.name},
        after={"name": content["name"], "filter_changed": before.filter != tree},
    )
    await record(conn, actor, entry)
    return await load_segment(conn, segment_id)


async def archive_segment(conn: Connection, actor: Actor, at: datetime, segment_id: UUID) -> Segment:
    """Take a segment out of use; it stays readable for the campaigns that used it. Errors: NotFound."""
    segment = await load_segment(conn, segment_id)
    if await SQL.archive_segment.execute(conn, {"id": segment_id, "at": at}):
        await record(
            conn, actor, Entry(at, "segment.archived", f"segment:{segment_id}", after={"name": segment.name})
        )
    return await load_segment(conn, segment_id)


async def preview(conn: Connection, tree: object, now: datetime, most: int = 5) -> Preview:
    """Count who satisfies a filter and show some of them, in a transaction of its own.

    Errors: Invalid; Unavailable when counting takes longer than 5 s.
    """
    condition, parameters = compile_filter(tree, now)
    try:
        async with transaction(conn):
            await conn.execute(f"SET LOCAL statement_timeout = {PREVIEW_MS}")
            counted = await conn.execute(
                sql.SQL(
                    "SELECT (SELECT count(*) FROM users u WHERE {}), (SELECT count(*) FROM users)"
                ).format(condition),
                parameters,
            )
            people, all_people = await counted.fetchone() or (0, 0)
            async with conn.cursor(row_factory=class_row(Person)) as cursor:
                await cursor.execute(
                    sql.SQL(
                        "SELECT phone_e164, country, timezone, attributes, consent_state, consent_entry, created_at, updated_at"
                        " FROM users u WHERE {} LIMIT {}"
                    ).format(condition, most),
                    parameters,
                )
                return Preview(people, all_people, await cursor.fetchall())
    except QueryCanceled:
        raise Unavailable(
            f"Counting took longer than {PREVIEW_MS // 1000} s and was given up. The filter can still be saved and used; a"
            " condition with equals on an attribute makes it quicker."
        ) from None


def _check(name: str, tree: object, now: datetime) -> dict[str, Any]:
    if not 1 <= len(name.strip()) <= LONGEST_NAME or not name.isprintable():
        raise Invalid(f"A segment's name has 1 to {LONGEST_NAME} characters.", "name")
    compile_filter(tree, now)
    if len(orjson.dumps(tree)) > LARGEST_FILTER_BYTES:
        raise Invalid(f"A filter takes at most {LARGEST_FILTER_BYTES // 1024} kB.", ROOT)
    return {"name": name.strip(), "filter": Jsonb(tree, dumps=orjson.dumps)}


@asynccontextmanager
async def _unique_name(conn: Connection, name: str) -> AsyncIterator[None]:
    try:
        async with transaction(conn):  # a savepoint: the caller's transaction must stay usable
            yield
    except UniqueViolation:
        raise Conflict(f"There is a segment named {name!r} already. Choose another name.") from None


def compile_filter(tree: object, now: datetime) -> tuple[sql.Composed, dict[str, Any]]:
    """Compile a filter to a condition over alias `u` of `users`, and its parameters, named `segment_<n>`.

    The condition is never NULL. `now` is what relative instants count from.
    Errors: Invalid naming the place in the tree, like `filter.and.0.operator`.
    """
    compiling = _Compiling(now)
    return sql.Composed([compiling.compile(tree, ROOT, 1)]), compiling.parameters


@dataclass(slots=True)
class _Compiling:
    now: datetime
    parameters: dict[str, Any] = field(default_factory=dict)
    conditions: int = 0

    def bind(self, value: object) -> sql.Placeholder:
        name = f"segment_{len(self.parameters)}"
        self.parameters[name] = value
        return sql.Placeholder(name)

    def compile(self, tree: Any, path: str, depth: int) -> sql.Composable:
        if depth > DEEPEST:
            raise Invalid(f"The filter is more than {DEEPEST} levels deep. Make it flatter.", path)
        match tree:
            case {"and": list(parts), **rest} if not rest:
                return self._join("and", parts, path, depth) if parts else sql.SQL("true")
            case {"or": list(parts), **rest} if not rest:
                if not parts:
                    raise Invalid(
                        "An `or` of nothing is nobody. Give it at least one condition.", f"{path}.or"
                    )
                return self._join("or", parts, path, depth)
            case {"not": part, **rest} if not rest:
                return sql.SQL("(NOT {})").format(self.compile(part, f"{path}.not", depth + 1))
            case {"field": _}:
                if unknown := tree.keys() - {"field", "operator", "value"}:
                    raise Invalid(f"A condition has no part {min(map(str, unknown))!r}.", path)
                self.conditions += 1
                self._limit(self.conditions, path)
                return compile_leaf(tree, path, self.now, self.bind)
            case _:
                raise Invalid(
                    'Expected {"and": [...]}, {"or": [...]}, {"not": ...} or {"field": ..., "operator": ..., "value": ...}.',
                    path,
                )

    def _join(self, name: str, parts: list[Any], path: str, depth: int) -> sql.Composable:
        self._limit(len(parts), f"{path}.{name}")
        compiled = [
            self.compile(part, f"{path}.{name}.{place}", depth + 1) for place, part in enumerate(parts)
        ]
        return sql.SQL("({})").format(sql.SQL(" AND " if name == "and" else " OR ").join(compiled))

    def _limit(self, conditions: int, path: str) -> None:
        if conditions > MOST_CONDITIONS:
            raise Invalid(f"The filter has more than {MOST_CONDITIONS} conditions. Make it simpler.", path)
