"""Whether messages to small or to large segments arrive better."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.insights.campaign_parts import DELIVERY, Sent, load_sent
from event_stream_engine.insights.campaign_units import list_campaign_units
from event_stream_engine.insights.contrasts import TOO_LITTLE, Contrasts, contrast
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import Comparison, Examination, Recommendation
from event_stream_engine.insights.statistics import Difference, Unit

KIND = "segment_size"
BOUNDS = (100, 1_000, 10_000, 100_000)  # people a campaign


async def examine(conn: Connection, look: Look) -> Examination:
    """Compare segments by the people that a campaign to them has."""
    return await asyncio.to_thread(compare, await load_sent(conn, look))


def compare(sent: Sent) -> Examination:
    """Compare segments of a size with all others; a segment is one unit, since its people stay the same."""
    compared = contrast(
        DELIVERY, _list_segment_units(sent), told=1, group="people a campaign", unit="segments"
    )
    return Examination(
        KIND,
        f"{len({one.segment_id for one in sent.campaigns.values()})} segments by size, by delivery rate",
        [Comparison(one.p, _advise(sent, compared, one)) for one in compared.found],
        unknown=None if compared.found else TOO_LITTLE.replace("campaigns", "segments of a size"),
    )


def _list_segment_units(sent: Sent) -> list[Unit]:
    recipients: dict[UUID, list[int]] = defaultdict(list)
    for one in sent.campaigns.values():
        recipients[one.segment_id].append(one.recipients)
    sizes = {str(key): name_size(round(sum(found) / len(found))) for key, found in recipients.items()}
    units = list_campaign_units(sent, DELIVERY, lambda campaign: str(campaign.segment_id))
    return [replace(unit, group=sizes[unit.group]) for unit in units]


def name_size(people: int) -> str:
    """Return the range that a number of people lies in."""
    low = max((bound for bound in BOUNDS if bound <= people), default=0)
    high = min((bound for bound in BOUNDS if bound > people), default=None)
    if high is None:
        return f"{low:,} and more"
    return f"{low:,} to {high - 1:,}" if low else f"fewer than {high:,}"


def _advise(sent: Sent, compared: Contrasts, one: Difference) -> Recommendation | None:
    if not one.is_clear:
        return None
    is_better, points = one.effect > 0, f"{abs(one.effect):.2g} points"
    title = (
        f"Aim at segments of {one.group} people: {points} more of their messages arrive"
        if is_better
        else f"Look into segments of {one.group} people: {points} fewer of their messages arrive"
    )
    advice = (
        "Split or join segments so that campaigns come to this size."
        if is_better
        else "See where their numbers come from and how old they are; what is split up into smaller segments can be stopped earlier."
    )
    moved = one.others_trials if is_better else one.trials
    return compared.recommend(
        one,
        key=f"{KIND}:{one.group}",
        subject=f"segment_size:{one.group}",
        title=title,
        advice=f"{advice} Segments differ in more than their size: this says where to look, not why.",
        address="/audience/segments",
        gain=sent.scale_to_gain_days(moved * abs(one.effect) / 100),
    )
