"""Rows as files: ask for one, watch it being made, download it, hand on a link."""

import zlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from event_stream_engine.access.roles import Principal, Role, require
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.campaigns.campaigns import load_campaign
from event_stream_engine.exports import jobs, links, orders
from event_stream_engine.exports.formats import FORMATS
from event_stream_engine.exports.jobs import Export
from event_stream_engine.exports.orders import Order
from event_stream_engine.exports.sets import CAMPAIGN, PEOPLE, SAVED_QUERY, SCOPE, SETS, load_set
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.errors import Denied, Invalid
from event_stream_engine.web.api.queries import may_see_numbers
from event_stream_engine.web.api.saved_queries import person_of
from event_stream_engine.web.api.users import read_search
from event_stream_engine.web.auth import actor_of
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.middleware import request_id_of
from event_stream_engine.web.periods import (
    load_scope,
    read_channel,
    read_intent,
    read_period_with,
    refuse_unknown,
)
from event_stream_engine.web.resources import resources_of
from event_stream_engine.workbench.parameters import Value
from event_stream_engine.workbench.saved_queries import load_query

router = APIRouter(prefix="/exports", tags=["exports"])
by_link = APIRouter(include_in_schema=False)


class ExportBody(BaseModel):
    """What to export. The filters are those of the pages; which a set takes is told by `GET /api/v1/exports/sets`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    set: str
    format: str
    shows_numbers: bool = Field(
        False,
        description="phone numbers in full; for operators, and recorded in the audit trail. A query shows what it shows on screen",
    )
    query_id: str | None = Field(None, description="the saved query of the set `query`")
    parameters: dict[str, Value | None] | None = Field(
        None, description="values of its parameters by name; what is left out or null has its default"
    )
    period: str | None = None
    since: str | None = None
    until: str | None = None
    campaign_id: str | None = None
    template_id: str | None = None
    channel: str | None = None
    country: str | None = None
    sender: str | None = None
    intent: str | None = None
    status: str | None = None
    reason: str | None = None
    consent: str | None = None
    search: str | None = None


class LinkBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    hours: int = 24


@router.get("")
async def list_exports(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the answer before")] = None,
) -> dict[str, Any]:
    """Exports with their progress, newest first."""
    resources = resources_of(request)
    place = read_cursor(cursor, parse_instant, UUID) if cursor else None
    async with resources.pool.connection() as conn:
        found = await jobs.list_exports(conn, limit + 1, place)
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    now = resources.clock.now()
    items = [describe_export(request, one, now) for one in shown]
    return {
        "items": items,
        "next_cursor": None if last is None else write_cursor(format_instant(last.created_at), last.id),
        "unknown": {
            f"items.{number}.{name}": reason
            for number, item in enumerate(items)
            for name, reason in item["unknown"].items()
        },
    }


@router.get("/sets")
async def list_sets() -> dict[str, Any]:
    """What can be exported: columns, filters, formats, and the role each needs."""
    return {
        "items": [
            {
                "set": one.slug,
                "name": one.name,
                "meaning": one.meaning,
                "needs": one.needs.value,
                "columns": [{"name": column.name, "kind": column.kind} for column in one.columns],
                "filters": list_parameters(one.filters),
            }
            for one in (*SETS.values(), SAVED_QUERY)
        ],
        "formats": list(FORMATS),
    }


@router.post("", status_code=201)
async def ask_for_export(request: Request, body: ExportBody) -> dict[str, Any]:
    """Ask for a file. A worker makes it; ask for its progress by its id."""
    resources = resources_of(request)
    principal: Principal = request.state.principal
    asked = body.model_dump(exclude={"set", "format", "shows_numbers", "parameters"}, exclude_none=True)
    async with resources.pool.connection() as conn, transaction(conn):
        if body.set == SAVED_QUERY.slug:
            shows_numbers = body.shows_numbers or may_see_numbers(request)
            filters = await _read_query(conn, request, asked, body.parameters or {})
        elif body.parameters is not None:
            raise Invalid(f"Only the set {SAVED_QUERY.slug} has parameters.", "parameters")
        else:
            shows_numbers = body.shows_numbers
            filters = await _read_filters(conn, with_query(request, asked), body.set)
        order = Order(body.set, body.format, filters, shows_numbers)
        now, limit = resources.clock.now(), resources.settings.exports_limit_bytes
        made = await jobs.ask(conn, actor_of(request), principal.role, order, now, limit_bytes=limit)
    return describe_export(request, made, now)


@router.get("/{export_id}")
async def show_export(request: Request, export_id: UUID) -> dict[str, Any]:
    """One export with its progress."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        return describe_export(request, await jobs.load_export(conn, export_id), resources.clock.now())


