from collections import Counter
from dataclasses import replace
from random import Random

from event_stream_engine.messaging.simulated_behaviour import (
    STOP_BODIES,
    UNDELIVERED_CODES,
    Behaviour,
    Course,
    draw_course,
    draw_failure,
)

DEFAULTS = Behaviour()


def draw_many(
    behaviour: Behaviour, channel: str = "sms", count: int = 4000, filtered_share: float = 0
) -> list[Course]:
    return [draw_course(Random(n), behaviour, channel, filtered_share) for n in range(count)]


def list_statuses(course: Course) -> tuple[str, ...]:
    return tuple(step.status for step in course.steps)


def test_one_seed_draws_one_course() -> None:
    assert draw_course(Random(5), DEFAULTS, "whatsapp") == draw_course(Random(5), DEFAULTS, "whatsapp")


def test_shares_of_outcomes_are_those_asked_for() -> None:
    outcomes = Counter(list_statuses(course) for course in draw_many(DEFAULTS, "whatsapp"))
    assert 0.012 < outcomes[("failed",)] / 4000 < 0.025
    assert 0.03 < outcomes[("sent", "undelivered")] / 4000 < 0.047
    assert 0.022 < outcomes[("sent",)] / 4000 < 0.039
    assert 0.01 < outcomes[("sent", "delivered", "undelivered")] / 4000 < 0.025
    read_count = outcomes[("sent", "delivered", "read")]
    assert 0.45 < read_count / (read_count + outcomes[("sent", "delivered")]) < 0.55
    assert set(outcomes) == {
        ("failed",),
        ("sent",),
        ("sent", "undelivered"),
        ("sent", "delivered"),
        ("sent", "delivered", "read"),
        ("sent", "delivered", "undelivered"),
    }


def test_delivery_times_have_the_median_and_the_p95_asked_for() -> None:
    seconds = sorted(
        course.steps[1].at_seconds - course.steps[0].at_seconds
        for course in draw_many(DEFAULTS)
        if list_statuses(course)[1:2] == ("delivered",)
    )
    assert 37 < seconds[len(seconds) // 2] < 43
    assert 180 < seconds[int(len(seconds) * 0.95)] < 225
    assert 500 < seconds[-1] <= 1800


def test_steps_happen_in_their_order_and_are_posted_after_they_happened() -> None:
    for course in draw_many(DEFAULTS, "whatsapp"):
        assert list(course.steps) == sorted(course.steps, key=lambda step: step.at_seconds)
        assert all(posted > step.at_seconds for step in course.steps for posted in step.posted_seconds)
        if course.reply:
            assert course.reply.at_seconds > course.steps[1].at_seconds


def test_failures_carry_a_code_and_nothing_else_does() -> None:
    for course in draw_many(DEFAULTS):
        for step in course.steps:
            assert (step.error_code is not None) == (step.status in ("failed", "undelivered"))
    undelivered = {
        course.steps[1].error_code
        for course in draw_many(replace(DEFAULTS, failed_share=0, undelivered_share=1))
    }
    assert undelivered == {code for code, _ in UNDELIVERED_CODES}


def test_an_incident_filters_its_share_with_30007() -> None:
    codes = Counter(course.steps[-1].error_code for course in draw_many(DEFAULTS, filtered_share=0.5))
    assert 0.4 < codes[30007] / 4000 < 0.5


def test_a_reordered_message_posts_sent_after_delivered() -> None:
    behaviour = replace(DEFAULTS, reorder_share=1, late_share=0, lost_share=0, duplicate_share=0)
    for course in draw_many(behaviour):
        if "delivered" in list_statuses(course):
            assert course.steps[0].posted_seconds[0] > course.steps[1].posted_seconds[0]


def test_callbacks_are_lost_doubled_and_late_by_their_shares() -> None:
    assert all(
        step.posted_seconds == ()
        for c in draw_many(replace(DEFAULTS, lost_share=1), count=99)
        for step in c.steps
    )
    doubled = draw_many(replace(DEFAULTS, lost_share=0, reorder_share=0, duplicate_share=1), count=99)
    assert all(len(step.posted_seconds) == 2 for course in doubled for step in course.steps)
    late = draw_many(replace(DEFAULTS, lost_share=0, reorder_share=0, late_share=1), count=99)
    delays = [step.posted_seconds[0] - step.at_seconds for course in late for step in course.steps]
    assert min(delays) >= 60
    assert max(delays) > 3000


def test_replies_stop_by_their_share() -> None:
    replies = [
        course.reply
        for course in draw_many(replace(DEFAULTS, reply_share=1, stop_share=0.5, order_share=0.1))
    ]
    bodies = [reply.body for reply in replies if reply]
    assert 0.45 < sum(body in STOP_BODIES for body in bodies) / len(bodies) < 0.55


def test_a_failure_is_one_step_with_its_code() -> None:
    (step,) = draw_failure(Random(1), DEFAULTS, 63016).steps
    assert (step.status, step.error_code) == ("failed", 63016)
