"""Campaigns side by side: their rates with intervals, and which differences are more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from uuid import UUID
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.campaign_progress import Names, list_names
from event_stream_engine.analytics.counts import NO_MESSAGES, MessageCounts
from event_stream_engine.analytics.delivery import list_parts
from event_stream_engine.analytics.durations import Durations, load_delivery_times_by
from event_stream_engine.analytics.performance import scope_campaigns
from event_stream_engine.analytics.rates import Rate, list_rates
from event_stream_engine.campaigns.campaigns import Campaign, load_campaign
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.errors import Invalid

MOST = 4


@dataclass(frozen=True, slots=True)
class Compared:
    campaign: Campaign
    names: Names
    counts: MessageCounts
    times: Durations

    @property
    def rates(self) -> dict[str, Rate]:
        return list_rates(self.counts)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two campaigns, and for each rate whether their intervals overlap; None where one of them is not known."""

    one: Campaign
    other: Campaign
    overlaps: Mapping[str, bool | None]


async def compare_campaigns(
    conn: Connection, campaign_ids: Sequence[UUID], now: datetime, zone: ZoneInfo
) -> list[Compared]:
    """Count the messages of two to four campaigns, in the order asked for. Errors: Invalid, NotFound."""
    if not 2 <= len(campaign_ids) <= MOST:
        raise Invalid(
            f"Name two to {MOST} campaigns to compare; these are {len(campaign_ids)}.", "campaign_id"
        )
    if len(set(campaign_ids)) < len(campaign_ids):
        raise Invalid("A campaign is named twice. Name each one once.", "campaign_id")
    campaigns = [await load_campaign(conn, one) for one in campaign_ids]
    scope = scope_campaigns(campaigns, now, zone)
    names = await list_names(conn, campaign_ids)
    counts = {part.name: part.counts for part in await list_parts(conn, scope, "campaign")}
    times = await load_delivery_times_by(conn, scope, "campaign")
    return [
        Compared(
            one, names[one.id], counts.get(str(one.id), NO_MESSAGES), times.get(str(one.id), Durations())
        )
        for one in campaigns
    ]


def list_pairs(compared: Sequence[Compared]) -> list[Pair]:
    """Tell for each two campaigns which of their rates differ by more than chance."""
    return [
        Pair(
            one.campaign,
            other.campaign,
            {name: rate.overlaps(other.rates[name]) for name, rate in one.rates.items()},
        )
        for one, other in combinations(compared, 2)
    ]
