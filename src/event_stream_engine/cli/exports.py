"""Commands that write rows into files."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from event_stream_engine.access.roles import Role
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.audience.people import Wanted
from event_stream_engine.audit.entries import COMMAND_LINE, Entry, record
from event_stream_engine.campaigns import campaigns
from event_stream_engine.cli.session import command, err, open_database, open_settings, out
from event_stream_engine.exports import jobs, orders
from event_stream_engine.exports.formats import FORMATS
from event_stream_engine.exports.orders import Order, check_order
from event_stream_engine.exports.sets import CAMPAIGN, PEOPLE, SAVED_QUERY, SCOPE, SETS, load_set
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.errors import Conflict, Invalid
from event_stream_engine.kernel.windows import Window


@command
async def export_rows(
    set_name: Annotated[str, typer.Argument(metavar="SET", help=f"one of {', '.join(SETS)}")],
    *,
    file: Annotated[Path, typer.Option("--out", help="the file to write; must not be there", dir_okay=False)],
    file_format: Annotated[
        str | None, typer.Option("--format", help=f"{', '.join(FORMATS)}; default: by the file's ending")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="begin, ISO 8601; default: 24 hours before the end")
    ] = None,
    until: Annotated[str | None, typer.Option(help="end, not part of it; default: now")] = None,
    campaign: Annotated[str | None, typer.Option(help="only of this campaign: its id or name")] = None,
    channel: Annotated[str | None, typer.Option(help="only this channel, like sms")] = None,
    country: Annotated[str | None, typer.Option(help="only this country, like US")] = None,
    sender: Annotated[str | None, typer.Option(help="only from this number or service")] = None,
    intent: Annotated[str | None, typer.Option(help="only inbound messages with this intent")] = None,
    consent: Annotated[str | None, typer.Option(help="only people in this state, like OPT_IN")] = None,
    masked: Annotated[bool, typer.Option("--masked", help="mask phone numbers")] = False,
) -> None:
    """Write rows into a file: all as of one instant, however many there are."""
    settings, clock = open_settings(), SystemClock()
    if file.exists():
        raise Conflict(f"{file} is there already. Name another file, or remove it.")
    given = {
        "channel": channel,
        "country": country,
        "sender": sender,
        "intent": intent,
        "consent": consent,
        "campaign": campaign,
    }
    async with open_database(settings) as url, await connect(url, "ese-export") as conn:
        window = _read_window(since, until, clock.now(), settings.timezone)
        filters = await _read_filters(conn, set_name, window, given)
        order = Order(
            set_name, file_format or file.suffix.removeprefix("."), filters, shows_numbers=not masked
        )
        check_order(order, Role.admin)
        rows = await _write(conn, order, file, clock)
        out.print(f"{rows:,} rows, {file.stat().st_size:,} bytes in {file}", highlight=False)


def _read_window(since: str | None, until: str | None, now: datetime, zone: ZoneInfo) -> Window:
    ends = _read_instant(until, "until", zone) if until else now
    begins = _read_instant(since, "since", zone) if since else ends - timedelta(hours=24)
    if begins >= ends:
        raise Invalid("The period ends before it begins. Exchange --since and --until.", "since")
    return Window(begins, ends)


def _read_instant(text: str, field: str, zone: ZoneInfo) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"--{field}: {text!r} is no point in time. Write it like 2026-03-02T16:45:00Z.", field
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=zone)


async def _read_filters(
    conn: Connection, set_name: str, window: Window, given: dict[str, str | None]
) -> dict[str, Any]:
    """Return the filters of a set from options; one that the set does not have is an error."""
    if set_name == SAVED_QUERY.slug:
        raise Invalid("A saved query is exported on its page or by the API, for whoever may see it.", "set")
    takes = load_set(set_name).filters
    known = {
        "campaign": {"campaign_id", "campaign_ids"},
        **{name: {name} for name in ("channel", "country", "sender", "intent", "consent")},
    }
    for name, value in given.items():
        if value is not None and not known[name] & set(takes):
            raise Invalid(f"{set_name} cannot be narrowed by --{name}.", name)
    found = None
    if given["campaign"] is not None:
        found = await campaigns.find_campaign(conn, given["campaign"])
    if takes == SCOPE:
        ids = None if found is None else [found.id]
        return orders.narrow_to_scope(Scope(window, ids, given["channel"], given["country"], given["sender"]))
    if takes == CAMPAIGN:
        if found is None:
            raise Invalid(f"{set_name} needs --campaign.", "campaign")
        return orders.narrow_to_campaign(found, None, None)
    if takes == PEOPLE:
        return orders.narrow_to_people(Wanted(given["consent"], given["country"]))
    return orders.narrow_to_window(window, channel=given["channel"], intent=given["intent"])


async def _write(conn: Connection, order: Order, file: Path, clock: SystemClock) -> int:
    from event_stream_engine.exports.packing import pack  # noqa: PLC0415 - every other command would pay for Arrow

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    unfinished = file.with_name(f"{file.name}.part")
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("Writing", total=None, told="")

        async def show(done: orders.Progress) -> None:
            progress.update(
                task,
                completed=done.rows,
                total=max(done.estimated_rows, done.rows),
                told=f"{done.rows:,} rows",
            )

        try:
            with unfinished.open("wb") as sink:
                packed = await pack(conn, order, sink, clock=clock, on_progress=show)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    async with transaction(conn):
        after = jobs.describe_order(order) | {"rows": packed.rows}
        await record(
            conn, COMMAND_LINE, Entry(clock.now(), "export.written", f"export:{uuid4()}", after=after)
        )
    unfinished.rename(file)
    return packed.rows
