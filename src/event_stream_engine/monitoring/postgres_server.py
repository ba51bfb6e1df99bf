"""The server behind the engine: what of it can be seen, and what somebody has to do so that the rest can be, too."""

from dataclasses import dataclass
from datetime import datetime

import psycopg

from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
_OLDEST_EXTENSION = [1, 9]  # that of PostgreSQL 14; an upgraded database may still have an older one
_RELOAD = "SELECT pg_reload_conf();"


@dataclass(frozen=True, slots=True)
class Server:
    """`preloaded` is None when the role may not know; `track` is `none` also without pg_stat_statements."""

    database: str
    role: str
    major: int
    started_at: datetime
    statistics_began_at: datetime | None
    statements_schema: str | None
    statements_version: list[int] | None
    is_loaded: bool
    may_call: bool
    may_read_all: bool
    track: str
    computes_ids: bool
    tracks_counts: bool
    tracks_io: bool
    preloaded: str | None

    @property
    def has_statements(self) -> bool:
        """Tell whether statements of this database can be counted."""
        return bool(
            self.is_loaded
            and self.may_call
            and self.statements_version
            and self.statements_version >= _OLDEST_EXTENSION
        )


@dataclass(frozen=True, slots=True)
class Missing:
    """What cannot be seen for want of something, and the commands that put it right. `needs_restart`: of PostgreSQL, after them."""

    name: str
    text: str
    commands: tuple[str, ...]
    needs_restart: bool = False

    @property
    def advice(self) -> str:
        restart = " Then restart PostgreSQL." if self.needs_restart else ""
        return f"As a superuser: {' '.join(self.commands)}{restart}"

    def __str__(self) -> str:
        return f"{self.text} {self.advice}"


async def load_server(conn: Connection) -> Server:
    return await SQL.load_server.one(conn, Server)


async def create_statements_extension(conn: Connection) -> bool:
    """Make pg_stat_statements in this database when that is allowed; return whether it is there now."""
    if (await load_server(conn)).statements_version is not None:
        return True
    try:
        async with transaction(conn):
            await SQL.create_statements_extension.execute(conn)
    except psycopg.Error:  # not our right, or not installed; the engine goes on without
        return False
    return True


def find_missing_statements(server: Server) -> Missing | None:
    """Return what keeps statements from being counted, the first thing first; None when they are."""
    version = server.statements_version
    checks = (
        (server.is_loaded, "pg_stat_statements is not loaded", _load_library(server)),
        (
            version is not None,
            f"the database {server.database} lacks the extension pg_stat_statements",
            ("CREATE EXTENSION pg_stat_statements;",),
        ),
        (
            (version or []) >= _OLDEST_EXTENSION,
            "pg_stat_statements is of an old version",
            ("ALTER EXTENSION pg_stat_statements UPDATE;",),
        ),
        (
            server.may_call,
            f"{server.role} may not read pg_stat_statements",
            (
                f"GRANT EXECUTE ON FUNCTION {server.statements_schema}.pg_stat_statements(boolean) TO {server.role};",
            ),
        ),
        (
            server.computes_ids,
            "compute_query_id is off",
            ("ALTER SYSTEM SET compute_query_id = auto;", _RELOAD),
        ),
        (
            server.track != "none",
            "pg_stat_statements.track is none",
            ("ALTER SYSTEM SET pg_stat_statements.track = top;", _RELOAD),
        ),
    )
    for is_right, text, commands in checks:
        if not is_right:
            hides_libraries = not server.is_loaded and server.preloaded is None
            more = (
                " Keep in the list what SHOW shared_preload_libraries names already."
                if hides_libraries
                else ""
            )
            restart = not server.is_loaded
            return Missing(
                "pg_stat_statements", f"Statements are not counted: {text}.{more}", commands, restart
            )
    return None


def _load_library(server: Server) -> tuple[str, ...]:
    names = [name.strip() for name in (server.preloaded or "").split(",") if name.strip()]
    libraries = ", ".join(f"'{name}'" for name in (*names, "pg_stat_statements"))
    create = () if server.statements_version else ("CREATE EXTENSION pg_stat_statements;",)
    return (f"ALTER SYSTEM SET shared_preload_libraries = {libraries};", *create)


def list_missing(server: Server) -> list[Missing]:
    """Return all that cannot be seen."""
    statements = find_missing_statements(server)
    missing = [statements] if statements else []
    if not server.may_read_all:
        text = f"What other roles do is hidden: {server.role} may see its own statements and sessions only."
        missing.append(Missing("pg_read_all_stats", text, (f"GRANT pg_read_all_stats TO {server.role};",)))
    if not server.tracks_counts:
        text = "Tables and indexes are not counted: track_counts is off, and autovacuum with it."
        missing.append(Missing("track_counts", text, ("ALTER SYSTEM SET track_counts = on;", _RELOAD)))
    if not server.tracks_io:
        text = "How long reading from disk takes is not measured: track_io_timing is off."
        missing.append(Missing("track_io_timing", text, ("ALTER SYSTEM SET track_io_timing = on;", _RELOAD)))
    return missing
