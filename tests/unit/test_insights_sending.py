"""Advice about sending, from rows alone: rates, refusals, texts, senders, outcomes."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.analytics.durations import Durations
from event_stream_engine.insights.aftermath import FIGURES, DayCount, judge
from event_stream_engine.insights.registration import Fault, advise
from event_stream_engine.insights.send_rates import Pace, choose_rate, list_bands
from event_stream_engine.insights.senders import SenderDay, compare
from event_stream_engine.insights.wide_texts import Use, rewrite
from event_stream_engine.insights.wide_texts import advise as advise_text
from event_stream_engine.messaging.encoding import find_foreign_character
from event_stream_engine.web.effect_marks import draw_effect

NOW = datetime(2026, 3, 2, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")
SHORT_QUEUE = Durations(1000, 1.0, 1.0, 1.0, {0: 1000})


def pace(per_second: int, refused: int = 0, quarter: int = 0) -> Pace:
    at = NOW + timedelta(minutes=15 * quarter)
    return Pace("+1", at, 100 * per_second, 100, refused, refused)


@pytest.mark.parametrize(
    ("paces", "rate"),
    [
        ([pace(40)], None),
        ([pace(40, 10)], None),
        ([pace(40, 400)], 16),
        ([pace(10), pace(40, 400)], 15),
        ([pace(10), pace(40, 400), pace(70)], 15),
        ([pace(10, 100), pace(40, 400)], 4),
        ([pace(1, 20)], None),
        ([pace(1, 20), pace(1, 20, 1)], 1),
    ],
    ids=[
        "nothing refused",
        "too few to act on",
        "no slower pace is known: half",
        "the slower pace had room",
        "a faster one that went well was luck",
        "nothing had room",
        "too little sent",
        "never less than one",
    ],
)
def test_the_rate_is_the_fastest_below_the_first_that_overflowed(paces: list[Pace], rate: int | None) -> None:
    assert choose_rate(paces, SHORT_QUEUE) == rate


def test_bands_double_and_add_up() -> None:
    bands = list_bands([pace(1), pace(3, 1), pace(2), pace(40, 5)])
    assert [(band.low, band.high, band.handed_over, band.refused, band.quarters) for band in bands] == [
        (1, 2, 100, 0, 1),
        (2, 4, 500, 1, 2),
        (32, 64, 4000, 5, 1),
    ]


@pytest.mark.parametrize(("failed", "is_told"), [(19, False), (20, True)])
def test_a_certain_fault_is_told_from_twenty_messages_on(failed: int, is_told: bool) -> None:
    told = advise("US", 30034, [Fault("US", "+1", 30034, failed, 100_000)])
    assert (told is not None) == is_told


def test_filtering_is_told_only_where_it_is_surely_more_than_usual() -> None:
    assert advise("US", 30007, [Fault("US", "+1", 30007, 30, 3000)]) is None
    assert advise("US", 30007, [Fault("US", "+1", 30007, 60, 3000)]) is not None


@pytest.mark.parametrize(
    ("body", "plain", "is_plain"),
    [
        ("It’s {name|“you”}…", 'It\'s {name|"you"}...', True),
        ("Sale 🎉 today", "Sale  today", False),
        ("Zero\u200bwidth and\u00a0hard space", "Zerowidth and hard space", True),
    ],
)
def test_what_can_be_written_otherwise_is(body: str, plain: str, is_plain: bool) -> None:
    found = rewrite(body)
    assert found is not None
    assert (found.body, found.is_plain) == (plain, is_plain)
    assert find_foreign_character(found.body) is None


@pytest.mark.parametrize("body", ["Plain, with ä and €", "Привет – это мы", "Ça va – naïve"])
def test_a_text_that_is_plain_or_in_other_letters_stays_as_it_is(body: str) -> None:
    assert rewrite(body) is None


def test_a_text_whose_people_make_it_wide_themselves_is_no_advice() -> None:
    use = Use(UUID(int=1), "Hello", "It’s {name}", [], 1000)
    found = rewrite(use.body)
    assert found is not None
    assert advise_text(use, found, [{"name": "Łukasz"}] * 50) is None, "as many segments then as now"
    assert advise_text(use, found, [{}] * 50) is None, "nobody would get it"


def days_of(sender: str, rates: list[int], country: str = "US") -> list[SenderDay]:
    return [
        SenderDay(NOW - timedelta(days=ago), sender, country, 1000, 10 * rate)
        for ago, rate in enumerate(rates, 1)
    ]


SINCE = NOW - timedelta(days=7)
STEADY = [95 - ago % 3 for ago in range(63)]


def advised(days: list[SenderDay]) -> list[str]:
    examination = compare(days, SINCE, UTC_ZONE)
    return [
        one.recommendation.subject
        for one in examination.comparisons
        if one.recommendation is not None and one.p < 0.05
    ]


def test_a_sender_fades_against_its_own_past_and_against_the_others() -> None:
    fading = [rate - 10 if ago < 7 else rate for ago, rate in enumerate(STEADY)]
    better = [min(100, rate + 4) if ago < 7 else rate for ago, rate in enumerate(STEADY)]
    assert advised(days_of("+1", fading) + days_of("+2", STEADY)) == ["sender:+1"]
    assert advised(days_of("+1", fading)) == ["sender:+1"], "without others, against its own past"
    assert advised(days_of("+1", fading) + days_of("+2", fading)) == [], "a bad week of everybody"
    assert advised(days_of("+1", STEADY) + days_of("+2", better)) == [], "the other one improved"


def test_another_mix_of_countries_is_no_fading() -> None:
    good, poor = days_of("+1", STEADY[7:]), days_of("+1", [70 + ago % 2 for ago in range(63)], "BR")
    others = days_of("+2", STEADY) + days_of("+2", [70 + ago % 2 for ago in range(63)], "BR")
    moved = [
        SenderDay(day.day - timedelta(days=7), day.sender, day.country, day.sent, day.delivered)
        for day in good
    ]
    assert advised(moved + poor[:7] + others) == []


def test_too_few_days_are_said_and_not_compared() -> None:
    examination = compare(days_of("+1", STEADY[:10]), SINCE, UTC_ZONE)
    assert not examination.comparisons
    assert examination.unknown is not None


def count_days(rate: int, days: int, first: date) -> list[DayCount]:
    return [DayCount(first + timedelta(days=day), rate + day % 2, 100) for day in range(days)]


@pytest.mark.parametrize(
    ("figure", "rate", "verdict"),
    [
        ("delivery_rate", 95, "better"),
        ("delivery_rate", 60, "worse"),
        ("delivery_rate", 80, "no_difference"),
        ("opt_out_rate", 95, "worse"),
        ("opt_out_rate", 60, "better"),
    ],
)
def test_an_outcome_is_better_or_worse_as_its_figure_means_it(figure: str, rate: int, verdict: str) -> None:
    before, since = count_days(80, 28, date(2026, 1, 5)), count_days(rate, 14, date(2026, 2, 2))
    outcome = judge(FIGURES[figure], before, since)
    assert outcome.verdict == verdict
    assert outcome.low is not None
    assert outcome.high is not None
    assert (outcome.low <= 0 <= outcome.high) == (verdict == "no_difference")


def test_an_outcome_of_few_days_or_few_messages_is_too_early() -> None:
    before = count_days(80, 28, date(2026, 1, 5))
    for since in (
        count_days(95, 3, date(2026, 2, 2)),
        [],
        [DayCount(date(2026, 2, day), 9, 10) for day in range(1, 9)],
    ):
        outcome = judge(FIGURES["delivery_rate"], before, since)
        assert (outcome.verdict, outcome.difference) == ("too_early", None)
        assert "Too early" in outcome.text


def test_an_effect_is_drawn_beside_zero() -> None:
    mark = draw_effect(-4.0, -6.0, -2.0)
    assert mark is not None
    assert 0 < mark.begins < mark.at < mark.begins + mark.width < mark.zero < 100
    assert draw_effect(None, -6.0, -2.0) is None
