"""Reports from the command line."""

import json
from datetime import timedelta
from pathlib import Path

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from tests.commands import run_ese
from tests.reports import send


async def test_report_is_written_out_as_text_and_into_files(database_url: str, tmp_path: Path) -> None:
    now = SystemClock().now()
    day = f"{now:%Y-%m-%d}"
    async with await connect(database_url, "test") as conn:
        await send(conn, database_url, now, ["SM1", "SM2", "SM3"])
    code, said = await run_ese(database_url, tmp_path, "reports", "daily", day, "--format", "json")
    assert code == 0, said
    told = json.loads(said)
    assert (told["date"], told["summary"]["total_messages_sent"], told["is_so_far"]) == (day, 3, True)
    file = tmp_path / "report.pdf"
    code, said = await run_ese(
        database_url, tmp_path, "reports", "daily", day, "--format", "pdf", "--out", str(file)
    )
    assert code == 0, said
    assert file.read_bytes().startswith(b"%PDF")
    code, said = await run_ese(database_url, tmp_path, "reports", "weekly", day)
    assert code == 0, said
    assert said.startswith("# Weekly report, ")
    assert "3 messages were sent: 3 arrived (100.00 %), 0 failed." in said
    tomorrow = f"{now + timedelta(days=2):%Y-%m-%d}"
    code, said = await run_ese(database_url, tmp_path, "reports", "daily", tomorrow)
    assert code == 1
    assert "is in the future" in said
