"""`ese campaign` and `ese alerts` as processes on a real database."""

from pathlib import Path
from uuid import UUID

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.worker.evaluator import tick
from tests.commands import run_ese
from tests.sending import SENDER, add_campaign


async def test_campaign_is_made_started_and_paused_by_command(database_url: str, tmp_path: Path) -> None:
    async with await connect(database_url, "test") as conn:
        await add_campaign(conn, SystemClock().now())
        row = await (await conn.execute("SELECT s.name, t.name FROM segments s, templates t")).fetchone()
    assert row is not None
    create = ("create", "Autumn", "--segment", row[0], "--template", row[1], "--sender", SENDER)
    code, made = await run_ese(database_url, tmp_path, "campaign", *create, "--rate", "5", "--quiet", "none")
    assert code == 0, made
    assert await run_ese(database_url, tmp_path, "campaign", "start", made.strip()) == (
        0,
        "Autumn is running.\n",
    )
    assert await run_ese(database_url, tmp_path, "campaign", "pause", "Autumn") == (0, "Autumn is paused.\n")
    code, said = await run_ese(database_url, tmp_path, "campaign", "status", "Autumn")
    assert code == 0
    assert said.startswith("Autumn: paused\n")
    code, said = await run_ese(database_url, tmp_path, "campaign", "start", "Autumn")
    assert code == 1
    assert "what is possible: resume or cancel" in " ".join(said.split())


async def test_alert_is_listed_acknowledged_and_silenced_by_command(
    database_url: str, tmp_path: Path
) -> None:
    async with await connect(database_url, "test") as conn:
        await conn.execute("UPDATE alert_rules SET is_enabled = false WHERE metric <> 'missing_workers'")
        await conn.execute("UPDATE alert_rules SET for_seconds = 0")
        await tick(conn, SystemClock())
    code, said = await run_ese(database_url, tmp_path, "alerts", "list")
    assert code == 1
    assert "ALT001" in said
    code, said = await run_ese(database_url, tmp_path, "alerts", "ack", "ALT001")
    assert (code, said) == (0, "ALT001 is acknowledged: A worker is missing.\n")
    assert (await run_ese(database_url, tmp_path, "alerts", "list"))[0] == 0
    silence = ("silence", "severity=critical", "--for", "2h", "--comment", "Upgrade")
    code, said = await run_ese(database_url, tmp_path, "alerts", *silence)
    assert (code, str(UUID(said.strip()))) == (0, said.strip())
    code, said = await run_ese(database_url, tmp_path, "alerts", *silence[:3], "soon", *silence[4:])
    assert (code, "write it like 30m" in " ".join(said.split())) == (1, True)
