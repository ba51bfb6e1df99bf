"""What statements cost in a window: all together, and each of the most expensive."""

from dataclasses import dataclass

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import percent
from event_stream_engine.monitoring.postgres_buckets import Buckets
from event_stream_engine.monitoring.postgres_text import find_purpose, shorten

SQL = load_queries(__package__)
OTHERS = 0


@dataclass(frozen=True, slots=True)
class StatementTotals:
    calls: int
    total_ns: int
    fastest_ns: int | None
    slowest_ns: int | None

    @property
    def mean_ms(self) -> float | None:
        return self.total_ns / self.calls / 1e6 if self.calls else None


@dataclass(frozen=True, slots=True)
class Statement:
    """A normalised statement; OTHERS stands for all that are not kept by name, and has no text."""

    statement_id: int
    text: str | None
    calls: int
    total_ns: int
    rows: int
    blocks_hit: int
    blocks_read: int
    read_ns: int
    temp_blocks: int
    fastest_ns: int
    slowest_ns: int

    @property
    def mean_ms(self) -> float:
        return self.total_ns / self.calls / 1e6

    @property
    def hit_ratio(self) -> float | None:
        return percent(self.blocks_hit, self.blocks_hit + self.blocks_read)

    @property
    def purpose(self) -> str | None:
        return find_purpose(self.text or "")

    @property
    def line(self) -> str:
        return shorten(self.text or "")


async def load_statement_totals(conn: Connection, buckets: Buckets) -> StatementTotals:
    return await SQL.load_statement_totals.one(conn, StatementTotals, buckets.parameters())


async def list_statements(conn: Connection, buckets: Buckets, most: int) -> list[Statement]:
    """Return the statements that took most time in all, the most expensive first."""
    return await SQL.list_statements.many(conn, Statement, buckets.parameters() | {"most": most})
