"""`ese campaign` and `ese alerts` as processes on a real database."""

import asyncio
import os
import sys
from pathlib import Path
from uuid import UUID

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.worker.evaluator import tick
from tests.engine import ACCOUNT_SID, TOKEN
from tests.sending import SENDER, add_campaign


async def run(url: str, folder: Path, *arguments: str, group: str = "campaign") -> tuple[int | None, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESE_")} | {
        "ESE_DATA_DIR": str(folder),
        "ESE_DATABASE_URL": url,
        "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "ESE_TWILIO_AUTH_TOKEN": TOKEN,
        "ESE_PROVIDER": "simulator",
        "ESE_SIMULATOR_URL": "http://127.0.0.1:9",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "event_stream_engine.cli.main", group, *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_campaign_is_made_started_and_paused_by_command(database_url: str, tmp_path: Path) -> None:
    async with await connect(database_url, "test") as conn:
        await add_campaign(conn, SystemClock().now())
        row = await (await conn.execute("SELECT s.name, t.name FROM segments s, templates t")).fetchone()
    assert row is not None
    create = ("create", "Autumn", "--segment", row[0], "--template", row[1], "--sender", SENDER)
    code, made = await run(database_url, tmp_path, *create, "--rate", "5", "--quiet", "none")
    assert code == 0, made
    assert await run(database_url, tmp_path, "start", made.strip()) == (0, "Autumn is running.\n")
    assert await run(database_url, tmp_path, "pause", "Autumn") == (0, "Autumn is paused.\n")
    code, said = await run(database_url, tmp_path, "status", "Autumn")
    assert code == 0
    assert said.startswith("Autumn: paused\n")
    code, said = await run(database_url, tmp_path, "start", "Autumn")
    assert code == 1
    assert "what is possible: resume or cancel" in " ".join(said.split())


async def test_alert_is_listed_acknowledged_and_silenced_by_command(
    database_url: str, tmp_path: Path
) -> None:
    async with await connect(database_url, "test") as conn:
        await conn.execute("UPDATE alert_rules SET is_enabled = false WHERE metric <> 'missing_workers'")
        await conn.execute("UPDATE alert_rules SET for_seconds = 0")
        await tick(conn, SystemClock())
    code, said = await run(database_url, tmp_path, "list", group="alerts")
    assert code == 1
    assert "ALT001" in said
    code, said = await run(database_url, tmp_path, "ack", "ALT001", group="alerts")
    assert (code, said) == (0, "ALT001 is acknowledged: A worker is missing.\n")
    assert (await run(database_url, tmp_path, "list", group="alerts"))[0] == 0
    silence = ("silence", "severity=critical", "--for", "2h", "--comment", "Upgrade")
    code, said = await run(database_url, tmp_path, *silence, group="alerts")
    assert (code, str(UUID(said.strip()))) == (0, said.strip())
    code, said = await run(database_url, tmp_path, *silence[:3], "soon", *silence[4:], group="alerts")
    assert (code, "write it like 30m" in " ".join(said.split())) == (1, True)
