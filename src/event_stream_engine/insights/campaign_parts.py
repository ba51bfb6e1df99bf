"""What became of the messages of campaigns, by what could make a difference."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import GAIN_DAYS
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
SETTLED_AFTER = timedelta(hours=72)  # what has not arrived or been answered until then counts as not
MOST_SAMPLED_CAMPAIGNS = 200
SAMPLED_MESSAGES = 1_000  # of a campaign
EARLIER_DAYS = 7
MOST_EARLIER = 5  # more messages are not counted one by one


@dataclass(frozen=True, slots=True)
class Campaign:
    id: UUID
    name: str
    segment_id: UUID
    segment: str
    template_id: UUID
    template: str
    is_template_archived: bool
    channel: str
    started_at: datetime
    recipients: int


@dataclass(frozen=True, slots=True)
class Part:
    """Messages of a campaign to one region: taken by the provider, delivered, answered, answered with STOP.

    `region`: a country; of a sample the recipients' time zone, where that is certain. Of a sample only: `hour`, theirs,
    None where their zone is not certain; `earlier`: the messages each of them had got in the 7 days before, at most 5.
    """

    campaign_id: UUID
    region: str
    sent: int
    delivered: int
    replied: int
    stopped: int
    hour: int | None = None
    earlier: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A rate that is compared: `hits` of `trials`, both counts of a `Part`; `did`: what the hits did, in words."""

    slug: str
    rate: str
    trials: str
    hits: str
    did: str

    def count(self, parts: Iterable[Part]) -> tuple[int, int]:
        """Return trials and hits."""
        trials = hits = 0
        for part in parts:
            trials += getattr(part, self.trials)
            hits += getattr(part, self.hits)
        return trials, hits


DELIVERY = Outcome("delivery", "delivery rate", "sent", "delivered", "arrived")
REPLY = Outcome("reply", "reply rate", "delivered", "replied", "were answered")
OPT_OUT = Outcome("opt_out", "opt-out rate", "sent", "stopped", "were answered with STOP")


@dataclass(frozen=True, slots=True)
class Sent:
    """Campaigns of a window by id, and the parts of their messages."""

    campaigns: Mapping[UUID, Campaign]
    parts: Sequence[Part]
    window: Window

    def scale_to_gain_days(self, count: float) -> float:
        """Return what a count of the window comes to in the days for which gains are told."""
        since = min((one.started_at for one in self.campaigns.values()), default=self.window.since)
        covered = self.window.until - max(since, self.window.since)
        return count * timedelta(days=GAIN_DAYS) / max(covered, timedelta(days=1))

    def only(self, segment_id: UUID) -> "Sent":
        """Return the campaigns to one segment."""
        kept = {key: one for key, one in self.campaigns.items() if one.segment_id == segment_id}
        return Sent(kept, [one for one in self.parts if one.campaign_id in kept], self.window)

    def expect(self, outcome: Outcome) -> dict[tuple[str, str], float]:
        """Return the share of hits that all messages of a channel to a region have."""
        counted: dict[tuple[str, str], list[Part]] = defaultdict(list)
        for part in self.parts:
            counted[self.find_mix(part)].append(part)
        shares = {}
        for mix, parts in counted.items():
            trials, hits = outcome.count(parts)
            shares[mix] = hits / trials if trials else 0.0
        return shares

    def find_mix(self, part: Part) -> tuple[str, str]:
        """Return channel and region of messages: what makes rates differ and is no merit of a campaign."""
        return self.campaigns[part.campaign_id].channel, part.region


async def load_sent(conn: Connection, look: Look) -> Sent:
    """Count all messages of campaigns that are settled, from roll-ups."""
    window = Window(look.window.since, look.now - SETTLED_AFTER)
    asked = {"since": window.since, "until": window.until}
    return await _describe(conn, await SQL.list_campaign_parts.many(conn, Part, asked), window)


async def load_sample(conn: Connection, look: Look) -> Sent:
    """Count messages of people drawn at random from each campaign, with their local hour and what they got before."""
    window = Window(look.window.since, look.now - SETTLED_AFTER)
    asked = {
        "since": window.since,
        "until": window.until,
        "most_campaigns": MOST_SAMPLED_CAMPAIGNS,
        "most_messages": SAMPLED_MESSAGES,
        "earlier_days": EARLIER_DAYS,
        "most_earlier": MOST_EARLIER,
    }
    return await _describe(conn, await SQL.list_sampled_parts.many(conn, Part, asked), window)


async def _describe(conn: Connection, parts: Sequence[Part], window: Window) -> Sent:
    ids = list({part.campaign_id for part in parts})
    campaigns = await SQL.list_described_campaigns.many(conn, Campaign, {"ids": ids})
    return Sent({one.id: one for one in campaigns}, parts, window)
