"""Real PostgreSQL for every test that asks for `database_url`: the embedded 18, and 15 where the system has it."""

import asyncio
import itertools
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql

from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra.database import connect
from event_stream_engine.infra.embedded import embedded_postgres, find_system_postgres
from event_stream_engine.kernel.clock import SettableClock, SystemClock
from tests.engine import Engine, make_settings, running_engine
from tests.observed import Observed

# A cluster that dies with the run need not survive a power cut. The kill tests start their own without these.
THROW_AWAY = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
}
TEMPLATE = "ese_template"
# In memory where there is room: a database for each test is some hundred files, made and removed.
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 1024**3
_SYSTEM_15 = find_system_postgres(15)
_SERVERS = {"pg18": None} | ({"pg15": _SYSTEM_15} if _SYSTEM_15 else {})
_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=_SERVERS.values(), ids=_SERVERS.keys())
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server with a migrated template database; shared by the whole run."""
    is_roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    beside = MEMORY if is_roomy else None
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory(prefix="ese-test-", dir=beside) as folder:
        server = embedded_postgres(Path(folder), bin_dir=request.param, extra_settings=THROW_AWAY)
        url = runner.run(server.__aenter__())
        try:
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
            runner.run(prepare_database(_with_database(url, TEMPLATE), ZoneInfo("UTC")))
            yield url
        finally:
            runner.run(server.__aexit__(None, None, None))


@pytest.fixture
def database_url(postgres: str) -> Iterator[str]:
    """The URL of a fresh, migrated database, dropped after the test."""
    with _made_database(postgres, TEMPLATE) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: str) -> Iterator[str]:
    """The URL of a fresh database without tables, for tests of the migrations themselves."""
    with _made_database(postgres, "template1") as url:
        yield url


@contextmanager
def _made_database(server_url: str, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        # A seventh of the time that writing each of its pages to the log takes (measured).
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield _with_database(server_url, name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _with_database(url: str, name: str) -> str:
    return url.replace("@/ese?", f"@/{name}?")


@pytest.fixture
def clock() -> SettableClock:
    """Monday, 2 March 2026, noon UTC, until the test moves it."""
    return SettableClock(datetime(2026, 3, 2, 12, tzinfo=UTC))


@pytest.fixture
async def engine(database_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    """A running engine on a fresh database, by the system's clock."""
    async with running_engine(database_url, make_settings(tmp_path), SystemClock()) as running:
        yield running


@pytest.fixture
async def observed(database_url: str, clock: SettableClock) -> AsyncIterator[Observed]:
    """A fresh database whose statements are counted from here on, looked at by the test's clock."""
    async with (
        await connect(database_url, "test-observer") as conn,
        await connect(database_url, "test") as worker,
    ):
        await conn.execute("SELECT pg_stat_statements_reset()")  # of the whole server, so that there is room
        yield Observed(conn, worker, clock)


@pytest.fixture
def free_port() -> int:
    """A loopback port nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
