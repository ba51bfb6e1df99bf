"""What people answer: volume, intents, how soon."""

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
INTENTS = ("stop", "help", "start", "order", "general")


@dataclass(frozen=True, slots=True)
class Inbound:
    """`peak_hour` is the local hour of the day with the most messages over the window, None without any."""

    total: int
    unique_senders: int
    peak_hour: int | None
    peak_volume: int
    by_intent: dict[str, int]
    by_day: dict[date, dict[str, int]]
    immediate: int
    auto_replied: int


@dataclass(frozen=True, slots=True)
class _HourCount:
    day: date
    hour: int
    intent: str
    messages: int
    immediate: int
    auto_replied: int


async def load_inbound(conn: Connection, window: Window, zone: ZoneInfo) -> Inbound:
    """Count the inbound messages received in a window."""
    parameters = {"since": window.since, "until": window.until, "zone": zone.key}
    rows = await SQL.list_inbound_hours.many(conn, _HourCount, parameters)
    senders: int = await SQL.count_senders.value(conn, parameters)
    by_intent = dict.fromkeys(INTENTS, 0)
    by_day: dict[date, dict[str, int]] = {}
    by_hour: dict[int, int] = {}
    for row in rows:
        by_intent[row.intent] += row.messages
        day = by_day.setdefault(row.day, {})
        day[row.intent] = day.get(row.intent, 0) + row.messages
        by_hour[row.hour] = by_hour.get(row.hour, 0) + row.messages
    peak_hour, peak_volume = min(by_hour.items(), key=lambda item: (-item[1], item[0]), default=(None, 0))
    return Inbound(
        total=sum(by_intent.values()),
        unique_senders=senders,
        peak_hour=peak_hour,
        peak_volume=peak_volume,
        by_intent=by_intent,
        by_day=by_day,
        immediate=sum(row.immediate for row in rows),
        auto_replied=sum(row.auto_replied for row in rows),
    )
