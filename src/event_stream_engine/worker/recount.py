"""Recounting: the whole log projected once more beside the live tables, and compared with them.

The second set of tables lies in the schema `recount`, first in this connection's search path, so that the same SQL
fills it; but the roll-ups are counted from the final rows, where the live ones were kept by differences. What is not in
the log (that a message was queued, profiles, consent given by API, page or import) is taken over as it is. Live work
goes on meanwhile; only for the last stretch and the comparison the projector waits, and whoever changes users or queues
messages.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from psycopg import sql

from event_stream_engine.analytics import demographics, rollups, senders
from event_stream_engine.audience import consent
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.ingest import projection
from event_stream_engine.kernel.errors import Conflict
from event_stream_engine.stream import dead_letters, log
from event_stream_engine.worker.projector import open_projector, run_halving

BATCH_EVENTS = 20_000
SHORT_ROUND_EVENTS = 20_000  # what is left after such a round is done while the others wait
READER = "recount"
# Each table with the columns that say when something was done, not what: they differ from run to run.
_TABLES: dict[str, tuple[str, ...]] = {
    "messages": ("id",),  # carries the time of the callback that happened to come first
    "inbound_events": (),
    "consent_ledger": ("recorded_at", "xid"),
    "users": ("updated_at",),
    "message_rollups": (),
    "failure_rollups": (),
    "duration_rollups": (),
    "inbound_rollups": (),
    "inbound_hour_rollups": (),
    "consent_rollups": (),
    "signup_rollups": (),
    "user_rollups": (),
    "attribute_rollups": (),
    "campaign_rollups": (),
}
# What is not in the log, table by table: columns and which rows.
_GIVEN = {
    "messages": (
        "id, campaign_id, recipient_phone, channel, sender, country, queued_at, in_reply_to",
        "queued_at IS NOT NULL",
    ),
    "consent_ledger": (
        "id, phone_e164, occurred_at, recorded_at, action, source, message_sid, evidence, actor",
        "message_sid IS NULL",
    ),
    "users": ("phone_e164, attributes, created_at, country, timezone, updated_at", "true"),
}
_COUNTED = {
    "message_rollups": ("messages",),
    "failure_rollups": ("failed", "retried"),
    "duration_rollups": ("messages",),
    "inbound_rollups": ("messages",),
    "inbound_hour_rollups": ("messages",),
    "consent_rollups": ("transitions",),
    "signup_rollups": ("users",),
    "user_rollups": ("users",),
    "attribute_rollups": ("users",),
    "campaign_rollups": ("messages",),
}
_SCRATCH = ("dead_letters", "sender_sketches")


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows of one table that differ: `missing` and `surplus` in the live table, with one row of each as JSON."""

    table: str
    missing: int
    surplus: int
    example_missing: str | None
    example_surplus: str | None


async def recount(
    url: str, *, repair: bool, on_progress: Callable[[int], None], secret_key: str | None = None
) -> list[Difference]:
    """Project the log anew, compare, and with `repair` put the counted rows in place of the differing ones.

    `on_progress` is told how many events have been recounted so far. Sketches of senders can only be made with the
    secret key. Errors: Conflict when one is running already.
    """
    conn = await open_projector(url)
    async with conn:
        if not await log.try_hold_reader(conn, READER):
            raise Conflict("Another `ese rebuild` is running on this database. Wait for its end.")
        async with transaction(conn):
            await _make_tables(conn)
        await conn.execute("SET search_path = recount, public")
        try:
            done, round_events = 0, SHORT_ROUND_EVENTS
            while round_events >= SHORT_ROUND_EVENTS:
                # The place first: what it has passed was queued before.
                last, round_events = await log.load_place(conn), 0
                await _take_given(conn)
                while count := await _project(conn, last):
                    round_events += count
                    on_progress(done + round_events)
                done += round_events
            async with transaction(conn):
                place = await _hold_projector(conn)
                await conn.execute(
                    "LOCK TABLE public.users, public.consent_ledger, public.messages IN SHARE MODE"
                )
                await _take_given(conn)
                while await _project(conn, place):
                    pass
                await consent.derive_all(conn)
                await projection.note_all(conn)
                await projection.take_back_waiting(conn, place)
                await rollups.add_changes(conn)
                differences = await _compare(conn)
                if secret_key is not None:
                    await senders.count_all(conn, secret_key)
                    differences += await _compare_sketches(conn)
                if repair:
                    for difference in differences:
                        await _repair(conn, difference.table)
        finally:
            await conn.execute("DROP SCHEMA recount CASCADE")
            await log.end_reading(conn, READER)
    return differences


async def recount_attributes(conn: Connection, attributes: Sequence[str]) -> bool:
    """Count users by these attributes, if they are not counted by them yet; in a transaction of its own.

    The projector waits, and whoever changes users.
    """
    if await demographics.find_attributes(conn) == tuple(attributes):
        return False
    place = await _hold_projector(conn)
    await conn.execute("LOCK TABLE users IN SHARE MODE")
    await demographics.choose_attributes(conn, attributes)
    await consent.prepare_connection(conn)
    await consent.note_users(conn)
    await projection.take_back_waiting(conn, place)
    await rollups.add_attribute_counts(conn)
    return True


