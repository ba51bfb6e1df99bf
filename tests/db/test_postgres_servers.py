"""Servers that are set up otherwise: with little room for statements, and without pg_stat_statements."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra.database import connect
from event_stream_engine.infra.embedded import embedded_postgres, find_system_postgres
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.monitoring.postgres_server import find_missing_statements, load_server
from tests.conftest import THROW_AWAY
from tests.observed import Observed

SERVERS = [pytest.param(None, id="pg18")]
if found := find_system_postgres(15):
    SERVERS.append(pytest.param(found, id="pg15"))


@asynccontextmanager
async def server(
    folder: Path, bin_dir: Path | None, clock: SettableClock, **settings: str
) -> AsyncIterator[Observed]:
    extra = THROW_AWAY | {name.replace("__", "."): value for name, value in settings.items()}
    async with embedded_postgres(folder, bin_dir=bin_dir, extra_settings=extra) as url:
        await prepare_database(url, ZoneInfo("UTC"))
        async with await connect(url, "observer") as conn, await connect(url, "worker") as worker:
            yield Observed(conn, worker, clock)


@pytest.mark.parametrize("bin_dir", SERVERS)
async def test_statement_that_was_forgotten_for_want_of_room_is_counted_anew(
    bin_dir: Path | None, tmp_path: Path, clock: SettableClock
) -> None:
    async with server(tmp_path, bin_dir, clock, pg_stat_statements__max="100") as observed:
        await observed.look()
        await observed.run("SELECT 1.5 AS mine", 2)
        await observed.look()
        assert await observed.calls("AS mine") == 2
        for number in range(400):
            await observed.run(f"SELECT {', '.join('1' * (number + 2))}")
        await observed.look()
        await observed.run("SELECT 1.5 AS mine", 4)
        await observed.look()
        assert await observed.calls("AS mine") == 6
        [loss, *_] = (await observed.load()).losses
        assert loss.kind == "statements_evicted"
        assert loss.times >= 1
        for one in await observed.statements():
            assert one.calls > 0
            assert one.total_ns >= 0


@pytest.mark.parametrize("bin_dir", SERVERS)
async def test_without_the_library_the_commands_and_the_restart_are_told(
    bin_dir: Path | None, tmp_path: Path, clock: SettableClock
) -> None:
    async with server(tmp_path, bin_dir, clock, shared_preload_libraries="auto_explain") as observed:
        await observed.look_settled()
        await observed.run("SELECT 1", 5)
        await observed.look_settled()
        found = await observed.load()
        assert found.counts.commits > 0
        missing = find_missing_statements(await load_server(observed.conn))
        assert missing is not None
        assert missing.commands == (
            "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_stat_statements';",
        )
        assert missing.needs_restart
        async with observed.role("lowly") as lowly:
            hidden = find_missing_statements(await load_server(lowly))
            assert hidden is not None
            assert "Keep in the list what SHOW shared_preload_libraries names" in hidden.text
        await observed.run(missing.commands[0])  # is understood
