"""What people answer: volume, intents, when, how soon."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.scope import coarsest_grain, list_bins
from event_stream_engine.analytics.senders import Senders, count_senders
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
DAYS_WITHIN = timedelta(days=366)  # longer windows have a series of weeks and months
INTENTS = ("stop", "help", "start", "order", "general")


@dataclass(frozen=True, slots=True)
class IntentCount:
    """`immediate`: within 5 minutes of our last message to the sender; `auto_replied`: a reply of ours was sent."""

    intent: str
    messages: int
    immediate: int
    auto_replied: int


@dataclass(frozen=True, slots=True)
class Inbound:
    """`week`: messages by local weekday (Monday first) and hour; `by_day`: by ISO date and intent,
    None for a window that is too long for days."""

    senders: Senders
    intents: list[IntentCount]
    week: list[list[int]]
    by_day: dict[str, dict[str, int]] | None

    @property
    def total(self) -> int:
        return sum(row.messages for row in self.intents)

    @property
    def by_intent(self) -> dict[str, int]:
        """Return messages by intent, every intent named."""
        counted = {row.intent: row.messages for row in self.intents}
        return {intent: counted.get(intent, 0) for intent in INTENTS}

    @property
    def immediate(self) -> int:
        return sum(row.immediate for row in self.intents)

    @property
    def auto_replied(self) -> int:
        return sum(row.auto_replied for row in self.intents)

    @property
    def unanswered_help(self) -> int:
        """Return the requests for help that no reply of ours answered."""
        return sum(row.messages - row.auto_replied for row in self.intents if row.intent == "help")

    @property
    def per_sender(self) -> float | None:
        return round(self.total / self.senders.count, 2) if self.senders.count else None

    @property
    def peak(self) -> tuple[int | None, int]:
        """Return the local hour of the day with the most messages over the window, and how many; None without any."""
        by_hour = [sum(hours) for hours in zip(*self.week, strict=True)]
        most = max(by_hour)
        return (by_hour.index(most) if most else None, most)


@dataclass(frozen=True, slots=True)
class InboundPoint:
    """Inbound messages by intent in the step that begins at `at`."""

    at: datetime
    by_intent: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """`written_at`: when we first wrote to the sender after it, whoever it was that wrote; None: not yet."""

    received_at: datetime
    phone: str
    channel: str
    body: str
    intent: str
    is_auto_replied: bool
    written_at: datetime | None


@dataclass(frozen=True, slots=True)
class _HourCount:
    weekday: int
    hour: int
    messages: int


@dataclass(frozen=True, slots=True)
class _DayCount:
    day: date
    intents: list[str]
    counts: list[int]


@dataclass(frozen=True, slots=True)
class _BinCount:
    bin: datetime
    intent: str
    messages: int


@dataclass(frozen=True, slots=True)
class _ChannelCount:
    name: str
    messages: int


async def load_inbound(
    conn: Connection, window: Window, zone: ZoneInfo, secret_key: str, channel: str | None = None
) -> Inbound:
    """Count the inbound messages received in a window."""
    asked = {"since": window.since, "until": window.until, "zone": zone.key, "channel": channel}
    week = [[0] * 24 for _ in range(7)]
    for row in await SQL.list_inbound_hours.many(conn, _HourCount, asked):
        week[row.weekday - 1][row.hour] = row.messages
    return Inbound(
        senders=await count_senders(conn, window, channel, secret_key),
        intents=await count_intents(conn, window, channel),
        week=week,
        by_day=await _list_days(conn, asked) if window.length <= DAYS_WITHIN else None,
    )


async def _list_days(conn: Connection, asked: Mapping[str, object]) -> dict[str, dict[str, int]]:
    by_day: dict[str, dict[str, int]] = {}
    for row in await SQL.list_inbound_days.many(conn, _DayCount, asked):
        counted = by_day.setdefault(row.day.isoformat(), {})
        for intent, messages in zip(row.intents, row.counts, strict=True):
            counted[intent] = counted.get(intent, 0) + messages
    return by_day


async def count_intents(conn: Connection, window: Window, channel: str | None = None) -> list[IntentCount]:
    """Count the inbound messages of a window by intent, every intent named."""
    asked = {"since": window.since, "until": window.until, "channel": channel}
    found = {row.intent: row for row in await SQL.list_intents.many(conn, IntentCount, asked)}
    return [found.get(intent, IntentCount(intent, 0, 0, 0)) for intent in INTENTS]


async def list_inbound_points(
    conn: Connection, window: Window, step: timedelta, zone: ZoneInfo, channel: str | None = None
) -> list[InboundPoint]:
    """Return the series of a window in steps of local time, every step named."""
    bins = list_bins(window, step, zone)
    asked = {"since": window.since, "until": window.until, "channel": channel}
    found = await SQL.list_inbound_bins.many(
        conn, _BinCount, asked | {"bins": bins, "coarsest": coarsest_grain(step)}
    )
    counted: dict[datetime, dict[str, int]] = {at: dict.fromkeys(INTENTS, 0) for at in bins}
    for row in found:
        counted[row.bin][row.intent] = row.messages
    return [InboundPoint(at, by_intent) for at, by_intent in counted.items()]


async def list_inbound_channels(conn: Connection, window: Window) -> dict[str, int]:
    """Return the messages of a window by channel, most first."""
    asked = {"since": window.since, "until": window.until}
    return {
        row.name: row.messages for row in await SQL.list_inbound_channels.many(conn, _ChannelCount, asked)
    }


async def list_recent_inbound(
    conn: Connection, window: Window, most: int, channel: str | None = None, intent: str | None = None
) -> list[InboundMessage]:
    """Return the last messages of a window, newest first."""
    asked = {"since": window.since, "until": window.until, "channel": channel, "intent": intent, "most": most}
    return await SQL.list_recent_inbound.many(conn, InboundMessage, asked)


async def list_unanswered_help(
    conn: Connection, window: Window, most: int, channel: str | None = None
) -> list[InboundMessage]:
    """Return the last requests for help of a window that no reply of ours answered, newest first."""
    asked = {"since": window.since, "until": window.until, "channel": channel, "most": most}
    return await SQL.list_unanswered_help.many(conn, InboundMessage, asked)
