"""Tables: what they hold, what is read from them, how fast they grow, and which of them an index would help."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import percent
from event_stream_engine.monitoring.postgres_buckets import DAY, Buckets

SQL = load_queries(__package__)
LARGE_ROWS = 10_000  # a smaller table is read as a whole with good reason
MISSING_SCANS = 10  # fewer whole reads may be a report or a migration
GROWTH_DAYS = 7


@dataclass(frozen=True, slots=True)
class TableCounts:
    relation: str
    seq_scans: int = 0
    seq_rows: int = 0
    index_scans: int = 0
    inserted: int = 0
    updated: int = 0
    hot_updated: int = 0
    deleted: int = 0
    blocks_hit: int = 0
    blocks_read: int = 0
    index_hit: int = 0
    index_read: int = 0


@dataclass(frozen=True, slots=True)
class _State:
    relation: str
    partitions: int
    rows: int
    dead_rows: int
    bytes: int | None
    index_bytes: int | None
    heap_bytes: int | None
    vacuumed_at: datetime | None
    analyzed_at: datetime | None
    xid_age: int | None
    expected_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Size:
    relation: str
    bytes: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Table:
    """A table now, its sizes as of the last look, with what happened to it in the window. `growth_bytes_per_day`: None before a day is known."""

    state: _State
    counts: TableCounts
    growth_bytes_per_day: float | None

    @property
    def scan_ratio(self) -> float | None:
        return percent(self.counts.seq_scans, self.counts.seq_scans + self.counts.index_scans)

    @property
    def hit_ratio(self) -> float | None:
        return percent(self.counts.blocks_hit, self.counts.blocks_hit + self.counts.blocks_read)

    @property
    def dead_percent(self) -> float | None:
        return percent(self.state.dead_rows, self.state.rows + self.state.dead_rows)

    @property
    def bloat_bytes(self) -> int | None:
        """Estimate what the table itself takes beyond its rows; None before it was analysed."""
        if self.state.expected_bytes is None or self.state.heap_bytes is None:
            return None
        return max(0, self.state.heap_bytes - self.state.expected_bytes)

    @property
    def rows_per_scan(self) -> float | None:
        return self.counts.seq_rows / self.counts.seq_scans if self.counts.seq_scans else None

    @property
    def lacks_index(self) -> bool:
        """Tell whether it is large and was read as a whole again and again, and that more than now and then."""
        return (
            self.state.rows >= LARGE_ROWS
            and self.counts.seq_scans >= MISSING_SCANS
            and (self.rows_per_scan or 0) >= LARGE_ROWS
            and (self.scan_ratio or 0) > 5
        )


@dataclass(frozen=True, slots=True)
class DatabaseSize:
    """`growth_bytes_per_day`: None before a day is known. `xid_limit`: the age from which rows are frozen by force."""

    bytes: int
    bytes_before: int | None
    since: datetime | None
    xid_age: int
    xid_limit: int

    def growth_bytes_per_day(self, now: datetime) -> float | None:
        if self.since is None or self.bytes_before is None:
            return None
        return _reckon_growth(self.bytes - self.bytes_before, now - self.since)


async def list_tables(conn: Connection, buckets: Buckets, now: datetime) -> list[Table]:
    """Return all tables, the largest first."""
    counts = {row.relation: row for row in await list_table_counts(conn, buckets)}
    sizes = {row.relation: row for row in await SQL.list_table_sizes.many(conn, _Size, _growth_since(now))}
    states = await SQL.list_table_states.many(conn, _State)
    tables = []
    for state in states:
        size, growth = sizes.get(state.relation), None
        if size is not None and state.bytes is not None:
            growth = _reckon_growth(state.bytes - size.bytes, now - size.since)
        tables.append(Table(state, counts.get(state.relation, TableCounts(state.relation)), growth))
    return tables


async def list_table_counts(conn: Connection, buckets: Buckets) -> list[TableCounts]:
    return await SQL.list_table_counts.many(conn, TableCounts, buckets.parameters())


async def load_database_size(conn: Connection, now: datetime) -> DatabaseSize:
    return await SQL.load_database_size.one(conn, DatabaseSize, _growth_since(now))


def _growth_since(now: datetime) -> dict[str, datetime]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return {"since": midnight - timedelta(days=GROWTH_DAYS)}


def _reckon_growth(grown_bytes: int, time: timedelta) -> float | None:
    """Return bytes a day; an hour is not enough to say what a day brings."""
    return grown_bytes / (time / DAY) if time >= DAY else None
