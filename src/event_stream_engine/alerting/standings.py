"""Where every subject of every rule stands, for people to look at."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from event_stream_engine.alerting.state import StateName
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
COUNTED = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Standing:
    """A subject of a rule. `value` is the last known one, None where there never was any."""

    rule_id: UUID
    subject: str
    state: StateName
    since: datetime
    value: float | None
    sample: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """The last evaluation; `ticked_at` None: there was none yet."""

    ticked_at: datetime | None
    took_ms: float


@dataclass(frozen=True, slots=True)
class _Fired:
    rule_id: UUID
    episodes: int


async def list_standings(conn: Connection) -> list[Standing]:
    """Return the subjects of the rules that are switched on."""
    return await SQL.list_standings.many(conn, Standing)


async def find_tick(conn: Connection) -> Tick:
    """Return when rules were last evaluated."""
    return await SQL.find_tick.one(conn, Tick)


async def count_fired(conn: Connection, now: datetime) -> dict[UUID, int]:
    """Return how often each rule has fired in the last 14 days; one that has not is left out."""
    rows = await SQL.count_fired.many(conn, _Fired, {"since": now - COUNTED})
    return {row.rule_id: row.episodes for row in rows}
