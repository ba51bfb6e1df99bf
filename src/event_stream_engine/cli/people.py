"""Commands for who may enter: operators and API keys."""

from typing import Annotated

import typer

from event_stream_engine.access.credentials import add_api_key, add_operator
from event_stream_engine.access.roles import Role
from event_stream_engine.cli.session import command, open_database, open_settings, out
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
