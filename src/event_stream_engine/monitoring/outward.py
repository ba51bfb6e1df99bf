"""Whether anybody hears of what happens: the channels of notifications, and the dead-man's switch."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.monitoring.canary import load_pings
from event_stream_engine.monitoring.parts import HealthRow, seconds_since

SQL = load_queries(__package__)
SILENT_AFTER = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class _Channel:
    name: str
    failing_since: datetime | None


async def describe_channels(conn: Connection) -> HealthRow:
    """Say whether people can be told."""
    channels = await SQL.list_channel_states.many(conn, _Channel)
    failing = [channel for channel in channels if channel.failing_since is not None]
    figures: dict[str, float | None] = {"channels": len(channels), "failing_channels": len(failing)}
    if not failing:
        count = f"{len(channels)} {'channel' if len(channels) == 1 else 'channels'}"
        return HealthRow(
            "notifications", "Notifications", "ok", count if channels else "no channel yet", figures=figures
        )
    more = f" and {len(failing) - 1} more" if len(failing) > 1 else ""
    return HealthRow(
        "notifications",
        "Notifications",
        "failed" if len(failing) == len(channels) else "warning",
        f"{failing[0].name}{more} failing",
        since=failing[0].failing_since,
        consequence="Alerts do not reach everybody whom they should",
        advice="Look at the deliveries on /settings/notifications.",
        figures=figures,
    )


async def describe_deadman(conn: Connection, now: datetime) -> HealthRow:
    """Say whether the outside is told that the engine is alive."""
    pings = await load_pings(conn)
    if pings.pinged_at is None and pings.fault is None:
        unknown: dict[str, float | None] = {"last_ping_seconds": None}
        return HealthRow("deadman", "Dead-man's switch", "ok", "not configured", figures=unknown)
    age = None if pings.pinged_at is None else seconds_since(pings.pinged_at, now)
    is_well = pings.fault is None and age is not None and age <= SILENT_AFTER.total_seconds()
    if pings.fault is not None:
        text = f"last ping failed: {pings.fault}" if pings.tried_at else pings.fault
    else:
        text = f"last ping {age:.0f} s ago"
    return HealthRow(
        "deadman",
        "Dead-man's switch",
        "ok" if is_well else "failed",
        text,
        since=None if is_well else pings.pinged_at,
        consequence="" if is_well else "Whoever waits for the pings takes the engine for dead",
        advice="" if is_well else "Look at the other rows first, then at ESE_DEADMAN_URL.",
        figures={"last_ping_seconds": None if age is None else round(age, 1)},
    )
