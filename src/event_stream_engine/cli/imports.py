"""Commands that import people."""

import csv
import logging
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from event_stream_engine.audience import importing
from event_stream_engine.audience.import_files import guess_format
from event_stream_engine.audience.importing import Import
from event_stream_engine.audit.entries import Actor
from event_stream_engine.cli.session import command, err, open_database, open_settings, out
from event_stream_engine.cli.supervisor import end_with_supervisor
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.cells import make_cell_safe
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.errors import Conflict, Invalid

MOST_SHOWN_REJECTS = 10
_logger = logging.getLogger(__name__)


@command
async def import_people(
    file: Annotated[Path, typer.Argument(help="CSV with a header, a JSON array, or NDJSON; by its ending")],
    default_region: Annotated[
        str | None, typer.Option(help="Country of numbers without +, two letters like US")
    ] = None,
    consent_proof: Annotated[
        str | None,
        typer.Option(help="Evidence for every OPT_IN of the file; without it nothing closed is re-opened"),
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Where rejected rows go; default: in ESE_DATA_DIR/rejects")
    ] = None,
) -> None:
    """Take people from a file. Numbers are brought into E.164; of a number's rows the last one wins."""
    settings = open_settings()
    if not file.is_file():
        raise Invalid(f"{file} is no file. Name one that can be read.")
    async with open_database(settings) as url, await connect(url, "ese-import") as conn:
        done = await _import(settings, conn, file, default_region, consent_proof)
        if done.state == "failed":
            raise Conflict(f"The import failed: {done.error}")
        out.print(
            f"{done.rows:,} rows: {done.created:,} people new, {done.changed:,} changed, {done.unchanged:,} as they"
            f" were, {done.duplicates:,} rows with a number that comes again, {done.rejected:,} rejected"
        )
        if done.rejected:
            path = rejects or settings.data_dir / "rejects" / f"{file.name}.rejects.csv"
            await _write_rejects(conn, done, path)
            err.print(f"The rejected rows are in {path}.", style="yellow")


async def _import(
    settings: Settings, conn: Connection, file: Path, default_region: str | None, consent_proof: str | None
) -> Import:
    clock = SystemClock()
    async with transaction(conn):
        made = await importing.create_import(
            conn,
            Actor("engine:cli"),
            clock.now(),
            file_name=file.name,
            file_format=guess_format(file.name),
            default_region=default_region,
            consent_proof=consent_proof,
        )
        made = await importing.begin_local(conn, made.id, file.stat().st_size, clock.now())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        reading = progress.add_task("Reading", total=made.size_bytes, told="")
        applying = progress.add_task("Applying", total=None, told="", visible=False)

        async def show(import_: Import) -> None:
            progress.update(reading, completed=import_.read_bytes, told=f"{import_.rows:,} rows")
            if import_.applied_to is not None:
                people = import_.rows - import_.duplicates
                done = import_.created + import_.changed + import_.unchanged + import_.rejected
                progress.update(
                    applying,
                    completed=done,
                    total=people,
                    visible=True,
                    told=f"{done:,} of {people:,} people",
                )

        with file.open("rb") as opened:
            return await importing.run_import(
                conn, made, opened, secret_key=settings.secret_key, clock=clock, on_progress=show
            )


async def _write_rejects(conn: Connection, done: Import, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shown, after = 0, 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "reason", "value"))
        while rows := await importing.list_rejects(conn, done.id, after, 10_000):
            for row in rows:
                writer.writerow((row.row, row.reason, make_cell_safe(row.value)))
                shown += 1
                if shown <= MOST_SHOWN_REJECTS:
                    err.print(f"row {row.row}: {row.reason}", style="yellow", markup=False, highlight=False)
            after = rows[-1].row
    if shown > MOST_SHOWN_REJECTS:
        err.print("more rejected rows are only written to the file", style="yellow")


@command
async def import_waiting(
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Do the uploaded imports that wait, one after the other, and end."""
    if supervised:
        end_with_supervisor()
    settings = open_settings(logging.INFO)
    clock = SystemClock()
    async with open_database(settings) as url, await connect(url, "ese-import") as conn:
        while (claimed := await importing.claim_next(conn, clock.now())) is not None:
            with TemporaryFile() as file:
                done = await _run_claimed(settings, conn, claimed, file)
            _logger.info("import %s %s: %s rows, %s rejected", done.id, done.state, done.rows, done.rejected)


async def _run_claimed(settings: Settings, conn: Connection, claimed: Import, file: IO[bytes]) -> Import:
    clock = SystemClock()
    try:
        await importing.copy_file(conn, claimed, file)
    except Conflict as error:
        await importing.fail_import(conn, claimed, str(error), clock.now())
        return await importing.load_import(conn, claimed.id)
    return await importing.run_import(
        conn,
        claimed,
        file,
        secret_key=settings.secret_key,
        clock=clock,
        on_progress=_ignore,
    )


async def _ignore(_: Import) -> None:
    """The page reads the progress from the database."""
