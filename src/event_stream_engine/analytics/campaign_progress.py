"""How far campaigns are: their messages by status, what waits and why, how fast, and the messages themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from event_stream_engine.analytics.counts import DELIVERED_STATUSES, FAILED_STATUSES, IN_FLIGHT_STATUSES
from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import percent

SQL = load_queries(__package__)
LATE_ANSWERS = timedelta(days=1)  # after a campaign's end; a completed one has had them all
PACE_WINDOW = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Ran:
    """A campaign's time and how many messages it has made."""

    campaign_id: UUID
    started_at: datetime
    finished_at: datetime | None
    recipients: int


@dataclass(slots=True)
class Progress:
    """A campaign's messages. `sent`: the provider took them; `settled`: sent, refused or denied; `deferred`: put off
    until later, by reason."""

    recipients: int = 0
    sent: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    denied: dict[str, int] = field(default_factory=dict)
    deferred: dict[str, int] = field(default_factory=dict)
    next_deferred_at: datetime | None = None
    per_second: float | None = None

    def _sum(self, statuses: Sequence[str]) -> int:
        return sum(self.by_status.get(status, 0) for status in statuses)

    @property
    def delivered(self) -> int:
        return self._sum(DELIVERED_STATUSES)

    @property
    def read(self) -> int:
        return self.by_status.get("READ", 0)

    @property
    def failed(self) -> int:
        return self._sum(FAILED_STATUSES)

    @property
    def in_flight(self) -> int:
        return self._sum(IN_FLIGHT_STATUSES)

    @property
    def unsure(self) -> int:
        return self.by_status.get("UNKNOWN", 0)

    @property
    def skipped(self) -> int:
        return sum(self.denied.values())

    @property
    def pending(self) -> int:
        """Return how many have no outcome yet."""
        return max(0, self.recipients - sum(self.by_status.values()))

    @property
    def settled(self) -> int:
        return self.recipients - self.pending - self.unsure

    @property
    def handed_over(self) -> int:
        return self.settled - self.skipped

    @property
    def delivery_rate_percent(self) -> float | None:
        return percent(self.delivered, self.sent)

    @property
    def done_percent(self) -> float | None:
        return percent(self.settled, self.recipients)

    @property
    def turn(self) -> int:
        """Return how many could be handed over now: they only wait their turn."""
        return max(0, self.pending - sum(self.deferred.values()))

    def estimate_end(self, now: datetime) -> datetime | None:
        """Return when those that wait their turn will have been handed over at the present speed; None: not known."""
        return now + timedelta(seconds=self.turn / self.per_second) if self.turn and self.per_second else None


@dataclass(frozen=True, slots=True)
class PaceSecond:
    """`taken` messages were handed over in a second."""

    campaign_id: UUID
    second: datetime
    taken: int


@dataclass(frozen=True, slots=True)
class CampaignMessage:
    """One message; `defer_reason`, `due_at` and `attempts` only while it waits to be handed over."""

    id: UUID
    recipient_phone: str
    country: str | None
    status: str
    skip_reason: str | None
    failure_code: int
    answered_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    last_seen_at: datetime | None
    skipped_at: datetime | None
    delivery_seconds: float | None
    defer_reason: str | None
    due_at: datetime | None
    attempts: int | None


@dataclass(frozen=True, slots=True)
class Names:
    """What a campaign, its segment and its template are called."""

    campaign_id: UUID
    campaign: str
    segment: str
    template_id: UUID
    template: str


@dataclass(frozen=True, slots=True)
class _StateCount:
    state: str
    campaigns: int


@dataclass(frozen=True, slots=True)
class _Count:
    campaign_id: UUID
    status: str
    reason: str
    messages: int


@dataclass(frozen=True, slots=True)
class _Sent:
    campaign_id: UUID
    sent: int


@dataclass(frozen=True, slots=True)
class _Deferred:
    campaign_id: UUID
    reason: str
    messages: int
    next_at: datetime


def read_run(campaign: Campaign) -> Ran | None:
    """Return a campaign's time, None when it has not begun."""
    if campaign.started_at is None:
        return None
    return Ran(campaign.id, campaign.started_at, campaign.finished_at, campaign.recipients)


async def find_progress(conn: Connection, campaign: Campaign, now: datetime) -> Progress:
    """Count the messages of one campaign, none when it has not begun."""
    ran = read_run(campaign)
    return Progress() if ran is None else (await load_progress(conn, [ran], now))[campaign.id]


