"""Commands for alerts: what fires, taking one in hand, being silent for a while."""

import re
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from event_stream_engine.alerting import episodes, silences
from event_stream_engine.alerting.telling import format_value
from event_stream_engine.audit.entries import COMMAND_LINE
from event_stream_engine.cli.session import (
    command,
    open_connection,
    open_transaction,
    out,
)
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.errors import Invalid

alerts = typer.Typer(help="Alerts: what fires, and who has it in hand.", no_args_is_help=True)
_LENGTH = re.compile(r"([1-9][0-9]{0,4})([mhd])\Z")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@alerts.command("list")
@command
async def list_alerts() -> None:
    """Show what fires now; the exit code is 1 when something does that nobody has in hand."""
    async with open_connection() as conn:
        firing = await episodes.list_open(conn)
    if not firing:
        out.print("Nothing fires.")
        return
    table = Table("Alert", "Severity", "State", "What", "Whom", "Value", "Threshold", "Since")
    for one in firing:
        table.add_row(
            one.alert_id,
            one.severity,
            one.state if one.held_back is None else f"{one.state} ({one.held_back})",
            one.name,
            one.subject_name,
            format_value(one.value, one.metric),
            format_value(one.threshold, one.metric),
            f"{one.fired_at:%Y-%m-%d %H:%M} UTC",
        )
    out.print(table)
    if any(one.state == "firing" for one in firing):
        raise typer.Exit(1)


@alerts.command("ack")
@command
async def acknowledge(alert_id: Annotated[str, typer.Argument(help="like ALT001")]) -> None:
    """Take an alert in hand: it is not told again until it is over."""
    async with open_transaction() as conn:
        episode = await episodes.acknowledge(conn, COMMAND_LINE, alert_id, SystemClock().now())
    out.print(f"{episode.alert_id} is acknowledged: {episode.name}.", markup=False)


@alerts.command("silence")
@command
async def silence(
    labels: Annotated[list[str], typer.Argument(help="all of these labels, like severity=warning rule='…'")],
    *,
    length: Annotated[str, typer.Option("--for", help="how long: 30m, 2h, 1d")],
    comment: Annotated[str, typer.Option(help="why")],
) -> None:
    """Tell nobody of the alerts with some labels for a while; the silence's id is printed."""
    matchers = {}
    for label in labels:
        name, sign, value = label.partition("=")
        if not sign:
            raise Invalid(f"{label!r} is no label; write it like severity=warning.")
        matchers[name] = value
    found = _LENGTH.match(length)
    if found is None:
        raise Invalid(f"{length!r} is no length of time; write it like 30m, 2h or 1d.")
    now = SystemClock().now()
    async with open_transaction() as conn:
        silence_id = await silences.add_silence(
            conn,
            COMMAND_LINE,
            matchers,
            begins_at=now,
            ends_at=now + timedelta(**{_UNITS[found[2]]: int(found[1])}),
            comment=comment,
            now=now,
        )
    print(silence_id)
