"""Commands for who may enter: operators and API keys."""

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from event_stream_engine.access import credentials
from event_stream_engine.access.credentials import add_api_key, add_operator
from event_stream_engine.access.roles import Role
from event_stream_engine.cli.session import (
    command,
    open_connection,
    open_database,
    open_settings,
    open_transaction,
    out,
)
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock

operators = typer.Typer(help="People who sign in to the console.", no_args_is_help=True)
keys = typer.Typer(help="API keys for programs.", no_args_is_help=True)


@operators.command("add")
@command
async def add_person(
    email: Annotated[str, typer.Argument(help="what they sign in with")],
    name: Annotated[str, typer.Option(help="how they are shown")] = "",
    role: Annotated[Role, typer.Option(help="what they may do")] = Role.operator,
    password: Annotated[
        str,
        typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, help="asked for when left out"),
    ] = "",
) -> None:
    """Let a person in."""
    settings = open_settings()
    async with open_database(settings) as url, await connect(url, "ese-cli") as conn, transaction(conn):
        await add_operator(
            conn, email, name=name or email, password=password, role=role, now=SystemClock().now()
        )
    out.print(f"{email} may sign in at {settings.public_url}/sign-in as {role.value}.")


@operators.command("list")
@command
async def list_people() -> None:
    """Show who may sign in, and who no longer may."""
    async with open_connection() as conn:
        found = await credentials.list_operators(conn)
    if not found:
        out.print("Nobody may sign in. `ese operators add` lets somebody in.")
        return
    table = Table("E-mail", "Name", "Role", "Since", "Last seen", "Disabled")
    for one in found:
        shown = (one.created_at, one.seen_at, one.disabled_at)
        table.add_row(one.email, one.name, one.role, *map(_show, shown))
    out.print(table, markup=False)


@operators.command("disable")
@command
async def disable_person(email: Annotated[str, typer.Argument(help="what they sign in with")]) -> None:
    """Shut a person out at once, signed in or not."""
    async with open_transaction() as conn:
        await credentials.disable_operator(conn, email, SystemClock().now())
    out.print(f"{email} may no longer sign in, and is signed out.")


@operators.command("enable")
@command
async def enable_person(email: Annotated[str, typer.Argument(help="what they sign in with")]) -> None:
    """Let a disabled person in again, with the password they had."""
    async with open_transaction() as conn:
        await credentials.enable_operator(conn, email, SystemClock().now())
    out.print(f"{email} may sign in again.")


@keys.command("add")
@command
async def add_key(
    name: Annotated[str, typer.Argument(help="what it is for")],
    role: Annotated[Role, typer.Option(help="what it may do")],
) -> None:
    """Make an API key. It is printed once, alone on standard output, and kept only as a hash."""
    settings = open_settings()
    async with open_database(settings) as url, await connect(url, "ese-cli") as conn, transaction(conn):
        made = await add_api_key(conn, name, role, SystemClock().now())
    print(made.key)


@keys.command("list")
@command
async def list_keys() -> None:
    """Show the keys in use, by their beginnings."""
    async with open_connection() as conn:
        found = await credentials.list_api_keys(conn)
    if not found:
        out.print("No key is in use. `ese keys add` makes one.")
        return
    table = Table("Name", "Role", "Begins with", "Since", "Last used")
    for one in found:
        table.add_row(one.name, one.role, one.key_prefix, _show(one.created_at), _show(one.last_used_at))
    out.print(table, markup=False)


@keys.command("revoke")
@command
async def revoke_key(name: Annotated[str, typer.Argument(help="what it was made for")]) -> None:
    """Shut a program out at once. The name is free again."""
    async with open_transaction() as conn:
        await credentials.revoke_api_key(conn, name, SystemClock().now())
    out.print(f"The key {name} is revoked.", markup=False)


def _show(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
