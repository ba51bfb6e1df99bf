"""What a report finds to be better: differences that are no chance, ranked by messages, with the rows behind each."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from event_stream_engine.analytics.campaign_progress import Names
from event_stream_engine.analytics.counts import NO_MESSAGES, MessageCounts
from event_stream_engine.analytics.delivery import Part
from event_stream_engine.analytics.durations import Durations
from event_stream_engine.analytics.failures import FailureRow
from event_stream_engine.analytics.inbound import IntentCount
from event_stream_engine.kernel.stats import sketch_index
from event_stream_engine.kernel.windows import Window
from event_stream_engine.reporting.improvements import MOST, FailedCampaign, Observed, list_improvements
from event_stream_engine.reporting.report import Improvement

SPRING, AUTUMN, NO_CAMPAIGN = UUID(int=1), UUID(int=2), UUID(int=0)
NAMES = {
    one: Names(one, name, "Everybody", UUID(int=9), "Hello")
    for one, name in ((SPRING, "Spring"), (AUTUMN, "Autumn"))
}
SINCE = datetime(2026, 3, 2, tzinfo=UTC)


def count(sent: int, delivered: int, failed: int = 0, stopped: int = 0) -> MessageCounts:
    return MessageCounts(
        sent, sent, 0, 0, stopped, 0, 0, 0, 0, sent - delivered - failed, 0, 0, failed, delivered, 0
    )


def observe(
    campaigns: Mapping[UUID, MessageCounts],
    *,
    countries: Mapping[str, MessageCounts] | None = None,
    times: Mapping[UUID, Sequence[float]] | None = None,
    failures: Sequence[FailureRow] = (),
    failed: Sequence[FailedCampaign] = (),
    help_requests: tuple[int, int] = (0, 0),
) -> tuple[Improvement, ...]:
    total = count(
        sum(one.sent for one in campaigns.values()),
        sum(one.delivered for one in campaigns.values()),
        stopped=sum(one.stopped for one in campaigns.values()),
    )
    by_campaign = {str(one): sketch(seconds) for one, seconds in (times or {}).items()}
    observed = Observed(
        window=Window(SINCE, SINCE + timedelta(days=1)),
        counts=total,
        times=sketch([second for seconds in (times or {}).values() for second in seconds]),
        campaigns=[Part(str(one), counts) for one, counts in campaigns.items()],
        names=NAMES,
        times_by_campaign=by_campaign,
        countries=[Part(name, counts) for name, counts in (countries or {}).items()],
        senders=[],
        failures=failures,
        failed_campaigns=failed,
        help_requests=IntentCount("help", help_requests[0], 0, help_requests[1]),
    )
    return list_improvements(observed)


def sketch(seconds: Sequence[float]) -> Durations:
    places: dict[int, int] = {}
    for second in seconds:
        places[sketch_index(second)] = places.get(sketch_index(second), 0) + 1
    return Durations(len(seconds), sketch=places)


def fail(code: int | None, messages: int) -> FailureRow:
    return FailureRow(code, "Handset is unreachable", "transient", "Try again later", messages, 50.0)


def test_nothing_is_found_where_nothing_differs() -> None:
    alike = {SPRING: count(500, 470), AUTUMN: count(500, 474)}
    same = {SPRING: [5.0, 9.0] * 50, AUTUMN: [5.0, 9.0] * 50}
    assert observe(alike, times=same, countries={"US": count(500, 470), "CA": count(500, 474)}) == ()
    assert observe({}) == ()


def test_a_code_that_few_messages_failed_with_is_no_area() -> None:
    assert observe({SPRING: count(500, 490)}, failures=[fail(30003, 4)]) == ()


def test_a_code_is_named_with_its_remedy_and_its_campaigns() -> None:
    failed = [
        FailedCampaign(30003, SPRING, 6),
        FailedCampaign(30003, NO_CAMPAIGN, 2),
        FailedCampaign(30007, AUTUMN, 1),
    ]
    (found,) = observe({SPRING: count(500, 492)}, failures=[fail(30003, 8)], failed=failed)
    assert found.text == (
        "Address error code 30003 occurrences: 8 messages, 50.0 % of those that failed. Handset is unreachable: Try again later."
    )
    assert found.rows == (("Spring", 6, 75.0), ("no campaign", 2, 25.0))
    assert found.path == "/monitoring?since=2026-03-02T00%3A00%3A00Z&until=2026-03-03T00%3A00%3A00Z"


def test_failures_without_a_code_are_named_so() -> None:
    (found,) = observe(
        {SPRING: count(500, 492)}, failures=[fail(None, 8)], failed=[FailedCampaign(0, SPRING, 8)]
    )
    assert found.text.startswith("Address failures without an error code: 8 messages")
    assert found.rows == (("Spring", 8, 100.0),)


def test_a_campaign_that_arrives_less_is_found_with_what_was_lost() -> None:
    (found,) = observe({SPRING: count(1000, 980), AUTUMN: count(200, 160)})
    assert (found.kind, found.messages) == ("campaign_delivery", 36)  # 98 % of 200 would have been 196
    assert found.text == (
        f"Improve delivery for Campaign ID {AUTUMN} (“Autumn”): 80.0 % of 200 messages delivered, 98.0 % of the others."
    )
    assert found.rows == (("Autumn", 160, 200, 80.0), ("all others", 980, 1000, 98.0))
    assert found.path == f"/campaigns/{AUTUMN}"


def test_a_country_that_arrives_less_is_found_and_an_unknown_one_is_not() -> None:
    everything = {SPRING: count(1200, 1140)}
    (found,) = observe(everything, countries={"US": count(1000, 980), "LK": count(200, 160)})
    assert (found.kind, found.rows[0][0]) == ("country_delivery", "LK")
    assert observe(everything, countries={"US": count(1000, 980), "": count(200, 160)}) == ()


@pytest.mark.parametrize("sent", [10, 29])
def test_few_messages_prove_nothing(sent: int) -> None:
    assert observe({SPRING: count(1000, 980), AUTUMN: count(sent, 0)}) == ()


def test_a_slow_campaign_is_found() -> None:
    times = {SPRING: [4.0] * 90 + [10.0] * 10, AUTUMN: [3.0] * 50 + [120.0] * 50}
    (found,) = observe({SPRING: count(100, 100), AUTUMN: count(100, 100)}, times=times)
    assert (found.kind, found.messages) == ("delivery_time", 40)  # ten of a hundred may take longer
    assert found.text.startswith(
        f"Reduce delivery time for Campaign ID {AUTUMN} (“Autumn”): half of its messages took up to 3.0 s"
    )
    assert found.columns == ("campaign", "measured", "p50_seconds", "p90_seconds")


def test_a_campaign_that_makes_people_leave_is_found() -> None:
    (found,) = observe({SPRING: count(2000, 2000, stopped=4), AUTUMN: count(500, 500, stopped=20)})
    assert (found.kind, found.messages) == ("opt_outs", 19)
    assert "4.0 % of 500 messages answered with STOP, 0.2 % of the others" in found.text


def test_requests_for_help_without_a_reply_are_found() -> None:
    (found,) = observe({}, help_requests=(12, 5))
    assert (found.text, found.rows) == (
        "Answer requests for help: 7 of 12 got no reply of ours.",
        ((12, 5, 7),),
    )
    assert observe({}, help_requests=(12, 8)) == ()


def test_messages_of_no_campaign_are_nobodys_fault() -> None:
    assert observe({SPRING: count(1000, 980), NO_CAMPAIGN: count(200, 100)}) == ()


def test_that_which_touched_most_messages_comes_first_and_no_more_than_a_few() -> None:
    found = observe(
        {SPRING: count(1000, 980), AUTUMN: count(200, 160)},
        failures=[fail(30000 + number, number) for number in range(5, 12)],
        help_requests=(50, 0),
    )
    assert [one.messages for one in found] == [50, 36, 11, 10, 9]
    assert len(found) == MOST


def test_no_rate_of_nothing_is_compared() -> None:
    assert observe({SPRING: NO_MESSAGES, AUTUMN: NO_MESSAGES}) == ()
