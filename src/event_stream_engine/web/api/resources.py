"""What the engine's hosts and processes use."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.monitoring.resources import Resources, ResourceUse, load_resources
from event_stream_engine.monitoring.sampling import HOST_METRICS, PROCESS_METRICS
from event_stream_engine.web.periods import PERIOD_PARAMETERS, read_period
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/monitoring", tags=["monitoring"])
NOT_MEASURED = "Nobody measured it then. A rate needs two samples, ten seconds apart."


@router.get("/resources", openapi_extra=PERIOD_PARAMETERS)
async def show_resources(request: Request) -> dict[str, Any]:
    """Processor, memory, disk, network and open files by host and process, and their series.

    `mean` and `peak` are those of the samples, one every 10 s. A series of processes is of all of a kind on a host together.
    """
    resources = resources_of(request)
    period, zone, now = read_period(request), resources.settings.timezone, resources.clock.now()
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_resources(conn, period.window, period.step, zone, now)
    uses = sorted(found.uses, key=lambda use: (use.host, use.kind != "host", use.kind, use.pid))
    series, gaps = _describe_series(found)
    reasons = [_list_reasons(number, use) for number, use in enumerate(uses)]
    return {
        "as_of": format_instant(now),
        "window": {
            "since": format_instant(period.window.since),
            "until": format_instant(period.window.until),
        },
        "time_zone": zone.key,
        "steps": [format_instant(at) for at in found.bins],
        "uses": [_describe_use(use) for use in uses],
        "series": series,
        "unknown": gaps | {path: reason for part in reasons for path, reason in part.items()},
    }


def _list_metrics(kind: str) -> tuple[str, ...]:
    return HOST_METRICS if kind == "host" else PROCESS_METRICS


def _describe_use(use: ResourceUse) -> dict[str, Any]:
    figures = {
        name: {"mean": _round(use.means.get(name)), "peak": _round(use.peaks.get(name))}
        for name in _list_metrics(use.kind)
    }
    names = ("cpu_limit", "memory_limit") if use.kind == "host" else ()
    limits = {name: (use.limits or {}).get(name) for name in names}
    return {
        "host": use.host,
        "kind": use.kind,
        "pid": str(use.pid) if use.pid else None,
        "seen_at": format_instant(use.seen_at),
        **limits,
        "figures": figures,
    }


def _list_reasons(number: int, use: ResourceUse) -> dict[str, str]:
    scope = "host" if use.kind == "host" else "process"
    known = (use.limits or {}).get("unknown", {})
    return {
        f"uses.{number}.figures.{name}": known.get(f"{scope}.{name}", NOT_MEASURED)
        for name in _list_metrics(use.kind)
        if name not in use.means
    }


def _describe_series(found: Resources) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the means by step; a step in which nobody measured is null."""
    by_subject: dict[tuple[str, str], dict[str, dict[Any, float]]] = {}
    for point in found.points:
        metrics = by_subject.setdefault((point.host, point.kind), {})
        metrics.setdefault(point.metric, {})[point.bin] = point.mean
    series: list[dict[str, Any]] = []
    gaps: dict[str, str] = {}
    for number, ((host, kind), metrics) in enumerate(sorted(by_subject.items())):
        means = {
            name: [_round(metrics.get(name, {}).get(at)) for at in found.bins] for name in _list_metrics(kind)
        }
        gaps |= {
            f"series.{number}.means.{name}": NOT_MEASURED for name, line in means.items() if None in line
        }
        series.append({"host": host, "kind": kind, "means": means})
    return series, gaps


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
