"""What every command needs: settings, logs, a database that is there, an exit code for an error."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import ParamSpec
from zoneinfo import ZoneInfo

import psycopg
import typer
import uvloop
from rich.console import Console

from event_stream_engine.analytics.calendar import find_timezone, refresh_calendar
from event_stream_engine.analytics.demographics import find_attributes
from event_stream_engine.infra.database import Connection, connect, describe_database, transaction
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.infra.logs import configure_logs
from event_stream_engine.infra.migrating import find_pending, migrate
from event_stream_engine.infra.settings import Settings, load_settings
from event_stream_engine.kernel.errors import Conflict, EngineError, Unavailable
from event_stream_engine.messaging.regions import refresh_phone_regions
from event_stream_engine.monitoring.postgres_server import create_statements_extension
from event_stream_engine.workbench.readers import find_lacking, make_readers
from event_stream_engine.worker.recount import recount_attributes

Parameters = ParamSpec("Parameters")
err = Console(stderr=True)
out = Console()


def command(function: Callable[Parameters, Coroutine[None, None, None]]) -> Callable[Parameters, None]:
    """Make a command of a coroutine: an error a person can act on is one message and exit code 1."""

    @wraps(function)
    def run(*arguments: Parameters.args, **options: Parameters.kwargs) -> None:
        try:
            uvloop.run(
                function(*arguments, **options)
            )  # 1.4 times the webhooks a second of asyncio's own loop
        except EngineError as error:
            err.print(str(error), style="red", markup=False, highlight=False)
            raise typer.Exit(1) from None
        except psycopg.OperationalError as error:
            err.print(
                f"The database is away: {str(error).strip()}", style="red", markup=False, highlight=False
            )
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    return run


def open_settings(level: int = logging.WARNING) -> Settings:
    """Read the settings and send log lines where they say. Errors: Invalid with every fault."""
    settings = load_settings()
    configure_logs(settings.log_format, level)
    return settings


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[str]:
    """Yield the URL of a migrated database: the configured one, or the embedded one for as long as the block runs.

    Errors: Unavailable when it does not answer; Conflict when a configured one is not migrated (the embedded one is
    ours, and is simply migrated).
    """
    if settings.database_url is None:
        async with embedded_postgres(settings.data_dir) as url:
            await prepare_database(url, settings.timezone, settings.attributes)
            async with await connect(url, "ese-migrate") as conn:
                if await find_lacking(conn):
                    await make_readers(conn, settings.secret_key)
            yield url
        return
    url = settings.database_url
    try:
        pending = await asyncio.to_thread(find_pending, url)
    except psycopg.OperationalError as error:
        raise Unavailable(f"The database {describe_database(url)} does not answer: {error}") from None
    if pending:
        raise Conflict(
            f"The database {describe_database(url)} lacks {len(pending)} migrations. Run `ese migrate`."
        )
    async with await connect(url, "ese") as conn:
        counted_in = await find_timezone(conn)
        counted_by = await find_attributes(conn)
    if counted_in != settings.timezone.key:
        raise Conflict(
            f"ESE_TIMEZONE is {settings.timezone.key}, but days are counted in {counted_in or 'no zone yet'}. Run"
            " `ese migrate`, which counts them anew, or set it back."
        )
    if counted_by != settings.attributes:
        raise Conflict(
            f"ESE_ATTRIBUTES is {','.join(settings.attributes)}, but users are counted by {','.join(counted_by) or 'none yet'}."
            " Run `ese migrate`, which counts them anew, or set it back."
        )
    yield url


@asynccontextmanager
async def open_connection() -> AsyncIterator[Connection]:
    """Connect to the database of the settings. Errors: as `open_database`."""
    async with open_database(open_settings()) as url, await connect(url, "ese-cli") as conn:
        yield conn


@asynccontextmanager
async def open_transaction() -> AsyncIterator[Connection]:
    """Connect for one change, which is committed with the block. Errors: as `open_database`."""
    async with open_connection() as conn, transaction(conn):
        yield conn


async def prepare_database(
    url: str, zone: ZoneInfo, attributes: Sequence[str] = ("city", "tier")
) -> list[str]:
    """Migrate, bring number patterns, calendar and the attributes counted by up to date; return what was applied."""
    applied = await asyncio.to_thread(migrate, url)
    async with await connect(url, "ese-migrate") as conn:
        await create_statements_extension(conn)  # without it all but the statistics of statements is there
        await refresh_phone_regions(conn)
        async with transaction(conn):
            if await refresh_calendar(conn, zone):
                applied.append(f"calendar of {zone.key}")
        async with transaction(conn):
            if await recount_attributes(conn, attributes):
                applied.append(f"users by {', '.join(attributes)}")
    return applied