@router.delete("/{export_id}")
async def cancel_export(request: Request, export_id: UUID) -> dict[str, Any]:
    """Stop an export, or delete its file; your own, or anybody's as an operator."""
    resources = resources_of(request)
    principal: Principal = request.state.principal
    actor, now = actor_of(request), resources.clock.now()
    async with resources.pool.connection() as conn, transaction(conn):
        if (await jobs.load_export(conn, export_id)).actor != actor.name:
            require(principal.role, Role.operator)
        return describe_export(request, await jobs.cancel(conn, actor, export_id, now), now)


@router.get("/{export_id}/file", response_class=StreamingResponse)
async def download(request: Request, export_id: UUID) -> StreamingResponse:
    """The file. Whoever may have its rows may download it, and each download is recorded."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await _require_rows(conn, request, export_id)
        found = await jobs.open_download(conn, actor_of(request), export_id, resources.clock.now())
    return _send(request, found)


@router.post("/{export_id}/links", status_code=201)
async def make_link(request: Request, export_id: UUID, body: LinkBody) -> dict[str, Any]:
    """A link to the file for somebody who does not sign in, good for some hours."""
    resources = resources_of(request)
    now = resources.clock.now()
    async with resources.pool.connection() as conn, transaction(conn):
        found = await _require_rows(conn, request, export_id)
        path, until = links.sign_link(resources.settings.secret_key, found, now, body.hours)
        entry = Entry(now, "export.linked", f"export:{export_id}", after={"until": format_instant(until)})
        await record(conn, actor_of(request), entry)
    return {"url": f"{resources.settings.public_url}{path}", "until": format_instant(until)}


@by_link.get("/exports/{export_id}")
async def download_by_link(request: Request, export_id: UUID, until: int, signature: str) -> Response:
    """The file, for whoever has the link."""
    resources = resources_of(request)
    now = resources.clock.now()
    links.check_link(resources.settings.secret_key, export_id, until, signature, now)
    async with resources.pool.connection() as conn, transaction(conn):
        found = await jobs.open_download(conn, Actor("engine:link", request_id_of(request)), export_id, now)
    return _send(request, found)


def with_query(request: Request, parameters: Mapping[str, str]) -> Request:
    """Return a request as if these parameters stood in its address, so that all read filters in the same way."""
    return Request({**request.scope, "query_string": urlencode(parameters).encode()})


async def _require_rows(conn: Connection, request: Request, export_id: UUID) -> Export:
    """Return an export whose rows this person may have. Errors: NotFound; Denied."""
    found = await jobs.load_export(conn, export_id)
    principal: Principal = request.state.principal
    require(principal.role, orders.least_role(found.order))
    if not may_see_query(request, found):
        raise Denied("This is the result of a query that was not shared. Ask whoever has exported it.")
    return found


def _send(request: Request, export: Export) -> StreamingResponse:
    """Stream a file as it is stored; what was compressed for storing is so for the way, too, if the client can."""
    form = FORMATS[export.format]
    headers = {
        "content-disposition": f'attachment; filename="{export.file_name}"',
        "cache-control": "private, no-store",
    }
    parts = jobs.read_parts(resources_of(request).pool, export.id)
    if form.is_compressed:
        headers["vary"] = "accept-encoding"
    if form.is_compressed and "gzip" in request.headers.get("accept-encoding", ""):
        headers |= {"content-encoding": "gzip", "content-length": str(export.stored_bytes)}
    else:
        headers["content-length"] = str(export.file_bytes)
        parts = _decompress(parts) if form.is_compressed else parts
    return StreamingResponse(parts, media_type=form.media_type, headers=headers)


async def _decompress(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    unzip = zlib.decompressobj(wbits=31)
    async for part in parts:
        waiting = part
        while waiting:  # a part may hold a hundred times its size
            yield unzip.decompress(waiting, 1024 * 1024)
            waiting = unzip.unconsumed_tail
    yield unzip.flush()


def list_parameters(filters: Any) -> list[str]:
    """Return the parameters of an address that narrow a set."""
    if filters == SAVED_QUERY.filters:
        return ["query_id", "parameters"]
    if filters == SCOPE:
        return ["period", "since", "until", "campaign_id", "template_id", "channel", "country", "sender"]
    if filters == CAMPAIGN:
        return ["campaign_id", "status", "reason"]
    if filters == PEOPLE:
        return ["consent", "country", "search"]
    return ["period", *filters]


async def _read_filters(conn: Connection, request: Request, set_name: str) -> dict[str, Any]:
    """Read the filters as the page of these rows does. Errors: Invalid naming the parameter."""
    takes = load_set(set_name).filters
    asked = request.query_params
    if takes == SCOPE:
        return orders.narrow_to_scope(await load_scope(conn, request))
    if takes == CAMPAIGN:
        refuse_unknown(request, tuple(list_parameters(takes)))
        return orders.narrow_to_campaign(
            await load_campaign(conn, _read_campaign(asked.get("campaign_id"))),
            asked.get("status"),
            asked.get("reason"),
        )
    if takes == PEOPLE:
        refuse_unknown(request, tuple(list_parameters(takes)))
        wanted = read_search(request, asked.get("consent"), asked.get("country"), asked.get("search"))
        return orders.narrow_to_people(wanted)
    more = [name for name in takes if name not in ("since", "until")]
    window = read_period_with(request, *more).window
    channel = read_channel(request)
    return orders.narrow_to_window(window, channel=channel, intent=read_intent(request))


async def _read_query(
    conn: Connection, request: Request, asked: Mapping[str, str], given: Mapping[str, Value | None]
) -> dict[str, Any]:
    """Read which query is wanted, of those that the person may see. Errors: NotFound; Invalid naming the parameter."""
    if strange := sorted(asked.keys() - {"query_id"}):
        raise Invalid(f"A query cannot be narrowed by {strange[0]}. It has parameters.", strange[0])
    try:
        query_id = UUID(asked.get("query_id"))
    except (TypeError, ValueError):
        raise Invalid("Name the saved query whose result is wanted, by its id.", "query_id") from None
    return orders.narrow_to_query(await load_query(conn, query_id, person_of(request)), given)


def may_see_query(request: Request, found: Export) -> bool:
    """Return whether this person may know a query's export: it was shared then, or they have asked for it."""
    return bool(found.filters.get("is_shared", True)) or found.actor == actor_of(request).name


