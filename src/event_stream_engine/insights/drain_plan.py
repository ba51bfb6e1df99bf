"""A campaign whose drain is asked for: one there is, or one that is only thought of."""

from dataclasses import dataclass, replace
from datetime import datetime, time
from uuid import UUID
from zoneinfo import ZoneInfo

from event_stream_engine.campaigns.campaigns import Campaign, load_campaign
from event_stream_engine.campaigns.quiet_hours import QuietHours
from event_stream_engine.campaigns.templates import load_template
from event_stream_engine.infra.database import Connection
from event_stream_engine.insights.audiences import EVERYBODY, load_campaign_reach, load_people_reach
from event_stream_engine.insights.drain import Audience, Drain, Speed, advise, reckon_drain
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.messaging.encoding import count_segments

USUAL_RATE = 10
USUAL_HOURS = QuietHours(time(21), time(8))


@dataclass(frozen=True, slots=True)
class DrainPlan:
    """What is asked; None: as the campaign has it, or as is usual. Without campaign and recipients: all who opted in."""

    campaign_id: UUID | None = None
    recipients: int | None = None
    rate: int | None = None
    senders: int = 1
    sender_rate: float | None = None
    segments: int | None = None
    quiet_starts: time | None = None
    quiet_ends: time | None = None
    starts_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PlannedDrain:
    """All that a drain is reckoned from. `zone_unknown`: recipients who would be denied, see `Reach`."""

    campaign: Campaign | None
    audiences: list[Audience]
    zone_unknown: float
    speed: Speed
    hours: QuietHours
    starts_at: datetime

    def reckon(self) -> tuple[Drain, list[str]]:
        """Return the drain and what would make it better. It computes for up to a second: not for the event loop."""
        drain = reckon_drain(self.audiences, self.speed, self.starts_at)
        return drain, advise(drain, self.speed)


async def prepare_drain(conn: Connection, plan: DrainPlan, home: ZoneInfo, now: datetime) -> PlannedDrain:
    """Read what a drain is reckoned from. Errors: Invalid naming the field; NotFound."""
    if plan.campaign_id is not None and plan.recipients is not None:
        raise Invalid("Ask for a campaign or for a number of recipients, not for both.", "recipients")
    campaign = None if plan.campaign_id is None else await load_campaign(conn, plan.campaign_id)
    if campaign is not None and not campaign.possible:
        raise Invalid(
            f"Campaign {campaign.name} is {campaign.state}: nothing of it waits. Name another one, or recipients.",
            "campaign_id",
        )
    hours = _choose_hours(plan, campaign)
    if campaign is not None:
        asked = replace(campaign, quiet_starts=hours.starts, quiet_ends=hours.ends)
        reach = await load_campaign_reach(conn, asked, now)
    else:
        reach = await load_people_reach(conn, EVERYBODY, hours, now)
        if plan.recipients is not None:
            reach = reach.scale(plan.recipients, home, hours)
    begins = plan.starts_at or (campaign and campaign.scheduled_at) or now
    return PlannedDrain(
        campaign=campaign,
        audiences=reach.audiences,
        zone_unknown=reach.zone_unknown,
        speed=Speed(
            rate_per_second=plan.rate or (campaign.rate_per_second if campaign else USUAL_RATE),
            senders=plan.senders,
            sender_rate=plan.sender_rate,
            segments=plan.segments or (await _count_segments(conn, campaign) if campaign else 1),
        ),
        hours=hours,
        starts_at=max(now, begins),
    )


def _choose_hours(plan: DrainPlan, campaign: Campaign | None) -> QuietHours:
    usual = USUAL_HOURS if campaign is None else QuietHours(campaign.quiet_starts, campaign.quiet_ends)
    return QuietHours(
        usual.starts if plan.quiet_starts is None else plan.quiet_starts,
        usual.ends if plan.quiet_ends is None else plan.quiet_ends,
    )


async def _count_segments(conn: Connection, campaign: Campaign) -> int:
    """Count the segments of the text as it is written; what is put in for a person may make it longer."""
    if campaign.template is not None:
        return count_segments(campaign.template["body"] or "")
    return count_segments((await load_template(conn, campaign.template_id)).body)