async def _make_tables(conn: Connection) -> None:
    await conn.execute("DROP SCHEMA IF EXISTS recount CASCADE")
    await conn.execute("CREATE SCHEMA recount")
    for table in (*_TABLES, *_SCRATCH):
        name = sql.Identifier(table)
        await conn.execute(
            sql.SQL("CREATE UNLOGGED TABLE recount.{0} (LIKE public.{0} INCLUDING ALL)").format(name)
        )
    await log.begin_reading(conn, READER)


async def _take_given(conn: Connection) -> None:
    """Take over what is not in the log, as far as it is not there yet."""
    for table, (columns, which) in _GIVEN.items():
        statement = "INSERT INTO recount.{table} ({columns}) SELECT {columns} FROM public.{table} WHERE {which} ON CONFLICT DO NOTHING"
        await conn.execute(statement.format(table=table, columns=columns, which=which))


async def _project(conn: Connection, last: log.Place) -> int:
    """Project the next batch, no further than `last`; what the live projector buries is buried here too."""

    async def project(most: int) -> int:
        return await _read_and(lambda conn: projection.apply_batch(conn, None), conn, most, last)

    async def bury_next(reason: str) -> int:
        return await _read_and(lambda conn: dead_letters.bury_event(conn, reason), conn, 1, last)

    return await run_halving(project, bury_next, BATCH_EVENTS)


async def _read_and(
    apply: Callable[[Connection], Awaitable[object]], conn: Connection, most: int, last: log.Place | None
) -> int:
    async with transaction(conn):
        place = await log.load_place(conn, READER)
        count = await log.read_batch(conn, place, most, last)
        if count:
            await apply(conn)
            await log.move_place(conn, place, READER)
            await _forget_batch(conn)
        return count


async def _forget_batch(conn: Connection) -> None:
    """Empty the working tables, which a surrounding transaction would keep full until its end."""
    await conn.execute(
        "TRUNCATE log_batch, faults, receipts, message_changes, inbound_batch, inbound_touched, inbound_changes, inbound_new,"
        " consent_changes, user_changes, consent_speakers, consent_new"
    )


async def _hold_projector(conn: Connection) -> log.Place:
    """Make the projector wait until the end of the transaction and return its place."""
    while (place := await log.lock_place(conn)) is None:  # noqa: ASYNC110 - another process holds it
        await asyncio.sleep(0.05)
    return place


async def _compare(conn: Connection) -> list[Difference]:
    found = []
    for table in _TABLES:
        one, other = ("recount", "public"), ("public", "recount")
        missing, example_missing = await _subtract(conn, table, *one)
        surplus, example_surplus = await _subtract(conn, table, *other)
        if missing or surplus:
            found.append(Difference(table, missing, surplus, example_missing, example_surplus))
    return found


async def _compare_sketches(conn: Connection) -> list[Difference]:
    """Two sketches of the same people may differ in their bytes."""
    query = "SELECT c.sketch, l.sketch FROM recount.sender_sketches c FULL JOIN public.sender_sketches l USING (grain, channel, starts_on)"
    missing = surplus = 0
    async with conn.cursor() as cursor:
        async for counted, live in cursor.stream(query):
            if counted is None or live is None or not senders.is_same(counted, live):
                missing, surplus = missing + (counted is not None), surplus + (live is not None)
    return [Difference("sender_sketches", missing, surplus, None, None)] if missing or surplus else []


async def _subtract(conn: Connection, table: str, schema: str, without: str) -> tuple[int, str | None]:
    query = sql.SQL("SELECT count(*), min(r::text) FROM ({} EXCEPT ALL {}) AS r").format(
        _rows(table, schema), _rows(table, without)
    )
    row = await (await conn.execute(query)).fetchone()
    return row if row is not None else (0, None)


def _rows(table: str, schema: str) -> sql.Composed:
    """A row that counts nothing is the same as none."""
    counted = _COUNTED.get(table)
    return sql.SQL("SELECT to_jsonb(t) - {}::text[] AS r FROM {} AS t WHERE {}").format(
        sql.Literal(list(_TABLES[table])),
        sql.Identifier(schema, table),
        sql.SQL(" OR ").join(sql.SQL("{} <> 0").format(sql.Identifier(name)) for name in counted)
        if counted
        else sql.SQL("true"),
    )


async def _repair(conn: Connection, table: str) -> None:
    columns = await conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
        (f"public.{table}",),
    )
    names = sql.SQL(", ").join(sql.Identifier(name) for (name,) in await columns.fetchall())
    live, counted = sql.Identifier("public", table), sql.Identifier("recount", table)
    await conn.execute(sql.SQL("DELETE FROM {}").format(live))
    await conn.execute(sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(live, names, names, counted))
