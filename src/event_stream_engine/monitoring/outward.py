"""Whether anybody hears of what happens: the channels of notifications, and the dead-man's switch.

Shape: state (ok, warning, failed) and text of a health row.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.monitoring.canary import load_pings

SQL = load_queries(__package__)
SILENT_AFTER = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class _Channel:
    name: str
    failing_since: datetime | None


async def describe_channels(conn: Connection) -> tuple[str, str]:
    """Say whether people can be told."""
    channels = await SQL.list_channel_states.many(conn, _Channel)
    failing = [channel for channel in channels if channel.failing_since is not None]
    if not channels:
        return "ok", "no channel yet"
    if not failing:
        return "ok", f"{len(channels)} {'channel' if len(channels) == 1 else 'channels'}"
    first = failing[0]
    more = f" and {len(failing) - 1} more" if len(failing) > 1 else ""
    return (
        "failed" if len(failing) == len(channels) else "warning",
        f"{first.name}{more} failing since {first.failing_since:%Y-%m-%d %H:%M} UTC",
    )


async def describe_deadman(conn: Connection, now: datetime) -> tuple[str, str]:
    """Say whether the outside is told that the engine is alive."""
    pings = await load_pings(conn)
    if pings.fault is not None:
        return "failed", f"last ping failed: {pings.fault}" if pings.tried_at else pings.fault
    if pings.pinged_at is None:
        return "ok", "not configured"
    seconds = max(0, round((now - pings.pinged_at).total_seconds()))
    state = "ok" if now - pings.pinged_at <= SILENT_AFTER else "failed"
    return state, f"last ping {seconds} s ago"
