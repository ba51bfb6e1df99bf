"""Days of messages for tests of reports, as the log has them, and the reporter on them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.calendar import refresh_calendar
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest.callbacks import make_event
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.messaging import outcomes
from event_stream_engine.stream.log import Event, append_events, append_own_events
from event_stream_engine.worker.reporter import report_once
from tests.engine import project_all
from tests.hand_overs import list_messages, start

PHONE, SENDER = "+14155551234", "+14155238886"


@asynccontextmanager
async def opened(url: str, zone: ZoneInfo) -> AsyncIterator[Connection]:
    """Open a database whose days are those of a zone."""
    async with await connect(url, "test") as conn:
        async with transaction(conn):
            await refresh_calendar(conn, zone)
        yield conn


def tell(at: datetime, sid: str, status: str, **more: str) -> Event:
    form = {"MessageSid": sid, "MessageStatus": status, "To": PHONE, "From": SENDER}
    return make_event("receipt", form | more, at, None)


async def happen(conn: Connection, url: str, events: Sequence[Event]) -> None:
    await append_events(conn, events, source=uuid4(), counted_at=events[0].received_at, is_live=False)
    await project_all(url)


async def send(
    conn: Connection, url: str, at: datetime, sids: Sequence[str], status: str = "delivered"
) -> None:
    """Let messages of no campaign have been sent at an instant, and have come to a status ten seconds later."""
    told = [(at, sid, "sent") for sid in sids] + [(at + timedelta(seconds=10), sid, status) for sid in sids]
    await happen(conn, url, [tell(*one) for one in told])


async def send_campaign(
    conn: Connection, url: str, at: datetime, *, name: str, people: int, new: bool, failed: int = 0, seconds: float = 10
) -> UUID:  # fmt: skip
    """Let a campaign have been sent, some messages of it failed with 30003, the others delivered after so many seconds."""
    campaign_id = await start(conn, people if new else 0, at, name=name)
    messages = await list_messages(conn, campaign_id)
    sids = [f"SM{one.hex}" for one in messages]
    async with transaction(conn):
        await append_own_events(
            conn, [outcomes.accepted(one, at, sid, "queued") for one, sid in zip(messages, sids, strict=True)]
        )
    later = at + timedelta(seconds=seconds)
    told = [tell(later, sid, "undelivered", ErrorCode="30003") for sid in sids[:failed]]
    told += [tell(later, sid, "delivered") for sid in sids[failed:]]
    await happen(conn, url, told)
    return campaign_id


async def make_all(conn: Connection, zone: ZoneInfo, clock: Clock) -> int:
    """Let a reporter do all that is due, and return how many reports it counted."""
    counted = 0
    while await report_once(conn, zone, clock):
        counted += 1
    return counted
