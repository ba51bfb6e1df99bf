"""Commands for campaigns. The worker does what they ask for."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, time
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from event_stream_engine.analytics.campaign_progress import find_progress
from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns import campaigns
from event_stream_engine.campaigns.campaigns import Campaign, Draft
from event_stream_engine.cli.session import (
    command,
    open_connection,
    open_transaction,
    out,
)
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.errors import Invalid

campaign = typer.Typer(help="Campaigns: make, start, hold up, watch.", no_args_is_help=True)
ACTOR = Actor("engine:cli")
Move = Callable[[Connection, Actor, UUID, datetime], Awaitable[Campaign]]
Which = Annotated[str, typer.Argument(help="its id, or its name when no other has it")]


@campaign.command("create")
@command
async def create(
    name: Annotated[str, typer.Argument(help="what people call it")],
    *,
    segment: Annotated[str, typer.Option(help="whom it goes to: a segment's id or name")],
    template: Annotated[str, typer.Option(help="what it says: a template's id or name")],
    sender: Annotated[str, typer.Option(help="a number like +14155550100, or a messaging service MG…")],
    rate: Annotated[int, typer.Option(min=1, max=10_000, help="most messages a second")] = 10,
    quiet: Annotated[
        str, typer.Option(help="quiet hours of the recipients, like 21:00-08:00; `none` for none")
    ] = "21:00-08:00",
    start: Annotated[bool, typer.Option("--start", help="start it at once")] = False,
) -> None:
    """Make a draft; its id is printed alone on standard output."""
    now = SystemClock().now()
    async with open_transaction() as conn:
        draft = Draft(
            name,
            await campaigns.find_source_id(conn, "segment", segment),
            await campaigns.find_source_id(conn, "template", template),
            sender,
            rate,
        )
        made = await campaigns.create_campaign(conn, ACTOR, _with_quiet_hours(draft, quiet), now)
        if start:
            await campaigns.start_campaign(conn, ACTOR, made.id, now)
    print(made.id)


@campaign.command("start")
@command
async def start_one(which: Which) -> None:
    """Start it with segment and template as they are now."""
    await _move(which, campaigns.start_campaign)


@campaign.command("pause")
@command
async def pause_one(which: Which) -> None:
    """Hand nothing more over from now on."""
    await _move(which, campaigns.pause_campaign)


@campaign.command("resume")
@command
async def resume_one(which: Which) -> None:
    """Go on after a pause."""
    await _move(which, campaigns.resume_campaign)


@campaign.command("cancel")
@command
async def cancel_one(which: Which) -> None:
    """End it for good; what has not been handed over never will be."""
    await _move(which, campaigns.cancel_campaign)


@campaign.command("status")
@command
async def show_status(
    which: Annotated[str, typer.Argument(help="its id or name; all when left out")] = "",
) -> None:
    """Show how far campaigns are, the newest first."""
    now = SystemClock().now()
    async with open_connection() as conn:
        if not which:
            await _print_list(conn)
            return
        found = await campaigns.find_campaign(conn, which)
        progress = await find_progress(conn, found, now)
    out.print(f"{found.name}: {found.state}", highlight=False, markup=False)
    for status, messages in sorted({**progress.by_status, "PENDING": progress.pending}.items()):
        out.print(f"  {status.lower():<12} {messages:>10,}", highlight=False)
    for reason, messages in sorted(progress.denied.items()):
        out.print(f"  skipped: {reason:<20} {messages:>10,}", highlight=False)
    out.print(
        f"  {progress.recipients:,} recipients{'' if found.filled_at else ' so far'},"
        f" {sum(progress.deferred.values()):,} deferred, {progress.per_second or 0:,.1f} messages/s",
        highlight=False,
    )


async def _move(which: str, move: Move) -> None:
    async with open_connection() as conn:
        found = await campaigns.find_campaign(conn, which)
        async with transaction(conn):
            moved = await move(conn, ACTOR, found.id, SystemClock().now())
    out.print(f"{moved.name} is {moved.state}.", highlight=False, markup=False)


async def _print_list(conn: Connection) -> None:
    table = Table("id", "name", "state", "recipients")
    for one in await campaigns.list_campaigns(conn, limit=20):
        table.add_row(str(one.id), one.name, one.state, f"{one.recipients:,}")
    out.print(table)


def _with_quiet_hours(draft: Draft, text: str) -> Draft:
    if text == "none":
        return replace(draft, quiet_starts=time(0), quiet_ends=time(0))
    starts, _, ends = text.partition("-")
    try:
        return replace(draft, quiet_starts=time.fromisoformat(starts), quiet_ends=time.fromisoformat(ends))
    except ValueError:
        raise Invalid(
            f"{text!r} are no quiet hours; write them like 21:00-08:00, or none.", "quiet"
        ) from None
