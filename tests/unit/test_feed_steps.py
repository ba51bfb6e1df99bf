"""What of a rush of events is shown, and that the vocabulary of the feed is whole."""

import itertools
from datetime import UTC, datetime

import pytest

from event_stream_engine.monitoring.feed import choose_steps
from event_stream_engine.monitoring.feed_events import FIELDS, FeedEvent, FeedPlace
from event_stream_engine.monitoring.feed_kinds import BY_SLUG, BY_SOURCE, KINDS

FREQUENT, RARE = "receipt.received sent", "campaign.started"


def make_event(id_: int, source: str) -> FeedEvent:
    unknown = dict.fromkeys(FeedEvent.__dataclass_fields__)
    return FeedEvent(**unknown | {"xid": "7", "id": id_, "received_at": datetime.now(UTC), "source": source})  # type: ignore[arg-type]


def make_rush(pattern: str) -> list[FeedEvent]:
    """`f` is an event that comes often, `r` a rare one."""
    return [make_event(place, FREQUENT if kind == "f" else RARE) for place, kind in enumerate(pattern, 1)]


@pytest.mark.parametrize(
    ("pattern", "most", "told"),
    [
        ("ff", 5, ["ff"]),
        ("ffff", 2, [2, "ff"]),
        ("ffff", 0, [4]),
        ("frfrf", 1, [1, "r", 1, "rf"]),
        ("rrr", 0, ["rrr"]),
        ("", 3, []),
    ],
)
def test_the_newest_of_the_frequent_and_all_of_the_rare_are_shown_and_the_others_counted(
    pattern: str, most: int, told: list[object]
) -> None:
    steps = choose_steps(make_rush(pattern), most)
    runs: list[object] = []
    for is_shown, group in itertools.groupby(steps, key=lambda step: step.event is not None):
        members = list(group)
        if is_shown:
            runs.append(
                "".join("f" if step.event and step.event.source == FREQUENT else "r" for step in members)
            )
        else:
            runs += [step.left_out for step in members]
    assert runs == told


@pytest.mark.parametrize("pattern", ["f" * 9, "frffrrfff", "rffffffr"])
def test_each_step_is_behind_what_it_covers_so_that_any_cut_adds_up(pattern: str) -> None:
    for most in range(len(pattern) + 1):
        steps = choose_steps(make_rush(pattern), most)
        covered = 0
        for step in steps:
            covered += step.left_out or 1
            assert step.place == FeedPlace("7", covered)
        assert covered == len(pattern)


def test_the_vocabulary_is_whole() -> None:
    assert len(BY_SLUG) == len(KINDS)
    assert len(BY_SOURCE) == sum(len(kind.sources) for kind in KINDS)
    told = {name for kind in KINDS for name in kind.fields}
    assert told == FIELDS.keys()
    assert {kind.mark for kind in KINDS} <= {"accent", "delivered", "in-flight", "warning", "failed"}


def test_an_event_in_a_log_line_tells_no_number_and_no_words() -> None:
    assert "phone" not in repr(make_event(1, FREQUENT))
    assert "body" not in repr(make_event(1, FREQUENT))
