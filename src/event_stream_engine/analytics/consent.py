"""Who consented: people by state, and how that changes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.scope import local_midnight
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
STATES = ("OPT_IN", "OPT_OUT", "STOP", "UNKNOWN")


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
class _StateCount:
    consent_state: str
    users: int


async def count_users(conn: Connection) -> dict[str, int]:
    """Return users by consent state, every state named."""
    counted = {row.consent_state: row.users for row in await SQL.count_users.many(conn, _StateCount)}
    return {state: counted.get(state, 0) for state in STATES}


async def load_consent(conn: Connection, window: Window, zone: ZoneInfo) -> Consent:
    """Count users by state, STOP words of the window, and opt-outs of the local day in which it ends."""
    by_state = await count_users(conn)
    today_began = local_midnight(window.until - timedelta(microseconds=1), zone)
    yesterday_began = local_midnight(today_began - timedelta(hours=12), zone)
    today = await _count_opt_outs(conn, today_began, window.until)
    yesterday = await _count_opt_outs(conn, yesterday_began, today_began)
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


async def _count_opt_outs(conn: Connection, since: datetime, until: datetime) -> int:
    opt_outs: int = await SQL.count_opt_outs.value(conn, {"since": since, "until": until})
    return opt_outs
