"""The hours, by the recipients' clocks, at which messages arrive and are answered best, for everybody and by segment.

What was sent over several hours is compared within itself, what was sent in one with other campaigns, see
`campaign_units.list_hour_units`. There is no holdout: nobody was sent at another hour for the sake of comparison, and the
text says so.
"""

import asyncio
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.insights.campaign_parts import (
    DELIVERY,
    REPLY,
    SAMPLED_MESSAGES,
    Sent,
    load_sample,
    load_sent,
)
from event_stream_engine.insights.campaign_units import list_hour_units
from event_stream_engine.insights.contrasts import TOO_LITTLE, Contrasts, contrast
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import Comparison, Examination, Recommendation
from event_stream_engine.insights.statistics import Difference

KIND = "send_hour"
MOST_SEGMENTS = 3
LEAST_CAMPAIGNS = 12  # to a segment, to be looked at by itself
NO_HOLDOUT = (
    "Nobody was sent at another hour to find out, and campaigns at other hours had other texts, too: try it with the next"
    " campaigns before you rely on it."
)


async def examine(conn: Connection, look: Look) -> Examination:
    """Compare local hours by messages drawn at random from each campaign."""
    sent = await load_sent(conn, look)
    return await asyncio.to_thread(compare, sent, await load_sample(conn, look))


def compare(sent: Sent, sample: Sent) -> Examination:
    """Compare the hours of a sample; `sent`: all messages, to tell how many a change would move."""
    segments = _list_segments(sample)
    comparisons: list[Comparison] = []
    for segment_id in (None, *segments):
        scope = sample if segment_id is None else sample.only(segment_id)
        volume = sent if segment_id is None else sent.only(segment_id)
        for outcome in (DELIVERY, REPLY):
            compared = contrast(
                outcome, list_hour_units(scope, outcome), told=1, group="local hour", unit="campaigns"
            )
            comparisons += [
                Comparison(one.p, _advise(volume, compared, one, segment_id)) for one in compared.found
            ]
    return Examination(
        KIND,
        f"local hours of {len(sample.campaigns)} campaigns, up to {SAMPLED_MESSAGES:,} messages each, for everybody"
        f" and {len(segments)} segments, by delivery rate and by reply rate",
        comparisons,
        unknown=None if comparisons else TOO_LITTLE.replace("campaigns", "campaigns at an hour"),
    )


def _list_segments(sample: Sent) -> list[UUID]:
    """Return the segments that most campaigns went to."""
    campaigns: dict[UUID, int] = {}
    for one in sample.campaigns.values():
        campaigns[one.segment_id] = campaigns.get(one.segment_id, 0) + 1
    enough = [key for key, count in campaigns.items() if count >= LEAST_CAMPAIGNS]
    return sorted(enough, key=lambda key: (-campaigns[key], key))[:MOST_SEGMENTS]


def _advise(
    volume: Sent, compared: Contrasts, one: Difference, segment_id: UUID | None
) -> Recommendation | None:
    if one.effect <= 0 or not one.is_clear or not one.is_apart:
        return None
    whom, subject = "", "everybody"
    if segment_id is not None:
        segment = next(found.segment for found in volume.campaigns.values())
        whom, subject = f" to “{segment}”", f"segment:{segment_id}"
    trials, _ = compared.outcome.count(volume.parts)
    elsewhere = trials * one.others_trials / (one.trials + one.others_trials)
    return compared.recommend(
        one,
        key=f"{KIND}:{compared.outcome.slug}:{segment_id or 'all'}:{one.group}",
        subject=subject,
        title=f"Send{whom} at {one.group} local time: the {compared.outcome.rate} is {one.effect:.2g} points higher",
        advice=NO_HOLDOUT,
        address="/campaigns" if segment_id is None else f"/audience/segments/{segment_id}",
        gain=volume.scale_to_gain_days(elsewhere * one.effect / 100),
    )
