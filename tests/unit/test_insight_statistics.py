"""Whether a difference is more than chance: exact where it can be, calibrated where it is by chance."""

from itertools import combinations

import numpy as np
import pytest

from event_stream_engine.insights.outliers import LEAST_UNITS, find_outlier
from event_stream_engine.insights.statistics import Unit, compare_groups, holm, newcombe, t_95


def unit(group: str, hits: int, trials: int = 100, stratum: str = "all") -> Unit:
    return Unit(group, stratum, trials, hits, 0.0)


def test_permutation_agrees_with_counting_all_deals() -> None:
    rates = {"a": (90, 88, 93), "b": (70, 85, 80, 78, 91)}
    units = [unit(group, hits) for group, found in rates.items() for hits in found]
    values = [one.hits for one in units]
    seen = abs(sum(values[:3]) / 3 - sum(values[3:]) / 5)
    deals = [abs(sum(chosen) / 3 - (sum(values) - sum(chosen)) / 5) for chosen in combinations(values, 3)]
    exact = sum(one >= seen - 1e-9 for one in deals) / len(deals)
    found = compare_groups(units)[0]
    assert found.p == pytest.approx(exact, abs=0.02)
    assert (found.units, found.trials, found.hits) == (3, 300, 271)
    assert (found.others_units, found.others_trials, found.others_hits) == (5, 500, 404)


def test_same_rows_give_the_same_answer() -> None:
    units = [unit(group, hits) for group, hits in zip("aabbbcc", (50, 60, 40, 41, 39, 70, 75), strict=True)]
    assert compare_groups(units) == compare_groups(list(reversed(units)))


def test_groups_are_compared_within_a_stratum_only() -> None:
    better_people = [unit("a", 95, stratum="good"), unit("a", 94, stratum="good")]
    worse_people = [unit("b", 50, stratum="poor"), unit("b", 52, stratum="poor")]
    assert compare_groups(better_people + worse_people) == []
    mixed = [unit("b", 95, stratum="good"), unit("a", 51, stratum="poor")]
    assert all(abs(one.effect) < 2 for one in compare_groups(better_people + worse_people + mixed))


def test_what_the_make_up_explains_is_no_effect() -> None:
    units = [
        Unit("a", "all", 100, 60 + n, 60.0) for n in (-1, 0, 1)
    ] + [Unit("b", "all", 100, 90 + n, 90.0) for n in (-1, 0, 1)]  # fmt: skip
    assert compare_groups(units)[0].effect == pytest.approx(0, abs=1e-9)


def test_units_without_trials_and_empty_input_are_no_error() -> None:
    assert compare_groups([]) == []
    assert compare_groups([unit("a", 0, trials=0), unit("b", 1)]) == []


def test_rates_of_nothing_and_of_all_have_an_interval() -> None:
    for hits in (0, 100):
        for one in compare_groups([unit(group, hits) for group in "aabb"]):
            assert one.p == 1
            assert one.low < 0 < one.high


def make_units(random: np.random.Generator, base: float, effect: float = 0.0) -> list[Unit]:
    """Return campaigns that vary by far more than the chance among their messages, on days that vary, too."""
    days = random.normal(0, 0.4, 30)
    units = []
    for _ in range(50):
        group = int(random.integers(4))
        odds = base + days[random.integers(30)] + random.standard_t(4) * 0.4 + (effect if group == 0 else 0)
        trials = int(np.exp(random.normal(6, 1))) + 20
        hits = int(random.binomial(trials, 1 / (1 + np.exp(-odds))))
        units.append(Unit(str(group), str(random.integers(3)), trials, hits, 0.0))
    return units


@pytest.mark.parametrize("base", [2.5, -5.0], ids=["delivery", "opt-out"])
def test_p_is_below_five_percent_five_times_in_a_hundred(base: float) -> None:
    found = [
        one for seed in range(60) for one in compare_groups(make_units(np.random.default_rng(seed), base))
    ]
    below = sum(one.p < 0.05 for one in found) / len(found)
    assert 0.02 <= below <= 0.08
    assert sum(one.low <= 0 <= one.high for one in found) / len(found) >= 0.9


def test_a_difference_lies_in_its_interval_and_is_found() -> None:
    found = [compare_groups(make_units(np.random.default_rng(seed), 1.5, -1.5))[0] for seed in range(10)]
    assert all(one.effect < 0 for one in found)
    assert sum(one.p < 0.01 and one.is_clear for one in found) >= 8


def test_holm_agrees_with_the_published_procedure() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_newcombe_agrees_with_published_intervals() -> None:
    # R. G. Newcombe, 1998, table II, method 10.
    assert newcombe(56, 70, 48, 80) == pytest.approx((5.24, 33.39), abs=0.02)
    assert newcombe(9, 10, 3, 10) == pytest.approx((17.05, 80.90), abs=0.02)
    assert newcombe(5, 56, 0, 29) == pytest.approx((-3.81, 19.26), abs=0.02)
    assert newcombe(0, 0, 1, 2) is None


@pytest.mark.parametrize(
    ("degrees", "exact"), [(3, 3.182), (4, 2.776), (10, 2.228), (30, 2.042), (1000, 1.962)]
)
def test_t_is_within_one_percent_of_the_table(degrees: int, exact: float) -> None:
    assert t_95(degrees) == pytest.approx(exact, rel=0.01)


def test_the_unit_that_stands_out_is_found_and_tells_what_was_to_be_expected() -> None:
    units = [Unit(str(n), "", 1000, 5 + n % 3, 10.0) for n in range(LEAST_UNITS)]
    found = find_outlier([*units, Unit("loud", "", 1000, 80, 10.0)])
    assert found is not None
    assert found.unit.group == "loud"
    assert found.expected == pytest.approx(6, abs=0.5)
    assert found.expected_high < 80
    assert found.p < 0.001


def test_few_units_have_no_outlier() -> None:
    assert find_outlier([unit(str(n), n) for n in range(LEAST_UNITS - 1)]) is None


def test_nothing_stands_out_where_units_vary_by_chance() -> None:
    below = 0
    for seed in range(40):
        found = find_outlier([
            Unit(str(n), "", one.trials, one.hits, float(one.trials))
            for n, one in enumerate(make_units(np.random.default_rng(seed), -5.0))
        ])  # fmt: skip
        assert found is not None
        below += found.p < 0.05
    assert below <= 4
