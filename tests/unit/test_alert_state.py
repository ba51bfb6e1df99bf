"""The state machine of alerts: any sequence of readings, gaps and clock steps."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_stream_engine.alerting.state import (
    LONGEST_TICK,
    Condition,
    Reading,
    State,
    acknowledge,
    begin,
    follow,
)

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
TICK = timedelta(seconds=10)
HOUR = timedelta(hours=1)
ABOVE_5 = Condition("above", 5, 4, hold=timedelta(seconds=60), keep=timedelta(seconds=60))
IMMEDIATE = Condition("above", 5, 4)

# A step is the value that was read (None: no data) and how far the clock moved.
values = st.one_of(st.none(), st.integers(0, 10))
steps = st.lists(st.tuples(values, st.sampled_from([TICK, TICK, TICK, HOUR, -HOUR])), max_size=60)


def run(
    condition: Condition, moves: Iterable[tuple[float | None, timedelta]], before: State | None = None
) -> list[State]:
    at = before.seen_at if before else START
    states = [before or begin(at)]
    for value, move in moves:
        at += move
        reading = Reading("all", value, reason="" if value is not None else "The source is away.")
        states.append(follow(condition, states[-1], reading, at))
    return states


def ticks(*read: float | None) -> list[tuple[float | None, timedelta]]:
    return [(value, TICK) for value in read]


def names(states: list[State]) -> list[str]:
    return [state.name for state in states[1:]]


FIRING = run(IMMEDIATE, ticks(9))[-1]


def test_without_hold_and_keep_it_fires_and_ends_at_once() -> None:
    assert names(run(IMMEDIATE, ticks(3, 6, 3, 6))) == ["ok", "firing", "resolved", "firing"]


def test_it_fires_only_after_it_was_over_the_threshold_for_as_long_as_the_rule_says() -> None:
    states = run(ABOVE_5, ticks(*[6] * 7))
    assert names(states) == ["pending"] * 6 + ["firing"]
    assert states[1].reason == "above 5 for 0 s of 60 s"


def test_one_value_below_the_threshold_begins_the_waiting_anew() -> None:
    assert names(run(ABOVE_5, ticks(6, 6, 6, 5, *[6] * 6)))[3:] == ["ok"] + ["pending"] * 6


def test_the_threshold_itself_is_no_breach() -> None:
    assert names(run(IMMEDIATE, ticks(5))) == ["ok"]
    assert names(run(Condition("below", 90, 90), ticks(90, 88.5, 90))) == ["ok", "firing", "resolved"]


def test_sample_that_is_too_small_is_no_data_and_never_fires() -> None:
    condition = Condition("above", 5, 4, minimum_sample=50)
    after = follow(condition, begin(START), Reading("all", 100, sample=49), START + TICK)
    assert (after.name, after.reason) == ("no_data", "The sample is 49, at least 50 is needed.")
    assert follow(condition, after, Reading("all", 100, sample=50), START + 2 * TICK).name == "firing"


def test_firing_without_data_says_since_when() -> None:
    after = run(IMMEDIATE, ticks(9, None, None))[-1]
    assert after.name == "firing"
    assert after.value == 9
    assert after.reason == "No data since 2026-03-02 12:00 UTC. The source is away."


def test_acknowledged_stays_so_until_it_is_over() -> None:
    taken = acknowledge(FIRING, START + TICK)
    assert names(run(IMMEDIATE, ticks(9, None, 5, 3), taken)) == ["acknowledged"] * 3 + ["resolved"]
    assert acknowledge(begin(START), START).name == "ok"


def test_a_subject_that_ended_is_resolved() -> None:
    ended = Reading("campaign:1", None, reason="The campaign has ended.", has_ended=True)
    assert follow(IMMEDIATE, FIRING, ended, START).name == "resolved"
    assert follow(IMMEDIATE, begin(START), ended, START).name == "ok"


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_step_of_the_clock_counts_as_one_tick_at_most(step: timedelta) -> None:
    states = run(
        Condition("above", 5, 4, hold=timedelta(minutes=10)),
        [*ticks(*[6] * 30), (6, step), *ticks(*[6] * 60)],
    )
    fired = names(states).index("firing")
    assert abs(fired - 60) <= LONGEST_TICK / TICK


@given(steps)
def test_missing_data_and_clock_steps_never_lose_what_fires(
    moves: list[tuple[int | None, timedelta]],
) -> None:
    states = run(
        ABOVE_5, [(None if value is None or value <= 4 else value, move) for value, move in moves], FIRING
    )
    assert {state.name for state in states} == {"firing"}


@given(steps)
def test_what_fires_ends_only_after_clear_values_for_as_long_as_the_rule_says(
    moves: list[tuple[int | None, timedelta]],
) -> None:
    states = run(ABOVE_5, moves, FIRING)
    for place, state in enumerate(states):
        if state.name == "resolved" and states[place - 1].is_alarmed:
            known = [value for value, _ in moves[:place] if value is not None]
            assert len(known) >= 3
            assert all(value <= 4 for value in known[-3:])  # one tick counts half a minute at most
            assert state.value == moves[place - 1][0]


@given(st.lists(st.integers(5, 9), max_size=80))
def test_flapping_around_the_threshold_is_one_episode(read: list[int]) -> None:
    assert count_fires(run(IMMEDIATE, ticks(*read))) <= 1


@given(st.lists(st.integers(0, 9), max_size=80))
def test_flapping_through_both_thresholds_is_one_episode_while_it_is_not_clear_for_long(
    read: list[int],
) -> None:
    keep = Condition("above", 5, 4, keep=timedelta(seconds=60))
    broken = [6 if place % 6 == 0 else value for place, value in enumerate(read)]
    assert count_fires(run(keep, ticks(*broken))) <= 1


@given(steps)
def test_it_never_fires_without_a_value_over_the_threshold(moves: list[tuple[int | None, timedelta]]) -> None:
    states = run(ABOVE_5, moves)
    for place, state in enumerate(states[1:]):
        if state.name == "firing" and not states[place].is_alarmed:
            assert (moves[place][0] or 0) > 5
            assert sum(1 for value, _ in moves[: place + 1] if (value or 0) > 5) >= 3


@given(steps)
def test_the_first_states_follow_each_other_as_they_should(moves: list[tuple[int | None, timedelta]]) -> None:
    allowed = {
        "ok": {"ok", "pending", "no_data"},
        "pending": {"pending", "firing", "ok", "no_data"},
        "firing": {"firing", "resolved"},
        "resolved": {"resolved", "pending", "no_data"},
        "no_data": {"no_data", "pending", "firing", "ok"},
    }
    states = run(ABOVE_5, moves)
    for before, after in pairwise(states):
        assert after.name in allowed[before.name]


def count_fires(states: list[State]) -> int:
    return sum(1 for before, after in pairwise(states) if not before.is_alarmed and after.is_alarmed)
