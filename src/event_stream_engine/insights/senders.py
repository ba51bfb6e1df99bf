"""Senders that fade: whose messages arrive less often than they did, while those of others go on arriving.

A sender is compared with its own past by days, because messages of one day fare alike, and by weekdays, which differ in
what is sent. What is expected of a day is what the other senders reached on it, country by country: a bad day of a carrier
is nobody's fault, and another mix of countries is no change of the sender.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import (
    GAIN_DAYS,
    Comparison,
    Evidence,
    Examination,
    Interval,
    Recommendation,
)
from event_stream_engine.insights.statistics import Difference, Unit, compare_groups
from event_stream_engine.kernel.stats import percent

SQL = load_queries(__package__)
PAST, RECENT = "before", "lately"
PAST_DAYS, RECENT_DAYS = 56, 7
SETTLED_DAYS = 1  # younger messages are still under way
LEAST_SENT = 20  # on a day
LEAST_DAYS = {PAST: 14, RECENT: 4}
LEAST_OTHERS = 50
LEAST_LOSS_POINTS = 1.0  # a smaller one is not worth another sender


@dataclass(frozen=True, slots=True)
class SenderDay:
    """What became of a sender's messages to a country on a day."""

    day: datetime
    sender: str
    country: str
    sent: int
    delivered: int


async def examine(conn: Connection, look: Look) -> Examination:
    """Compare the last week of each sender with the eight before."""
    until = _midnight(look.now, look.zone, SETTLED_DAYS)
    since = _midnight(look.now, look.zone, SETTLED_DAYS + RECENT_DAYS + PAST_DAYS)
    days = await SQL.list_sender_days.many(conn, SenderDay, {"since": since, "until": until})
    recent_since = _midnight(look.now, look.zone, SETTLED_DAYS + RECENT_DAYS)
    return await asyncio.to_thread(compare, days, recent_since, look.zone)


def compare(days: Sequence[SenderDay], recent_since: datetime, zone: ZoneInfo) -> Examination:
    """Compare each sender's days since an instant with those before."""
    by_sender: dict[str, list[SenderDay]] = defaultdict(list)
    for one in days:
        by_sender[one.sender].append(one)
    everybody = _add_up(days)
    comparisons = []
    for sender, own in sorted(by_sender.items()):
        units = _list_units(own, everybody, recent_since, zone)
        groups = Counter(unit.group for unit in units)
        if all(groups[name] >= least for name, least in LEAST_DAYS.items()):
            found = next((one for one in compare_groups(units) if one.group == RECENT), None)
            if found is not None:
                comparisons.append(Comparison(found.p, _advise(sender, found, own, recent_since)))
    return Examination(
        "sender",
        f"{len(comparisons)} senders by delivery rate, the last {RECENT_DAYS} days against the {PAST_DAYS} before",
        comparisons,
        unknown=None
        if comparisons
        else f"No sender sent {LEAST_SENT} messages a day on {LEAST_DAYS[RECENT]} of the last {RECENT_DAYS} days and on"
        f" {LEAST_DAYS[PAST]} of the {PAST_DAYS} before.",
    )


def _list_units(
    own: Sequence[SenderDay],
    everybody: dict[tuple[datetime, str], list[int]],
    recent_since: datetime,
    zone: ZoneInfo,
) -> list[Unit]:
    by_country: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for one in own:
        by_country[one.country][0] += one.sent
        by_country[one.country][1] += one.delivered
    by_day: dict[datetime, list[SenderDay]] = defaultdict(list)
    for one in own:
        by_day[one.day].append(one)
    units = []
    for day, ones in by_day.items():
        sent, expected = sum(one.sent for one in ones), 0.0
        if sent < LEAST_SENT:
            continue
        for one in ones:
            others_sent = everybody[day, one.country][0] - one.sent
            others_delivered = everybody[day, one.country][1] - one.delivered
            if others_sent < LEAST_OTHERS:
                others_sent, others_delivered = by_country[one.country]
            expected += one.sent * others_delivered / others_sent
        group = RECENT if day >= recent_since else PAST
        weekday = f"{day.astimezone(zone):%A}"
        units.append(Unit(group, weekday, sent, sum(one.delivered for one in ones), expected))
    return units


def _add_up(days: Sequence[SenderDay]) -> dict[tuple[datetime, str], list[int]]:
    found: dict[tuple[datetime, str], list[int]] = defaultdict(lambda: [0, 0])
    for one in days:
        found[one.day, one.country][0] += one.sent
        found[one.day, one.country][1] += one.delivered
    return found


def _advise(
    sender: str, found: Difference, own: Sequence[SenderDay], recent_since: datetime
) -> Recommendation | None:
    now, before = 100 * found.hits / found.trials, 100 * found.others_hits / found.others_trials
    # Against the others alone it would seem to fade when they improve; against its past alone, when nobody does well.
    if max(found.effect, now - before) > -LEAST_LOSS_POINTS:
        return None
    lost_a_day = found.trials * -found.effect / 100 / RECENT_DAYS
    return Recommendation(
        key=f"sender:{sender}",
        kind="sender",
        subject=f"sender:{sender}",
        title=f"Messages from {sender} arrive less and less: use another sender, and find out why",
        text=(
            f"{now:.1f} % of {found.trials:,} messages of the last {RECENT_DAYS} days arrived, {before:.1f} % of {found.others_trials:,}"
            f" in the {PAST_DAYS} days before. Other senders and the mix of countries do not explain it. Numbers that carriers have"
            " marked fade like this: look at its registration, its opt-outs and its error codes."
        ),
        evidence=_gather(own, recent_since),
        sample_size=found.trials + found.others_trials,
        sample_unit="messages",
        address=f"/insights/failures?sender={sender.replace('+', '%2B')}",
        effect=round(found.effect, 2),
        interval=Interval(round(found.low, 2), round(found.high, 2), "%"),
        expected_gain_messages=round(lost_a_day * GAIN_DAYS),
    )


def _gather(own: Sequence[SenderDay], recent_since: datetime) -> Evidence:
    """Return the sender's weeks, the last one first."""
    weeks: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for one in own:
        ago = (recent_since - one.day) // timedelta(days=RECENT_DAYS) + 1 if one.day < recent_since else 0
        weeks[ago][0] += one.sent
        weeks[ago][1] += one.delivered
    rows = []
    for ago, (sent, delivered) in sorted(weeks.items()):
        name = f"last {RECENT_DAYS} days" if ago == 0 else f"{ago} week{'s' if ago > 1 else ''} before"
        rows.append((name, sent, delivered, percent(delivered, sent)))
    return Evidence(("Days", "Sent", "Delivered", "Delivery rate, %"), tuple(rows))


def _midnight(now: datetime, zone: ZoneInfo, days_ago: int) -> datetime:
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return (today - timedelta(days=days_ago)).astimezone(now.tzinfo)
