"""Saved queries: SQL that somebody keeps and may share; the shipped ones belong to nobody and never change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID, uuid4

import orjson
from psycopg.errors import UniqueViolation

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Denied, Invalid, NotFound
from event_stream_engine.workbench.parameters import Parameter, check_parameters

SQL = load_queries(__package__)
MOST_VERSIONS = 50
MOST_OWN = 500
CHART_KINDS = ("bar", "line")
MOST_LINES = 3  # of a chart; more cannot be told apart


@dataclass(frozen=True, slots=True)
class ChartChoice:
    """How a result is drawn: a column along the axis, and the numeric columns over it."""

    kind: Literal["bar", "line"]
    x: str
    y: Sequence[str]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person decides about a saved query."""

    name: str
    sql: str
    description: str = ""
    parameters: Sequence[Parameter] = ()
    chart: ChartChoice | None = None
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, as the audit trail names them and as people do. An admin may change what is shared."""

    actor: Actor
    name: str
    is_admin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedQuery(Draft):
    """`owner` None: shipped."""

    id: UUID
    owner: str | None
    owner_name: str | None
    version: int
    created_at: datetime
    changed_at: datetime

    @property
    def is_shipped(self) -> bool:
        return self.owner is None

    def is_seen_by(self, actor: str) -> bool:
        return self.is_shared or self.owner == actor

    def may_change(self, person: Person) -> bool:
        """Return whether a person may change or delete it: its owner, and an admin if it is shared."""
        return not self.is_shipped and (
            self.owner == person.actor.name or (person.is_admin and self.is_shared)
        )


@dataclass(frozen=True, slots=True)
class Version:
    """The text of a query as it once was."""

    version: int
    sql: str
    parameters: Sequence[Parameter]
    changed_by_name: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class _Row:
    id: UUID
    name: str
    description: str
    sql: str
    parameters: list[dict[str, Any]]
    chart: dict[str, Any] | None
    owner: str | None
    owner_name: str | None
    is_shared: bool
    version: int
    created_at: datetime
    changed_at: datetime

    @property
    def content(self) -> SavedQuery:
        columns = {name: getattr(self, name) for name in _Row.__slots__}
        columns["parameters"] = [Parameter(**one) for one in self.parameters]
        columns["chart"] = None if self.chart is None else ChartChoice(**self.chart)
        return SavedQuery(**columns)


@dataclass(frozen=True, slots=True)
class _VersionRow:
    version: int
    sql: str
    parameters: list[dict[str, Any]]
    changed_by_name: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class _RuleName:
    name: str


async def list_queries(conn: Connection, person: Person) -> list[SavedQuery]:
    """Return what a person may see, by name: shipped, shared, and their own."""
    rows = await SQL.list_saved_queries.many(conn, _Row, {"owner": person.actor.name})
    return [row.content for row in rows]


async def find_query(conn: Connection, query_id: UUID) -> SavedQuery | None:
    row = await SQL.find_saved_query.maybe(conn, _Row, {"id": query_id})
    return None if row is None else row.content


async def load_query(conn: Connection, query_id: UUID, person: Person) -> SavedQuery:
    """Return a query that a person may see. Errors: NotFound, also for somebody else's that is not shared."""
    query = await find_query(conn, query_id)
    if query is None or not query.is_seen_by(person.actor.name):
        raise NotFound("There is no such saved query, or it is not shared. GET /api/v1/queries lists yours.")
    return query


async def list_versions(conn: Connection, query_id: UUID) -> list[Version]:
    """Return what a query said, the newest first."""
    rows = await SQL.list_query_versions.many(conn, _VersionRow, {"id": query_id})
    return [
        Version(
            row.version,
            row.sql,
            [Parameter(**one) for one in row.parameters],
            row.changed_by_name,
            row.changed_at,
        )
        for row in rows
    ]


async def create_query(conn: Connection, person: Person, draft: Draft, now: datetime) -> SavedQuery:
    """Save a query. Errors: Invalid naming the field; Conflict when somebody keeps too many."""
    _check_draft(draft)
    if await SQL.count_saved_queries.value(conn, {"owner": person.actor.name}) >= MOST_OWN:
        raise Conflict(f"You keep {MOST_OWN} queries already. Delete one that nobody needs.")
    query_id = uuid4()
    values = {"id": query_id, "owner": person.actor.name, "owner_name": person.name, "now": now}
    await _put(conn, draft, values, "create")
    await _keep_version(conn, query_id, person, now)
    await record(
        conn, person.actor, Entry(now, "saved_query.created", _subject(query_id), after=_describe(draft))
    )
    return await load_query(conn, query_id, person)


