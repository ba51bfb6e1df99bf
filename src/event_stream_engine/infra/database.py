"""Connections and transactions. The only module that commits."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection, conninfo
from psycopg_pool import AsyncConnectionPool

Connection = AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]

CONNECT_TIMEOUT_SECONDS = 3


def describe_database(url: str) -> str:
    """Return host, port and database of a URL for a person, without user and password."""
    parts = conninfo.conninfo_to_dict(url)
    host = parts.get("host", "localhost")
    port = f":{parts['port']}" if "port" in parts else ""
    return f"{host}{port}/{parts.get('dbname', '')}"


def _arguments(
    application: str, statement_timeout_ms: int, session_settings: Mapping[str, str] | None = None
) -> dict[str, Any]:
    more = "".join(f" -c {name}={value}" for name, value in (session_settings or {}).items())
    return {
        "application_name": application,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "keepalives_idle": 10,
        # A forgotten transaction would hold back the log's horizon and with it every figure.
        "options": f"-c timezone=UTC -c statement_timeout={statement_timeout_ms}"
        f" -c idle_in_transaction_session_timeout=60000{more}",
    }


async def connect(
    url: str,
    application: str,
    *,
    statement_timeout_ms: int = 0,
    session_settings: Mapping[str, str] | None = None,
) -> Connection:
    """Open one connection in autocommit mode; `transaction` makes the transactions."""
    return await AsyncConnection.connect(
        url, autocommit=True, **_arguments(application, statement_timeout_ms, session_settings)
    )


@asynccontextmanager
async def open_pool(
    url: str, application: str, *, largest: int, statement_timeout_ms: int = 0
) -> AsyncIterator[Pool]:
    """Open a pool that heals itself: a dead connection is replaced before it is handed out."""
    pool: Pool = AsyncConnectionPool(
        url,
        kwargs={"autocommit": True, **_arguments(application, statement_timeout_ms)},
        min_size=1,
        max_size=largest,
        timeout=CONNECT_TIMEOUT_SECONDS,
        check=AsyncConnectionPool.check_connection,
        open=False,
        name=application,
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def transaction(conn: Connection) -> AsyncIterator[Connection]:
    """Run a block in one transaction: commit at its end, roll back on an exception."""
    async with conn.transaction():
        yield conn


@asynccontextmanager
async def snapshot(conn: Connection) -> AsyncIterator[Connection]:
    """Run reads against one frozen view of the database, so that figures of one answer agree with each other."""
    async with conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield conn
