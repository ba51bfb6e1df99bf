"""The chain: committed entries are sealed in batches, each with the hash of the one before it.

What is in a batch is what lies between its place and the one before in (xid, id) order. That is the order of commits,
read only below the oldest running transaction, so that no row is ever skipped; ids alone are not in that order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict

SQL = load_queries(__package__)
BATCH_ROWS = 5_000
HASH_BYTES = 32
BEFORE_THE_FIRST = bytes(HASH_BYTES)
FIRST_ID, LAST_ID = -(2**63), 2**63 - 1
MOST_COUNTED = 100_000


@dataclass(frozen=True, slots=True)
class Head:
    """The newest batch. `floor_id`: rows up to this id were ordered by another cluster, and all are sealed."""

    number: int
    hash: bytes
    sealed_at: datetime
    until_xid: str
    until_id: int
    floor_id: int
    is_foreign: bool


@dataclass(frozen=True, slots=True)
class Sealed:
    number: int
    hash: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class RowHash:
    xid: int
    id: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """How far the trail is sealed. `unsealed` is counted up to MOST_COUNTED; no head: nothing was ever sealed."""

    head: Head | None
    unsealed: int
    oldest_unsealed_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Unsealed:
    unsealed: int
    oldest_unsealed_at: datetime | None


async def try_hold_seal(conn: Connection) -> bool:
    """Become the only one that seals, as long as this connection lives; False when another is."""
    return bool(await SQL.try_hold_seal.value(conn))


async def find_head(conn: Connection) -> Head | None:
    return await SQL.find_head.maybe(conn, Head)


async def seal_batch(conn: Connection, now: datetime, most: int = BATCH_ROWS) -> Sealed | None:
    """Seal the next rows in the caller's transaction; None when there are none.

    Errors: Conflict when the rows were ordered by another cluster and the order was not begun anew.
    """
    head = await find_head(conn)
    if head is not None and head.is_foreign:
        raise Conflict(
            "The audit trail comes from another database cluster. Run docs/operations/after-restore.sql."
        )
    rows = await list_hashes(
        conn,
        after=(head.until_xid, head.until_id) if head else ("0", FIRST_ID),
        until=(str(await SQL.load_horizon.value(conn)), FIRST_ID),
        ids=(head.floor_id if head else FIRST_ID, LAST_ID),
        most=most,
    )
    if not rows:
        return None
    number = head.number + 1 if head else 1
    row_hashes = b"".join(row.hash for row in rows)
    sealed = Sealed(
        number, hash_batch(head.hash if head else BEFORE_THE_FIRST, number, row_hashes), len(rows)
    )
    await SQL.add_batch.execute(
        conn,
        {
            "number": number,
            "until_xid": str(rows[-1].xid),
            "until_id": rows[-1].id,
            "rows": len(rows),
            "row_hashes": row_hashes,
            "hash": sealed.hash,
            "now": now,
        },
    )
    return sealed


async def list_hashes(
    conn: Connection,
    *,
    after: tuple[str, int],
    until: tuple[str, int],
    ids: tuple[int, int],
    most: int,
) -> Sequence[RowHash]:
    """Hash the rows after one place (xid, id) up to another, with ids above the first and not above the second."""
    return await SQL.list_hashes.many(
        conn,
        RowHash,
        {
            "after_xid": after[0],
            "after_id": after[1],
            "until_xid": until[0],
            "until_id": until[1],
            "above_id": ids[0],
            "to_id": ids[1],
            "most": most,
        },
    )


def hash_batch(before: bytes, number: int, row_hashes: bytes) -> bytes:
    return hashlib.sha256(before + number.to_bytes(8, "big") + row_hashes).digest()


async def load_chain_status(conn: Connection) -> ChainStatus:
    """Return the head of the chain and what is not yet sealed."""
    head = await find_head(conn)
    values = {
        "xid": head.until_xid if head else "0",
        "id": head.until_id if head else FIRST_ID,
        "floor_id": head.floor_id if head else FIRST_ID,
        "most": MOST_COUNTED,
    }
    found = await SQL.count_unsealed.one(conn, _Unsealed, values)
    return ChainStatus(head, found.unsealed, found.oldest_unsealed_at)
