"""Exports as rows: asked for, claimed by one worker at a time, made part by part, kept for three days.

An export is one statement, so all its rows are of one instant. The price: one whose worker died begins anew, under a new
claim; what the old one may still write does not count.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from event_stream_engine.access.roles import Role
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.exports.orders import Order, check_order
from event_stream_engine.exports.sets import SAVED_QUERY
from event_stream_engine.infra.database import Connection, Pool, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, NotFound, Unavailable
from event_stream_engine.workbench.asking import write_for_trail

SQL = load_queries(__package__)
SILENCE = timedelta(seconds=30)  # of a worker, after which another begins its export anew
MOST_ATTEMPTS = 3
MOST_OPEN = 20  # of one operator or key
KEPT = timedelta(days=3)
HISTORY = timedelta(days=90)
# What is told in the audit trail of how an export was narrowed: nothing by which a person could be found.
_TOLD_FILTERS = frozenset(
    {
        "since",
        "until",
        "campaign_id",
        "campaign_ids",
        "query_id",
        "version",
        "channel",
        "country",
        "consent",
        "intent",
        "status",
        "reason",
    }
)


@dataclass(frozen=True, slots=True)
class Export:
    """An export with its progress. `file_bytes` is what a download has, `stored_bytes` what it takes in the database."""

    id: UUID
    set_name: str
    format: str
    filters: dict[str, Any]
    shows_numbers: bool
    actor: str
    state: str
    error: str | None
    attempts: int
    claim_id: UUID | None
    estimated_rows: int | None
    rows: int
    file_bytes: int
    stored_bytes: int
    as_of: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None

    @property
    def order(self) -> Order:
        return Order(self.set_name, self.format, self.filters, self.shows_numbers)

    @property
    def file_name(self) -> str:
        at = self.as_of or self.created_at
        return f"{self.set_name}-{at:%Y-%m-%dT%H%M%S}Z.{self.format}"


@dataclass(frozen=True, slots=True)
class _Open:
    waiting: int
    own: int


async def ask(
    conn: Connection, actor: Actor, role: Role, order: Order, now: datetime, *, limit_bytes: int
) -> Export:
    """Ask for an export; a worker makes it. `limit_bytes` is what all files together may take.

    Errors: Invalid; Denied when the role may not have these rows; Conflict when too much waits or is kept.
    """
    check_order(order, role)
    waiting = await SQL.count_open_exports.one(
        conn, _Open, {"silent_since": now - SILENCE, "actor": actor.name}
    )
    if waiting.own >= MOST_OPEN:
        raise Conflict(f"{MOST_OPEN} of your exports wait already. Let them end, or cancel some.")
    if await SQL.count_stored_bytes.value(conn) >= limit_bytes:
        raise Conflict(
            "The files of all exports have reached ESE_EXPORTS_LIMIT_MB. Delete some that are no longer needed, or raise it."
        )
    export_id = uuid4()
    await SQL.insert_export.value(
        conn,
        {
            "id": export_id,
            "set_name": order.set_name,
            "format": order.format,
            "filters": Jsonb(dict(order.filters)),
            "shows_numbers": order.shows_numbers,
            "actor": actor.name,
            "now": now,
        },
    )
    await record(conn, actor, Entry(now, "export.asked", f"export:{export_id}", after=describe_order(order)))
    return await load_export(conn, export_id)


def describe_order(order: Order) -> dict[str, Any]:
    """Return an order as the audit trail tells it."""
    own = {"sql": write_for_trail(order.filters["sql"])} if order.set_name == SAVED_QUERY.slug else {}
    told = {name: value for name, value in order.filters.items() if name in _TOLD_FILTERS}
    return {
        "set": order.set_name,
        "format": order.format,
        "shows_numbers": order.shows_numbers,
        "filters": told | ({"search": True} if {"phone", "number", "text"} & order.filters.keys() else {}),
        **own,
    }


async def load_export(conn: Connection, export_id: UUID) -> Export:
    """Errors: NotFound."""
    found = await SQL.find_export.maybe(conn, Export, {"id": export_id})
    if found is None:
        raise NotFound("There is no such export.")
    return found


async def list_exports(
    conn: Connection, most: int, before: tuple[datetime, UUID] | None = None
) -> list[Export]:
    """Return exports, newest first, from behind a place (created_at, id) on."""
    at, export_id = before or (None, None)
    return await SQL.list_exports.many(conn, Export, {"most": most, "before_at": at, "before_id": export_id})


async def count_waiting(conn: Connection, now: datetime) -> int:
    """Return how many exports `claim_next` would give."""
    found = await SQL.count_open_exports.one(conn, _Open, {"silent_since": now - SILENCE, "actor": None})
    return found.waiting


async def claim_next(conn: Connection, now: datetime) -> Export | None:
    """Take the next export that waits, or that its worker has left; None when there is none."""
    async with transaction(conn):
        claimed = await SQL.claim_export.maybe(
            conn, Export, {"claim_id": uuid4(), "now": now, "silent_since": now - SILENCE}
        )
        if claimed is not None:
            await SQL.delete_parts.execute(conn, {"id": claimed.id})
    if claimed is not None and claimed.attempts > MOST_ATTEMPTS:
        await end(conn, claimed, now, error=f"It was begun {MOST_ATTEMPTS} times and never ended. Narrow it.")
        return await claim_next(conn, now)
    return claimed


async def end(conn: Connection, claimed: Export, now: datetime, *, error: str | None = None) -> None:
    """End the attempt that holds the claim: completed, or failed with the reason. One that was cancelled stays so."""
    async with transaction(conn):
        ended = await SQL.end_export.execute(
            conn,
            {
                "id": claimed.id,
                "claim_id": claimed.claim_id,
                "state": "failed" if error else "completed",
                "error": error,
                "now": now,
                "expires_at": None if error else now + KEPT,
            },
        )
        if not ended:
            return
        if error:
            await SQL.delete_parts.execute(conn, {"id": claimed.id})
        made = await load_export(conn, claimed.id)
        if error and claimed.set_name == SAVED_QUERY.slug:
            error = "refused or stopped"  # PostgreSQL's words about somebody's SQL may quote a row
        after = {"error": error} if error else {"rows": made.rows, "file_bytes": made.file_bytes}
        action = "export.failed" if error else "export.completed"
        await record(conn, Actor(claimed.actor), Entry(now, action, f"export:{claimed.id}", after=after))


async def cancel(conn: Connection, actor: Actor, export_id: UUID, now: datetime) -> Export:
    """Stop an export, or delete its file. Inside a transaction. Errors: NotFound; Conflict when there is neither."""
    values = {"id": export_id, "now": now}
    if await SQL.cancel_export.value(conn, values) is not None:
        action = "export.cancelled"
    elif await SQL.expire_export.value(conn, values) is not None:
        action = "export.deleted"
    else:
        found = await load_export(conn, export_id)
        raise Conflict(f"This export is {found.state} and has no file to delete.")
    await SQL.delete_parts.execute(conn, values)
    await record(conn, actor, Entry(now, action, f"export:{export_id}"))
    return await load_export(conn, export_id)


async def open_download(conn: Connection, actor: Actor, export_id: UUID, now: datetime) -> Export:
    """Return an export whose file is about to be downloaded, and record that. Inside a transaction.

    Errors: NotFound; Conflict when it has no file.
    """
    found = await load_export(conn, export_id)
    if found.state != "completed" or (found.expires_at is not None and found.expires_at <= now):
        raise Conflict(f"This export has no file: it is {found.state}. Ask for it again.")
    await record(conn, actor, Entry(now, "export.downloaded", f"export:{export_id}"))
    return found


async def read_parts(pool: Pool, export_id: UUID) -> AsyncIterator[bytes]:
    """Read a file as it is stored, one part at a time, each with a connection of its own: a slow reader holds none.

    Errors: Unavailable when the file goes meanwhile.
    """
    number = 0
    async with pool.connection() as conn:
        left = (await load_export(conn, export_id)).stored_bytes
    while left > 0:
        async with pool.connection() as conn:
            part = await SQL.find_part.value(conn, {"id": export_id, "number": number})
        if part is None:
            raise Unavailable("The file was deleted while it was downloaded.")
        yield bytes(part)
        number, left = number + 1, left - len(part)


async def clear_old(conn: Connection, now: datetime) -> None:
    """Delete files that have expired, and forget exports of long ago."""
    async with transaction(conn):
        for export_id in await SQL.expire_exports.many(conn, _Id, {"now": now}):
            await SQL.delete_parts.execute(conn, {"id": export_id.id})
    await SQL.forget_exports.execute(conn, {"until": now - HISTORY})


@dataclass(frozen=True, slots=True)
class _Id:
    id: UUID
