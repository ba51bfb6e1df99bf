"""Campaigns as units of a comparison: what they are compared with, and the part of the outcome that is their own.

Campaigns of one channel to the same segment go to the same people and are compared with each other. Where all of them are
of one group, nothing within the segment tells the group from the people; then they are one unit together, compared with
other such segments. For hours there is a level below: campaigns with the same text. A weekly series with a text and an hour
of its own is thus one unit, however often it was sent, and what its text does is not taken for what the hour does.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from event_stream_engine.insights.campaign_parts import Campaign, Outcome, Part, Sent
from event_stream_engine.insights.statistics import Unit

ACROSS_SEGMENTS = "across segments"
LEAST_CELL = 20  # messages of a campaign that have something in common
MAIN_SHARE = 0.5  # of a campaign's messages in one hour: the others came late

# What keeps units from being compared at all, then ever closer: the segment, the text.
Levels = tuple[str, ...]
Key = TypeVar("Key")
Value = TypeVar("Value")


def list_campaign_units(sent: Sent, outcome: Outcome, group_of: Callable[[Campaign], str]) -> list[Unit]:
    """Return campaigns as units, grouped by what they have in common."""
    count = _counter(sent, outcome)
    units = []
    for campaign_id, parts in _split(sent.parts, lambda part: part.campaign_id).items():
        campaign = sent.campaigns[campaign_id]
        levels = (campaign.channel, str(campaign.segment_id))
        units.append((levels, count(parts, group_of(campaign))))
    return _place(units)


def list_cell_units(sent: Sent, outcome: Outcome, group_of: Callable[[Part], str]) -> list[Unit]:
    """Return what campaigns have in each group as units in the campaign's stratum, without what is small."""
    count = _counter(sent, outcome)
    cells = _split(sent.parts, lambda part: (part.campaign_id, group_of(part)))
    units = [count(parts, group, str(campaign_id)) for (campaign_id, group), parts in cells.items()]
    return [unit for unit in units if unit.trials >= LEAST_CELL]


def list_hour_units(sent: Sent, outcome: Outcome) -> list[Unit]:
    """Return campaigns by local hour, region by region, because within a campaign the hour follows from the region.

    What was sent mostly in one hour is compared with other campaigns, what was sent over several within itself.
    """
    count = _counter(sent, outcome)
    whole: list[tuple[Levels, Unit]] = []
    spread: list[Unit] = []
    known = [part for part in sent.parts if part.hour is not None]
    for (campaign_id, region), parts in _split(known, lambda part: (part.campaign_id, part.region)).items():
        units = [
            count(found, f"{hour:02}:00", f"{campaign_id} {region}")
            for hour, found in _split(parts, lambda part: part.hour).items()
        ]
        enough = [unit for unit in units if unit.trials >= LEAST_CELL]
        main = max(units, key=lambda unit: unit.trials)
        if main.trials < MAIN_SHARE * sum(unit.trials for unit in units):
            spread += enough
        elif main in enough:
            campaign = sent.campaigns[campaign_id]
            apart = f"{campaign.channel} {region}"
            whole.append(((apart, str(campaign.segment_id), str(campaign.template_id)), main))
    return spread + _place(whole)


def _place(units: Sequence[tuple[Levels, Unit]]) -> list[Unit]:
    """Return units in the lowest stratum where there is another group, merged where there is none below."""
    placed: list[Unit] = []
    while units:
        alone: list[tuple[Levels, Unit]] = []
        for levels, found in _split(units, lambda one: one[0]).items():
            housed = [unit for _, unit in found]
            stratum = " ".join(levels) if levels[1:] else f"{ACROSS_SEGMENTS} {levels[0]}"
            if len({unit.group for unit in housed}) > 1:
                placed += [replace(unit, stratum=stratum) for unit in housed]
            elif levels[1:]:
                alone.append((levels[:-1], _merge(housed)))
        units = alone
    return placed


def _merge(units: Sequence[Unit]) -> Unit:
    return Unit(
        units[0].group,
        "",
        sum(unit.trials for unit in units),
        sum(unit.hits for unit in units),
        sum(unit.expected for unit in units),
    )


class _Count(Protocol):
    def __call__(self, parts: Sequence[Part], group: str, stratum: str = "") -> Unit: ...


def _counter(sent: Sent, outcome: Outcome) -> _Count:
    """Return what makes a unit of parts, in a group and a stratum."""
    shares = sent.expect(outcome)

    def count(parts: Sequence[Part], group: str, stratum: str = "") -> Unit:
        expected = sum(getattr(part, outcome.trials) * shares[sent.find_mix(part)] for part in parts)
        return Unit(group, stratum, *outcome.count(parts), expected)

    return count


def _split(values: Iterable[Value], key_of: Callable[[Value], Key]) -> dict[Key, list[Value]]:
    found: dict[Key, list[Value]] = defaultdict(list)
    for value in values:
        found[key_of(value)].append(value)
    return found
