"""People's own SQL: run it, and what it may read."""

import asyncio
import math
from collections.abc import Coroutine
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Principal, Role
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.web.auth import actor_of
from event_stream_engine.web.resources import resources_of
from event_stream_engine.workbench.asking import ask
from event_stream_engine.workbench.running import PIECE_VALUES, REST_SECONDS, Result
from event_stream_engine.workbench.tables import list_tables

router = APIRouter(prefix="/queries", tags=["queries"])
_LARGEST_EXACT = 2**53  # of whole numbers in JavaScript


class QueryBody(BaseModel):
    """`parameters`: a value for each `:name` in the text."""

    model_config = ConfigDict(extra="forbid")

    sql: str
    parameters: dict[str, str | int | float | bool | None] = {}


@router.post("/run", response_class=Response)
async def run_query(request: Request, body: QueryBody) -> Response:
    """Run one SELECT over the tables of `/queries/tables`, read-only and within limits. Viewers see numbers masked. Each run is recorded in the audit trail."""
    resources = resources_of(request)
    asking = ask(
        resources.readers,
        resources.pool,
        resources.clock,
        actor_of(request),
        body.sql,
        parameters=body.parameters,
        sees_numbers=may_see_numbers(request),
    )
    return await answer_result(await while_connected(request, asking))


@router.get("/tables")
async def show_tables(request: Request) -> dict[str, Any]:
    """What queries may read: tables with their columns, and what each of them is."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        tables = await list_tables(conn, resources.readers, sees_numbers=may_see_numbers(request))
    return {
        "items": [
            {"name": table.name, "description": table.description, "columns": table.columns}
            for table in tables
        ]
    }


def may_see_numbers(request: Request) -> bool:
    principal: Principal = request.state.principal
    return principal.role >= Role.operator


async def while_connected(request: Request, running: Coroutine[Any, Any, Result]) -> Result:
    """Wait for a query as long as somebody waits for its answer; when the client leaves, the query ends."""
    task = asyncio.create_task(running)
    leaving = asyncio.create_task(_wait_until_gone(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        leaving.cancel()
        task.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)
    raise Unavailable("Nobody waited for the answer, so the query was ended.")


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def answer_result(result: Result) -> Response:
    """Answer with a result. In pieces, because webhooks come in by the same loop, and two thousand rows take a while.

    Shape: columns [{name, type}], rows [[value]], truncated, duration_ms, cost.
    """
    head = {
        "columns": [{"name": column.name, "type": column.type} for column in result.columns],
        "truncated": result.truncated,
        "duration_ms": result.duration_ms,
        "cost": result.cost,
    }
    pieces = []
    piece_rows = max(1, PIECE_VALUES // len(result.columns))
    for start in range(0, len(result.rows), piece_rows):
        some = result.rows[start : start + piece_rows]
        pieces.append(orjson.dumps([[write_json(value) for value in row] for row in some])[1:-1])
        await asyncio.sleep(REST_SECONDS)
    body = orjson.dumps(head)[:-1] + b',"rows":[' + b",".join(pieces) + b"]}"
    return Response(body, media_type="application/json")


def write_json(value: Any) -> Any:
    """Return a value as JSON holds it: what would lose digits as a number, and what JSON has no word for, as text."""
    match value:
        case bool() | None:
            return value
        case int():
            return value if abs(value) <= _LARGEST_EXACT else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            number = float(value)
            return number if math.isfinite(number) and abs(number) <= _LARGEST_EXACT else str(value)
        case datetime() if value.tzinfo is not None:
            return format_instant(value)
        case _:
            return str(value)
