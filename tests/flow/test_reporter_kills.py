"""Reporters as processes, two at once and killed between storing and committing: each version is there once."""

import asyncio
import signal
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.reporting.versions import list_versions
from tests.reports import opened, send

PROGRAM = Path(__file__).parents[1] / "reporter_process.py"
ZONE = ZoneInfo("America/New_York")
NOON = datetime(2026, 3, 2, 17, tzinfo=UTC)
DAYS = 9
NOW = NOON + timedelta(days=DAYS)  # nine days are over, one of them a Sunday
KEPT = {
    *(("daily", date(2026, 3, 2 + number), 1) for number in range(DAYS)),
    ("weekly", date(2026, 3, 8), 1),
}


async def start_reporter(url: str, *failpoint: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), url, ZONE.key, format_instant(NOW), *failpoint
    )


async def assert_each_is_there_once(conn: Connection) -> None:
    found = [
        (one.kind, one.last_day, one.version)
        for kind in ("daily", "weekly")
        for one in await list_versions(conn, kind, NOON.date(), NOW.date())
    ]
    assert len(found) == len(KEPT)
    assert set(found) == KEPT
    rows = await (await conn.execute("SELECT subject FROM audit_log WHERE action LIKE 'report.%'")).fetchall()
    assert sorted(rows) == sorted((f"report:{kind}:{day}",) for kind, day, _ in KEPT)


@pytest.mark.parametrize("failpoint", ["stored", "before commit"])
async def test_what_a_killed_reporter_left_is_made_by_the_next(database_url: str, failpoint: str) -> None:
    async with asyncio.timeout(60), opened(database_url, ZONE) as conn:
        await send(conn, database_url, NOON, ["SM1", "SM2"])
        killed = await start_reporter(database_url, failpoint)
        assert await killed.wait() == -signal.SIGKILL
        both = [await start_reporter(database_url) for _ in range(2)]
        assert [await one.wait() for one in both] == [0, 0]
        await assert_each_is_there_once(conn)
