"""The webhook pipeline measured: received, stored, applied."""

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


async def add_batch(conn: Connection, *, is_buried: bool = False) -> None:
    """Add the ages of the batch's live webhooks, read from the temporary tables `log_batch` and `faults`.

    Of those that became dead letters only the number; `is_buried`: that is all of them.
    """
    await SQL.add_batch.execute(conn, {"is_buried": is_buried})