def say_error(request: Request, found: Export) -> str | None:
    """Return why an export failed; PostgreSQL's words about a query may quote a row, and are for who may have its rows."""
    principal: Principal = request.state.principal
    may_know = principal.role >= orders.least_role(found.order) and may_see_query(request, found)
    return found.error if may_know or found.error is None else "Why is told to whoever may have its rows."


def _read_campaign(text: str | None) -> UUID:
    try:
        return UUID(text)
    except (TypeError, ValueError):
        raise Invalid("Name the campaign whose recipients are wanted, by its id.", "campaign_id") from None


def describe_export(request: Request, found: Export, now: datetime) -> dict[str, Any]:
    per_second = rate(found, now)
    unknown = {}
    if found.estimated_rows is None:
        unknown["estimated_rows"] = "No worker has begun it."
    if per_second is None:
        unknown["rows_per_second"] = "No worker has begun it, or it took no time."
    return {
        "id": str(found.id),
        "set": found.set_name,
        "query": found.filters.get("name") if may_see_query(request, found) else None,
        "format": found.format,
        "shows_numbers": found.shows_numbers,
        "filters": jobs.describe_order(found.order)["filters"],
        "state": found.state,
        "error": say_error(request, found),
        "rows": found.rows,
        "estimated_rows": found.estimated_rows,
        "rows_per_second": per_second,
        "file_bytes": found.file_bytes,
        "stored_bytes": found.stored_bytes,
        "file_name": found.file_name,
        "file": f"/api/v1/exports/{found.id}/file" if found.state == "completed" else None,
        "as_of": None if found.as_of is None else format_instant(found.as_of),
        "created_at": format_instant(found.created_at),
        "started_at": None if found.started_at is None else format_instant(found.started_at),
        "finished_at": None if found.finished_at is None else format_instant(found.finished_at),
        "expires_at": None if found.expires_at is None else format_instant(found.expires_at),
        "unknown": unknown,
    }


def rate(found: Export, now: datetime) -> float | None:
    """Return the rows a second since the worker began, None when that is not known."""
    if found.started_at is None:
        return None
    seconds = ((found.finished_at or now) - found.started_at).total_seconds()
    return round(found.rows / seconds, 1) if seconds > 0 else None
