"""Whether a difference is more than chance. Pure.

Messages are not drawn one by one: those of a campaign, or of a day, fare alike. What is compared here is therefore a
`Unit`, the smallest thing that varies by itself, and the test asks how often units dealt out at random would differ as
much. That holds whatever the units' chance looks like, where a test that takes messages for independent finds a
difference in almost every pair of campaigns.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from event_stream_engine.kernel.stats import wilson

_Z_95 = 1.959963984540054  # the normal distribution's 97.5 % quantile
_DEALS = (999, 4_999, 19_999)  # more only where those before left it open
_OPEN_BELOW = 10  # deals as extreme as what was seen
_CHUNK = 1_000  # deals at a time; bounds the memory
_SEED = 1908  # the same rows give the same advice

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


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
    points. `is_apart`: the intervals of the two rates do not overlap, which asks for more. `others_…`: the units it is
    compared with. `p`: of the permutation test, before any correction.
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
    is_apart: bool
    p: float

    @property
    def is_clear(self) -> bool:
        """Tell whether the interval of the effect lies on one side of zero."""
        return self.low > 0 or self.high < 0


def compare_groups(units: Iterable[Unit]) -> list[Difference]:
    """Compare each group with the others, in order of groups; one that shares no stratum with another is left out.

    A rate is weighted by what it is worth: by chance among its messages, and by how much units vary beside that.
    """
    ordered = _list_mixed(units)
    if not ordered:
        return []
    strata = _Strata([len(list(found)) for _, found in groupby(ordered, key=lambda unit: unit.stratum)])
    trials = np.array([unit.trials for unit in ordered], dtype=float)
    hits = np.array([unit.hits for unit in ordered], dtype=float)
    rates = (hits - np.array([unit.expected for unit in ordered])) / trials
    # Half a hit more and half a miss more: a rate of 0 or 1 must not look free of chance.
    share = (hits.sum() + 0.5) / (trials.sum() + 1)
    chance = share * (1 - share) / trials

    weights = 1 / (chance + _find_spread(rates, chance, strata))
    scores = weights * (rates - strata.average(rates, weights))
    groups = sorted({unit.group for unit in ordered})
    slots = [np.array([place for place, unit in enumerate(ordered) if unit.group == one]) for one in groups]
    p_values = _deal([_Standing(weights, scores, strata, places) for places in slots], strata)
    compared = _Compared(ordered, strata, rates, chance)
    return [compared.describe(group, p) for group, p in zip(groups, p_values, strict=True)]


class _Strata:
    """Units that lie side by side, by the size of each stratum."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = np.array(sizes)
        self.starts = self.sizes.cumsum() - self.sizes
        self.of_units = np.repeat(np.arange(len(sizes)), self.sizes)

    def sum(self, values: Numbers) -> Numbers:
        """Return the sum of each stratum."""
        return np.add.reduceat(values, self.starts)

    def average(self, values: Numbers, weights: Numbers) -> Numbers:
        """Return for each unit the weighted mean of its stratum."""
        return np.repeat(self.sum(values * weights) / self.sum(weights), self.sizes)

    def deal(self, random: np.random.Generator, times: int) -> Places:
        """Return the places of units in random order within strata, so many times."""
        keys = random.random((times, len(self.of_units))) + self.of_units
        return np.argsort(keys, axis=1)


def _list_mixed(units: Iterable[Unit]) -> list[Unit]:
    """Return the units of strata in which there is something to compare, stratum by stratum."""
    ordered = sorted(
        (unit for unit in units if unit.trials),
        key=lambda unit: (unit.stratum, unit.group, unit.trials, unit.hits, unit.expected),
    )
    mixed: list[Unit] = []
    for _, found in groupby(ordered, key=lambda unit: unit.stratum):
        stratum = list(found)
        if stratum[0].group != stratum[-1].group:
            mixed += stratum
    return mixed


def _find_spread(rates: Numbers, chance: Numbers, strata: _Strata, fitted: int = 0) -> float:
    """Return the variance of rates between units, beyond the chance among their messages; `fitted`: effects taken out.

    Source: R. DerSimonian, N. Laird, "Meta-analysis in clinical trials", 1986, within strata.
    """
    weights = 1 / chance
    excess = float((weights * (rates - strata.average(rates, weights)) ** 2).sum())
    excess -= len(rates) - len(strata.sizes) - fitted
    scale = float((strata.sum(weights) - strata.sum(weights**2) / strata.sum(weights)).sum())
    return max(0.0, excess / scale)


