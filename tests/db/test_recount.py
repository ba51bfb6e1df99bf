"""A figure that somebody changed is found, named and put right."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from event_stream_engine.infra.database import connect
from event_stream_engine.ingest.callbacks import INBOUND, RECEIPT, make_event
from event_stream_engine.kernel.errors import Conflict
from event_stream_engine.stream import log
from event_stream_engine.worker.projector import open_projector, run_once
from event_stream_engine.worker.recount import READER, Difference, recount
from tests.engine import LIVE

AT = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
EDITS = {
    "message_rollups": "UPDATE message_rollups SET messages = messages + 1 WHERE grain = 'minute'",
    "failure_rollups": "UPDATE failure_rollups SET failed = failed + 1 WHERE grain = 'quarter' AND slice = 0",
    "duration_rollups": "UPDATE duration_rollups SET fastest = 1 WHERE grain = 'quarter' AND slice = 15",
    "inbound_rollups": "DELETE FROM inbound_rollups WHERE grain = 'minute'",
    "user_rollups": "UPDATE user_rollups SET users = 7",
    "messages": "UPDATE messages SET delivered_at = NULL",
    "users": "DELETE FROM users",
}


async def fill(url: str) -> None:
    receipt = {"MessageSid": "SM1", "To": "+14155551234", "From": "+14155238886"}
    events = [
        make_event(RECEIPT, receipt | {"MessageStatus": "sent"}, AT, None),
        make_event(RECEIPT, receipt | {"MessageStatus": "delivered"}, AT.replace(second=50), None),
        make_event(
            RECEIPT,
            receipt | {"MessageSid": "SM3", "MessageStatus": "failed", "ErrorCode": "30003"},
            AT,
            None,
        ),
        make_event(INBOUND, {"MessageSid": "SM2", "From": "+14155551234", "Body": "STOP"}, AT, None),
    ]
    async with await connect(url, "test") as conn, await open_projector(url) as projector:
        await log.append_events(conn, events, source=uuid4(), counted_at=AT)
        while await log.has_waiting(conn):
            await run_once(projector, LIVE)


async def count(url: str, *, repair: bool) -> list[Difference]:
    return await recount(url, repair=repair, on_progress=lambda _: None)


@pytest.mark.parametrize("table", EDITS)
async def test_an_edited_row_is_found_and_put_right(database_url: str, table: str) -> None:
    await fill(database_url)
    assert await count(database_url, repair=False) == []
    async with await connect(database_url, "test") as conn:
        await conn.execute(EDITS[table])
    assert table in {difference.table for difference in await count(database_url, repair=False)}
    await count(database_url, repair=True)
    assert await count(database_url, repair=False) == []


async def test_a_second_recount_at_the_same_time_is_refused(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        assert await log.try_hold_reader(conn, READER)
        with pytest.raises(Conflict, match="ese rebuild"):
            await count(database_url, repair=False)
    assert await count(database_url, repair=False) == []
