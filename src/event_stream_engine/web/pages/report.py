"""`/reports/daily/{date}` and `/reports/weekly/{ending}`: one report, as a page that can be printed."""

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.infra.database import snapshot
from event_stream_engine.reporting import versions
from event_stream_engine.reporting.documents import write_document
from event_stream_engine.reporting.report import DAILY, WEEKLY
from event_stream_engine.reporting.versions import Report, Version
from event_stream_engine.web.delivery_charts import STATUSES
from event_stream_engine.web.periods import refuse_unknown
from event_stream_engine.web.render import render
from event_stream_engine.web.report_charts import chart_report
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/reports", include_in_schema=False)
_Version = Annotated[int | None, Query(ge=1)]


@router.get("/daily/{day}")
async def show_daily(request: Request, day: date, version: _Version = None) -> Response:
    refuse_unknown(request, ("version",))
    resources = resources_of(request)
    now, zone = resources.clock.now(), resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        report = await versions.load_daily(conn, now, zone, day, version)
        kept = await versions.list_versions(conn, DAILY, day, day)
    return _show(request, report, kept)


@router.get("/weekly/{ending}")
async def show_weekly(request: Request, ending: date, version: _Version = None) -> Response:
    refuse_unknown(request, ("version",))
    resources = resources_of(request)
    now, zone = resources.clock.now(), resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        report = await versions.load_weekly(conn, now, zone, ending, version)
        kept = await versions.list_versions(conn, WEEKLY, ending, ending)
    return _show(request, report, kept)


def _show(request: Request, report: Report, kept: list[Version]) -> Response:
    resources = resources_of(request)
    now, frame = resources.clock.now(), report.frame
    zone = resources.settings.timezone
    step = timedelta(days=1 if frame.kind == DAILY else 7)
    following = frame.last + step
    return render(
        request,
        "report.html",
        room="reports",
        tab="/reports",
        document=write_document(report),
        report=report,
        charts=chart_report(report),
        counts={name.replace("_", "-"): getattr(report.figures.counts, name) for name in STATUSES},
        kept=kept,
        previous=frame.last - step,
        following=following if following <= now.astimezone(zone).date() else None,
        zone=zone,
    )
