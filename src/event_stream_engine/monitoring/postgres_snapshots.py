"""The look at the database, once a minute: what PostgreSQL counted since the look before goes into roll-ups.

Counters, differences and where they stand now change in one transaction, so that a look that is cut off counts nothing and
the next one counts it all. What a look finds belongs to the minute before it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.monitoring.postgres_buckets import MINUTE, kept_since
from event_stream_engine.monitoring.postgres_server import Server, load_server
from event_stream_engine.monitoring.postgres_text import MOST_LETTERS, mask_literals

SQL = load_queries(__package__)
MOST_STATEMENTS = 100  # of each look; the rest is counted as one
POOLS_KEPT = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    minute: datetime
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class _Before:
    fell: bool
    before_began_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Statements:
    began_at: datetime
    evictions: int
    before_began_at: datetime | None
    before_evictions: int | None


@dataclass(frozen=True, slots=True)
class _Text:
    statement_id: int
    text: str


async def take_snapshot(conn: Connection, now: datetime) -> bool:
    """Look at the database unless that was done in this minute; return whether it was looked at now.

    Errors: psycopg.errors.UniqueViolation when another one did so at the same time; nothing is counted then.
    """
    minute = now.replace(second=0, microsecond=0)
    async with transaction(conn):
        last = await SQL.find_last_snapshot.maybe(conn, _Snapshot)
        if last is not None and last.minute >= minute:
            return False
        server = await load_server(conn)
        counted = {"minute": minute - MINUTE}
        losses = await _count_statements(conn, server, counted, now, last) if server.has_statements else []
        losses += await _count_relations(conn, server, counted, last)
        await SQL.add_snapshot.execute(
            conn,
            {
                "minute": minute,
                "taken_at": now,
                "since": last and last.taken_at,
                "losses": orjson.dumps(losses).decode(),
            },
        )
        await _drop_old(conn, now, is_new_day=last is None or last.minute.date() < minute.date())
    return True


async def _count_statements(
    conn: Connection, server: Server, counted: dict[str, Any], now: datetime, last: _Snapshot | None
) -> list[dict[str, Any]]:
    await SQL.add_search_schema.execute(conn, {"schema": server.statements_schema})
    stand = await SQL.mark_statements.one(conn, _Statements)
    is_first = stand.before_evictions is None
    values = counted | {"began_at": stand.began_at, "counted": int(not is_first), "most": MOST_STATEMENTS}
    await SQL.count_statements.execute(conn, values)
    new: list[int] = await SQL.list_new_statements.value(conn, counted)
    if new:
        texts = await SQL.list_statement_texts.many(conn, _Text, {"ids": new, "most": MOST_LETTERS})
        values = {
            "ids": [text.statement_id for text in texts],
            "texts": [mask_literals(text.text) for text in texts],
            "now": now,
        }
        await SQL.add_statement_texts.execute(conn, values)
    if stand.before_evictions is None:
        return []
    was_reset = stand.began_at != stand.before_began_at
    losses = [_describe_reset("statements_reset", stand.began_at, last)] if was_reset else []
    evicted = stand.evictions - (0 if was_reset else stand.before_evictions)
    if evicted > 0:
        losses.append({"kind": "statements_evicted", "at": format_instant(now), "times": evicted})
    return losses


async def _count_relations(
    conn: Connection, server: Server, counted: dict[str, Any], last: _Snapshot | None
) -> list[dict[str, Any]]:
    before = await SQL.count_database.maybe(conn, _Before, counted)
    began_at = server.statistics_began_at
    values = counted | {"began_at": began_at, "counted": int(before is not None)}
    await SQL.count_tables.execute(conn, values)
    await SQL.count_indexes.execute(conn, values)
    if before is not None and (before.fell or before.before_began_at != began_at):
        return [_describe_reset("statistics_reset", None if before.fell else began_at, last)]
    return []


def _describe_reset(kind: str, at: datetime | None, last: _Snapshot | None) -> dict[str, Any]:
    """Return a loss; without `at` it is not known when, as after a crash. What was counted after `unseen_since` and before it is gone."""
    return {
        "kind": kind,
        "at": at and format_instant(at),
        "unseen_since": last and format_instant(last.taken_at),
    }


async def _drop_old(conn: Connection, now: datetime, *, is_new_day: bool) -> None:
    kept = {f"{grain}s_until": kept_since(grain, now) for grain in ("minute", "quarter", "day")}
    await SQL.drop_old_rollups.execute(conn, kept | {"pools_until": now - POOLS_KEPT})
    if is_new_day:
        await SQL.drop_unused_texts.execute(conn)
