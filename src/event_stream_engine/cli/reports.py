"""Commands for reports: the one of a day or of a week, as text or as a file."""

from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import orjson
import typer

from event_stream_engine.cli.session import command, err, open_database, open_settings
from event_stream_engine.infra.database import connect, snapshot
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.reporting import days, versions
from event_stream_engine.reporting.daily import DailyReport, describe_daily
from event_stream_engine.reporting.documents import write_document
from event_stream_engine.reporting.report import DAILY, WEEKLY
from event_stream_engine.reporting.versions import Report
from event_stream_engine.reporting.weekly import describe_weekly

reports = typer.Typer(help="Reports of days and weeks.", no_args_is_help=True)


class Format(Enum):
    json = "json"
    markdown = "markdown"
    csv = "csv"
    pdf = "pdf"


_FORMS: dict[Format, Literal["pdf", "md", "csv"]] = {
    Format.markdown: "md",
    Format.csv: "csv",
    Format.pdf: "pdf",
}
_Format = Annotated[Format, typer.Option("--format", help="pdf needs --out, or a pipe")]
_Out = Annotated[
    Path | None, typer.Option("--out", help="the file; without it the report is written out", dir_okay=False)
]
_Version = Annotated[int | None, typer.Option("--version", min=1, help="a kept version; else the latest")]


@reports.command("daily")
@command
async def write_daily(
    day: Annotated[
        datetime | None, typer.Argument(formats=["%Y-%m-%d"], help="a local day; else yesterday")
    ] = None,
    *,
    form: _Format = Format.markdown,
    out: _Out = None,
    version: _Version = None,
) -> None:
    """Write the report of a day."""
    await _write(DAILY, day and day.date(), version, form, out)


@reports.command("weekly")
@command
async def write_weekly(
    ending: Annotated[
        datetime | None,
        typer.Argument(formats=["%Y-%m-%d"], help="the last of seven local days; else the last Sunday"),
    ] = None,
    *,
    form: _Format = Format.markdown,
    out: _Out = None,
    version: _Version = None,
) -> None:
    """Write the report of seven days."""
    await _write(WEEKLY, ending and ending.date(), version, form, out)


async def _write(kind: str, last: date | None, version: int | None, form: Format, out: Path | None) -> None:
    stdout = typer.get_binary_stream("stdout")
    if form is Format.pdf and out is None and stdout.isatty():
        raise Invalid("A PDF is nothing to read here. Name a file with --out.", "out")
    report = await _load(kind, last, version)
    if form is Format.json:
        told = describe_daily(report) if isinstance(report, DailyReport) else describe_weekly(report)
        content = orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    else:
        # The web and the charts take half a second to import.
        from event_stream_engine.web.report_files import write_file  # noqa: PLC0415

        content = await write_file(report, write_document(report), _FORMS[form])
    if out is None:
        stdout.write(content)
        return
    out.write_bytes(content)
    err.print(f"{out}: {len(content):,} bytes", markup=False, highlight=False)


async def _load(kind: str, last: date | None, version: int | None) -> Report:
    settings, now = open_settings(), SystemClock().now()
    zone = settings.timezone
    async with open_database(settings) as url, await connect(url, "ese-cli") as conn, snapshot(conn):
        if kind == DAILY:
            return await versions.load_daily(
                conn, now, zone, last or await days.choose_day(conn, now, zone), version
            )
        return await versions.load_weekly(
            conn, now, zone, last or await days.choose_week(conn, now, zone), version
        )
