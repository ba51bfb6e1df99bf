"""Whether a difference is more than chance. Pure.

Messages are not drawn one by one: those of a campaign, or of a day, fare alike. What is compared here is therefore a
`Unit`, the smallest thing that varies by itself, and the test asks how often units dealt out at random would differ as
much. That holds whatever the units' chance looks like, where a test that takes messages for independent finds a
difference in almost every pair of campaigns.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that varies as a whole, like a campaign: `hits` of `trials`, in a `group` that is compared with others.

    `stratum`: only units of one stratum are compared. `expected`: the hits that its make-up, like its countries, would
    lead one to expect; only differences between units' expectations matter.
    """

    group: str
    stratum: str
    trials: int
    hits: int
    expected: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A group against the other groups of its strata.

    `effect`, `low`, `high`: difference of rates, the group's minus the others', with its 95 % interval, in percentage
    points. `others_…`: the units it is compared with. `p`: of the permutation test, before any correction.
    """

    group: str
    units: int
    trials: int
    hits: int
    others_units: int
    others_trials: int
    others_hits: int
    effect: float
    low: float
    high: float
    p: float


def compare_groups(units: Sequence[Unit]) -> list[Difference]:
    """Compare each group with the others, in order of groups; groups that share no stratum with another are left out."""
    raise NotImplementedError


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for having made all these comparisons, in the same order.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979. Holds however they depend on each other.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def newcombe(hits: int, trials: int, other_hits: int, other_trials: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two rates of independent trials, in percentage points.

    Source: R. G. Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10.
    """
    raise NotImplementedError
