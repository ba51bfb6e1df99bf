"""`ese export` as a process on a real database."""

import csv
from pathlib import Path

import pyarrow.parquet as pq

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from tests.commands import run_ese
from tests.exports import add_messages


async def test_rows_are_written_into_a_file_and_that_is_recorded(database_url: str, tmp_path: Path) -> None:
    async with await connect(database_url, "test") as conn:
        await add_messages(conn, 50, SystemClock().now())
    export = ("export", "messages", "--out")
    code, said = await run_ese(database_url, tmp_path, *export, str(tmp_path / "all.parquet"))
    assert code == 0, said
    assert "50 rows" in said
    assert pq.read_table(tmp_path / "all.parquet").num_rows == 50
    file = tmp_path / "some.csv"
    code, said = await run_ese(
        database_url, tmp_path, *export, str(file), "--channel", "whatsapp", "--masked"
    )
    assert code == 0, said
    rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
    assert [row["recipient_phone"][:10] for row in rows] == ["+1 415 •••"] * 10
    code, said = await run_ese(database_url, tmp_path, *export, str(file))
    assert code == 1
    assert "is there already" in " ".join(said.split())
    code, said = await run_ese(database_url, tmp_path, *export, str(tmp_path / "x.csv"), "--intent", "stop")
    assert code == 1
    assert "--intent" in said
    assert sorted(path.name for path in tmp_path.glob("*.part")) == []
    async with await connect(database_url, "test") as conn:
        told = await (
            await conn.execute(
                "SELECT actor, after FROM audit_log WHERE action = 'export.written' ORDER BY id"
            )
        ).fetchall()
    assert [(actor, after["rows"], after["shows_numbers"]) for actor, after in told] == [
        ("engine:cli", 50, True),
        ("engine:cli", 10, False),
    ]
