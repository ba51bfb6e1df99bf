"""Messages as their receipts tell them, and inbound messages with what they mean.

Works on the batch that the projection put into the temporary tables `receipts` (with the sender's outcomes among them)
and `inbound_batch`, and leaves what it
did in `message_changes` and `inbound_changes`, rows as they were with sign -1 and as they are with sign +1, from which
the roll-ups are kept. Owns tables `messages` and `inbound_events`.
"""

from datetime import datetime

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


async def prepare_connection(conn: Connection) -> None:
    """Make the connection's working tables; once per connection."""
    for query in (
        SQL.create_receipts,
        SQL.create_message_changes,
        SQL.create_inbound_batch,
        SQL.create_inbound_touched,
        SQL.create_inbound_changes,
        SQL.create_inbound_new,
    ):
        await query.execute(conn)


async def prepare_queueing(conn: Connection) -> None:
    """Make the working table `new_messages`; once per connection."""
    await SQL.create_new_messages.execute(conn)


async def queue_messages(conn: Connection) -> int:
    """Make the messages staged in `new_messages`, and return how many were not there yet."""
    return await SQL.queue_messages.execute(conn)


async def merge_receipts(conn: Connection) -> None:
    """Bring messages up to date with the receipts and outcomes of the batch; unknown SIDs become external messages."""
    if await SQL.has_own_receipts.value(conn):
        await SQL.forget_unknown_ids.execute(conn)
        await SQL.absorb_external.execute(conn)
        await SQL.name_own_receipts.execute(conn)
    await SQL.merge_receipts.execute(conn)


async def store_inbound(conn: Connection, *, has_inbound: bool) -> bool:
    """Store new inbound messages and find those that must be classified anew.

    Returns whether there are any; if so, `classify_inbound` must follow once consent is up to date.
    """
    touched = await SQL.touch_inbound.execute(conn)
    if not (touched or has_inbound):
        return False
    await SQL.note_inbound.execute(conn, {"sign": -1})
    if has_inbound:
        await SQL.insert_inbound.execute(conn)
    return True


async def classify_inbound(conn: Connection) -> None:
    """Set what follows from other rows of the inbound messages that `store_inbound` found, and what answers our messages.

    Leaves the new live ones in `inbound_new`.
    """
    await SQL.classify_inbound.execute(conn)
    await SQL.mark_replies.execute(conn)
    await SQL.note_inbound.execute(conn, {"sign": 1})
    await SQL.list_new_inbound.execute(conn)


async def note_between(conn: Connection, since: datetime, until: datetime) -> None:
    """Leave the messages of a window as a +1 each, from which its buckets can be counted anew."""
    await SQL.note_messages_between.execute(conn, {"since": since, "until": until})


async def note_all(conn: Connection) -> None:
    """Leave every message and inbound message as a +1, from which roll-ups can be counted anew."""
    await SQL.note_all_messages.execute(conn)
    await SQL.note_all_inbound.execute(conn)
