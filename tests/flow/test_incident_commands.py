"""Incidents from the command line."""

from datetime import timedelta
from pathlib import Path

from event_stream_engine.incidents import actions
from event_stream_engine.incidents.actions import Opening
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from tests.commands import run_ese
from tests.incidents import ADMIN


async def test_an_incident_is_listed_taken_in_hand_and_ended(database_url: str, tmp_path: Path) -> None:
    now = SystemClock().now()
    async with await connect(database_url, "test") as conn, transaction(conn):
        opening = Opening("Nothing arrives", "critical")
        await actions.open_incident(conn, ADMIN, opening, now - timedelta(hours=1))
    code, said = await run_ese(database_url, tmp_path, "incidents", "list")
    assert (code, "INC-0001" in said, "missed" in said) == (1, True, True)
    code, said = await run_ese(database_url, tmp_path, "incidents", "ack", "inc-1", "--note", "Mine.")
    assert (code, said.strip()) == (0, "INC-0001 is acknowledged: Nothing arrives.")
    code, said = await run_ese(database_url, tmp_path, "incidents", "resolve", "1")
    assert (code, said.strip()) == (0, "INC-0001 is resolved: Nothing arrives.")
