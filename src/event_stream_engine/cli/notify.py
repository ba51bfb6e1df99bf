"""Commands for notifications."""

import asyncio
from typing import Annotated

import typer

from event_stream_engine.audit.entries import COMMAND_LINE
from event_stream_engine.cli.session import command, err, open_database, open_settings, out
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.errors import NotFound
from event_stream_engine.notifications.channels import Channel, list_channels, queue_test
from event_stream_engine.notifications.deliveries import list_deliveries

PATIENCE_SECONDS = 45
notify = typer.Typer(help="Telling people of alerts and incidents.", no_args_is_help=True)


@notify.callback()
def group() -> None:
    """Telling people of alerts and incidents."""


@notify.command("test")
@command
async def test(channel: Annotated[str, typer.Argument(help="The name of a channel.")]) -> None:
    """Send a test by a channel, and wait until it has arrived or failed. A worker must be running."""
    settings = open_settings()
    async with open_database(settings) as url, await connect(url, "ese-notify") as conn:
        chosen = await _find_channel(conn, channel)
        async with transaction(conn):
            notice = await queue_test(conn, COMMAND_LINE, SystemClock().now(), chosen.id)
        with err.status(f"Waiting for {chosen.name} ({chosen.shown_target})"):
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while True:
                        (delivery,) = await list_deliveries(conn, most=1, key=notice.key)
                        if delivery.attempts:
                            break
                        await asyncio.sleep(0.2)
            except TimeoutError:
                err.print("No worker has taken it. Start one with `ese work` or `ese up`.", style="red")
                raise typer.Exit(1) from None
    if delivery.state == "delivered":
        out.print(f"Delivered: {delivery.last_answer}", markup=False, highlight=False)
        return
    err.print(f"Failed: {delivery.last_answer}", style="red", markup=False, highlight=False)
    raise typer.Exit(1)


async def _find_channel(conn: Connection, name: str) -> Channel:
    known = await list_channels(conn)
    for channel in known:
        if channel.name.lower() == name.lower():
            return channel
    there = ", ".join(channel.name for channel in known) or "none yet: add one at /settings/notifications"
    raise NotFound(f"There is no channel {name!r}. There are: {there}.")
