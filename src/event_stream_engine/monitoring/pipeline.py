"""The webhook pipeline measured: received, stored, applied; and what fell off on the way, with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import sketch_percentiles
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.spans import KEPT, SECONDS, as_columns, list_spans
from event_stream_engine.monitoring.tallies import Meter, Tally

SQL = load_queries(__package__)
StoredMeter = Meter[str, str]
PERCENTS = (50, 95, 99)


def name_stored(stage: str) -> str:
    return stage


@dataclass(frozen=True, slots=True)
class Stage:
    """Webhooks that came to a stage. `sketch`: the time since receipt, by sketch index; `dead`: those it was the end of."""

    events: int = 0
    dead: int = 0
    microseconds: int = 0
    slowest: int = 0
    sketch: Mapping[int, int] = field(default_factory=dict)

    @property
    def average_ms(self) -> float | None:
        return self.microseconds / self.events / 1000 if self.events else None

    @property
    def slowest_ms(self) -> float | None:
        return self.slowest / 1000 if self.events else None

    @property
    def percentiles_ms(self) -> dict[str, float | None]:
        found = sketch_percentiles(self.sketch, PERCENTS)
        return {name: None if seconds is None else seconds * 1000 for name, seconds in found.items()}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What became of the webhooks of a window: received = accepted + duplicate + rejected + refused.

    `rejected`: by reason; `refused`: answered 503; `spooled`: those of the accepted and duplicate that came by way of the
    disk. What is spooled or stored counts in the moment it is, so a webhook may be received in one window and applied in
    the next.
    """

    accepted: int
    duplicate: int
    rejected: Mapping[str, int]
    refused: int
    spooled: int
    stored: Stage
    applied: Stage

    @property
    def received(self) -> int:
        return self.accepted + self.duplicate + sum(self.rejected.values()) + self.refused


@dataclass(frozen=True, slots=True)
class _Outcome:
    outcome: str
    events: int


@dataclass(frozen=True, slots=True)
class _FoundStage:
    stage: str
    events: int
    dead: int
    microseconds: int
    slowest: int
    places: list[int]
    counts: list[int]


async def add_batch(conn: Connection, *, is_buried: bool = False) -> None:
    """Add the ages of the batch's live webhooks, read from the temporary tables `log_batch` and `faults`.

    Of those that became dead letters only the number; `is_buried`: that is all of them.
    """
    await SQL.add_batch.execute(conn, {"is_buried": is_buried})


async def tell(conn: Connection, meter: StoredMeter) -> None:
    """Add how long webhooks took until they were stored; what fails is kept for the next time."""
    tallies = meter.take(10_000)
    if not tallies:
        return
    rows: dict[tuple[str, float], Tally] = {}
    for (tick, _), tally in tallies.items():
        for grain in ("minute", "quarter"):
            rows.setdefault((grain, float(tick - tick % SECONDS[grain])), Tally()).add(tally)
        rows.setdefault(("total", float("-inf")), Tally()).add(tally)
    ordered = sorted(rows)
    columns = {
        "grain": [grain for grain, _ in ordered],
        "bucket": [bucket for _, bucket in ordered],
        "events": [rows[place].count for place in ordered],
        "microseconds": [rows[place].microseconds for place in ordered],
        "slowest": [rows[place].slowest for place in ordered],
        "sketch": [rows[place].as_array for place in ordered],
    }
    try:
        await SQL.add_stored.execute(conn, columns)
    except BaseException:
        meter.take_back(tallies)
        raise


async def load_pipeline(conn: Connection, window: Window, now: datetime) -> Pipeline:
    """Return what became of the webhooks of a window, whose ends are put back as `list_spans` says."""
    spans = as_columns([(0, span) for span in list_spans(window, now)])
    stages = {row.stage: _describe(row) for row in await SQL.list_stages.many(conn, _FoundStage, spans)}
    outcomes = {row.outcome: row.events for row in await SQL.list_outcomes.many(conn, _Outcome, spans)}
    return Pipeline(
        accepted=outcomes.pop("accepted", 0),
        duplicate=outcomes.pop("duplicate", 0),
        refused=outcomes.pop("refused", 0),
        spooled=outcomes.pop("spooled", 0),
        rejected={outcome.removeprefix("rejected: "): events for outcome, events in outcomes.items()},
        stored=stages.get("stored", Stage()),
        applied=stages.get("applied", Stage()),
    )


async def clear_old(conn: Connection, now: datetime) -> None:
    """Delete the buckets that are no longer kept."""
    before = {grain: now - KEPT[grain] for grain in ("minute", "quarter")}
    await SQL.clear_pipeline.execute(conn, {"grains": list(before), "before": list(before.values())})


def _describe(row: _FoundStage) -> Stage:
    sketch = dict(zip(row.places, row.counts, strict=True))
    return Stage(row.events, row.dead, row.microseconds, row.slowest, sketch)
