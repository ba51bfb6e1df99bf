import asyncio
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from event_stream_engine.infra.migrating import find_pending, migrate
from event_stream_engine.infra.migrations import plain_sql
from event_stream_engine.kernel.errors import Conflict

REVISION = """
from event_stream_engine.infra.migrations import plain_sql
revision, down_revision = {name!r}, {before!r}
def upgrade(): plain_sql.run_beside(__file__)
"""


@pytest.fixture
def write_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put other revisions in the place of the engine's own."""

    def write(**scripts: str) -> None:
        before = None
        for name, script in scripts.items():
            (tmp_path / f"{name}.py").write_text(REVISION.format(name=name, before=before))
            (tmp_path / f"{name}.sql").write_text(script)
            before = name

    read = ScriptDirectory.from_config

    def read_elsewhere(config: Config) -> ScriptDirectory:
        config.set_main_option("version_locations", str(tmp_path))
        return read(config)

    monkeypatch.setattr(ScriptDirectory, "from_config", read_elsewhere)
    return write


def list_tables(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        found = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        return [name for (name,) in found]


def test_migrating_applies_every_revision_once(empty_database_url: str) -> None:
    pending = find_pending(empty_database_url)
    assert pending[0] == "0001_foundation"
    assert migrate(empty_database_url) == pending
    assert find_pending(empty_database_url) == []
    assert migrate(empty_database_url) == []


async def test_two_processes_migrating_at_once_apply_each_revision_once(empty_database_url: str) -> None:
    pending = find_pending(empty_database_url)
    both = await asyncio.gather(*(asyncio.to_thread(migrate, empty_database_url) for _ in range(2)))
    assert sorted(both) == [[], pending]


def test_database_of_a_test_is_migrated(database_url: str) -> None:
    assert find_pending(database_url) == []


def test_only_revisions_after_the_applied_ones_are_pending(
    empty_database_url: str, write_history: Callable[..., None]
) -> None:
    write_history(first="CREATE TABLE first ();")
    migrate(empty_database_url)
    write_history(first="", second="CREATE TABLE second ();", third="CREATE TABLE third ();")
    assert find_pending(empty_database_url) == ["second", "third"]
    assert migrate(empty_database_url) == ["second", "third"]
    assert list_tables(empty_database_url) == ["alembic_version", "first", "second", "third"]


def test_script_runs_percent_signs_colons_and_dollar_quotes_as_they_are(
    empty_database_url: str, write_history: Callable[..., None]
) -> None:
    write_history(
        odd="""
        CREATE FUNCTION odd(n int) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN RETURN format('%s%% :x %%(y)s', n % 7); END; $$;
        CREATE TABLE odd AS SELECT odd(9)::text AS said;
        """
    )
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SELECT said FROM odd").fetchone() == ("2% :x %(y)s",)


def test_failing_revision_takes_the_ones_before_it_back(
    empty_database_url: str, write_history: Callable[..., None]
) -> None:
    write_history(good="CREATE TABLE good ();", bad="CREATE TABLE bad (); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_database_url)
    assert list_tables(empty_database_url) == []


def test_downgrade_refuses_and_says_what_to_do() -> None:
    with pytest.raises(Conflict, match="restore a backup"):
        plain_sql.refuse_downgrade()
