"""Imports of people: upload, progress, rejected rows."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import StreamingResponse

from event_stream_engine.access.roles import Role
from event_stream_engine.audience import importing
from event_stream_engine.audience.import_files import guess_format
from event_stream_engine.audience.importing import Import
from event_stream_engine.infra.database import Pool, transaction
from event_stream_engine.kernel.cells import make_cell_safe
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/imports", tags=["audience"])
_MAY_WRITE = [Depends(require_role(Role.operator))]
CHUNK_BYTES = 1024 * 1024
_REJECTS_PER_READ = 5000


@router.get("")
async def list_imports(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the answer before")] = None,
) -> dict[str, Any]:
    """Imports with their progress, newest first."""
    place = _read_cursor(cursor) if cursor else None
    async with resources_of(request).pool.connection() as conn:
        found = await importing.list_imports(conn, limit + 1, place)
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    return {
        "items": [describe_import(one) for one in shown],
        "next_cursor": None if last is None else f"{format_instant(last.created_at)}~{last.id}",
    }


@router.post(
    "",
    status_code=201,
    dependencies=_MAY_WRITE,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload_import(
    request: Request,
    file_name: Annotated[
        str, Query(min_length=1, description="its ending tells the format: csv, json, ndjson")
    ],
    default_region: Annotated[str | None, Query(description="of numbers without +, like US")] = None,
    consent_proof: Annotated[
        str | None, Query(description="evidence for every OPT_IN; without it nothing closed is re-opened")
    ] = None,
) -> dict[str, Any]:
    """Upload a file of people as the request's body. The worker imports it; ask for its progress by its id."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        made = await importing.create_import(
            conn,
            actor_of(request),
            resources.clock.now(),
            file_name=file_name,
            file_format=guess_format(file_name),
            default_region=default_region or None,
            consent_proof=consent_proof,
        )
    try:
        await _store_body(request, resources.pool, made.id)
    except BaseException as error:
        # Also when the browser has left: an upload that will never be complete must not look as if it went on.
        reason = (
            str(error) if isinstance(error, Invalid) else "The upload was broken off. Upload the file again."
        )
        async with resources.pool.connection() as conn:
            await importing.fail_import(conn, made, reason, resources.clock.now())
        raise
    async with resources.pool.connection() as conn:
        return describe_import(await importing.finish_upload(conn, made.id))


async def _store_body(request: Request, pool: Pool, import_id: UUID) -> None:
    buffer, number = bytearray(), 0
    async for piece in request.stream():
        buffer += piece
        while len(buffer) >= CHUNK_BYTES:
            await _store_chunk(pool, import_id, number, bytes(buffer[:CHUNK_BYTES]))
            del buffer[:CHUNK_BYTES]
            number += 1
    if not buffer and not number:
        raise Invalid("The file is empty. Choose one with at least a header.", "file")
    if buffer:
        await _store_chunk(pool, import_id, number, bytes(buffer))


async def _store_chunk(pool: Pool, import_id: UUID, number: int, content: bytes) -> None:
    async with pool.connection() as conn:
        await importing.append_chunk(conn, import_id, number, content)


@router.get("/{import_id}")
async def show_import(request: Request, import_id: UUID) -> dict[str, Any]:
    """One import with its progress."""
    async with resources_of(request).pool.connection() as conn:
        return describe_import(await importing.load_import(conn, import_id))


@router.get("/{import_id}/rejects.csv", response_class=StreamingResponse, dependencies=_MAY_WRITE)
async def download_rejects(request: Request, import_id: UUID) -> StreamingResponse:
    """The rejected rows with row number and reason."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        found = await importing.load_import(conn, import_id)
    return StreamingResponse(
        _write_rejects(resources.pool, found),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="import-{import_id}-rejects.csv"'},
    )


async def _write_rejects(pool: Pool, found: Import) -> AsyncIterator[str]:
    yield "row,reason,value\r\n"
    after = 0
    while True:
        async with pool.connection() as conn:
            rows = await importing.list_rejects(conn, found.id, after, _REJECTS_PER_READ)
        if not rows:
            return
        page = io.StringIO()
        csv.writer(page).writerows((row.row, row.reason, make_cell_safe(row.value)) for row in rows)
        yield page.getvalue()
        after = rows[-1].row


def describe_import(found: Import) -> dict[str, Any]:
    return {
        "id": str(found.id),
        "file_name": found.file_name,
        "format": found.format,
        "default_region": found.default_region,
        "consent_proof": found.consent_proof,
        "state": found.state,
        "error": found.error,
        "size_bytes": found.size_bytes,
        "read_bytes": found.read_bytes,
        "rows": found.rows,
        "created": found.created,
        "changed": found.changed,
        "unchanged": found.unchanged,
        "duplicates": found.duplicates,
        "rejected": found.rejected,
        "created_at": format_instant(found.created_at),
        "started_at": None if found.started_at is None else format_instant(found.started_at),
        "finished_at": None if found.finished_at is None else format_instant(found.finished_at),
    }


def _read_cursor(text: str) -> tuple[Any, UUID]:
    at, _, import_id = text.partition("~")
    try:
        return parse_instant(at), UUID(import_id)
    except ValueError:
        raise Invalid(f"{text!r} is no cursor; use next_cursor of an answer.", "cursor") from None
