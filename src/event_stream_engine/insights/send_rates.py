"""Send rates: faster than the provider or the carriers take is slower in the end, because what overflows is lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID

from event_stream_engine.analytics.durations import Durations, load_durations
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import (
    GAIN_DAYS,
    Action,
    Evidence,
    Examination,
    Interval,
    Recommendation,
)
from event_stream_engine.kernel.stats import percent, wilson
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
# Said of a message because there were too many at once: by the provider's API, by the sender's queue, by US carriers.
OVERLOAD_CODES = (20429, 21611, 30001, 30022, 30023, 30036, 63018)
LEAST_REFUSED = 20
LEAST_PERCENT = 1.0
LEAST_HANDED_OVER = 200
LONG_QUEUE_SECONDS = 600.0  # a campaign has hours, but what waits can drift into quiet hours or expire


@dataclass(frozen=True, slots=True)
class Pace:
    """A quarter-hour of a sender. `seconds`: those in which anything was handed over; `refused`: failed or put off for want of
    room, `lost` of these: failed."""

    sender: str
    bucket: datetime
    handed_over: int
    seconds: int
    refused: int
    lost: int

    @property
    def per_second(self) -> float:
        return self.handed_over / self.seconds


@dataclass(frozen=True, slots=True)
class Band:
    """Quarter-hours in which about so many messages a second were handed over: from `low` to below `high`."""

    low: int
    high: int
    handed_over: int
    refused: int
    quarters: int

    @property
    def has_room(self) -> bool:
        return self.refused * 100 < LEAST_PERCENT * self.handed_over


@dataclass(frozen=True, slots=True)
class OpenRate:
    """A campaign that is or will be sent."""

    id: UUID
    name: str
    state: str
    rate_per_second: int


async def examine(conn: Connection, look: Look) -> Examination:
    """Advise a rate for each sender that sent faster than was taken."""
    window = Window(look.now - timedelta(days=GAIN_DAYS), look.now)
    asked = {"since": window.since, "until": window.until, "codes": list(OVERLOAD_CODES)}
    paces = await SQL.list_paces.many(conn, Pace, asked)
    facts = []
    senders = {sender: list(ones) for sender, ones in groupby(paces, lambda one: one.sender)}
    for sender, quarters in senders.items():
        queue = (await load_durations(conn, Scope(window, sender=sender), ("queue",)))["queue"]
        rate = choose_rate(quarters, queue)
        if rate is not None:
            faster = await list_open_rates(conn, sender, rate)
            facts.append(_advise(sender, quarters, queue, rate, faster))
    looked_at = (
        f"the pace of {len(senders)} sender{'' if len(senders) == 1 else 's'} in {GAIN_DAYS} days, for {LEAST_PERCENT:g} % refused for want of room or"
        f" {LONG_QUEUE_SECONDS / 60:.0f} minutes in the provider’s queue"
    )
    unknown = None if senders else f"No campaign was sent in {GAIN_DAYS} days."
    return Examination("send_rate", looked_at, facts=facts, unknown=unknown)


async def list_open_rates(conn: Connection, sender: str, rate: int) -> list[OpenRate]:
    """Return the campaigns of a sender that are or will be sent faster than a rate."""
    return await SQL.list_open_rates.many(conn, OpenRate, {"sender": sender, "rate_per_second": rate})


def choose_rate(quarters: Sequence[Pace], queue: Durations) -> int | None:
    """Return the messages a second that are taken, None when the present pace is."""
    handed_over, refused = sum(one.handed_over for one in quarters), sum(one.refused for one in quarters)
    if handed_over < LEAST_HANDED_OVER:
        return None
    share = wilson(min(refused, handed_over), handed_over)
    if refused >= LEAST_REFUSED and share is not None and share[0] >= LEAST_PERCENT:
        # The fastest band below the first that overflowed: what went well far above it was luck.
        bands = list_bands(quarters)
        overflowed = next((place for place, band in enumerate(bands) if not band.has_room), len(bands))
        fitting = bands[:overflowed]
        return fitting[-1].high - 1 if fitting else max(1, bands[0].low // 2)
    waited = queue.percentiles["p95"]
    if waited is None or waited < LONG_QUEUE_SECONDS or queue.count < LEAST_HANDED_OVER:
        return None
    busiest = max(quarters, key=lambda one: one.handed_over)
    # What was handed over in these seconds left the queue so much later: the provider's own pace.
    return max(1, int(busiest.handed_over / (busiest.seconds + waited)))


def list_bands(quarters: Sequence[Pace]) -> list[Band]:
    """Return quarter-hours by their pace, each band twice as fast as the one before."""
    bands: dict[int, list[Pace]] = {}
    for one in quarters:
        bands.setdefault(max(1, int(one.per_second)).bit_length(), []).append(one)
    return [
        Band(
            1 << (place - 1),
            1 << place,
            sum(one.handed_over for one in ones),
            sum(one.refused for one in ones),
            len(ones),
        )
        for place, ones in sorted(bands.items())
    ]


def _advise(
    sender: str, quarters: Sequence[Pace], queue: Durations, rate: int, faster: Sequence[OpenRate]
) -> Recommendation:
    handed_over, refused = sum(one.handed_over for one in quarters), sum(one.refused for one in quarters)
    share = wilson(min(refused, handed_over), handed_over)
    lost, waited = sum(one.lost for one in quarters), queue.percentiles["p95"]
    wait = "" if waited is None else f" 95 % left the provider’s queue within {waited:,.0f} s."
    campaigns = f"{len(faster):,} campaigns" if len(faster) != 1 else "1 campaign"
    return Recommendation(
        key=f"send_rate:{sender}",
        kind="send_rate",
        subject=f"sender:{sender}",
        title=f"Send at most {rate:,} messages a second from {sender}",
        text=(
            f"{refused:,} of {handed_over:,} messages were refused or put off in {GAIN_DAYS} days because there were too many at"
            f" once ({', '.join(map(str, OVERLOAD_CODES))}).{wait} Below this pace there was room."
        ),
        evidence=Evidence(
            ("Messages a second", "Quarter-hours", "Handed over", "Refused or put off", "Share, %"),
            tuple(
                (
                    f"{band.low:,} to {band.high - 1:,}" if band.high - band.low > 1 else f"{band.low}",
                    band.quarters,
                    band.handed_over,
                    band.refused,
                    percent(band.refused, band.handed_over),
                )
                for band in list_bands(quarters)
            ),
        ),
        sample_size=handed_over,
        sample_unit="messages",
        address=f"/insights/failures?sender={sender.replace('+', '%2B')}"
        + "".join(f"&code={code}" for code in OVERLOAD_CODES),
        effect=percent(refused, handed_over),
        interval=None if share is None else Interval(*share, "%"),
        expected_gain_messages=lost or None,
        gain_unknown=None
        if lost
        else "Nothing was lost: what was put off or waited was sent later. What is gained is time.",
        action=Action(
            "lower_rate",
            f"Lower {campaigns} to {rate:,} a second",
            {"sender": sender, "rate_per_second": str(rate)},
        )
        if faster
        else None,
    )
