"""People's queries in tests: the logins of a database, and what runs a query by them."""

from event_stream_engine.infra.database import connect
from event_stream_engine.workbench.readers import Readers, find_database, make_readers
from tests.engine import LIVE


async def prepare_readers(url: str) -> Readers:
    """Make the logins of a test's database, and return what runs queries by them."""
    async with await connect(url, "test") as conn:
        assert await make_readers(conn, LIVE.secret_key) == []
    return Readers(url, find_database(url), LIVE.secret_key)
