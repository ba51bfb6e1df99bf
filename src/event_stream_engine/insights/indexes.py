"""Indexes: those that cost each write and serve no query, and tables that are read as a whole for want of one.

What the engine's own migrations made is left alone: its queries rely on it, whether or not they were asked for yet.
"""

from collections.abc import Sequence
from datetime import timedelta

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.migrating import list_own_indexes
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import Evidence, Examination, Recommendation
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres import find_observed
from event_stream_engine.monitoring.postgres_buckets import Buckets, cover
from event_stream_engine.monitoring.postgres_indexes import Verdict, judge_indexes, list_indexes
from event_stream_engine.monitoring.postgres_statements import Statement, list_statements
from event_stream_engine.monitoring.postgres_tables import Table, list_tables

SCANS_OVER = timedelta(days=7)
MOST_STATEMENTS = 500
SHOWN_STATEMENTS = 5
NOT_MESSAGES = "It saves the database work and room, not messages."
_TITLES = {
    "invalid": "Build {index} anew: it is not valid",
    "duplicate": "Drop {index}: another index is the same",
    "covered": "Drop {index}: another index begins like it",
    "unused": "Drop {index}: no query uses it",
}


async def examine(conn: Connection, look: Look) -> Examination:
    """Advise what to drop, to build anew, and where an index is missing."""
    observed = await find_observed(conn)
    length = observed.length if observed else timedelta(0)
    indexes = await list_indexes(conn, look.now)
    own = list_own_indexes()
    verdicts = [
        one
        for one in judge_indexes(indexes, length)
        if one.kind == "invalid" or one.index.relation not in own
    ]
    buckets = cover(Window(look.now - SCANS_OVER, look.now), look.now)
    tables = await list_tables(conn, buckets, look.now)
    lacking = [table for table in tables if table.lacks_index]
    facts = [_advise_verdict(one) for one in verdicts]
    facts += [_advise_table(one, await _list_readers(conn, buckets, one)) for one in lacking]
    looked_at = (
        f"{len(indexes)} indexes and {len(tables)} tables, for what serves no query and what is missing"
    )
    unknown = None
    if not length:
        unknown = "Nobody has looked at the database twice yet: `ese work` looks once a minute."
    return Examination("index", looked_at, facts=facts, unknown=unknown)


def _advise_verdict(verdict: Verdict) -> Recommendation:
    index = verdict.index
    return Recommendation(
        key=f"index:{verdict.kind}:{index.relation}",
        kind="index",
        subject=f"index:{index.relation}",
        title=_TITLES[verdict.kind].format(index=index.relation),
        text=f"{verdict.evidence} To do so, run `{verdict.command}`",
        evidence=Evidence(
            ("Table", "Definition", "Size, bytes", "Uses in 30 days"),
            ((index.table_name, index.definition, index.bytes, index.scans_kept),),
        ),
        sample_size=index.scans,
        sample_unit="uses",
        address="/performance/database#verdicts",
        gain_unknown=NOT_MESSAGES,
    )


def _advise_table(table: Table, readers: Sequence[Statement]) -> Recommendation:
    relation, counts = table.state.relation, table.counts
    slowest = f" The statement that costs most is `{readers[0].line}`." if readers else ""
    return Recommendation(
        key=f"index:missing:{relation}",
        kind="index",
        subject=f"table:{relation}",
        title=f"{relation} is read as a whole again and again: an index is missing",
        text=(
            f"{counts.seq_scans:,} times in 7 days all of its {table.state.rows:,} rows were read, {table.scan_ratio:g} % of all"
            f" reads of it.{slowest} Make an index on the columns that the statement compares, with CREATE INDEX CONCURRENTLY."
        ),
        evidence=Evidence(
            ("Statement", "Calls", "Mean, ms", "Rows"),
            tuple((one.line, one.calls, round(one.mean_ms, 2), one.rows) for one in readers),
        ),
        sample_size=counts.seq_scans + counts.index_scans,
        sample_unit="reads",
        address="/performance/database#tables",
        effect=table.scan_ratio,
        gain_unknown=NOT_MESSAGES,
    )


async def _list_readers(conn: Connection, buckets: Buckets, table: Table) -> list[Statement]:
    """Return the most expensive statements that name a table."""
    statements = await list_statements(conn, buckets, MOST_STATEMENTS)
    named = [one for one in statements if table.state.relation in (one.text or "")]
    return named[:SHOWN_STATEMENTS]
