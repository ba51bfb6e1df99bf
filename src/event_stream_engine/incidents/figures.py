"""How soon incidents are answered and how long they last, by severity."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from event_stream_engine.incidents.lifecycle import SEVERITIES
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import percent
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
UNKNOWN = {
    "mtta_seconds": "No incident was acknowledged in this window.",
    "mttr_seconds": "No incident was resolved in this window.",
    "responded_in_time_percent": "The response clock of no incident opened in this window has ended.",
}
UNKNOWN |= {
    f"{name.removesuffix('_seconds')}_mean_seconds": UNKNOWN[name]
    for name in ("mtta_seconds", "mttr_seconds")
}


@dataclass(frozen=True, slots=True)
class IncidentFigures:
    """`mtta`, `mttr`: median, beside it the mean, over `acknowledged` and `resolved`. `responses`: clocks that ended."""

    open: int
    opened: int
    acknowledged: int
    mtta_seconds: float | None
    mtta_mean_seconds: float | None
    resolved: int
    mttr_seconds: float | None
    mttr_mean_seconds: float | None
    responses: int
    in_time: int

    @property
    def responded_in_time_percent(self) -> float | None:
        return percent(self.in_time, self.responses)


@dataclass(frozen=True, slots=True)
class _Row(IncidentFigures):
    severity: str | None


NONE = IncidentFigures(0, 0, 0, None, None, 0, None, None, 0, 0)


async def load_figures(
    conn: Connection, window: Window, now: datetime
) -> tuple[IncidentFigures, Mapping[str, IncidentFigures]]:
    """Return the figures of all incidents, and by severity."""
    asked = {"since": window.since, "until": window.until, "now": now}
    rows = {row.severity: row for row in await SQL.count_incidents.many(conn, _Row, asked)}
    return rows.get(None, NONE), {severity: rows.get(severity, NONE) for severity in SEVERITIES}
