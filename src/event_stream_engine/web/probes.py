"""Whether the process lives and whether it may take traffic; open to everybody, tells nothing else."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.monitoring.readiness import check_readiness
from event_stream_engine.web.resources import resources_of


async def show_alive(_: Request) -> JSONResponse:
    return JSONResponse({"status": "alive"})


async def show_ready(request: Request) -> JSONResponse:
    """Answer 200 when the database answers, is migrated and the spool has room, else 503 with each reason."""
    resources = resources_of(request)
    checks = await check_readiness(resources.pool, resources.intake.spooled)
    failed = [check.reason for check in checks if check.is_met is False]
    answer = {
        "status": "not ready" if failed else "ready",
        "reason": "; ".join(reason for reason in failed if reason) or None,
        "checks": [{"name": one.name, "ok": one.is_met, "reason": one.reason} for one in checks],
    }
    seen = resources.watch.seen
    if seen is not None and seen.away_since is not None:
        answer["away_since"] = format_instant(seen.away_since)
    return JSONResponse(answer, 503 if failed else 200)
