"""How long messages take: delivery time and its stages, from sketches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from event_stream_engine.analytics.scope import Scope
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import sketch_percentiles

SQL = load_queries(__package__)
PERCENTS = (50, 75, 90, 95, 99)
MEASURES = ("delivery", "queue", "carrier")


@dataclass(frozen=True, slots=True)
class Durations:
    """`percentiles`: p50 … p99 in seconds, ±1 %; the others are exact. `sketch`: messages by sketch index."""

    count: int = 0
    average_seconds: float | None = None
    fastest_seconds: float | None = None
    slowest_seconds: float | None = None
    sketch: Mapping[int, int] = field(default_factory=dict)

    @property
    def percentiles(self) -> dict[str, float | None]:
        return sketch_percentiles(self.sketch, PERCENTS)


@dataclass(frozen=True, slots=True)
class _Sketch:
    name: str
    messages: int
    microseconds: int
    fastest: int
    slowest: int
    places: list[int]
    counts: list[int]


async def load_durations(
    conn: Connection, scope: Scope, measures: Sequence[str] = MEASURES
) -> dict[str, Durations]:
    """Return the durations of a scope by measure.

    `delivery`: from acceptance (external: first `sent`) to first `delivered`; `queue`: from acceptance (external: a first
    callback before `sent`) to `sent`; `carrier`: from `sent` to `delivered`.
    """
    rows = await SQL.list_durations.many(conn, _Sketch, scope.parameters() | {"measures": list(measures)})
    return dict.fromkeys(measures, Durations()) | {row.name: _describe(row) for row in rows}


async def load_delivery_times_by(conn: Connection, scope: Scope, dimension: str) -> dict[str, Durations]:
    """Return the delivery times of a scope by campaign, channel, country or sender."""
    asked = scope.parameters(dimension) | {"measures": ["delivery"], "dimension": dimension}
    rows = await SQL.list_durations_by.many(conn, _Sketch, asked)
    return {row.name: _describe(row) for row in rows}


def _describe(row: _Sketch) -> Durations:
    return Durations(
        count=row.messages,
        average_seconds=row.microseconds / row.messages / 1e6,
        fastest_seconds=row.fastest / 1e6,
        slowest_seconds=row.slowest / 1e6,
        sketch=dict(zip(row.places, row.counts, strict=True)),
    )
