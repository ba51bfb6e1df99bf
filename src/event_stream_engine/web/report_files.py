"""A report as a file: its document and its charts as PDF, as Markdown, or its figures as CSV."""

from dataclasses import asdict
from typing import Literal

from event_stream_engine.kernel.formats import format_number
from event_stream_engine.reporting.documents import Document
from event_stream_engine.reporting.markdown import write_markdown
from event_stream_engine.reporting.spreadsheet import write_csv
from event_stream_engine.reporting.versions import Report
from event_stream_engine.web.delivery_charts import STATUSES
from event_stream_engine.web.report_charts import chart_report
from event_stream_engine.web.typesetting import typeset

Form = Literal["pdf", "md", "csv"]
TEMPLATE = "report.typ"


async def write_file(report: Report, document: Document, form: Form) -> bytes:
    """Return a report as a file of a form. Errors: Unavailable."""
    if form == "pdf":
        return await _print(report, document)
    return (write_markdown(document) if form == "md" else write_csv(report)).encode()


async def _print(report: Report, document: Document) -> bytes:
    charts = chart_report(report)
    counts = report.figures.counts
    told = asdict(document) | {
        "statuses": {name: format_number(getattr(counts, name)) for name in STATUSES},
        "charts": [{"summary": chart.summary, "nothing": chart.nothing} for chart in charts.values()],
        "failed_shares": [row.percentage for row in report.failures],
    }
    return await typeset(TEMPLATE, told, list(charts.values()))
