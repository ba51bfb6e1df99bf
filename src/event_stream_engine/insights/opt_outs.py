"""What makes people say STOP: a campaign, a text, an hour, or too many messages."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.campaign_parts import (
    EARLIER_DAYS,
    MOST_EARLIER,
    OPT_OUT,
    Part,
    Sent,
    load_sample,
    load_sent,
)
from event_stream_engine.insights.campaign_units import list_campaign_units, list_cell_units, list_hour_units
from event_stream_engine.insights.contrasts import TOO_LITTLE, Contrasts, contrast
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.outliers import Outlier, find_outlier
from event_stream_engine.insights.recommendation import (
    Comparison,
    Evidence,
    Examination,
    Interval,
    Recommendation,
)
from event_stream_engine.insights.statistics import Difference, Unit
from event_stream_engine.kernel.stats import percent

SQL = load_queries(__package__)
KIND = "opt_out"
LEAST_STOPS = 5  # of a campaign
MOST_SHOWN = 20
WORTH = "Who says STOP is lost for the messages that people get in 30 days; that is the gain."
NO_PEOPLE = "Nobody has opted in at present, so there is nobody to lose."


@dataclass(frozen=True, slots=True)
class _Loss:
    """What a STOP costs: the messages a person gets in 30 days. `sent`: all messages; `reachable`: people."""

    sent: Sent
    reachable: int

    def of(self, stops: float) -> float | None:
        """Return the messages that so many STOPs of the window cost in 30 days."""
        if not self.reachable:
            return None
        messages, _ = OPT_OUT.count(self.sent.parts)
        return self.sent.scale_to_gain_days(stops) * self.sent.scale_to_gain_days(messages) / self.reachable


async def examine(conn: Connection, look: Look) -> Examination:
    """Compare campaigns, templates, hours and frequency by the people who answered with STOP."""
    sent, sample = await load_sent(conn, look), await load_sample(conn, look)
    reachable = await SQL.count_reachable.value(conn) or 0
    return await asyncio.to_thread(compare, sent, sample, reachable)


def compare(sent: Sent, sample: Sent, reachable: int) -> Examination:
    """Compare opt-out rates; `reachable`: the people who may be written to."""
    loss = _Loss(sent, reachable)
    comparisons = [
        *_compare_templates(sent, loss),
        *_compare_hours(sample, loss),
        *_compare_frequencies(sample, loss),
        *_compare_campaigns(sent, loss),
    ]
    return Examination(
        KIND,
        f"STOPs after {len(sent.campaigns)} campaigns, by campaign, template, local hour and the messages of the"
        f" {EARLIER_DAYS} days before",
        comparisons,
        unknown=None if comparisons else TOO_LITTLE,
    )


def _compare_templates(sent: Sent, loss: _Loss) -> list[Comparison]:
    names = {str(one.template_id): one.template for one in sent.campaigns.values()}
    units = list_campaign_units(sent, OPT_OUT, lambda campaign: str(campaign.template_id))
    compared = contrast(OPT_OUT, units, told=1, group="template", names=names)
    return [
        _advise(
            compared,
            one,
            loss,
            what=f"template:{one.group}",
            title=f"Rewrite “{names[one.group]}”: it brings more STOPs than other texts",
            advice="Say who writes and why, and write what people have signed up for.",
            address=f"/campaigns/templates/{one.group}",
        )
        for one in compared.found
    ]


def _compare_hours(sample: Sent, loss: _Loss) -> list[Comparison]:
    compared = contrast(OPT_OUT, list_hour_units(sample, OPT_OUT), told=1, group="local hour")
    return [
        _advise(
            compared,
            one,
            loss,
            what=f"hour:{one.group}",
            title=f"Do not send at {one.group} local time: it brings more STOPs than other hours",
            advice="Campaigns at other hours had other texts, too. A campaign’s quiet hours keep an hour free.",
            address="/campaigns",
        )
        for one in compared.found
    ]


def _compare_frequencies(sample: Sent, loss: _Loss) -> list[Comparison]:
    """Compare people of the same campaign by how often they had been written to."""
    head = f"messages in the {EARLIER_DAYS} days before"
    compared = contrast(OPT_OUT, list_cell_units(sample, OPT_OUT, _name_frequency), told=1, group=head)
    return [
        Comparison(one.p, None)
        if one.group == "0"
        else _advise(
            compared,
            one,
            loss,
            what=f"frequency:{one.group}",
            title=f"Write less often: who got {one.group} messages in {EARLIER_DAYS} days says STOP more often",
            advice="People of the same campaign are compared. Space campaigns out, or leave out who has just got one.",
            address="/campaigns",
        )
        for one in compared.found
    ]


def _name_frequency(part: Part) -> str:
    return f"{part.earlier} or more" if part.earlier == MOST_EARLIER else str(part.earlier)


def _advise(
    compared: Contrasts, one: Difference, loss: _Loss, *, what: str, title: str, advice: str, address: str
) -> Comparison:
    if one.effect <= 0 or not one.is_clear:
        return Comparison(one.p, None)
    messages, _ = OPT_OUT.count(loss.sent.parts)
    share = one.trials / (one.trials + one.others_trials)
    gain = loss.of(messages * share * one.effect / 100)
    return Comparison(
        one.p,
        compared.recommend(
            one,
            key=f"{KIND}:{what}",
            subject=what,
            title=title,
            advice=f"{advice} {WORTH}",
            address=address,
            gain=gain,
            gain_unknown=NO_PEOPLE if gain is None else None,
        ),
    )


def _compare_campaigns(sent: Sent, loss: _Loss) -> list[Comparison]:
    """Look for the one campaign that stands out."""
    units = list_cell_units(sent, OPT_OUT, lambda part: str(part.campaign_id))
    found = find_outlier(units)
    if found is None:
        return []
    return [Comparison(found.p, _advise_campaign(sent, loss, found, units))]


def _advise_campaign(sent: Sent, loss: _Loss, found: Outlier, units: Sequence[Unit]) -> Recommendation | None:
    unit, campaign = found.unit, sent.campaigns[UUID(found.unit.group)]
    if unit.hits < LEAST_STOPS or unit.hits <= found.expected_high:
        return None
    low, middle, high = (
        round(100 * (unit.hits - expected) / unit.trials, 2)
        for expected in (found.expected_high, found.expected, found.expected_low)
    )
    gain = loss.of(unit.hits - found.expected)
    return Recommendation(
        key=f"{KIND}:campaign:{campaign.id}",
        kind=KIND,
        subject=f"campaign:{campaign.id}",
        title=f"Find out why “{campaign.name}” made so many people say STOP",
        text=(
            f"{unit.hits:,} of {unit.trials:,} messages were answered with STOP ({percent(unit.hits, unit.trials):g} %), where"
            f" the {len(units) - 1} other campaigns lead one to expect {found.expected:.0f}, at most {found.expected_high:.0f}."
            f" Before you send “{campaign.template}” to “{campaign.segment}” again, look at what was different. {WORTH}"
        ),
        evidence=_show_campaigns(sent, units),
        sample_size=sum(one.trials for one in units),
        sample_unit="messages",
        address=f"/campaigns/{campaign.id}",
        effect=middle,
        interval=Interval(low, high, "%"),
        expected_gain_messages=None if gain is None else round(gain),
        gain_unknown=NO_PEOPLE if gain is None else None,
    )


def _show_campaigns(sent: Sent, units: Sequence[Unit]) -> Evidence:
    """Return the campaigns with the highest opt-out rates."""
    worst = sorted(units, key=lambda one: (-one.hits / one.trials, one.group))[:MOST_SHOWN]
    return Evidence(
        ("Campaign", "Template", "Segment", "Sent", "STOPs", "Opt-out rate, %"),
        tuple(
            (one.name, one.template, one.segment, unit.trials, unit.hits, percent(unit.hits, unit.trials))
            for unit in worst
            for one in [sent.campaigns[UUID(unit.group)]]
        ),
    )
