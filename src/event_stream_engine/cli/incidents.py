"""Commands for incidents: what needs a person, taking one in hand, ending it."""

from typing import Annotated

import typer
from rich.table import Table

from event_stream_engine.audit.entries import COMMAND_LINE
from event_stream_engine.cli.session import (
    command,
    open_connection,
    open_transaction,
    out,
)
from event_stream_engine.incidents import actions
from event_stream_engine.incidents.actions import Act, Seen
from event_stream_engine.incidents.incidents import list_incidents, load_by_name
from event_stream_engine.incidents.lifecycle import STATES
from event_stream_engine.kernel.clock import SystemClock

incidents = typer.Typer(help="Incidents: what needs a person, and who has it in hand.", no_args_is_help=True)
MOST_LISTED = 200
Number = Annotated[str, typer.Argument(help="like INC-0001")]
Note = Annotated[str, typer.Option("--note", help="what the timeline says of it")]


@incidents.command("list")
@command
async def list_open() -> None:
    """Show what is not resolved; the exit code is 1 when nobody has one of them in hand."""
    now = SystemClock().now()
    async with open_connection() as conn:
        states = [state for state in STATES if state != "resolved"]
        found = await list_incidents(conn, limit=MOST_LISTED, states=states)
    if not found:
        out.print("Nothing needs a person.")
        return
    table = Table("Incident", "Severity", "State", "What", "Assigned to", "Response", "Opened")
    for one in found:
        table.add_row(
            one.name,
            one.severity,
            one.state,
            one.title,
            one.assignee_name or "–",
            f"{one.standing.judge_response(now)}, until {one.due_at:%Y-%m-%d %H:%M} UTC",
            f"{one.opened_at:%Y-%m-%d %H:%M} UTC",
        )
    out.print(table)
    if any(one.state == "open" for one in found):
        raise typer.Exit(1)


@incidents.command("ack")
@command
async def acknowledge(number: Number, *, note: Note = "") -> None:
    """Take an incident and its alerts in hand: nobody else is told any more."""
    await _act(number, note, actions.acknowledge)


@incidents.command("resolve")
@command
async def resolve(number: Number, *, note: Note = "") -> None:
    """End an incident; whoever was told hears of it."""
    await _act(number, note, actions.resolve)


async def _act(number: str, note: str, act: Act) -> None:
    async with open_transaction() as conn:
        found = await load_by_name(conn, number)
        seen = Seen(found.id, found.version)
        moved = await act(conn, COMMAND_LINE, seen, note, SystemClock().now())
    out.print(f"{moved.name} is {moved.state}: {moved.title}.", markup=False, highlight=False)
