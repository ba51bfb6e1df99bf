"""Why messages fail: by error code and country, against the window before, and what trying again brought."""

from dataclasses import dataclass, replace

from event_stream_engine.analytics.delivery import count_messages, list_parts
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.messaging.error_codes import describe_error_code

SQL = load_queries(__package__)
MOST_COUNTRIES = 10


@dataclass(frozen=True, slots=True)
class FailureRow:
    """Failed messages with one code; `code` is None where the provider named none."""

    code: int | None
    description: str
    error_class: str
    resolution: str
    count: int
    percentage: float


@dataclass(frozen=True, slots=True)
class RetryRow:
    """Messages that met a code at an attempt we made again, and what became of them."""

    code: int | None
    description: str
    retried: int
    sent: int
    delivered: int


@dataclass(frozen=True, slots=True)
class Failures:
    total: int
    rows: list[FailureRow]
    retries: list[RetryRow]
    countries: list[tuple[str, int]]
    previous_total: int
    trend: str


@dataclass(frozen=True, slots=True)
class _CodeCount:
    error_code: int
    failed: int
    retried: int
    retried_sent: int
    retried_delivered: int


async def load_failures(conn: Connection, scope: Scope) -> Failures:
    """Count failed messages by code and country, and compare with the window of equal length before."""
    rows = await SQL.count_failures.many(conn, _CodeCount, scope.parameters())
    rows.sort(key=lambda row: (-row.failed, row.error_code))
    previous = (await count_messages(conn, replace(scope, window=scope.window.before()))).failed
    total = sum(row.failed for row in rows)
    failed_in = [
        (part.name or "unknown", part.counts.failed) for part in await list_parts(conn, scope, "country")
    ]
    countries = sorted((row for row in failed_in if row[1]), key=lambda row: (-row[1], row[0]))
    return Failures(
        total=total,
        rows=[_describe(row, total) for row in rows if row.failed],
        retries=[_describe_retry(row) for row in rows if row.retried],
        countries=countries[:MOST_COUNTRIES],
        previous_total=previous,
        trend=name_trend(total, previous),
    )


def _describe(row: _CodeCount, total: int) -> FailureRow:
    known = describe_error_code(row.error_code or None)
    return FailureRow(
        row.error_code or None,
        known.description,
        known.error_class,
        known.resolution,
        row.failed,
        round(row.failed * 100 / total, 2),
    )


def _describe_retry(row: _CodeCount) -> RetryRow:
    code = row.error_code or None
    return RetryRow(
        code, describe_error_code(code).description, row.retried, row.retried_sent, row.retried_delivered
    )


def name_trend(now: int, before: int) -> str:
    """Name a change of errors: below 0.95 of before it is decreasing, above 1.05 increasing, else stable."""
    if now * 100 < before * 95:
        return "decreasing"
    return "increasing" if now * 100 > before * 105 else "stable"