async def load_progress(conn: Connection, campaigns: Sequence[Ran], now: datetime) -> Mapping[UUID, Progress]:
    """Count the messages of started campaigns."""
    ids = [one.campaign_id for one in campaigns]
    found = {one.campaign_id: Progress(recipients=one.recipients) for one in campaigns}
    if not ids:
        return found
    for count in await SQL.list_campaign_counts.many(conn, _Count, {"campaign_ids": ids}):
        progress = found[count.campaign_id]
        progress.by_status[count.status] = progress.by_status.get(count.status, 0) + count.messages
        if count.status == "SKIPPED":
            progress.denied[count.reason] = count.messages
    spans = {
        "campaign_ids": ids,
        "since": [one.started_at for one in campaigns],
        "until": [(one.finished_at or now) + LATE_ANSWERS for one in campaigns],
    }
    for sent in await SQL.list_campaign_sent.many(conn, _Sent, spans):
        found[sent.campaign_id].sent = sent.sent
    open_ids = [one.campaign_id for one in campaigns if one.finished_at is None]
    if open_ids:
        asked = {"campaign_ids": open_ids, "now": now}
        for row in await SQL.list_campaign_deferred.many(conn, _Deferred, asked):
            progress = found[row.campaign_id]
            progress.deferred[row.reason] = row.messages
            progress.next_deferred_at = min(progress.next_deferred_at or row.next_at, row.next_at)
        await _add_pace(conn, campaigns, found, now)
    return found


async def _add_pace(
    conn: Connection, campaigns: Sequence[Ran], found: Mapping[UUID, Progress], now: datetime
) -> None:
    """Average the whole seconds of the last ten, fewer right after the start."""
    end = now.replace(microsecond=0)
    taken: dict[UUID, int] = {}
    open_ids = [one.campaign_id for one in campaigns if one.finished_at is None]
    for row in await list_pace(conn, open_ids, end - PACE_WINDOW):
        if row.second < end:
            taken[row.campaign_id] = taken.get(row.campaign_id, 0) + row.taken
    for one in campaigns:
        if one.finished_at is None:
            seconds = min(PACE_WINDOW, end - one.started_at.replace(microsecond=0)).total_seconds()
            count = taken.get(one.campaign_id, 0)
            found[one.campaign_id].per_second = count / seconds if seconds > 0 else float(count)


async def list_pace(conn: Connection, campaign_ids: Sequence[UUID], since: datetime) -> list[PaceSecond]:
    """Return the seconds in which messages were handed over; only the last minutes are known so exactly."""
    parameters = {"campaign_ids": list(campaign_ids), "since": since}
    return await SQL.list_campaign_pace.many(conn, PaceSecond, parameters)


async def list_messages(
    conn: Connection,
    campaign_id: UUID,
    started_at: datetime,
    *,
    most: int,
    after: UUID | None = None,
    status: str | None = None,
    reason: str | None = None,
) -> list[CampaignMessage]:
    """Return a campaign's messages in the order of their ids, from behind one on; inside a transaction."""
    first, last = range_of_messages(started_at)
    parameters = {
        "campaign_id": campaign_id,
        "first": first,
        "last": last,
        "after": after,
        "status": status,
        "reason": reason,
        "most": most,
    }
    await SQL.plan_for_values.execute(conn)
    return await SQL.list_campaign_messages.many(conn, CampaignMessage, parameters)


def range_of_messages(started_at: datetime) -> tuple[UUID, UUID]:
    """Return the first and the last id that messages of a campaign that started then can have."""
    first = int(started_at.timestamp() * 1000) << 80
    return UUID(int=first), UUID(int=first + (1 << 80) - 1)


async def count_campaigns(conn: Connection) -> dict[str, int]:
    """Count campaigns by state."""
    return {row.state: row.campaigns for row in await SQL.count_campaigns.many(conn, _StateCount)}


async def list_names(conn: Connection, campaign_ids: Sequence[UUID]) -> dict[UUID, Names]:
    """Return what campaigns, their segments and their templates are called."""
    rows = await SQL.list_campaign_names.many(conn, Names, {"campaign_ids": list(campaign_ids)})
    return {row.campaign_id: row for row in rows}


async def count_unstarted(conn: Connection, segment_id: UUID) -> int:
    """Count the drafts and scheduled campaigns for a segment."""
    count: int = await SQL.count_unstarted_campaigns.value(conn, {"segment_id": segment_id})
    return count
