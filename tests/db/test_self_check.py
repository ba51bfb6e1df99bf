"""The self-check finds a roll-up row that somebody edited, puts it right and writes that down."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import pytest

from event_stream_engine.analytics import rollups
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest.callbacks import RECEIPT, make_event
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.stream import log
from event_stream_engine.worker.projector import open_projector, run_once
from event_stream_engine.worker.recount import recount
from event_stream_engine.worker.verifier import open_verifier, verify_once
from tests.engine import LIVE

AT = datetime(2026, 1, 30, 12, 0, 30, tzinfo=UTC)
EDITS = {
    "a minute's messages": "UPDATE message_rollups SET sent = sent + 1 WHERE grain = 'minute' AND bucket = '2026-01-30 17:00Z'",
    "a quarter-hour's sum": "UPDATE message_rollups SET replied = replied + 1 WHERE grain = 'quarter' AND slice = 1 AND bucket = '2026-01-30 17:00Z'",
    "a quarter-hour that days are made of": "UPDATE message_rollups SET now_read = now_read + 1 WHERE grain = 'quarter' AND slice = 15 AND bucket = '2026-01-30 17:00Z'",
    "a day's country": "UPDATE message_rollups SET country = 'GB' WHERE grain = 'day' AND slice = 4",
    "a month that is gone": "DELETE FROM message_rollups WHERE grain = 'month'",
    "an error code": "UPDATE failure_rollups SET error_code = 30007 WHERE grain = 'day' AND slice = 15",
    "the slowest of a month": "UPDATE duration_rollups SET slowest = slowest + 1 WHERE grain = 'month' AND slice = 0",
    "a sketch": "UPDATE duration_rollups SET sketch = sketch_add(sketch, sketch_of(5000000)) WHERE grain = 'quarter' AND slice = 15 AND bucket = '2026-01-30 17:00Z'",
}


async def fill(url: str) -> None:
    """Project messages of three days, and settle these days and their month."""
    events = []
    for number in range(12):
        at = AT + timedelta(hours=5 * number)
        form = {"MessageSid": f"SM{number}", "To": f"+1415555{number:04}", "From": "+14155238886"}
        events.append(make_event(RECEIPT, form | {"MessageStatus": "sent"}, at, None))
        end = (
            {"MessageStatus": "delivered"}
            if number % 3
            else {"MessageStatus": "undelivered", "ErrorCode": "30003"}
        )
        events.append(make_event(RECEIPT, form | end, at + timedelta(seconds=7 + number), None))
    async with await connect(url, "test") as conn, await open_projector(url) as projector:
        await log.append_events(conn, events, source=uuid4(), counted_at=AT)
        while await log.has_waiting(conn):
            await run_once(projector, LIVE)
        is_settled = True
        while is_settled:
            async with transaction(projector):
                is_settled = await rollups.settle_day(projector, AT + timedelta(days=40))


async def verify_much(conn: Connection, clock: SettableClock) -> set[str]:
    """Check random buckets until nearly all of them had their turn; return the grains of those that were wrong."""
    chance = Random(1)
    found = [await verify_once(conn, clock, chance) for _ in range(250)]
    return {bucket.grain for repaired in found for bucket in repaired}


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edited_row_is_found_put_right_and_audited(
    database_url: str, clock: SettableClock, edit: str
) -> None:
    await fill(database_url)
    async with await open_verifier(database_url) as conn:
        await conn.execute(EDITS[edit])
        assert len(await verify_much(conn, clock)) == 1
        assert await verify_much(conn, clock) == set()
        audited = await conn.execute("SELECT DISTINCT action, actor FROM audit_log")
        assert await audited.fetchall() == [("rollups.repaired", "engine:self-check")]
    assert await recount(database_url, repair=False, on_progress=lambda _: None) == []


async def test_nothing_is_found_where_nothing_is_wrong(database_url: str, clock: SettableClock) -> None:
    async with await open_verifier(database_url) as conn:
        assert await verify_much(conn, clock) == set()  # without messages
        await fill(database_url)
        assert await verify_much(conn, clock) == set()
        row = await (await conn.execute("SELECT count(*) FROM audit_log")).fetchone()
        assert row == (0,)
