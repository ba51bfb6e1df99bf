"""Why messages fail: by error code and country, against the window before."""

from dataclasses import dataclass

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
class Failures:
    total: int
    rows: list[FailureRow]
    countries: list[tuple[str, int]]
    previous_total: int
    trend: str


@dataclass(frozen=True, slots=True)
class _ErrorCount:
    error_code: int
    country: str
    messages: int


async def load_failures(conn: Connection, scope: Scope) -> Failures:
    """Count failed messages by code and country, and compare with the window of equal length before."""
    rows = await SQL.count_failures.many(conn, _ErrorCount, scope.parameters())
    before = scope.window.before()
    previous: int = await SQL.count_failed.value(
        conn, {**scope.parameters(), "since": before.since, "until": before.until}
    )
    total = sum(row.messages for row in rows)
    by_code: dict[int, int] = {}
    by_country: dict[str, int] = {}
    for row in rows:
        by_code[row.error_code] = by_code.get(row.error_code, 0) + row.messages
        by_country[row.country] = by_country.get(row.country, 0) + row.messages
    countries = sorted(by_country.items(), key=lambda item: (-item[1], item[0]))
    return Failures(
        total=total,
        rows=[
            _describe(code, count, total)
            for code, count in sorted(by_code.items(), key=lambda item: (-item[1], item[0]))
        ],
        countries=[(country or "unknown", count) for country, count in countries[:MOST_COUNTRIES]],
        previous_total=previous,
        trend=name_trend(total, previous),
    )


def _describe(code: int, count: int, total: int) -> FailureRow:
    known = describe_error_code(code or None)
    return FailureRow(
        code or None,
        known.description,
        known.error_class,
        known.resolution,
        count,
        round(count * 100 / total, 2),
    )


def name_trend(now: int, before: int) -> str:
    """Name a change of errors: below 0.95 of before it is decreasing, above 1.05 increasing, else stable."""
    if now * 100 < before * 95:
        return "decreasing"
    return "increasing" if now * 100 > before * 105 else "stable"
