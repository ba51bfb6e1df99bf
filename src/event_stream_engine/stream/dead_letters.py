"""Events that could not be projected, kept with their reason until they can."""

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


async def bury_faulty_events(conn: Connection) -> None:
    """Turn the rows of the temporary table `faults` into dead letters."""
    await SQL.bury_faulty_events.execute(conn)


async def bury_batch(conn: Connection, reason: str) -> None:
    """Turn the batch in `log_batch` into dead letters for one reason."""
    await SQL.bury_batch.execute(conn, {"reason": reason})
