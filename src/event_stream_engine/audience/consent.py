"""Consent: an append-only ledger of what people said, and the state that follows from it.

Works on the batch in the temporary table `inbound_batch` and leaves what it did in `consent_changes` and
`user_changes`, from which the roll-ups are kept.
"""

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


async def prepare_connection(conn: Connection) -> None:
    """Make the connection's working tables; once per connection."""
    for query in (SQL.create_consent_changes, SQL.create_user_changes, SQL.create_consent_speakers):
        await query.execute(conn)


async def record_words(conn: Connection, secret_key: str | None) -> None:
    """Enter the batch's STOP, START and YES into the ledger and bring the speakers' states up to date.

    Without `secret_key` it is history that is recounted.
    """
    if not await SQL.find_speakers.execute(conn):
        return
    await SQL.note_consent.execute(conn, {"sign": -1})
    await SQL.note_users.execute(conn, {"sign": -1})
    await SQL.record_words.execute(conn)
    await SQL.derive_states.execute(conn)
    await SQL.note_consent.execute(conn, {"sign": 1})
    await SQL.note_users.execute(conn, {"sign": 1})


async def derive_all(conn: Connection) -> None:
    """Bring everybody's state up to date with the ledger."""
    await SQL.find_all_speakers.execute(conn)
    await SQL.derive_states.execute(conn)


async def note_all(conn: Connection) -> None:
    """Leave every transition and every user as a +1, from which roll-ups can be counted anew."""
    await SQL.note_all_consent.execute(conn)
    await SQL.note_all_users.execute(conn)
