"""The way from the segment to an answer: every loss once, in order, each with where its messages are."""

from typing import Any

from event_stream_engine.analytics.campaign_progress import Progress
from event_stream_engine.web.waterfall import list_steps


def make_progress(**changes: Any) -> Progress:
    whole: dict[str, Any] = {
        "recipients": 100,
        "sent": 70,
        "by_status": {"SKIPPED": 15, "DELIVERED": 50, "READ": 5, "SENT": 10, "UNDELIVERED": 5, "FAILED": 2},
        "denied": {"consent_stop": 10, "suppressed": 4, "consent_unknown": 1},
        "deferred": {"quiet_hours": 8},
    }
    return Progress(**(whole | changes))


def test_steps_go_from_the_segment_by_consent_and_quiet_hours_to_the_answer() -> None:
    steps = list_steps(make_progress(), 7, segment="Gold", is_cancelled=False)
    assert [(step.name, step.count) for step in steps] == [
        ("Segment Gold", 100),
        ("Said STOP", 10),
        ("Never opted in", 1),
        ("Quiet hours", 8),
        ("Erased on request", 4),
        ("Wait their turn", 5),
        ("Attempted", 72),
        ("Refused by the provider", 2),
        ("Sent", 70),
        ("In flight", 10),
        ("Failed or undelivered", 5),
        ("Delivered", 55),
        ("Read", 5),
        ("Replied", 7),
    ]


def test_losses_between_two_steps_are_their_difference() -> None:
    left, lost = 100, 0
    for step in list_steps(make_progress(), 7, segment="Gold", is_cancelled=False)[1:]:
        if step.name == "Read":  # from here on each is a share of the delivered
            break
        if step.is_rest:
            assert step.count == left - lost
            left, lost = step.count, 0
        else:
            lost += step.count


def test_each_loss_says_which_messages_it_is() -> None:
    steps = {
        step.name: step.asks for step in list_steps(make_progress(), 7, segment="Gold", is_cancelled=False)
    }
    assert steps["Said STOP"] == {"status": "SKIPPED", "reason": "consent_stop"}
    assert steps["Quiet hours"] == {"status": "PENDING", "reason": "quiet_hours"}
    assert steps["Segment Gold"] == {}
    assert steps["Replied"] is None


def test_what_a_cancelled_campaign_never_handed_over_does_not_wait() -> None:
    steps = list_steps(make_progress(), 7, segment="Gold", is_cancelled=True)
    assert "Never handed over" in [step.name for step in steps]
