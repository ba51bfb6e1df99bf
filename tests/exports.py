"""Many messages at once, and exports made as a worker makes them."""

from datetime import datetime
from typing import Any

from event_stream_engine.access.roles import Role
from event_stream_engine.audit.entries import Actor
from event_stream_engine.exports import jobs
from event_stream_engine.exports.jobs import Export
from event_stream_engine.exports.making import make
from event_stream_engine.exports.orders import Order
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.workbench.readers import Readers, find_database
from tests.engine import LIVE

SOMEBODY = Actor("operator:11111111-1111-1111-1111-111111111111")
ROOM_BYTES = 1024**3


async def add_messages(conn: Connection, count: int, until: datetime, *, first: int = 0) -> None:
    """Add external messages, one for each second before an instant; every third has arrived, every tenth has failed."""
    await conn.execute(
        """
        INSERT INTO messages (id, recipient_phone, channel, sender, country, provider_sid, error_code, first_seen_at, first_status, last_status,
            last_seen_at, early_status, sent_at, delivered_at, failed_at, failed_status)
        SELECT time_ordered_uuid(at, 'SM' || n), '+1415' || 2000000 + n, CASE n %% 5 WHEN 0 THEN 'whatsapp' ELSE 'sms' END, '+14155238886', 'US',
            'SM' || md5(n::text), CASE n %% 10 WHEN 1 THEN 30005 END, at, 2, 4, at, 2, at, CASE n %% 3 WHEN 0 THEN at + interval '2.5 seconds' END,
            CASE n %% 10 WHEN 1 THEN at END, CASE n %% 10 WHEN 1 THEN 7 END
        FROM (SELECT n, %(until)s - (n - %(first)s) * interval '1 second' AS at FROM generate_series(%(first)s::int, %(last)s::int) AS n) AS made
        """,
        {"until": until, "first": first, "last": first + count - 1},
    )
    await conn.execute("ANALYZE messages")


async def ask(url: str, order: Order, clock: Clock, role: Role = Role.operator) -> Export:
    async with await connect(url, "test") as conn, transaction(conn):
        return await jobs.ask(conn, SOMEBODY, role, order, clock.now(), limit_bytes=ROOM_BYTES)


async def make_next(url: str, clock: Clock, limit_bytes: int = ROOM_BYTES) -> Export:
    """Claim the next export and make it."""
    async with await connect(url, "test") as reading, await connect(url, "test") as storing:
        claimed = await jobs.claim_next(storing, clock.now())
        assert claimed is not None
        readers = Readers(url, find_database(url), LIVE.secret_key)
        await make(reading, storing, readers, claimed, clock, limit_bytes=limit_bytes)
        return await jobs.load_export(storing, claimed.id)


async def load_stored(conn: Connection, export: Export) -> bytes:
    """Return the parts of a file as they are stored, one behind the other."""
    found: list[tuple[Any, ...]] = await (
        await conn.execute(
            "SELECT bytes FROM export_parts WHERE export_id = %s ORDER BY number", (export.id,)
        )
    ).fetchall()
    return b"".join(row[0] for row in found)
