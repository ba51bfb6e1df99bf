"""How one campaign did: its messages by status, how long they took, where they arrived, what people made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.campaign_progress import (
    LATE_ANSWERS,
    Names,
    Progress,
    find_progress,
    list_names,
)
from event_stream_engine.analytics.delivery import Delivery, Part, list_parts, load_delivery
from event_stream_engine.analytics.durations import Durations, load_delivery_times_by
from event_stream_engine.analytics.failures import Failures, load_failures
from event_stream_engine.analytics.scope import Scope, local_midnight
from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
PARTED_BY = ("country", "channel", "sender")


@dataclass(frozen=True, slots=True)
class TimedPart:
    """The messages of one country, channel or sender, and how long they took."""

    part: Part
    times: Durations


@dataclass(frozen=True, slots=True)
class Performance:
    """`settled_at`: when the last recipient was handed over, skipped or denied; None while the campaign goes on."""

    campaign: Campaign
    names: Names
    progress: Progress
    delivery: Delivery
    parts: Mapping[str, Sequence[TimedPart]]
    failures: Failures
    settled_at: datetime | None

    @property
    def by_status(self) -> dict[str, int]:
        """Return the statuses that messages have, also before the provider's answer; they add up to the recipients."""
        waiting = {"PENDING": self.progress.pending} if self.progress.pending else {}
        return waiting | {status: count for status, count in self.progress.by_status.items() if count}

    @property
    def execution_seconds(self) -> float | None:
        """Return the time from the start to the last recipient handed over, skipped or denied."""
        started_at = self.campaign.started_at
        if started_at is None or self.settled_at is None:
            return None
        return max(0.0, (self.settled_at - started_at).total_seconds())


def scope_campaigns(campaigns: Sequence[Campaign], now: datetime, zone: ZoneInfo) -> Scope:
    """Return the scope of all messages of campaigns.

    It is made of whole days, because theirs lie within them all the same, and at the end of a window minutes and messages
    would have to be read one by one.
    """
    since = min(one.started_at or now for one in campaigns)
    until = max(one.finished_at or now for one in campaigns) + LATE_ANSWERS
    window = Window(local_midnight(since, zone), local_midnight(until + timedelta(days=1), zone))
    return Scope(window, [one.id for one in campaigns])


async def load_performance(
    conn: Connection, campaign: Campaign, now: datetime, zone: ZoneInfo
) -> Performance:
    """Count everything about one campaign; in a snapshot, so that the figures agree with each other."""
    scope = scope_campaigns([campaign], now, zone)
    return Performance(
        campaign=campaign,
        names=(await list_names(conn, [campaign.id]))[campaign.id],
        progress=await find_progress(conn, campaign, now),
        delivery=await load_delivery(conn, scope, now),
        parts={dimension: await _load_parts(conn, scope, dimension) for dimension in PARTED_BY},
        failures=await load_failures(conn, scope),
        settled_at=await _find_settled_at(conn, campaign.id, scope.window) if campaign.finished_at else None,
    )


async def _load_parts(conn: Connection, scope: Scope, dimension: str) -> list[TimedPart]:
    times = await load_delivery_times_by(conn, scope, dimension)
    parts = await list_parts(conn, scope, dimension)
    return [TimedPart(part, times.get(part.name, Durations())) for part in parts]


async def _find_settled_at(conn: Connection, campaign_id: UUID, window: Window) -> datetime | None:
    asked = {"campaign_id": campaign_id, "since": window.since, "until": window.until}
    found: datetime | None = await SQL.find_last_settled.value(conn, asked)
    return found
