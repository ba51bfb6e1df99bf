"""What is planted in a history of campaigns is found, and in histories of chance nothing is."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.insights import opt_outs, segment_sizes, send_hours, senders, templates
from event_stream_engine.insights.recommendation import LEVEL, Advice, Examination, Recommendation, choose
from tests.campaign_histories import NOW, History, Pattern, Sending, Shift, make_history, make_sender_days

REACHABLE = 20_000
NOISE_HISTORIES = 200


def examine(history: History) -> list[Examination]:
    sent, sample = history.sent, history.sample
    return [
        templates.compare(sent),
        segment_sizes.compare(sent),
        send_hours.compare(sent, sample),
        opt_outs.compare(sent, sample, REACHABLE),
    ]


def advise(pattern: Pattern, seed: int = 1, **size: int) -> Advice:
    return choose(examine(make_history(seed, pattern, **({"campaigns": 120} | size))))


def only(advice: Advice) -> Recommendation:
    assert len(advice.recommendations) == 1, [one.key for one in advice.recommendations]
    return advice.recommendations[0]


def bad_text(sending: Sending, region: str, hour: int, earlier: int) -> Shift:
    return Shift(delivery=-1.2 if sending.template == 2 else 0)


def good_text(sending: Sending, region: str, hour: int, earlier: int) -> Shift:
    return Shift(reply=1.2 if sending.template == 3 else 0)


def noon(sending: Sending, region: str, hour: int, earlier: int) -> Shift:
    return Shift(reply=1.2 if hour == 12 else 0)


def pushy_text(sending: Sending, region: str, hour: int, earlier: int) -> Shift:
    return Shift(opt_out=2.0 if sending.template == 1 else 0)


def evening(sending: Sending, region: str, hour: int, earlier: int) -> Shift:
    return Shift(opt_out=2.0 if hour == 13 else 0)


def too_often(sending: Sending, region: str, hour: int, earlier: int) -> Shift:
    return Shift(opt_out=0.35 * earlier)


def large(sending: Sending, region: str, hour: int, earlier: int) -> Shift:
    return Shift(delivery=-1.5 if sending.campaign.recipients >= 1000 else 0)


def one_campaign(sending: Sending, region: str, hour: int, earlier: int) -> Shift:
    return Shift(opt_out=5.5 if sending.campaign.id.int == 12 else 0)


def test_a_text_that_does_not_arrive_is_found() -> None:
    found = only(advise(bad_text))
    assert found.subject.endswith("7d2")
    assert found.title.startswith("Rewrite “Template 2”: its delivery rate is")
    assert found.effect is not None
    assert found.interval is not None
    assert found.interval.low < found.effect < found.interval.high < 0
    assert found.expected_gain_messages is not None
    assert found.expected_gain_messages > 100
    assert found.sample_size > 10_000


def test_a_text_that_is_answered_is_preferred() -> None:
    found = only(advise(good_text))
    assert found.title.startswith("Prefer “Template 3”: its reply rate is")
    assert found.address == f"/campaigns/templates/{found.subject.removeprefix('template:')}"


def test_the_best_hour_is_found_by_the_recipients_clocks() -> None:
    found = only(advise(noon))
    assert found.key == "send_hour:reply:all:12:00"
    assert "Nobody was sent at another hour to find out" in found.text
    row = next(row for row in found.evidence.rows if row[0] == "12:00")
    assert len(row) == len(found.evidence.columns)
    assert row[5] == found.effect


def test_the_best_hour_of_a_segment_is_found() -> None:
    def for_one(sending: Sending, region: str, hour: int, earlier: int) -> Shift:
        return Shift(reply=2.0 if hour == 12 and sending.segment == 1 else 0)

    keys = {one.key: one for one in advise(for_one, seed=1, segments=3).recommendations}
    found = keys["send_hour:reply:00000000-0000-0000-0000-0000000003e9:12:00"]
    assert found.title.startswith("Send to “Segment 1” at 12:00 local time")
    assert not any(":0000000003e8:" in key or key.endswith("3ea:12:00") for key in keys)


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        (pushy_text, ["opt_out:template:00000000-0000-0000-0000-0000000007d1"]),
        (evening, ["opt_out:hour:13:00"]),
        (too_often, ["opt_out:frequency:4", "opt_out:frequency:5 or more"]),
        (one_campaign, ["opt_out:campaign:00000000-0000-0000-0000-00000000000c"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_makes_people_say_stop_is_found(pattern: Pattern, keys: Sequence[str]) -> None:
    found = advise(pattern, seed=2).recommendations
    assert sorted(one.key for one in found) == keys
    assert all((one.expected_gain_messages or 0) > 0 for one in found)


def test_sizes_of_segments_that_do_not_arrive_are_found() -> None:
    found = advise(large, segments=40).recommendations
    assert {one.kind for one in found} == {"segment_size"}
    sizes = {one.subject: one.effect or 0 for one in found}
    assert sizes["segment_size:1,000 to 9,999"] < 0 < sizes["segment_size:100 to 999"]


def test_what_the_text_does_is_not_taken_for_what_its_hour_does() -> None:
    # Template 3 is sent in weekly series, each at an hour of its own.
    for seed in range(4):
        assert not [one for one in advise(good_text, seed).recommendations if one.kind == "send_hour"]


def test_an_archived_template_is_compared_and_not_advised_on() -> None:
    history = make_history(1, bad_text, campaigns=120)
    gone = History(
        [replace(one, campaign=replace(one.campaign, is_template_archived=True)) for one in history.sendings],
        history.parts,
    )
    assert len(templates.compare(gone.sent).comparisons) == len(templates.compare(history.sent).comparisons)
    assert choose([templates.compare(gone.sent)]).recommendations == []


def test_little_history_says_so_and_compares_nothing() -> None:
    for one in examine(make_history(1, bad_text, campaigns=4)):
        assert one.comparisons == [] or one.kind == "opt_out"
        assert one.unknown is None or one.unknown.startswith("There is too little to compare")
    assert all(one.unknown for one in examine(History([], [])))


def test_a_stop_is_worth_nothing_where_nobody_can_be_reached() -> None:
    history = make_history(2, pushy_text, campaigns=120)
    found = only(choose([opt_outs.compare(history.sent, history.sample, 0)]))
    assert found.expected_gain_messages is None
    assert found.gain_unknown == opt_outs.NO_PEOPLE


@pytest.mark.parametrize(
    ("people", "name"),
    [(0, "fewer than 100"), (99, "fewer than 100"), (100, "100 to 999"), (12_345, "10,000 to 99,999"), (10**6, "100,000 and more")],
)  # fmt: skip
def test_sizes_have_names(people: int, name: str) -> None:
    assert segment_sizes.name_size(people) == name


def compare_senders(seed: int, fading: float = 0.0) -> Examination:
    return senders.compare(make_sender_days(seed, fading), NOW - timedelta(days=7), ZoneInfo("UTC"))


def test_a_sender_that_fades_is_found_among_all_that_is_compared() -> None:
    examinations = [*examine(make_history(3, campaigns=60)), compare_senders(3, fading=1.5)]
    assert only(choose(examinations)).key == "sender:+14155238880"


def test_histories_of_chance_lead_to_advice_in_at_most_five_percent() -> None:
    compared, advised = 0, []
    for seed in range(NOISE_HISTORIES):
        found = choose([*examine(make_history(seed, campaigns=60)), compare_senders(seed)])
        compared += found.compared
        if found.recommendations:
            advised.append([one.key for one in found.recommendations])
    assert compared > 50 * NOISE_HISTORIES
    assert len(advised) <= LEVEL * NOISE_HISTORIES, advised
