"""Commands for the audit trail."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from event_stream_engine.audit.anchors import FILE_NAME, read_anchors
from event_stream_engine.audit.chain import find_head, load_chain_status
from event_stream_engine.audit.verification import Verdict, verify_chain
from event_stream_engine.cli.session import command, err, open_database, open_settings, out
from event_stream_engine.infra.database import connect

MOST_SHOWN_FAULTS = 20
audit = typer.Typer(help="The record of what was done, by whom.", no_args_is_help=True)


@audit.command("verify")
@command
async def verify(
    anchors: Annotated[
        list[Path] | None,
        typer.Option(
            help=f"Heads kept outside the database; may be given several times. Default: {FILE_NAME} in ESE_DATA_DIR"
        ),
    ] = None,
) -> None:
    """Compare every sealed row of the audit trail with its hash, the chain with itself and with the anchors."""
    settings = open_settings()
    own = settings.data_dir / FILE_NAME
    files = anchors or ([own] if own.exists() else [])
    columns = (
        TextColumn("Verifying"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    async with open_database(settings) as url, await connect(url, "ese-audit") as conn:
        head = await find_head(conn)
        with Progress(*columns, console=err) as progress:
            task = progress.add_task("", total=head.number if head else 0, rows=0)

            def show(verdict: Verdict) -> None:
                progress.update(task, completed=verdict.batches, rows=verdict.rows)

            verdict = await verify_chain(conn, read_anchors(files), show)
        status = await load_chain_status(conn)
    _print_verdict(verdict, has_anchors=bool(files))
    if status.unsealed:
        out.print(f"{status.unsealed:,} rows are not sealed yet; the worker does that within seconds.")
    if verdict.fault_count:
        raise typer.Exit(1)


def _print_verdict(verdict: Verdict, *, has_anchors: bool) -> None:
    for fault in verdict.faults[:MOST_SHOWN_FAULTS]:
        err.print(fault.text, style="red", markup=False, highlight=False)
    if verdict.fault_count > MOST_SHOWN_FAULTS:
        err.print(f"{verdict.fault_count - MOST_SHOWN_FAULTS:,} more signs of damage follow.", style="red")
    counted = f"{verdict.rows:,} rows in {verdict.batches:,} batches"
    if verdict.fault_count:
        out.print(f"The audit trail is damaged: {verdict.fault_count:,} signs in {counted}.")
    elif has_anchors:
        out.print(f"The audit trail is whole: {counted}, {verdict.anchors:,} anchors compared.")
    else:
        out.print(
            f"The audit trail is sound in itself: {counted}. Without anchors a cut or rewritten chain shows nothing."
        )
    if verdict.head is not None:
        out.print(
            f"Head: batch {verdict.head.number} {verdict.head.hash.hex()}", highlight=False, soft_wrap=True
        )
