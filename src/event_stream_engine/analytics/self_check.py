"""The self-check: buckets of the message roll-ups counted once more from what they are made of, and put right.

A row that somebody edited, or that a mistake of ours made wrong, does not stay: `ese rebuild` finds all of them at once,
the self-check finds them one bucket after the other while the engine runs.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

from event_stream_engine.analytics import rollups
from event_stream_engine.analytics.scope import SLICES
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.messaging import deliveries

SQL = load_queries(__package__)
ACTOR = Actor("engine:self-check")
# What each grain is made of, and the slices it has.
_MADE_OF = {"minute": "raw", "quarter": "raw", "day": "quarter", "month": "day"}
_QUARTER_SLICES = (0, 1, 2, 4, 8, 15)
QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Bucket:
    grain: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class _Span:
    since: datetime
    until: datetime


async def choose_bucket(conn: Connection, chance: Random) -> Bucket | None:
    """Return a random bucket of a random grain, None when there is nothing to check there."""
    span = await SQL.load_span.maybe(conn, _Span)
    if span is None:
        return None
    grain = chance.choice(rollups.GRAINS)
    fine, kept = ("minute", 15) if grain == "minute" else ("quarter", 0)
    at = span.since - QUARTER + (span.until + QUARTER - span.since) * chance.random()
    at = await SQL.find_counted.value(conn, {"since": at, "grain": fine, "slice": kept})
    if at is None:
        return None
    found = await SQL.find_bucket.maybe(conn, _Span, {"grain": grain, "at": at})
    return None if found is None else Bucket(grain, found.since, found.until)


async def list_finer(conn: Connection, bucket: Bucket) -> list[Bucket]:
    """Return the buckets that one is made of, which must be right before it can be counted from them."""
    if bucket.grain == "month":
        starts = await SQL.list_days.value(conn, {"since": bucket.since, "until": bucket.until})
        return [Bucket("day", *ends) for ends in pairwise([*starts, bucket.until])]
    if bucket.grain == "day":
        count = (bucket.until - bucket.since) // QUARTER
        starts = [bucket.since + number * QUARTER for number in range(count)]
        return [Bucket("quarter", at, at + QUARTER) for at in starts]
    return []


async def count_differences(conn: Connection, bucket: Bucket) -> dict[str, int]:
    """Return by table how many rows of a bucket differ from what it is made of; in one snapshot."""
    differing = dict.fromkeys(("message_rollups", "failure_rollups", "duration_rollups"), 0)
    for kept in _list_slices(bucket.grain):
        asked = {
            "since": bucket.since,
            "until": bucket.until,
            "slice": kept,
            "grain": bucket.grain,
            "finer": _MADE_OF[bucket.grain],
        }
        differing["message_rollups"] += await SQL.compare_messages.value(conn, asked)
        differing["failure_rollups"] += await SQL.compare_failures.value(conn, asked)
        differing["duration_rollups"] += await SQL.compare_durations.value(conn, asked)
        differing["duration_rollups"] += await SQL.compare_sketches.value(conn, asked)
    return {table: count for table, count in differing.items() if count}


async def repair(conn: Connection, bucket: Bucket, differing: dict[str, int], now: datetime) -> None:
    """Count a bucket anew and audit it; in a transaction of its own that holds the projector's place."""
    asked = {"grain": bucket.grain, "since": bucket.since, "until": bucket.until}
    for query in (SQL.drop_message_bucket, SQL.drop_failure_bucket, SQL.drop_duration_bucket):
        await query.execute(conn, asked)
    if _MADE_OF[bucket.grain] == "raw":
        await deliveries.note_between(conn, bucket.since, bucket.until)
        await rollups.add_message_changes(conn, [bucket.grain])
    else:
        await rollups.add_quarters(conn, bucket.since, bucket.until, [bucket.grain])
    await record(
        conn,
        ACTOR,
        Entry(
            at=now,
            action="rollups.repaired",
            subject=f"rollups:{bucket.grain}:{format_instant(bucket.since)}",
            after={"differing_rows": differing},
        ),
    )


def _list_slices(grain: str) -> tuple[int, ...]:
    if grain == "minute":
        return (15,)
    return _QUARTER_SLICES if grain == "quarter" else SLICES
