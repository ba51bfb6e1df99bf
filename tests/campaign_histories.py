"""Histories of campaigns as chance makes them, with or without a pattern planted in them.

Nothing in a history is independent that would not be in life: campaigns and days fare well or badly as a whole, some days
very badly; segments, regions and channels differ for good; weekly series always go to the same people with the same text
at the same hour.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from event_stream_engine.insights.campaign_parts import Campaign, Part, Sent
from event_stream_engine.insights.senders import SenderDay
from event_stream_engine.kernel.windows import Window

NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 87
WINDOW = Window(NOW - timedelta(days=90), NOW - timedelta(days=3))
SEGMENTS, TEMPLATES, SENDERS = 6, 7, 3
# Region: hours behind UTC, and how its messages fare beside others.
REGIONS = {
    "America/New_York": (-5, 0.2),
    "America/Los_Angeles": (-8, -0.1),
    "Europe/London": (0, 0.3),
    "Asia/Manila": (8, -0.7),
}
HOURS = (13, 15, 17, 18, 20)  # UTC, at which campaigns start
EARLIER = (0.4, 0.25, 0.15, 0.1, 0.06, 0.04)  # shares of people by messages in the week before


@dataclass(frozen=True, slots=True)
class Sending:
    """A campaign as it was planned; what is planted goes by this. `hour`: local, of a part."""

    campaign: Campaign
    template: int
    segment: int
    sender: int
    day: int


@dataclass(frozen=True, slots=True)
class Shift:
    """What a pattern adds to the log-odds of an outcome."""

    delivery: float = 0.0
    reply: float = 0.0
    opt_out: float = 0.0


Pattern = Callable[[Sending, str, int, int], Shift]  # sending, region, local hour, messages before


def no_pattern(sending: Sending, region: str, hour: int, earlier: int) -> Shift:
    return Shift()


@dataclass(frozen=True, slots=True)
class History:
    sendings: list[Sending]
    parts: list[Part]

    @property
    def sample(self) -> Sent:
        return Sent({one.campaign.id: one.campaign for one in self.sendings}, self.parts, WINDOW)

    @property
    def sent(self) -> Sent:
        """Return all messages by campaign and region, as roll-ups have them."""
        sums: dict[tuple[UUID, str], list[int]] = {}
        for part in self.parts:
            counted = sums.setdefault((part.campaign_id, part.region), [0, 0, 0, 0])
            for place, count in enumerate((part.sent, part.delivered, part.replied, part.stopped)):
                counted[place] += count
        return Sent(self.sample.campaigns, [Part(*key, *counted) for key, counted in sums.items()], WINDOW)


def make_history(
    seed: int, pattern: Pattern = no_pattern, *, campaigns: int = 70, segments: int = SEGMENTS
) -> History:
    """Return a history of the last 90 days; the same for the same seed."""
    random = np.random.default_rng(seed)
    sizes = np.exp(random.normal(6.3, 1.2, segments)).astype(int) + 60
    fares = random.normal(0, (0.4, 0.4, 0.5), (segments, 3))
    mixes = random.dirichlet(np.ones(len(REGIONS)), segments)
    days = random.normal(0, (0.3, 0.3, 0.2), (DAYS, 3))
    days[random.integers(DAYS, size=2), 0] -= 2.5  # a carrier was down
    sendings, parts = [], []
    for number, (day, segment, template, hour) in enumerate(_plan(random, campaigns, segments)):
        # Campaigns are farther apart than the normal distribution knows.
        own = random.standard_t(5, 3) * (0.3, 0.3, 0.35)
        size = max(20, int(sizes[segment] * random.uniform(0.8, 1.2)))
        sending = _describe(number, day, segment, template, size)
        sendings.append(sending)
        fare = fares[segment] + days[day] + own
        parts += _send(random, sending, mix=mixes[segment], hour=hour, fare=fare, pattern=pattern)
    return History(sendings, parts)


def _plan(random: np.random.Generator, campaigns: int, segments: int) -> list[tuple[int, int, int, int]]:
    """Return day, segment, template and hour of each: half in weekly series, the others as they come."""
    plan: list[tuple[int, int, int, int]] = []
    while len(plan) < campaigns // 2:
        fixed = [int(random.integers(most)) for most in (segments, TEMPLATES, len(HOURS))]
        first = int(random.integers(7))
        plan += [(day, fixed[0], fixed[1], HOURS[fixed[2]]) for day in range(first, DAYS, 7)]
    plan = plan[: campaigns // 2]
    while len(plan) < campaigns:
        day, segment, template, hour = (
            int(random.integers(most)) for most in (DAYS, segments, TEMPLATES, len(HOURS))
        )
        plan.append((day, segment, template, HOURS[hour]))
    return plan


def _describe(number: int, day: int, segment: int, template: int, size: int) -> Sending:
    campaign = Campaign(
        id=UUID(int=number + 1),
        name=f"Campaign {number}",
        segment_id=UUID(int=1000 + segment),
        segment=f"Segment {segment}",
        template_id=UUID(int=2000 + template),
        template=f"Template {template}",
        is_template_archived=False,
        channel="whatsapp" if template == TEMPLATES - 1 else "sms",
        started_at=WINDOW.since + timedelta(days=day),
        recipients=size,
    )
    return Sending(campaign, template, segment, number % SENDERS, day)


def _send(
    random: np.random.Generator,
    sending: Sending,
    *,
    mix: NDArray[np.float64],
    hour: int,
    fare: NDArray[np.float64],
    pattern: Pattern,
) -> list[Part]:
    """Return the campaign's messages, two thirds of them within its first hour, the others in the next."""
    parts = []
    for (region, (offset, luck)), share in zip(REGIONS.items(), mix, strict=True):
        for later, in_hour in ((0, 0.67), (1, 0.33)):
            local = (hour + later + offset) % 24
            counts = random.multinomial(int(sending.campaign.recipients * share * in_hour), EARLIER)
            for earlier, sent in enumerate(counts):
                if sent:
                    shift = pattern(sending, region, local, earlier)
                    delivered = random.binomial(sent, _chance(2.6 + luck + fare[0] + shift.delivery))
                    replied = random.binomial(delivered, _chance(-2.8 + luck + fare[1] + shift.reply))
                    stopped = random.binomial(sent, _chance(-5.2 - luck + fare[2] + shift.opt_out))
                    counted = (int(sent), int(delivered), int(replied), int(stopped))
                    parts.append(Part(sending.campaign.id, region, *counted, local, earlier))
    return parts


def _chance(log_odds: float) -> float:
    return float(1 / (1 + np.exp(-log_odds)))


def make_sender_days(seed: int, fading: float = 0.0) -> list[SenderDay]:
    """Return nine weeks of three senders to three countries; `fading`: what the first loses of the log-odds lately."""
    random = np.random.default_rng(seed + 10_000)
    found = []
    own = random.normal(0, 0.3, SENDERS)
    for ago in range(1, 65):
        day = random.normal(0, 0.3, 3) - (2.0 if random.random() < 0.03 else 0.0)
        for sender in range(SENDERS):
            fare = own[sender] + random.standard_t(5) * 0.2
            fare -= fading if sender == 0 and ago <= 7 else 0.0
            for country, luck, common in zip(("US", "GB", "PH"), (0.2, 0.3, -0.7), day, strict=True):
                sent = int(random.poisson(random.uniform(50, 200)))
                delivered = int(random.binomial(sent, _chance(2.6 + luck + common + fare)))
                at = NOW - timedelta(days=ago)
                found.append(SenderDay(at, f"+1415523888{sender}", country, sent, delivered))
    return found
