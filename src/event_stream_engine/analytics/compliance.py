"""Can we prove it: consent, quiet hours, pace and history of what was handed over, as the check found them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from event_stream_engine.campaigns.campaigns import load_campaign
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
REPLIES = UUID(int=0)  # stands for the campaign of auto-replies, which have none
KINDS = ("consent", "quiet_hours", "zone_unknown", "rate", "decision_missing", "event_missing")
SECOND, QUARTER, DAY = timedelta(seconds=1), timedelta(minutes=15), timedelta(days=1)
GOOD_SHARE = 0.001  # of the seconds may be over the limit
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class HandOvers:
    """Calls to the provider, and what of them should not have been.

    `seconds`: in which anything was handed over; `peak`: the most in one of them; `rescheduled`: messages that quiet
    hours put off; `logged` and `missing`: decisions and outcome events that are there and that are not.
    """

    handed_over: int
    seconds: int
    peak: int
    rescheduled: int
    logged: int
    unconsented: int
    quiet: int
    zone_unknown: int
    over_limit: int
    missing: int

    @property
    def per_second(self) -> float | None:
        return round(self.handed_over / self.seconds, 2) if self.seconds else None

    @property
    def pace_status(self) -> str | None:
        if not self.seconds:
            return None
        if not self.over_limit:
            return "excellent"
        return "good" if self.over_limit / self.seconds < GOOD_SHARE else "poor"


@dataclass(frozen=True, slots=True)
class Compliance:
    campaigns: HandOvers
    replies: HandOvers | None  # not asked for with a campaign
    oldest_unchecked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing found. `message_id` is REPLIES of a rate violation, which is one of a second."""

    id: UUID
    kind: str
    at: datetime
    campaign_id: UUID
    campaign_name: str | None
    message_id: UUID
    recipient_phone: str | None
    evidence: dict[str, Any]
    found_at: datetime


async def load_compliance(conn: Connection, window: Window, campaign_id: UUID | None) -> Compliance:
    """Count what was handed over in the seconds that begin in a window.

    Errors: NotFound when there is no such campaign.
    """
    if campaign_id is not None:
        await load_campaign(conn, campaign_id)
    return Compliance(
        campaigns=await _count(conn, window, campaign_id),
        replies=await _count(conn, window, REPLIES) if campaign_id is None else None,
        oldest_unchecked_at=await find_oldest_unchecked(conn),
    )


async def find_oldest_unchecked(conn: Connection) -> datetime | None:
    """Return when the oldest decision was made that is not checked yet."""
    at: datetime | None = await SQL.find_oldest_unchecked.value(conn)
    return at


async def list_violations(
    conn: Connection,
    window: Window,
    campaign_id: UUID | None,
    *,
    kind: str | None,
    most: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[Violation]:
    """Return what was found in a window, newest first, going on behind `before`. Errors: as load_compliance."""
    if campaign_id is not None:
        await load_campaign(conn, campaign_id)
    at, violation_id = before or (None, None)
    asked = {
        "campaign_id": campaign_id,
        "kind": kind,
        "before_at": at,
        "before_id": violation_id,
        "most": most,
    }
    return await SQL.list_violations.many(conn, Violation, _whole_seconds(window) | asked)


async def _count(conn: Connection, window: Window, campaign_id: UUID | None) -> HandOvers:
    grains, since, until = zip(*_cut(window), strict=True)
    parameters = {"grains": list(grains), "since": list(since), "until": list(until)}
    return await SQL.count_compliance.one(conn, HandOvers, parameters | {"campaign_id": campaign_id})


def _whole_seconds(window: Window) -> dict[str, Any]:
    """Pace is kept by the second, so a second belongs to the window in which it begins."""
    return {"since": _round_up(window.since, SECOND), "until": _round_up(window.until, SECOND)}


def _cut(window: Window) -> list[tuple[str, datetime, datetime]]:
    """Cut a window into whole days, the quarter-hours at their sides, and the seconds at the sides of these."""
    since, until = _round_up(window.since, SECOND), _round_up(window.until, SECOND)
    quarters = min(_round_up(since, QUARTER), until)
    quarters_end = max(_round_down(until, QUARTER), quarters)
    days = min(_round_up(quarters, DAY), quarters_end)
    days_end = max(_round_down(quarters_end, DAY), days)
    return [
        ("second", since, quarters),
        ("quarter", quarters, days),
        ("day", days, days_end),
        ("quarter", days_end, quarters_end),
        ("second", quarters_end, until),
    ]


def _round_down(at: datetime, step: timedelta) -> datetime:
    return at - (at - _BEGINNING) % step


def _round_up(at: datetime, step: timedelta) -> datetime:
    return _round_down(at + step - timedelta(microseconds=1), step)