class _Standing:
    """How far a group stands from the others, for any deal of units into its places.

    What a deal is measured by is the sum of the weighted rates over its standard error, since units weigh differently.
    """

    def __init__(self, weights: Numbers, scores: Numbers, strata: _Strata, places: Places) -> None:
        self.weights, self.scores, self.places = weights, scores, places
        of_places = strata.of_units[places]
        self.starts = np.flatnonzero(np.diff(of_places, prepend=-1))
        self.totals = strata.sum(weights)[of_places[self.starts]]

    def measure(self, deals: Places) -> Numbers:
        dealt = deals[:, self.places]
        shares = np.add.reduceat(self.weights[dealt], self.starts, axis=1)
        error = np.sqrt((shares * (1 - shares / self.totals)).sum(axis=1))
        distance: Numbers = np.abs(self.scores[dealt].sum(axis=1)) / error
        return distance


def _deal(standings: Sequence[_Standing], strata: _Strata) -> list[float]:
    """Return for each group how often units dealt out at random within strata stand as far from the others.

    Source: permutation p-values that count what was seen, B. Phipson, G. K. Smyth, 2010.
    """
    random = np.random.default_rng(_SEED)
    # A deal that only swaps equals is as far, whatever the last digit says.
    seen = [one.measure(np.arange(len(strata.of_units))[None])[0] * (1 - 1e-9) for one in standings]
    farther, p_values = [0] * len(standings), [1.0] * len(standings)
    still_open, done = list(range(len(standings))), 0
    for most in _DEALS:
        while still_open and done < most:
            deals = strata.deal(random, min(_CHUNK, most - done))
            done += len(deals)
            for one in still_open:
                farther[one] += int((standings[one].measure(deals) >= seen[one]).sum())
        for one in still_open:
            p_values[one] = (1 + farther[one]) / (1 + done)
        still_open = [one for one in still_open if farther[one] < _OPEN_BELOW]
    return p_values


@dataclass(frozen=True, slots=True)
class _Compared:
    """Units in order of `strata`; `rates` above expectation; `chance`: the variance of each among its messages."""

    units: Sequence[Unit]
    strata: _Strata
    rates: Numbers
    chance: Numbers

    def describe(self, group: str, p: float) -> Difference:
        """Measure a group against the others, letting units vary as they do once the difference is taken out."""
        is_member = np.array([float(unit.group == group) for unit in self.units])
        is_other = np.repeat(self.strata.sum(is_member) > 0, self.strata.sizes) - is_member
        weights, effect, contrast = 1 / self.chance, 0.0, is_member
        for _ in range(2):  # effect and spread depend on each other; a third round moves neither
            contrast = is_member - self.strata.average(is_member, weights)
            effect = float((weights * contrast * self.rates).sum() / (weights * contrast**2).sum())
            spread = _find_spread(self.rates - effect * is_member, self.chance, self.strata, fitted=1)
            weights = 1 / (self.chance + spread)
        error = float((weights * contrast**2).sum()) ** -0.5
        errors = sum(float((weights * side).sum()) ** -0.5 for side in (is_member, is_other))
        reach = t_95(len(self.units) - len(self.strata.sizes) - 1)
        ours, others = self._count(is_member), self._count(is_other)
        return Difference(
            group,
            *ours,
            *others,
            effect=100 * effect,
            low=100 * (effect - reach * error),
            high=100 * (effect + reach * error),
            is_apart=abs(effect) > reach * errors,
            p=p,
        )

    def _count(self, side: Numbers) -> tuple[int, int, int]:
        counted = [unit for unit, is_in in zip(self.units, side, strict=True) if is_in > 0]
        return len(counted), sum(unit.trials for unit in counted), sum(unit.hits for unit in counted)


def t_95(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's distribution; for fewer than 3 degrees that of 3.

    Source: the Cornish-Fisher expansion; within 1 % from 3 degrees on.
    """
    z, n = _Z_95, max(degrees, 3)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


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


def newcombe(hits: int, trials: int, other_hits: int, other_trials: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a difference of two rates, in percentage points; None when one has no trials.

    For trials that are independent of each other; units that vary as a whole are for `compare_groups`.
    Source: R. G. Newcombe, "Interval estimation for the difference between independent proportions", 1998, method 10.
    """
    one, other = wilson(hits, trials), wilson(other_hits, other_trials)
    if one is None or other is None:
        return None
    rate, other_rate = 100 * hits / trials, 100 * other_hits / other_trials
    down = math.hypot(rate - one[0], other[1] - other_rate)
    up = math.hypot(one[1] - rate, other_rate - other[0])
    return round(rate - other_rate - down, 2), round(rate - other_rate + up, 2)
