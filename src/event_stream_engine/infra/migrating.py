"""Bringing a database to this version's tables."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import AsyncConnection
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

_LOCK_KEY = 4_736_251  # any number, the same for every engine of a database
_FOLDER = Path(__file__).parent / "migrations"
_MADE_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX ([a-z_]+) ON")


def migrate(url: str) -> list[str]:
    """Apply every pending revision in one transaction and return their names; of two callers at once one waits.

    Errors: psycopg.errors.LockNotAvailable when other sessions hold a table for longer than 5 s; nothing is changed.
    """
    with _connected(url) as connection:
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        # A change of a table that waits for its lock stops everybody behind it.
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        connection.execute(text("SET LOCAL statement_timeout = '10min'"))
        pending = _pending(connection)
        if pending:
            command.upgrade(_config(connection), "head")
        return pending


def find_pending(url: str) -> list[str]:
    """Return the names of the revisions this version has and the database has not, oldest first."""
    with _connected(url) as connection:
        return _pending(connection)


async def is_migrated(conn: AsyncConnection[Any]) -> bool:
    """Tell whether the database has this version's tables."""
    row = await (await conn.execute("SELECT to_regclass('alembic_version') IS NOT NULL")).fetchone()
    if row is None or not row[0]:
        return False
    rows = await (await conn.execute("SELECT version_num FROM alembic_version")).fetchall()
    return {name for (name,) in rows} == _newest_revisions()


@cache
def list_own_indexes() -> frozenset[str]:
    """Return the names of the indexes that migrations make."""
    scripts = (script.read_text("utf-8") for script in sorted(_FOLDER.glob("versions/*.sql")))
    return frozenset(name for script in scripts for name in _MADE_INDEX.findall(script))


@cache
def _newest_revisions() -> set[str]:
    return set(ScriptDirectory.from_config(_config(None)).get_heads())


def _pending(connection: Connection) -> list[str]:
    applied = MigrationContext.configure(connection).get_current_heads()
    script = ScriptDirectory.from_config(_config(connection))
    missing = script.iterate_revisions("heads", applied or "base", implicit_base=True)
    return [revision.revision for revision in missing][::-1]


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Open a transaction on a libpq URL; SQLAlchemy itself could not read one with several hosts."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, application_name="ese migrate", connect_timeout=3),
        poolclass=NullPool,
    )
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:  # a wrapper that callers, who know psycopg, would not recognise
        raise error.orig or error from None
    finally:
        engine.dispose()
