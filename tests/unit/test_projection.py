"""Capacity is projected within its interval where the future is known, and not at all from too little."""

import random
from collections.abc import Callable
from statistics import fmean

import pytest

from event_stream_engine.insights.projection import (
    HORIZON_DAYS,
    LAST_WEEK,
    LEAST_DAYS,
    project,
)

HISTORIES = 200
SEASON = (1.3, 1.25, 1.2, 1.2, 1.1, 0.55, 0.4)
Noise = Callable[[random.Random, float, float], float]


def steady(rng: random.Random, _mean: float, _before: float) -> float:
    return rng.gauss(0, 150)


def leaning(rng: random.Random, _mean: float, before: float) -> float:
    """A day leans on the day before it."""
    return 0.7 * before + rng.gauss(0, 150)


def bursting(rng: random.Random, mean: float, _before: float) -> float:
    """One day in five has a campaign, the others next to nothing."""
    return mean * ((3.25 if rng.random() < 0.2 else 0.4375) * rng.uniform(0.6, 1.4) - 1)


KINDS: dict[str, tuple[float, bool, Noise]] = {
    "flat": (0, False, steady),
    "linear": (6, False, steady),
    "seasonal": (3, True, steady),
    "falling": (-1.5, True, steady),
    "leaning": (3, True, leaning),
    "in bursts": (2, False, bursting),
}


def make_history(kind: str, days: int, rng: random.Random) -> list[float]:
    slope, has_season, make_noise = KINDS[kind]
    history, noise = [], 0.0
    for day in range(days):
        mean = (1000 + slope * day) * (SEASON[day % 7] if has_season else 1)
        noise = make_noise(rng, mean, noise)
        history.append(max(0.0, mean + noise))
    return history


@pytest.mark.parametrize("days", [28, 47, 90, 182])
@pytest.mark.parametrize("kind", KINDS)
def test_truth_lies_in_nine_of_ten_intervals(kind: str, days: int) -> None:
    rng = random.Random(f"{kind} {days}")
    week_hits = sum_hits = day_hits = 0
    for _ in range(HISTORIES):
        history = make_history(kind, days + HORIZON_DAYS, rng)
        known, ahead = history[:days], history[days:]
        found = project(known, least=0.0)
        assert found is not None
        week = found.estimate_mean(*LAST_WEEK)
        week_hits += week.low <= fmean(ahead[-7:]) <= week.high
        whole = found.estimate_mean(1, HORIZON_DAYS)
        sum_hits += whole.low <= fmean(ahead) <= whole.high
        day = found.estimate_day(10)
        day_hits += day.low <= ahead[9] <= day.high
    for hits in (week_hits, sum_hits, day_hits):
        assert hits / HISTORIES >= 0.84, (kind, days, week_hits, sum_hits, day_hits)
    # Wide enough to be right and narrow enough to say something.
    assert min(week_hits, sum_hits) / HISTORIES <= 0.98


def test_less_than_four_weeks_is_too_little() -> None:
    assert project([100.0] * 10) is None
    assert project([100.0] * (LEAST_DAYS - 1)) is None
    assert project([100.0] * LEAST_DAYS) is not None


def test_straight_line_is_followed_exactly() -> None:
    found = project([50 + 2.0 * day for day in range(70)])
    assert found is not None
    last = found.estimate_mean(*LAST_WEEK)
    expected = fmean(50 + 2.0 * day for day in range(70 + HORIZON_DAYS - 7, 70 + HORIZON_DAYS))
    assert last.low == pytest.approx(last.value) == pytest.approx(last.high) == pytest.approx(expected)


def test_season_of_the_week_falls_on_the_right_days() -> None:
    history = [100.0 * SEASON[day % 7] for day in range(61)]  # it ends in the middle of a week
    found = project(history)
    assert found is not None
    for ahead in range(1, 15):
        assert found.estimate_day(ahead).value == pytest.approx(100 * SEASON[(60 + ahead) % 7])


def test_one_strange_day_does_not_bend_the_trend() -> None:
    history = [1000.0 + (day % 5) for day in range(84)]
    plain, strange = project(history), project([*history[:-3], 60_000.0, *history[-2:]])
    assert plain is not None
    assert strange is not None
    usual = plain.estimate_mean(*LAST_WEEK).value
    assert strange.estimate_mean(*LAST_WEEK).value == pytest.approx(usual, rel=0.02)


def test_monthly_newsletter_keeps_its_mean_although_most_weeks_are_empty() -> None:
    history = [28_000.0 if day % 28 == 20 else 0.0 for day in range(168)]
    found = project(history, least=0.0)
    assert found is not None
    assert found.estimate_mean(1, HORIZON_DAYS).value == pytest.approx(1000, rel=0.25)


def test_nothing_is_projected_below_its_least_value() -> None:
    found = project([1000 - 10.0 * day + day % 3 for day in range(98)], least=0.0)
    assert found is not None
    last = found.estimate_mean(*LAST_WEEK)
    assert (last.value, last.low) == (0, 0)
    assert found.estimate_day(90).low == 0
