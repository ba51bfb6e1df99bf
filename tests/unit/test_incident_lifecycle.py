"""Where an incident may go, and how its response clock runs."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from event_stream_engine.incidents import lifecycle
from event_stream_engine.incidents.escalation import RESPONSE, find_lateness, plan
from event_stream_engine.incidents.lifecycle import SEVERITIES, Standing
from event_stream_engine.incidents.policy import Contact, Level, Policy, Step, check_policy, word_seconds
from event_stream_engine.kernel.errors import Conflict, Invalid

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)
CHANNEL = uuid4()
STEPS = [
    Step("On-call Engineer", {"critical": 0, "high": 0}, [Contact("Ada", [CHANNEL])]),
    Step("Technical Lead", {"critical": 900, "high": 3600}, []),
    Step("CTO", {"critical": 2700}, []),
]


def open_critical() -> Standing:
    return lifecycle.begin("critical", QUARTER, NOON)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_an_acknowledgement_within_the_response_time_meets_it() -> None:
    incident = open_critical()
    assert incident.due_at == at(15)
    assert incident.judge_response(at(15)) == "running"
    assert incident.judge_response(at(16)) == "missed"
    assert lifecycle.acknowledge(incident, at(15)).judge_response(at(60)) == "met"
    assert lifecycle.acknowledge(incident, at(16)).judge_response(at(60)) == "missed"


def test_who_resolves_has_answered_too_but_the_engine_has_not() -> None:
    by_hand = lifecycle.resolve(open_critical(), at(5))
    assert (by_hand.acknowledged_at, by_hand.judge_response(at(9))) == (at(5), "met")
    by_itself = lifecycle.resolve(open_critical(), at(5), by_itself=True)
    assert (by_itself.responded_at, by_itself.judge_response(at(9))) == (None, "not_needed")
    assert lifecycle.resolve(open_critical(), at(20), by_itself=True).judge_response(at(21)) == "missed"


def test_reopening_begins_everything_anew_but_keeps_the_first_answer() -> None:
    ended = lifecycle.resolve(lifecycle.acknowledge(open_critical(), at(3)), at(30))
    again = lifecycle.reopen(ended, QUARTER, at(60))
    assert (again.state, again.round, again.due_at, again.acknowledged_at) == ("open", 2, at(75), None)
    assert (again.responded_at, again.resolved_at) == (at(3), None)
    assert lifecycle.acknowledge(again, at(61)).responded_at == at(3)


def test_a_higher_severity_begins_the_clock_anew_and_a_lower_one_lets_it_run_on() -> None:
    low = lifecycle.begin("high", HOUR, NOON)
    raised = lifecycle.change_severity(low, "critical", QUARTER, at(50))
    assert (raised.round, raised.clock_at, raised.due_at) == (2, at(50), at(65))
    lowered = lifecycle.change_severity(open_critical(), "high", HOUR, at(10))
    assert (lowered.round, lowered.clock_at, lowered.due_at) == (1, NOON, at(60))


def test_the_severity_of_an_acknowledged_incident_changes_no_clock() -> None:
    answered = lifecycle.acknowledge(lifecycle.begin("high", HOUR, NOON), at(20))
    raised = lifecycle.change_severity(answered, "critical", QUARTER, at(30))
    assert (raised.due_at, raised.judge_response(at(31))) == (at(60), "met")


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        ("open", {"reopen"}),
        ("acknowledged", {"acknowledge", "reopen"}),
        ("mitigated", {"acknowledge", "mitigate"}),
        ("resolved", {"acknowledge", "mitigate", "resolve", "change_severity"}),
    ],
)
def test_what_a_state_does_not_allow_is_refused_with_what_it_does(
    state: lifecycle.State, refused: set[str]
) -> None:
    standing = Standing(state, "critical", 1, NOON, at(15))
    moves = {
        "acknowledge": lambda: lifecycle.acknowledge(standing, at(1)),
        "mitigate": lambda: lifecycle.mitigate(standing, at(1)),
        "resolve": lambda: lifecycle.resolve(standing, at(1)),
        "reopen": lambda: lifecycle.reopen(standing, QUARTER, at(1)),
        "change_severity": lambda: lifecycle.change_severity(standing, "low", HOUR, at(1)),
    }
    assert set(moves) - set(standing.possible) == refused
    for name, move in moves.items():
        if name in refused:
            with pytest.raises(Conflict, match=f"is {state}, .* what is possible: "):
                move()
        else:
            move()


def test_each_step_is_due_at_its_time_by_severity_and_some_never() -> None:
    assert plan(open_critical(), STEPS) == {1: NOON, RESPONSE: at(15), 2: at(15), 3: at(45)}
    assert plan(lifecycle.begin("high", HOUR, NOON), STEPS) == {1: NOON, RESPONSE: at(60), 2: at(60)}
    assert plan(lifecycle.begin("low", HOUR, NOON), STEPS) == {RESPONSE: at(60)}


def test_nobody_is_told_once_somebody_has_acknowledged() -> None:
    assert plan(lifecycle.acknowledge(open_critical(), at(1)), STEPS) == {}


def test_what_has_been_told_in_this_round_is_not_told_again_when_the_severity_falls() -> None:
    lowered = lifecycle.change_severity(open_critical(), "high", HOUR, at(10))
    assert plan(lowered, STEPS, {RESPONSE, 2, 3}) == {RESPONSE: at(60), 2: at(60)}


def test_only_what_comes_much_later_than_planned_is_called_late() -> None:
    assert find_lateness(NOON, at(0.5)) is None
    assert find_lateness(NOON, at(125)) == timedelta(minutes=125)
    assert find_lateness(NOON, at(-5)) is None


def make_policy(**changes: object) -> Policy:
    levels = {severity: Level("What it means", 900) for severity in SEVERITIES}
    return Policy(**({"levels": levels, "steps": STEPS} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [Step(" ", {}, [])]}, "steps.0.name"),
        ({"steps": [Step("A", {"low": 60}, []), Step("B", {"low": 0}, [])]}, "steps.1.after_seconds.low"),
        ({"steps": [Step("A", {"low": -1}, [])]}, "steps.0.after_seconds.low"),
        ({"steps": [Step("A", {}, [Contact("Ada", [])])]}, "steps.0.contacts.0.channel_ids"),
        ({"steps": [Step("A", {}, [Contact("Ada", [uuid4()])])]}, "steps.0.contacts.0.channel_ids"),
        ({"steps": [Step("A", {}, [Contact("", [CHANNEL])])]}, "steps.0.contacts.0.name"),
        (
            {"levels": dict.fromkeys(SEVERITIES, Level("x", 900)) | {"high": Level("x", 59)}},
            "levels.high.response_seconds",
        ),
        ({"levels": dict.fromkeys(SEVERITIES, Level("", 900))}, "levels.critical.meaning"),
    ],
)
def test_a_faulty_policy_is_refused_and_the_field_named(changes: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        check_policy(make_policy(**changes), {CHANNEL})
    assert refusal.value.field == field


def test_a_sound_policy_passes_and_its_version_follows_its_content() -> None:
    check_policy(make_policy(), {CHANNEL})
    assert make_policy().version == make_policy().version != make_policy(steps=STEPS[:1]).version


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (900, "15 minutes"),
        (3600, "1 hour"),
        (14400, "4 hours"),
        (86400, "24 hours"),
        (5400, "1 hour 30 minutes"),
        (61, "1 minute 1 second"),
        (0, "0 minutes"),
    ],
)
def test_lengths_of_time_are_worded_as_in_the_document(seconds: int, words: str) -> None:
    assert word_seconds(seconds) == words
