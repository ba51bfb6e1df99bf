"""What a batch of the log does to messages, inbound messages and consent.

The batch lies in `log_batch` (stream/log.py). Set-based from end to end: the number of statements does not depend on
the number of events. Changes are left in temporary tables for `analytics/rollups.py`, in the same transaction.
"""

from dataclasses import dataclass

from event_stream_engine.audience import consent
from event_stream_engine.campaigns import replies
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.messaging import deliveries
from event_stream_engine.stream import dead_letters
from event_stream_engine.stream.log import Place

SQL = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Live:
    """What happens now and not in a recount: people are answered, and what they decide is audited under this key."""

    secret_key: str
    clock: Clock


async def prepare_connection(conn: Connection) -> None:
    """Make the connection's working tables; once per connection."""
    await SQL.create_faults.execute(conn)
    await deliveries.prepare_connection(conn)
    await deliveries.prepare_queueing(conn)
    await replies.prepare_connection(conn)
    await consent.prepare_connection(conn)


async def apply_batch(conn: Connection, live: Live | None) -> None:
    """Project the batch: faulty events become dead letters, the rest is merged into the tables.

    Without `live` it is history: nobody is answered and nothing is audited once more.
    """
    if await SQL.find_faults.execute(conn):
        await dead_letters.bury_faulty_events(conn)
    if await SQL.extract_receipts.execute(conn) + await SQL.extract_outcomes.execute(conn):
        await deliveries.merge_receipts(conn)
    if await SQL.has_audience_changes.value(conn):
        await SQL.extract_user_changes.execute(conn)
        await SQL.extract_consent_changes.execute(conn)
    has_inbound = await SQL.extract_inbound.execute(conn) > 0
    if not await deliveries.store_inbound(conn, has_inbound=has_inbound):
        return
    if has_inbound:
        await consent.record_words(conn, live.secret_key if live else None)
    await deliveries.classify_inbound(conn)
    if has_inbound and live:
        await replies.queue_replies(conn, live.clock.now())


async def take_back_waiting(conn: Connection, place: Place) -> None:
    """Leave what waits in the log about users as taken back: the tables have it already, the roll-ups not yet."""
    await SQL.take_back_user_changes.execute(conn, {"xid": place.xid, "id": place.id})
    await SQL.take_back_consent_changes.execute(conn, {"xid": place.xid, "id": place.id})


async def note_all(conn: Connection) -> None:
    """Leave the whole of the projected tables as changes, as if they had just come about."""
    await deliveries.note_all(conn)
    await consent.note_all(conn)
