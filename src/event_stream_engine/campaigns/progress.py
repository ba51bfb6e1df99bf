"""How far a campaign is: its messages by what became of them, what waits and why, and when it may be done."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """`by_status` adds up to `recipients`: PENDING is what has no outcome yet. `skipped` is by reason.

    Units: `rate_per_second` over the last minute; `eta` is when what waits will have been handed over at that rate, None
    when nothing goes at the moment or everything that waits is deferred.
    """

    recipients: int
    is_filled: bool
    by_status: Mapping[str, int]
    skipped: Mapping[str, int]
    waiting: int
    deferred: int
    unsure: int
    rate_per_second: float
    eta: datetime | None


@dataclass(frozen=True, slots=True)
class _Counts:
    by_status: dict[str, int]
    skipped: dict[str, int]
    waiting: int
    deferred: int
    unsure: int
    handed: int


async def load_progress(conn: Connection, campaign: Campaign, now: datetime) -> Progress:
    """Return how far a campaign is."""
    since = now.replace(microsecond=0) - WINDOW
    counts = await SQL.load_progress.one(conn, _Counts, {"id": campaign.id, "now": now, "since": since})
    pending = campaign.recipients - sum(counts.by_status.values())
    by_status = {**counts.by_status, "PENDING": pending} if pending > 0 else counts.by_status
    age = min(WINDOW, now - (campaign.started_at or now)).total_seconds()
    rate = counts.handed / max(1.0, age)
    coming = counts.waiting - counts.deferred - counts.unsure
    eta = now + timedelta(seconds=coming / rate) if campaign.state == "running" and rate and coming else None
    return Progress(
        recipients=campaign.recipients,
        is_filled=campaign.filled_at is not None,
        by_status=by_status,
        skipped=counts.skipped,
        waiting=counts.waiting,
        deferred=counts.deferred,
        unsure=counts.unsure,
        rate_per_second=round(rate, 2),
        eta=eta,
    )
