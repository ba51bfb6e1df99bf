"""The dashboard's objects."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from event_stream_engine.analytics.catalogue import load_metric
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring import processes
from event_stream_engine.monitoring.dashboard import Kpi, load_dashboard
from event_stream_engine.monitoring.health import load_health
from event_stream_engine.monitoring.parts import STATES
from event_stream_engine.web.periods import PERIOD_PARAMETERS, read_period, refuse_unknown
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/monitoring", tags=["monitoring"])


@router.get("/dashboard", openapi_extra=PERIOD_PARAMETERS)
async def show_dashboard(request: Request) -> dict[str, Any]:
    """System health, performance and the six key figures with their past."""
    resources = resources_of(request)
    period, zone = read_period(request), resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_dashboard(conn, period.window, period.step, zone, resources.clock.now())
    return {
        "as_of": format_instant(found.as_of),
        "window": _describe_window(period.window),
        "time_zone": zone.key,
        "system_health": found.system_health,
        "performance_metrics": found.performance_metrics,
        "kpis": [_describe_kpi(kpi) for kpi in found.kpis],
        "health": [{"name": row.name, "state": row.state, "text": row.text} for row in found.health],
        "unknown": found.unknown,
    }


@router.get("/health")
async def show_health(request: Request) -> dict[str, Any]:
    """Each part of the engine: its state, since when, what follows and what to do, and the numbers behind it."""
    refuse_unknown(request, ())
    resources = resources_of(request)
    now = resources.clock.now()
    async with resources.pool.connection() as conn:
        health = await load_health(conn, now)
        living = await processes.list_live(conn, now)
    parts = [asdict(row) | {"since": row.since and format_instant(row.since)} for row in health.rows]
    return {
        "as_of": format_instant(now),
        "state": max((row.state for row in health.rows), key=STATES.index),
        "parts": parts,
        "processes": [_describe_process(process) for process in living],
        "unknown": {
            f"parts.{row.slug}.figures.{name}": row.text
            for row in health.rows
            for name, value in row.figures.items()
            if value is None
        },
    }


def _describe_process(process: processes.Process) -> dict[str, Any]:
    return {
        "kind": process.kind,
        "host": process.host,
        "pid": str(process.pid),
        "version": process.version,
        "started_at": format_instant(process.started_at),
        "beat_at": format_instant(process.beat_at),
        "provider": process.provider,
        "loops": process.loops,
    }


def _describe_window(window: Window) -> dict[str, str]:
    return {"since": format_instant(window.since), "until": format_instant(window.until)}


def _describe_kpi(kpi: Kpi) -> dict[str, Any]:
    metric = load_metric(kpi.slug)
    return asdict(kpi) | {
        "name": metric.name,
        "unit": metric.unit,
        "formula": metric.formula,
        "window": None if kpi.window is None else _describe_window(kpi.window),
    }
