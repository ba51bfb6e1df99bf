"""Reports as files: PDF, Markdown, and their figures for a spreadsheet."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.infra.database import snapshot
from event_stream_engine.reporting import versions
from event_stream_engine.reporting.documents import write_document
from event_stream_engine.reporting.versions import Report
from event_stream_engine.web.periods import refuse_unknown
from event_stream_engine.web.report_files import Form, write_file
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/reports", tags=["reports"])
MEDIA_TYPES = {
    "pdf": "application/pdf",
    "md": "text/markdown; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
}
_Version = Annotated[int | None, Query(ge=1, description="A kept version; the latest when left out.")]


@router.get("/daily.{form}", response_class=Response)
async def send_daily(
    request: Request,
    form: Form,
    on: Annotated[date, Query(alias="date", description="A local day.")],
    version: _Version = None,
) -> Response:
    """The report of a day as PDF with its charts, as Markdown, or its figures as CSV."""
    refuse_unknown(request, ("date", "version"))
    resources = resources_of(request)
    now, zone = resources.clock.now(), resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        report = await versions.load_daily(conn, now, zone, on, version)
    return await _send(report, form)


@router.get("/weekly.{form}", response_class=Response)
async def send_weekly(
    request: Request,
    form: Form,
    ending: Annotated[date, Query(description="The last of the seven local days.")],
    version: _Version = None,
) -> Response:
    """The report of seven days as PDF with its charts, as Markdown, or its figures as CSV."""
    refuse_unknown(request, ("ending", "version"))
    resources = resources_of(request)
    now, zone = resources.clock.now(), resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        report = await versions.load_weekly(conn, now, zone, ending, version)
    return await _send(report, form)


async def _send(report: Report, form: Form) -> Response:
    document = write_document(report)
    content = await write_file(report, document, form)
    disposition = "attachment" if form == "csv" else "inline"
    headers = {
        "content-disposition": f'{disposition}; filename="{document.name}.{form}"',
        "cache-control": "no-store",
    }
    return Response(content, media_type=MEDIA_TYPES[form], headers=headers)
