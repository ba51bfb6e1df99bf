"""The webhook pipeline measured: received, stored, applied."""

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


async def add_batch(conn: Connection) -> None:
    """Add the ages of the batch's live events, read from the temporary table `log_batch`."""
    await SQL.add_batch.execute(conn)
