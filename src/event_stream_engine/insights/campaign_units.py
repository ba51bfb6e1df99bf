"""Campaigns as units of a comparison: what they are compared with, and the part of the outcome that is their own.

Campaigns to the same segment go to the same people and are compared with each other. Where all campaigns to a segment are
of one group, nothing within the segment tells the group from the people; then the segment as a whole is one unit, compared
with other such segments.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from event_stream_engine.insights.campaign_parts import Campaign, Outcome, Part, Sent
from event_stream_engine.insights.statistics import Unit

ACROSS_SEGMENTS = "across segments"
LEAST_CELL = 20  # messages of a campaign that have something in common
MAIN_SHARE = 0.8  # of a campaign's messages in one hour: the others are stragglers

Key = TypeVar("Key")
Value = TypeVar("Value")


def list_campaign_units(sent: Sent, outcome: Outcome, group_of: Callable[[Campaign], str]) -> list[Unit]:
    """Return campaigns as units, grouped by what they have in common."""
    count = _counter(sent, outcome)
    return place_units(
        {
            campaign: count(parts, group_of(campaign), "")
            for campaign, parts in _split(sent.parts, lambda part: sent.campaigns[part.campaign_id]).items()
        }
    )


def list_cell_units(sent: Sent, outcome: Outcome, group_of: Callable[[Part], str | None]) -> list[Unit]:
    """Return what campaigns have in each group as units in the campaign's stratum, without what is small or None."""
    count = _counter(sent, outcome)
    cells = _split(sent.parts, lambda part: (part.campaign_id, group_of(part)))
    units = [
        count(parts, group, str(campaign_id))
        for (campaign_id, group), parts in cells.items()
        if group is not None
    ]
    return [unit for unit in units if unit.trials >= LEAST_CELL]


def list_hour_units(sent: Sent, outcome: Outcome) -> list[Unit]:
    """Return campaigns by local hour: those sent in one hour against each other, others within themselves."""
    cells = list_cell_units(sent, outcome, lambda part: None if part.hour is None else f"{part.hour:02}:00")
    main: dict[Campaign, Unit] = {}
    units: list[Unit] = []
    for stratum, found in _split(cells, lambda unit: unit.stratum).items():
        largest = max(found, key=lambda unit: unit.trials)
        if largest.trials >= MAIN_SHARE * sum(unit.trials for unit in found):
            main[sent.campaigns[UUID(stratum)]] = largest
        else:
            units += found
    return units + place_units(main)


def place_units(by_campaign: Mapping[Campaign, Unit]) -> list[Unit]:
    """Return campaigns' units in the stratum of their segment, or their segment as one unit across segments."""
    placed: list[Unit] = []
    for segment_id, campaigns in _split(by_campaign, lambda campaign: campaign.segment_id).items():
        units = [by_campaign[campaign] for campaign in campaigns]
        if len({unit.group for unit in units}) > 1:
            placed += [replace(unit, stratum=str(segment_id)) for unit in units]
        else:
            placed.append(merge_units(units, units[0].group, ACROSS_SEGMENTS))
    return placed


def merge_units(units: Sequence[Unit], group: str, stratum: str) -> Unit:
    """Return units as one."""
    return Unit(
        group,
        stratum,
        sum(unit.trials for unit in units),
        sum(unit.hits for unit in units),
        sum(unit.expected for unit in units),
    )


def _counter(sent: Sent, outcome: Outcome) -> Callable[[Sequence[Part], str, str], Unit]:
    """Return what makes a unit of parts, in a group and a stratum."""
    shares = sent.expect(outcome)

    def count(parts: Sequence[Part], group: str, stratum: str) -> Unit:
        expected = sum(getattr(part, outcome.trials) * shares[sent.find_mix(part)] for part in parts)
        return Unit(group, stratum, *outcome.count(parts), expected)

    return count


def _split(values: Iterable[Value], key_of: Callable[[Value], Key]) -> dict[Key, list[Value]]:
    found: dict[Key, list[Value]] = defaultdict(list)
    for value in values:
        found[key_of(value)].append(value)
    return found
