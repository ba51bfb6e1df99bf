import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_stream_engine.kernel.stats import (
    change_percent,
    percent,
    sketch_index,
    sketch_percentiles,
    sketch_value,
    wilson,
)

PERCENTS = (1, 50, 75, 90, 95, 99, 100)
WITHIN = 0.01 + 1e-9
durations = st.floats(min_value=0.001, max_value=1e7)


@given(durations)
def test_a_bucket_stands_for_its_durations_within_one_percent(seconds: float) -> None:
    assert sketch_value(sketch_index(seconds)) == pytest.approx(seconds, rel=WITHIN)


@given(st.lists(durations, min_size=1, max_size=200))
def test_percentiles_are_the_nearest_rank_of_the_sorted_list(seconds: list[float]) -> None:
    counts: dict[int, int] = {}
    for each in seconds:
        counts[sketch_index(each)] = counts.get(sketch_index(each), 0) + 1
    ordered = sorted(seconds)
    for name, value in sketch_percentiles(counts, PERCENTS).items():
        rank = math.ceil(int(name[1:]) / 100 * len(ordered))
        assert value == pytest.approx(ordered[rank - 1], rel=WITHIN), name


@given(durations, durations)
def test_a_longer_duration_is_in_no_lower_bucket(one: float, other: float) -> None:
    assert (sketch_index(one) <= sketch_index(other)) or one > other


def test_buckets_without_a_count_do_not_matter() -> None:
    counts = {sketch_index(5): 3}
    assert sketch_percentiles(counts | {-500: 0, 900: 0}, PERCENTS) == sketch_percentiles(counts, PERCENTS)


def test_zero_seconds_share_the_bucket_of_a_millisecond() -> None:
    assert sketch_index(0) == sketch_index(0.0004) == sketch_index(0.001)


def test_nothing_counted_gives_no_percentile() -> None:
    assert sketch_percentiles({}, (50, 95)) == {"p50": None, "p95": None}
    assert sketch_percentiles({7: 0}, (50,)) == {"p50": None}


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(1, 3, 33.33), (2, 3, 66.67), (0, 5, 0.0), (5, 5, 100.0), (0, 0, None)],
)
def test_a_rate_has_two_decimals_and_needs_a_denominator(
    numerator: int, denominator: int, expected: float | None
) -> None:
    assert percent(numerator, denominator) == expected


@pytest.mark.parametrize(
    ("now", "before", "expected"), [(110, 100, 10.0), (1, 3, -66.7), (0, 4, -100.0), (4, 0, None)]
)
def test_a_change_is_relative_to_what_was_before(now: int, before: int, expected: float | None) -> None:
    assert change_percent(now, before) == expected


@pytest.mark.parametrize(
    ("numerator", "denominator", "interval"),
    [
        (95, 100, (88.82, 97.85)),
        (0, 10, (0.0, 27.75)),
        (10, 10, (72.25, 100.0)),
        (1, 1, (20.65, 100.0)),
        (4750, 4950, (95.37, 96.47)),
    ],
)
def test_wilson_agrees_with_published_intervals(
    numerator: int, denominator: int, interval: tuple[float, float]
) -> None:
    assert wilson(numerator, denominator) == interval


@given(st.integers(1, 10**9).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_interval_contains_its_rate_and_stays_between_0_and_100(rate: tuple[int, int]) -> None:
    interval, middle = wilson(*rate), percent(*rate)
    assert interval is not None
    assert middle is not None
    assert 0 <= interval[0] <= middle <= interval[1] <= 100


def test_nothing_has_no_interval() -> None:
    assert wilson(0, 0) is None
