"""What pages, API and imports do to people, told to the log as differences.

They write `users` and `consent_ledger` themselves; the figures are kept by the projector alone, so that nobody waits
for its rows.
"""

from datetime import datetime
from uuid import uuid4

import orjson

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.stream.log import Event, append_own_events

SQL = load_queries(__package__)


async def prepare_connection(conn: Connection) -> None:
    """Make the connection's tables of differences; once per connection."""
    await SQL.create_consent_changes.execute(conn)
    await SQL.create_user_changes.execute(conn)


async def publish(conn: Connection, at: datetime) -> None:
    """Write what lies in `user_changes` and `consent_changes` as one event into the log, and empty them."""
    payload = await SQL.sum_changes.value(conn)
    if payload is not None:
        await append_own_events(
            conn, [Event(at, "audience.changed", uuid4(), orjson.dumps(payload).decode())]
        )
    await SQL.empty_consent_changes.execute(conn)
    await SQL.empty_user_changes.execute(conn)
