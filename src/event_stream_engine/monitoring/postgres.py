"""How the database is doing: the document's figures of a window, and what they rest on."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres_buckets import Buckets, cover
from event_stream_engine.monitoring.postgres_pools import Pools, load_pools
from event_stream_engine.monitoring.postgres_server import (
    Missing,
    Server,
    find_missing_statements,
    list_missing,
    load_server,
)
from event_stream_engine.monitoring.postgres_statements import (
    Statement,
    StatementTotals,
    list_statements,
    load_statement_totals,
)
from event_stream_engine.monitoring.postgres_tables import (
    LARGE_ROWS,
    DatabaseSize,
    Table,
    list_tables,
    load_database_size,
)

SQL = load_queries(__package__)
SUMMARY_STATEMENTS = 5
OPTIMAL_HIT_PERCENT, OPTIMAL_SCAN_PERCENT = 99, 5
_SETTINGS = [
    "server_version",
    "shared_preload_libraries",
    "pg_stat_statements.max",
    "pg_stat_statements.track",
    "track_io_timing",
    "track_activity_query_size",
    "max_connections",
    "shared_buffers",
    "effective_cache_size",
    "work_mem",
    "maintenance_work_mem",
    "random_page_cost",
    "max_wal_size",
    "synchronous_commit",
    "autovacuum",
    "autovacuum_vacuum_scale_factor",
    "idle_in_transaction_session_timeout",
    "jit",
]


@dataclass(frozen=True, slots=True)
class Loss:
    """Counts that are gone. `kind`: statements_reset, statistics_reset, statements_evicted (so many `times`).

    `at` None: not known when. What was counted between `unseen_since` and the reset was never seen.
    """

    kind: str
    at: datetime | None
    unseen_since: datetime | None
    times: int


@dataclass(frozen=True, slots=True)
class _Looks:
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class DatabaseCounts:
    commits: int
    rollbacks: int
    blocks_hit: int
    blocks_read: int
    temp_bytes: int
    deadlocks: int
    wal_bytes: int


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class DatabasePerformance:
    """`buckets` cover the window; `measured` is what of it was looked at, None when nothing was."""

    server: Server
    missing: list[Missing]
    buckets: Buckets
    measured: Window | None
    losses: list[Loss]
    statements: StatementTotals
    counts: DatabaseCounts
    pools: Pools
    tables: list[Table]
    size: DatabaseSize

    @property
    def index_blocks(self) -> tuple[int, int]:
        """Return blocks of indexes found in memory, and all that were needed."""
        hit = sum(table.counts.index_hit for table in self.tables)
        return hit, hit + sum(table.counts.index_read for table in self.tables)

    @property
    def large_scans(self) -> tuple[int, int]:
        """Return whole reads of large tables, and all reads of them."""
        large = [table.counts for table in self.tables if table.state.rows > LARGE_ROWS]
        whole = sum(counts.seq_scans for counts in large)
        return whole, whole + sum(counts.index_scans for counts in large)

    @property
    def index_hit_ratio(self) -> float | None:
        return percent(*self.index_blocks)

    @property
    def table_scan_ratio(self) -> float | None:
        return percent(*self.large_scans)

    @property
    def is_index_usage_optimal(self) -> bool | None:
        hit, scans = self.index_hit_ratio, self.table_scan_ratio
        if hit is None or scans is None:
            return None
        return hit >= OPTIMAL_HIT_PERCENT and scans <= OPTIMAL_SCAN_PERCENT

    @property
    def cache_hit_ratio(self) -> float | None:
        return percent(self.counts.blocks_hit, self.counts.blocks_hit + self.counts.blocks_read)

    @property
    def unknown(self) -> dict[str, str]:
        """Return why figures of the document's object are null, by their place in it, and what else is not seen."""
        reasons = {}
        unseen = "Nobody looked at the database in this window: `ese work` looks once a minute, and knows a difference from the second look on."
        if not self.statements.calls:
            without = find_missing_statements(self.server)
            counted = "No statement was counted in this window." if self.measured else unseen
            reasons["query_metrics"] = str(without) if without else counted
        if not self.pools.processes:
            reasons["connection_pool"] = "No web process has told of its pool in the last 15 seconds."
        if self.pools.mean_wait_ms is None:
            reasons["connection_pool.connection_wait_time_ms"] = (
                "Nobody asked a pool for a connection in the last 5 minutes."
            )
        if self.index_hit_ratio is None:
            reasons["index_efficiency.index_hit_ratio"] = (
                "No index was read in this window." if self.measured else unseen
            )
        if self.table_scan_ratio is None:
            reasons["index_efficiency.table_scan_ratio"] = (
                f"No table of more than {LARGE_ROWS:,} rows was read in this window."
                if self.measured
                else unseen
            )
        if self.is_index_usage_optimal is None:
            reasons["index_efficiency.index_usage_optimal"] = "One of the two ratios is unknown."
        named = {f"database_performance.{place}": reason for place, reason in reasons.items()}
        return named | {f"missing.{missing.name}": str(missing) for missing in self.missing}


@dataclass(frozen=True, slots=True)
class DatabaseSummary:
    found: DatabasePerformance
    statements: list[Statement]


async def load_database_performance(conn: Connection, window: Window, now: datetime) -> DatabasePerformance:
    """Read the figures of a window, its edges moved outwards to whole buckets, and the state as of now."""
    server = await load_server(conn)
    buckets = cover(window, now)
    span = {"since": buckets.window.since, "until": buckets.window.until}
    losses: list[dict[str, Any]] = await SQL.list_losses.value(conn, span)
    return DatabasePerformance(
        server=server,
        missing=list_missing(server),
        buckets=buckets,
        measured=_overlap(buckets.window, await find_observed(conn)),
        losses=[_read_loss(loss) for loss in losses],
        statements=await load_statement_totals(conn, buckets),
        counts=await SQL.load_database_counts.one(conn, DatabaseCounts, buckets.parameters()),
        pools=await load_pools(conn, window, now),
        tables=await list_tables(conn, buckets, now),
        size=await load_database_size(conn, now),
    )


async def load_database_summary(conn: Connection, window: Window, now: datetime) -> DatabaseSummary:
    """Read what a page of other subjects shows of the database."""
    found = await load_database_performance(conn, window, now)
    return DatabaseSummary(found, await list_statements(conn, found.buckets, SUMMARY_STATEMENTS))


async def list_settings(conn: Connection) -> list[Setting]:
    """Return the settings that matter to speed and to what can be seen; some are for the privileged alone."""
    return await SQL.list_settings.many(conn, Setting, {"names": _SETTINGS})


async def find_observed(conn: Connection) -> Window | None:
    """Return the time from the first look at the database to the last, None when there was no second one."""
    looks = await SQL.load_looks.one(conn, _Looks)
    if looks.first is None or looks.last is None or looks.first == looks.last:
        return None
    return Window(looks.first, looks.last)


def _overlap(window: Window, observed: Window | None) -> Window | None:
    if observed is None:
        return None
    both = Window(max(window.since, observed.since), min(window.until, observed.until))
    return both if both.since < both.until else None


def _read_loss(loss: dict[str, Any]) -> Loss:
    at, unseen = (loss.get(name) and datetime.fromisoformat(loss[name]) for name in ("at", "unseen_since"))
    return Loss(loss["kind"], at, unseen, loss.get("times", 1))
