"""Whether the process lives and whether it may take traffic; open to everybody, tells nothing else."""

import psycopg
from psycopg_pool import PoolTimeout
from starlette.requests import Request
from starlette.responses import JSONResponse

from event_stream_engine.infra.migrating import is_migrated
from event_stream_engine.web.resources import resources_of


async def show_alive(_: Request) -> JSONResponse:
    return JSONResponse({"status": "alive"})


async def show_ready(request: Request) -> JSONResponse:
    """Answer 200 when the database answers and is migrated, else 503 with the reason."""
    try:
        async with resources_of(request).pool.connection() as conn:
            ready = await is_migrated(conn)
    except (psycopg.OperationalError, PoolTimeout):
        return JSONResponse({"status": "not ready", "reason": "database away"}, 503)
    if not ready:
        return JSONResponse({"status": "not ready", "reason": "migrations pending: run `ese migrate`"}, 503)
    return JSONResponse({"status": "ready"})
