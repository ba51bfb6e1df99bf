"""Templates that arrive or are answered less than others, or more, with the same people."""

import asyncio

from event_stream_engine.infra.database import Connection
from event_stream_engine.insights.campaign_parts import DELIVERY, REPLY, Campaign, Sent, load_sent
from event_stream_engine.insights.campaign_units import list_campaign_units
from event_stream_engine.insights.contrasts import TOO_LITTLE, Contrasts, contrast
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import Comparison, Examination, Recommendation
from event_stream_engine.insights.statistics import Difference

KIND = "template"


async def examine(conn: Connection, look: Look) -> Examination:
    """Compare the templates of settled campaigns."""
    return await asyncio.to_thread(compare, await load_sent(conn, look))


def compare(sent: Sent) -> Examination:
    """Compare each template with the others that went to the same segments."""
    templates = {str(one.template_id): one for one in sent.campaigns.values()}
    names = {key: one.template for key, one in templates.items()}
    comparisons: list[Comparison] = []
    for outcome in (DELIVERY, REPLY):
        units = list_campaign_units(sent, outcome, lambda campaign: str(campaign.template_id))
        compared = contrast(outcome, units, told=-1, group="template", names=names)
        comparisons += [
            Comparison(one.p, _advise(sent, compared, one, templates[one.group])) for one in compared.found
        ]
    return Examination(
        KIND,
        f"{len(templates)} templates in {len(sent.campaigns)} campaigns, by delivery rate and by reply rate",
        comparisons,
        unknown=None if comparisons else TOO_LITTLE,
    )


def _advise(sent: Sent, compared: Contrasts, one: Difference, user: Campaign) -> Recommendation | None:
    if user.is_template_archived or not one.is_clear:
        return None
    is_worse, is_delivery = one.effect < 0, compared.outcome is DELIVERY
    points = f"{abs(one.effect):.2g} points"
    if is_worse:
        title = (
            f"Rewrite “{user.template}”: its {compared.outcome.rate} is {points} lower than with other texts"
        )
        advice = (
            "Look at its links, its words and its length, and at the error codes of its campaigns."
            if is_delivery
            else "Ask for something that is easily answered, and say earlier what it is about."
        )
    else:
        title = (
            f"Prefer “{user.template}”: its {compared.outcome.rate} is {points} higher than with other texts"
        )
        advice = "Use it, or what is different about it, where others are sent to the same people."
    moved = one.trials if is_worse else one.others_trials
    return compared.recommend(
        one,
        key=f"{KIND}:{compared.outcome.slug}:{user.template_id}",
        subject=f"template:{user.template_id}",
        title=title,
        advice=advice,
        address=f"/campaigns/templates/{user.template_id}",
        gain=sent.scale_to_gain_days(moved * abs(one.effect) / 100),
    )
