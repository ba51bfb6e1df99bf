"""The logins that run people's SQL, and the connections they run it on.

Each database has two, one that sees numbers of people and one that does not. They own nothing, belong to nothing, and may
read the views of the schemas `reading…` (migration 0017). Their password follows from the engine's secret key, so every
process knows it and none keeps it. A query gets a connection of its own: nothing of it is left for the next one.
"""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.embedded import confine_backend
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.errors import Denied, Unavailable

SQL = load_queries(__package__)
PLACES = 2  # queries at once of each kind in one process
CONNECTION_LIMIT = 8  # of each kind over all processes
WAIT_SECONDS = 5.0
# One hash or sort in memory takes 32 MB; what is larger goes to disk, up to 256 MB.
TEMPORARY_FILES = "256MB"
SESSION: Mapping[str, str] = {
    "default_transaction_read_only": "on",
    "lock_timeout": "2000",
    "work_mem": "32MB",
    "max_parallel_workers_per_gather": "0",  # the cores are for taking in webhooks
    "jit": "off",
    "standard_conforming_strings": "on",  # what the gate takes for a string must be one
    "client_connection_check_interval": "1000",  # a query whose client was killed ends
}
_LONGEST_NAME_BYTES = 63


@dataclass(frozen=True, slots=True)
class Reader:
    """A login and the schemas it may read, in the order in which names are looked up."""

    name: str
    schemas: tuple[str, ...]

    @property
    def search_path(self) -> str:
        return ",".join((*self.schemas, "pg_catalog"))  # ours first: `pg_stat_statements` is our view


def name_readers(database: str) -> tuple[Reader, Reader]:
    """Return the logins of a database: the one with masked numbers, and the one that sees numbers."""
    longest = _LONGEST_NAME_BYTES - len("ese_queries_numbers_")
    if len(database.encode()) > longest:
        database = hashlib.sha256(database.encode()).hexdigest()[:32]
    return (
        Reader(f"ese_queries_masked_{database}", ("reading_masked", "reading")),
        Reader(f"ese_queries_numbers_{database}", ("reading_numbers", "reading")),
    )


class Readers:
    """Opens connections for people's queries, so many at once and no more. `url` is where they run."""

    def __init__(self, url: str, database: str, secret_key: str) -> None:
        self._url = url
        self._secret_key = secret_key
        self._readers = name_readers(database)
        self._places = tuple(asyncio.Semaphore(PLACES) for _ in self._readers)

    def find_reader(self, *, sees_numbers: bool) -> Reader:
        return self._readers[sees_numbers]

    @asynccontextmanager
    async def connection(self, *, sees_numbers: bool, seconds: float) -> AsyncIterator[Connection]:
        """Open a connection for one query, whose statements end after so many seconds.

        Errors: Unavailable when all places are taken, or there is no such login or no server.
        """
        reader, places = self._readers[sees_numbers], self._places[sees_numbers]
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await places.acquire()
        except TimeoutError:
            raise Unavailable(
                f"{PLACES} other queries are running, which is as many as are run at once. Try again in a moment."
            ) from None
        try:
            async with await self._connect(reader, seconds) as conn:
                yield conn
        finally:
            places.release()

    async def _connect(self, reader: Reader, seconds: float) -> Connection:
        url = make_conninfo(
            self._url, user=reader.name, password=derive_password(self._secret_key, reader.name)
        )
        if conninfo_to_dict(url).get("target_session_attrs") == "read-write":  # which ours never is
            url = make_conninfo(url, target_session_attrs="primary")
        milliseconds = int(seconds * 1000)
        settings = {**SESSION, "search_path": reader.search_path}
        try:
            conn = await connect(
                url, "ese-queries", statement_timeout_ms=milliseconds, session_settings=settings
            )
        except psycopg.errors.TooManyConnections:
            raise Unavailable(
                "Other people's queries hold all connections there are for queries. Try again in a moment."
            ) from None
        except psycopg.OperationalError as error:
            raise Unavailable(
                f"The login {reader.name}, which runs people's queries, gets no connection: {_first_line(error)}."
                " `ese doctor` says what is missing."
            ) from None
        if conn.info.parameter_status("is_superuser") == "on":
            await conn.close()
            raise Denied(f"{reader.name} is a superuser, so nothing is run as it. ALTER ROLE … NOSUPERUSER.")
        await confine_backend(conn.info.host, conn.info.backend_pid, reader.name)
        return conn


def open_readers(settings: Settings, database_url: str) -> Readers:
    """Return what runs people's queries; it connects when one is run."""
    return Readers(
        settings.reporting_database_url or database_url, find_database(database_url), settings.secret_key
    )


def find_database(url: str) -> str:
    """Return the name of the database that a URL leads to, which may come from the environment."""
    parts = conninfo_to_dict(url)
    defaults = {
        option.keyword.decode(): option.val.decode() for option in Conninfo.get_defaults() if option.val
    }
    return str(parts.get("dbname") or defaults.get("dbname") or parts.get("user") or defaults["user"])


def derive_password(secret_key: str, name: str) -> str:
    return hmac.digest(secret_key.encode(), b"query login:" + name.encode(), "sha256").hex()


async def find_lacking(conn: Connection) -> list[str]:
    """Return the logins of this database that are not there, may not log in or may not read all, by name."""
    readers = name_readers(conn.info.dbname)
    values = {
        "names": [reader.name for reader in readers],
        "schemas": [",".join(reader.schemas) for reader in readers],
    }
    found = await SQL.list_usable_logins.value(conn, values)
    return [reader.name for reader in readers if reader.name not in found]


async def make_readers(conn: Connection, secret_key: str) -> list[str]:
    """Make the logins and give them their rights, as far as our own allow.

    Return the statements that somebody else has to run, [] when nothing is left to do. None of them holds a secret: a
    password is set as its SCRAM verifier.
    """
    try:
        async with transaction(conn):
            await SQL.lock_logins.execute(conn)
            for statement in await list_statements(conn, secret_key):
                await conn.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return await list_statements(conn, secret_key) if await find_lacking(conn) else []
    return []


async def list_statements(conn: Connection, secret_key: str) -> list[str]:
    """Return the statements that make this database's logins, or bring them up to date."""
    statements: list[sql.Composed] = []
    limits = await SQL.load_maker.one(conn, _Maker)
    for reader in name_readers(conn.info.dbname):
        role = sql.Identifier(reader.name)
        verifier = conn.pgconn.encrypt_password(
            derive_password(secret_key, reader.name).encode(), reader.name.encode(), b"scram-sha-256"
        ).decode()
        exists = reader.name in await SQL.list_logins.value(conn, {"names": [reader.name]})
        # What a new role may not do anyway is not said: only a superuser may say it of one that is there.
        statements += [
            sql.SQL("{} ROLE {} LOGIN NOINHERIT CONNECTION LIMIT {} PASSWORD {}").format(
                sql.SQL("ALTER" if exists else "CREATE"),
                role,
                sql.Literal(CONNECTION_LIMIT),
                sql.Literal(verifier),
            ),
            sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(role),
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(conn.info.dbname), role),
        ]
        if limits.is_superuser:
            statements.append(
                sql.SQL("ALTER ROLE {} SET temp_file_limit = {}").format(role, sql.Literal(TEMPORARY_FILES))
            )
        for schema in reader.schemas:
            name = sql.Identifier(schema)
            statements += [
                sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(name, role),
                sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(name, role),
            ]
    return [f"{statement.as_string(conn)};" for statement in statements]


@dataclass(frozen=True, slots=True)
class _Maker:
    is_superuser: bool


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
