"""The report of an incident as a document."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.infra.database import snapshot
from event_stream_engine.web.incident_report import IncidentReport, load_report, print_report, write_markdown
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/incidents/{incident_id}", tags=["incidents"])


@router.get("/report.md", response_class=Response)
async def send_markdown(request: Request, incident_id: UUID) -> Response:
    """The post-incident report as Markdown."""
    report = await _load(request, incident_id)
    return _send(report, write_markdown(report).encode(), "md", "text/markdown; charset=utf-8")


@router.get("/report.pdf", response_class=Response)
async def send_pdf(request: Request, incident_id: UUID) -> Response:
    """The post-incident report as PDF, with the charts of its alerts."""
    report = await _load(request, incident_id)
    return _send(report, await print_report(report), "pdf", "application/pdf")


async def _load(request: Request, incident_id: UUID) -> IncidentReport:
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        return await load_report(conn, incident_id, resources.settings.timezone, resources.clock.now())


def _send(report: IncidentReport, document: bytes, extension: str, media_type: str) -> Response:
    disposition = f'inline; filename="{report.incident.name}.{extension}"'
    headers = {"content-disposition": disposition, "cache-control": "no-store"}
    return Response(document, media_type=media_type, headers=headers)