async def change_query(
    conn: Connection, person: Person, query_id: UUID, draft: Draft, *, seen: int, now: datetime
) -> SavedQuery:
    """Change a query of version `seen`. Errors: Invalid naming the field, NotFound, Denied, Conflict when it was changed since."""
    await SQL.lock_saved_query.execute(conn, {"id": query_id})
    before = await _load_own(conn, query_id, person)
    _check_draft(draft)
    if before.version != seen:
        raise Conflict("This query was changed since you read it. Reload it, then change what holds now.")
    is_new_text = (draft.sql, tuple(draft.parameters)) != (before.sql, tuple(before.parameters))
    await _put(conn, draft, {"id": query_id, "now": now}, "change")
    if is_new_text:
        await _keep_version(conn, query_id, person, now)
    entry = Entry(now, "saved_query.changed", _subject(query_id), _describe(before), _describe(draft))
    await record(conn, person.actor, entry)
    # What was an admin's to change because it was shared may no longer be theirs to see.
    changed = await find_query(conn, query_id)
    assert changed is not None  # noqa: S101 - the row is locked
    return changed


async def delete_query(conn: Connection, person: Person, query_id: UUID, now: datetime) -> None:
    """Remove a query with its versions and schedules. Errors: NotFound, Denied; Conflict while an alert rule measures it."""
    await SQL.lock_saved_query.execute(conn, {"id": query_id})
    before = await _load_own(conn, query_id, person)
    rules = await SQL.list_rules_of_query.many(conn, _RuleName, {"id": str(query_id)})
    if rules:
        named = ", ".join(rule.name for rule in rules)
        raise Conflict(f"The alert rule {named} measures it. Remove the rule first.")
    await SQL.delete_saved_query.execute(conn, {"id": query_id})
    await record(
        conn, person.actor, Entry(now, "saved_query.deleted", _subject(query_id), before=_describe(before))
    )


async def _load_own(conn: Connection, query_id: UUID, person: Person) -> SavedQuery:
    query = await load_query(conn, query_id, person)
    if query.is_shipped:
        raise Denied("Shipped queries stay as they are. Save a copy under a name of yours.")
    if not query.may_change(person):
        raise Denied(f"Only {query.owner_name} or an admin may change this query. Save a copy of your own.")
    return query


async def _put(conn: Connection, draft: Draft, values: Mapping[str, Any], verb: str) -> None:
    columns = {
        "name": draft.name.strip(),
        "description": draft.description.strip(),
        "sql": draft.sql,
        "parameters": _dump([one.described for one in draft.parameters]),
        "chart": None if draft.chart is None else _dump(_describe_chart(draft.chart)),
        "is_shared": draft.is_shared,
    }
    try:
        async with transaction(conn):
            query = SQL.create_saved_query if verb == "create" else SQL.change_saved_query
            await query.execute(conn, {**columns, **values})
    except UniqueViolation:
        raise Invalid("You have a query of this name already. Choose another.", "name") from None


async def _keep_version(conn: Connection, query_id: UUID, person: Person, now: datetime) -> None:
    await SQL.keep_query_version.execute(conn, {"id": query_id, "name": person.name, "now": now})
    await SQL.forget_query_versions.execute(conn, {"id": query_id, "most": MOST_VERSIONS})


def _check_draft(draft: Draft) -> None:
    _require(
        1 <= len(draft.name.strip()) <= 200 and draft.name.isprintable(),
        "A name of 1 to 200 characters is needed.",
        "name",
    )
    _require(len(draft.description) <= 2000, "At most 2,000 characters are possible.", "description")
    check_parameters(draft.sql, draft.parameters)
    chart = draft.chart
    if chart is not None:
        _require(chart.kind in CHART_KINDS, f"One of {', '.join(CHART_KINDS)} is needed.", "chart.kind")
        _require(1 <= len(chart.x) <= 200, "The column along the axis is needed.", "chart.x")
        _require(
            1 <= len(chart.y) <= MOST_LINES and all(1 <= len(one) <= 200 for one in chart.y),
            f"One to {MOST_LINES} columns of numbers are needed.",
            "chart.y",
        )


def _require(is_met: bool, text: str, where: str) -> None:
    if not is_met:
        raise Invalid(text, where)


def _describe(draft: Draft) -> dict[str, Any]:
    return {
        "name": draft.name,
        # The text itself is in saved_query_versions: the trail keeps for ever, and a text may hold somebody's number.
        "sql_sha256": sha256(draft.sql.encode()).hexdigest(),
        "is_shared": draft.is_shared,
    }


def _describe_chart(chart: ChartChoice) -> dict[str, Any]:
    return {"kind": chart.kind, "x": chart.x, "y": list(chart.y)}


def _subject(query_id: UUID) -> str:
    return f"saved_query:{query_id}"


def _dump(value: object) -> str:
    return orjson.dumps(value).decode()
