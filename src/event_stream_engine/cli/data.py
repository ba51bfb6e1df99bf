"""Commands that move data: migrate, import, rebuild, replay."""

from pathlib import Path
from typing import Annotated
from uuid import uuid4

import orjson
import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from event_stream_engine.cli.session import command, err, open_database, open_settings, out, prepare_database
from event_stream_engine.infra.database import connect
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.infra.settings import Settings
from event_stream_engine.ingest.importing import Imported, Reject, import_webhooks
from event_stream_engine.ingest.projection import Live
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.monitoring.postgres_server import find_missing_statements, load_server
from event_stream_engine.workbench.readers import make_readers
from event_stream_engine.worker.projector import catch_up, replay_dead_letters
from event_stream_engine.worker.recount import recount

MOST_SHOWN_REJECTS = 10
imports = typer.Typer(help="Take data from files.", no_args_is_help=True)


@command
async def migrate() -> None:
    """Bring the database to this version's tables."""
    settings = open_settings()
    if settings.database_url is not None:
        await _migrate(settings, settings.database_url)
    else:
        async with embedded_postgres(settings.data_dir) as url:
            await _migrate(settings, url)


async def _migrate(settings: Settings, url: str) -> None:
    applied = await prepare_database(url, settings.timezone, settings.attributes)
    out.print(f"Applied: {', '.join(applied)}" if applied else "The database is up to date.")
    async with await connect(url, "ese-migrate") as conn:
        missing = find_missing_statements(await load_server(conn))
        to_run = await make_readers(conn, settings.secret_key)
    if missing is not None:
        err.print(f"{missing} All else works without.", style="yellow", markup=False, highlight=False)
    if to_run:
        text = "People's own SQL cannot run before somebody who may make roles has run this; all else works without:"
        err.print("\n".join([text, *to_run]), style="yellow", markup=False, highlight=False, soft_wrap=True)


@imports.command("webhooks")
@command
async def import_webhook_file(
    file: Annotated[Path, typer.Argument(help="NDJSON or .gz: received_at, path, form on each line")],
    rejects: Annotated[
        Path | None, typer.Option(help="Where bad lines go; default: in ESE_DATA_DIR/rejects")
    ] = None,
) -> None:
    """Take webhooks from a file into the log and the figures. What is there already changes nothing."""
    settings = open_settings()
    reject_file = _RejectFile(rejects or settings.data_dir / "rejects" / f"{file.name}.rejects.ndjson")
    async with open_database(settings) as url:
        imported = await _import(url, file, reject_file)
        await _project(settings, url)
    out.print(
        f"{imported.lines:,} lines: {imported.accepted:,} new, {imported.duplicate:,} there already,"
        f" {imported.rejected:,} rejected"
    )
    if imported.rejected:
        err.print(f"The rejected lines are in {reject_file.path}.", style="yellow")


async def _import(url: str, file: Path, reject_file: "_RejectFile") -> Imported:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    counters = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} lines/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    size = file.stat().st_size if file.exists() else None
    with (
        Progress(*columns, console=err) as reading,
        Progress(*counters, console=err, auto_refresh=False) as storing,
    ):
        read = reading.add_task("Reading", total=size)
        stored = storing.add_task("Storing", total=None, rate="–", visible=False)

        def show_stored(done: int, total: int) -> None:
            speed = storing.tasks[0].speed
            storing.update(
                stored, completed=done, total=total, visible=True, rate=f"{speed:,.0f}" if speed else "–"
            )
            storing.refresh()

        async with await connect(url, "ese-import") as conn:
            imported = await import_webhooks(
                conn,
                file,
                source=uuid4(),
                now=SystemClock().now(),
                on_reject=reject_file.write,
                on_read=lambda position: reading.update(read, completed=position),
                on_stored=show_stored,
            )
        reading.update(read, completed=size)
    return imported


async def _project(settings: Settings, url: str) -> None:
    with Progress(
        SpinnerColumn(), TextColumn("Projecting {task.completed:,} events"), TimeElapsedColumn(), console=err
    ) as progress:
        task = progress.add_task("Projecting", total=None)
        await catch_up(
            url, Live(settings.secret_key, SystemClock()), lambda count: progress.advance(task, count)
        )


class _RejectFile:
    """Made at the first bad line; the first few are also shown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._count = 0

    def write(self, reject: Reject) -> None:
        self._count += 1
        if self._count == 1:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(b"")
        with self.path.open("ab") as file:
            file.write(
                orjson.dumps({"line": reject.line, "reason": reject.reason, "text": reject.text}) + b"\n"
            )
        if self._count <= MOST_SHOWN_REJECTS:
            err.print(f"line {reject.line}: {reject.reason}", style="yellow", markup=False, highlight=False)
        elif self._count == MOST_SHOWN_REJECTS + 1:
            err.print("more bad lines are only written to the reject file", style="yellow")


@command
async def rebuild(
    check: Annotated[bool, typer.Option("--check", help="Only report differences, change nothing")] = False,
) -> None:
    """Recount everything from the log, report what differs, and put it right."""
    settings = open_settings()
    async with open_database(settings) as url:
        await _project(settings, url)
        with Progress(
            SpinnerColumn(),
            TextColumn("Recounted {task.completed:,} events"),
            TimeElapsedColumn(),
            console=err,
        ) as progress:
            task = progress.add_task("Recounting", total=None)
            differences = await recount(
                url,
                repair=not check,
                secret_key=settings.secret_key,
                on_progress=lambda done: progress.update(task, completed=done),
            )
    if not differences:
        out.print("No difference: every figure equals its recount from the log.")
        return
    for difference in differences:
        out.print(
            f"{difference.table}: {difference.missing:,} rows missing, {difference.surplus:,} rows too many or wrong"
        )
        for label, example in (
            ("counted", difference.example_missing),
            ("stored", difference.example_surplus),
        ):
            if example is not None:
                out.print(f"  {label}: {example}", markup=False, highlight=False)
    if check:
        raise typer.Exit(1)
    out.print("The counted rows are now in place.")


@command
async def replay() -> None:
    """Try the dead letters again, and list those that cannot be projected still."""
    settings = open_settings()
    async with open_database(settings) as url:
        tried, left = await replay_dead_letters(url, Live(settings.secret_key, SystemClock()))
    out.print(f"{tried:,} tried, {tried - len(left):,} projected, {len(left):,} left")
    for letter in left:
        out.print(
            f"  {letter.received_at:%Y-%m-%d %H:%M:%S} {letter.event_type}: {letter.reason}", markup=False
        )
