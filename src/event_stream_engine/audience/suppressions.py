"""Numbers that cannot be reached: not written to on the channel that said so, until the person writes there.

As with the erased, only keyed hashes are kept.
"""

from collections.abc import Sequence
from datetime import datetime

from event_stream_engine.audit.entries import Actor, Entry, hash_person, name_hash, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


async def suppress_unreachable(
    conn: Connection,
    actor: Actor,
    secret_key: str,
    phones: Sequence[str],
    channel: str,
    *,
    source: str,
    at: datetime,
) -> int:
    """Write no more to these numbers on a channel and return how many they are; `source` undoes it."""
    hashes = [hash_person(secret_key, phone) for phone in phones]
    found: list[bytes] = await SQL.suppress_unreachable.value(
        conn, {"hashes": hashes, "channel": channel, "source": source, "at": at}
    )
    after = {"channel": channel, "source": source}
    await record(conn, actor, *(Entry(at, "user.suppressed", name_hash(one), after=after) for one in found))
    return len(found)


async def release(conn: Connection, actor: Actor, *, source: str, at: datetime) -> int:
    """Let the numbers that one source suppressed be written to again, and return how many they are."""
    found: list[bytes] = await SQL.release_suppressed.value(conn, {"source": source})
    before = {"source": source}
    await record(conn, actor, *(Entry(at, "user.released", name_hash(one), before=before) for one in found))
    return len(found)
