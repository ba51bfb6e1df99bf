"""From differences between groups to what is told of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from event_stream_engine.insights.campaign_parts import Outcome
from event_stream_engine.insights.campaign_units import ACROSS_SEGMENTS
from event_stream_engine.insights.recommendation import Cell, Evidence, Interval, Recommendation
from event_stream_engine.insights.statistics import Difference, Unit, compare_groups
from event_stream_engine.kernel.stats import percent

LEAST_UNITS = 3  # of a group, and of what it is compared with
LEAST_TRIALS = 200
TOO_LITTLE = (
    f"There is too little to compare: it takes {LEAST_UNITS} campaigns and {LEAST_TRIALS} messages on either side, older"
    " than 72 hours."
)


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Groups of units that were compared by an outcome. `group` and `unit`: what they are, in words."""

    outcome: Outcome
    units: Sequence[Unit]
    found: Sequence[Difference]
    names: Mapping[str, str]
    group: str
    unit: str

    def describe(self, one: Difference) -> str:
        """Say how a group differs, and what the comparison does not take out."""
        what, did = self.outcome.trials, self.outcome.did
        text = (
            f"In {one.units} {self.unit}, {percent(one.hits, one.trials):g} % of {one.trials:,} messages {what} {did}; of the"
            f" {one.others_trials:,} they are compared with, {percent(one.others_hits, one.others_trials):g} %."
            f" With the same channels and regions the difference is between {abs(_nearer(one)):.2g} and"
            f" {abs(_farther(one)):.2g} percentage points."
        )
        if any(unit.stratum.startswith(ACROSS_SEGMENTS) and unit.group == one.group for unit in self.units):
            text += " Part of it is measured between different segments, whose people may differ, too."
        return text

    def show(self) -> Evidence:
        """Return the groups as rows."""
        columns = (
            self.group.capitalize(),
            self.unit.capitalize(),
            self.outcome.trials.capitalize(),
            self.outcome.hits.capitalize(),
            f"{self.outcome.rate.capitalize()}, %",
            "Against the others, points",
            "From",
            "To",
        )
        rows: list[tuple[Cell, ...]] = [
            (
                self.names.get(one.group, one.group),
                one.units,
                one.trials,
                one.hits,
                percent(one.hits, one.trials),
                round(one.effect, 2),
                round(one.low, 2),
                round(one.high, 2),
            )
            for one in self.found
        ]
        return Evidence(columns, tuple(rows))

    def recommend(
        self,
        one: Difference,
        *,
        key: str,
        subject: str,
        title: str,
        advice: str,
        address: str,
        gain: float | None,
        gain_unknown: str | None = None,
    ) -> Recommendation:
        return Recommendation(
            key=key,
            kind=key.partition(":")[0],
            subject=subject,
            title=title,
            text=f"{self.describe(one)} {advice}",
            evidence=self.show(),
            sample_size=one.trials + one.others_trials,
            sample_unit="messages",
            address=address,
            effect=round(one.effect, 2),
            interval=Interval(round(one.low, 2), round(one.high, 2), "%"),
            expected_gain_messages=None if gain is None else round(gain),
            gain_unknown=gain_unknown,
        )


def contrast(
    outcome: Outcome,
    units: Sequence[Unit],
    *,
    told: int,
    group: str,
    unit: str = "campaigns",
    names: Mapping[str, str] | None = None,
) -> Contrasts:
    """Compare the groups that are large enough to say something about.

    `told`: 1 or -1. Two groups that are compared with nothing but each other are mirrors, and one comparison; it is told of
    the one with this sign.
    """
    enough = {
        one.group: one
        for one in compare_groups(units)
        if min(one.units, one.others_units) >= LEAST_UNITS
        and min(one.trials, one.others_trials) >= LEAST_TRIALS
    }
    others = _list_others(units)
    mirrored = {
        one.group
        for one in enough.values()
        for mirror in [enough.get(next(iter(others[one.group])))]
        if mirror is not None
        and others[one.group] == {mirror.group}
        and others[mirror.group] == {one.group}
        and (told * one.effect, one.group) < (told * mirror.effect, mirror.group)
    }
    found = [one for one in enough.values() if one.group not in mirrored]
    return Contrasts(outcome, units, found, names or {}, group, unit)


def _list_others(units: Sequence[Unit]) -> dict[str, set[str]]:
    """Return the groups that each one is compared with."""
    by_stratum: dict[str, set[str]] = defaultdict(set)
    for unit in units:
        if unit.trials:
            by_stratum[unit.stratum].add(unit.group)
    others: dict[str, set[str]] = defaultdict(set)
    for groups in by_stratum.values():
        for group in groups:
            others[group] |= groups - {group}
    return others


def _nearer(one: Difference) -> float:
    return min(one.low, one.high, key=abs)


def _farther(one: Difference) -> float:
    return max(one.low, one.high, key=abs)
