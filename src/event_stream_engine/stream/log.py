"""The append-only event log: append, read in commit order, keep the reader's place.

The batch that is read stays in the database, in the temporary table `log_batch`, where the projection's SQL finds it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.errors import CheckViolation

from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict

SQL = load_queries(__package__)
PROJECTOR = "projector"
INTAKE_MINUTES_KEPT = timedelta(hours=25)  # a scrape reads them all; windows of a day need no more
_NEWEST_XID = str(2**64 - 1)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, as it is to be stored. `payload` is JSON text, of a webhook its form."""

    received_at: datetime
    event_type: str
    dedupe_key: UUID
    payload: str


@dataclass(frozen=True, slots=True)
class Appended:
    accepted: int
    duplicate: int


@dataclass(frozen=True, slots=True)
class IntakeTotal:
    """Webhooks of one type with one outcome: accepted, duplicate, refused, `rejected: ` and the reason."""

    event_type: str
    outcome: str
    events: int


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the log: everything up to and including (xid, id) has been read."""

    xid: str
    id: int
    events: int
    moved_at: datetime


async def append_events(
    conn: Connection, events: Sequence[Event], *, source: UUID, counted_at: datetime, is_live: bool = True
) -> Appended:
    """Store the events that are new and count all of them, in one statement."""
    parameters = _as_columns(events) | {"is_live": is_live, "source": source, "counted_at": counted_at}
    try:
        return await SQL.append_events.one(conn, Appended, parameters)
    except CheckViolation:  # a day without partition: an import, or a worker that was away for a week
        async with transaction(conn):
            await _make_missing_partitions(conn, events)
        return await SQL.append_events.one(conn, Appended, parameters)


async def append_own_events(conn: Connection, events: Sequence[Event]) -> None:
    """Store events the engine makes itself; those that are there already are left alone."""
    try:
        async with transaction(
            conn
        ):  # a savepoint in the caller's transaction, which must outlive a missing day
            await SQL.append_own_events.execute(conn, _as_columns(events))
    except CheckViolation:
        async with transaction(conn):
            await _make_missing_partitions(conn, events)
        await SQL.append_own_events.execute(conn, _as_columns(events))


def _as_columns(events: Sequence[Event]) -> dict[str, Any]:
    return {
        "received_at": [event.received_at for event in events],
        "event_type": [event.event_type for event in events],
        "dedupe_key": [event.dedupe_key for event in events],
        "payload": [event.payload for event in events],
    }


async def ensure_partitions(conn: Connection, days: Iterable[date]) -> None:
    await SQL.ensure_event_partitions.execute(conn, {"days": sorted(days)})


async def _make_missing_partitions(conn: Connection, events: Sequence[Event]) -> None:
    """Make the partitions that an insert did not find; the lock is held until the outermost transaction ends."""
    await SQL.await_partition_makers.execute(conn)
    await ensure_partitions(conn, {event.received_at.date() for event in events})


async def ensure_coming_partitions(conn: Connection, today: date) -> None:
    """Make the partitions of yesterday to a week from today."""
    await ensure_partitions(conn, [today + timedelta(days=days) for days in range(-1, 8)])


async def add_intake_counts(
    conn: Connection, counts: Iterable[tuple[datetime, str, str, int]], *, source: UUID
) -> None:
    """Add outcomes that stored nothing. Shape: (minute, event type, outcome, events)."""
    columns = list(zip(*counts, strict=True))
    names = ("minute", "event_type", "outcome", "events")
    await SQL.add_intake_counts.execute(
        conn, {"source": source} | {name: list(column) for name, column in zip(names, columns, strict=True)}
    )


async def add_up_intake(conn: Connection, now: datetime) -> None:
    """Keep the minutes of INTAKE_MINUTES_KEPT, and of those before only their sums."""
    await SQL.add_up_intake.execute(conn, {"before": now - INTAKE_MINUTES_KEPT})


async def list_intake_totals(conn: Connection) -> list[IntakeTotal]:
    """Return how many webhooks ever came, by what became of them."""
    return await SQL.list_intake_totals.many(conn, IntakeTotal)


async def prepare_reader(conn: Connection) -> None:
    """Make the connection's working table; once per connection."""
    await SQL.create_log_batch.execute(conn)


async def lock_place(conn: Connection, reader: str = PROJECTOR) -> Place | None:
    """Return the reader's place, held until the transaction ends; None when another process holds it."""
    is_mine = await SQL.try_reader_lock.value(conn, {"reader": reader})
    return await load_place(conn, reader) if is_mine else None


async def load_place(conn: Connection, reader: str = PROJECTOR) -> Place:
    return await SQL.load_cursor.one(conn, Place, {"reader": reader})


async def read_batch(conn: Connection, place: Place, most: int, last: Place | None = None) -> int:
    """Fill `log_batch` with the next events after a place, no further than `last`, and return how many there are."""
    last_xid, last_id = (last.xid, last.id) if last else (_NEWEST_XID, 0)
    return await SQL.read_log.execute(
        conn, {"xid": place.xid, "id": place.id, "last_xid": last_xid, "last_id": last_id, "most": most}
    )


async def move_place(conn: Connection, place: Place, reader: str = PROJECTOR) -> None:
    """Move the reader from the place that was read from to behind the batch.

    Errors: Conflict when another process has moved it meanwhile; the batch must then be rolled back.
    """
    if await SQL.move_cursor.maybe(conn, Place, {"reader": reader, "xid": place.xid, "id": place.id}) is None:
        raise Conflict(f"Reader {reader} of the log was moved by another process.")


async def has_waiting(conn: Connection, reader: str = PROJECTOR) -> bool:
    """Tell whether there are committed events that the reader has not yet read."""
    return bool(await SQL.has_waiting.value(conn, {"reader": reader}))


async def has_webhooks(conn: Connection) -> bool:
    """Tell whether anything has ever been logged and is still there."""
    return bool(await SQL.has_webhooks.value(conn))


async def try_hold_reader(conn: Connection, reader: str) -> bool:
    """Become the only one that reads as this reader, for as long as the connection lasts."""
    return bool(await SQL.try_hold_reader.value(conn, {"reader": reader}))


async def begin_reading(conn: Connection, reader: str) -> None:
    """Put a reader at the beginning of the log."""
    await SQL.begin_reading.execute(conn, {"reader": reader})


async def end_reading(conn: Connection, reader: str) -> None:
    """Forget a reader."""
    await SQL.end_reading.execute(conn, {"reader": reader})
