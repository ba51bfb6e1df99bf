"""Who consented: people by state, and how that changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.scope import coarsest_grain, list_bins, local_midnight
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
STATES = ("OPT_IN", "OPT_OUT", "STOP", "UNKNOWN")
ENTERED = STATES[:3]  # UNKNOWN is where everybody begins: nobody comes into it
SOURCES = ("inbound", "page", "api", "import", "provider")


@dataclass(frozen=True, slots=True)
class Consent:
    """Users by present state; opt-outs are transitions into OPT_OUT or STOP by local day."""

    by_state: dict[str, int]
    total: int
    opt_outs_today: int
    opt_outs_yesterday: int
    trend: str
    stop_commands: int


@dataclass(frozen=True, slots=True)
class ConsentPoint:
    """Transitions by the state they led to, in the step that begins at `at`."""

    at: datetime
    by_state: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ConsentChanges:
    """Transitions of a window. `by_source`: every source named, each with every state entered."""

    points: list[ConsentPoint]
    by_source: dict[str, dict[str, int]]

    @property
    def by_state(self) -> dict[str, int]:
        return {state: sum(counts[state] for counts in self.by_source.values()) for state in ENTERED}


@dataclass(frozen=True, slots=True)
class _StateCount:
    consent_state: str
    users: int


@dataclass(frozen=True, slots=True)
class _SourceCount:
    source: str
    to_state: str
    transitions: int


@dataclass(frozen=True, slots=True)
class _BinCount:
    bin: datetime
    to_state: str
    transitions: int


async def count_users(conn: Connection) -> dict[str, int]:
    """Return users by consent state, every state named."""
    counted = {row.consent_state: row.users for row in await SQL.count_users.many(conn, _StateCount)}
    return {state: counted.get(state, 0) for state in STATES}


async def load_consent(conn: Connection, window: Window, zone: ZoneInfo) -> Consent:
    """Count users by state, STOP words of the window, and opt-outs of the local day in which it ends."""
    by_state = await count_users(conn)
    today_began = local_midnight(window.until - timedelta(microseconds=1), zone)
    yesterday_began = local_midnight(today_began - timedelta(hours=12), zone)
    today = await count_opt_outs(conn, Window(today_began, window.until))
    yesterday = await count_opt_outs(conn, Window(yesterday_began, today_began))
    stops: int = await SQL.count_intent.value(
        conn, {"since": window.since, "until": window.until, "intent": "stop"}
    )
    return Consent(
        by_state=by_state,
        total=sum(by_state.values()),
        opt_outs_today=today,
        opt_outs_yesterday=yesterday,
        trend="improving" if today < yesterday else "worsening" if today > yesterday else "stable",
        stop_commands=stops,
    )


async def load_consent_changes(
    conn: Connection, window: Window, step: timedelta, zone: ZoneInfo
) -> ConsentChanges:
    """Count the transitions of a window in steps of local time, and by where they came from."""
    bins = list_bins(window, step, zone)
    asked = {"since": window.since, "until": window.until, "bins": bins, "coarsest": coarsest_grain(step)}
    counted = {at: dict.fromkeys(ENTERED, 0) for at in bins}
    for row in await SQL.list_consent_bins.many(conn, _BinCount, asked):
        counted[row.bin][row.to_state] = row.transitions
    by_source = {source: dict.fromkeys(ENTERED, 0) for source in SOURCES}
    for found in await SQL.list_consent_sources.many(conn, _SourceCount, asked):
        by_source.setdefault(found.source, dict.fromkeys(ENTERED, 0))[found.to_state] = found.transitions
    return ConsentChanges([ConsentPoint(at, states) for at, states in counted.items()], by_source)


async def count_opt_outs(conn: Connection, window: Window) -> int:
    """Count the transitions of a window into OPT_OUT or STOP."""
    asked = {"since": window.since, "until": window.until}
    opt_outs: int = await SQL.count_opt_outs.value(conn, asked)
    return opt_outs
