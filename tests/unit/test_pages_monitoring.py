import pytest

from event_stream_engine.analytics.failures import FailureRow, Failures
from event_stream_engine.web.feed_words import describe_detail
from event_stream_engine.web.pages.monitoring import (
    MOST_CODES,
    gather_rare,
    summarise_failures,
)


def make_rows(count: int) -> list[FailureRow]:
    return [FailureRow(30000 + number, "Reason", "number", "Do", 10, 100 / count) for number in range(count)]


def test_rare_codes_are_gathered_without_losing_a_message() -> None:
    rows = gather_rare(make_rows(10))
    assert len(rows) == MOST_CODES
    assert rows[-1].description == "5 other codes"
    assert sum(row.count for row in rows) == 100
    assert sum(row.percentage for row in rows) == pytest.approx(100)


def test_few_codes_stay_as_they_are() -> None:
    assert gather_rare(make_rows(MOST_CODES)) == make_rows(MOST_CODES)


@pytest.mark.parametrize(
    ("total", "previous", "text"),
    [
        (200, 267, "200 of 12,482, 25.1 % fewer than in the period before"),
        (300, 200, "300 of 12,482, 50 % more than in the period before"),
        (200, 200, "200 of 12,482, as many as in the period before"),
        (200, 0, "200 of 12,482"),
    ],
)
def test_failures_are_compared_with_the_period_before(total: int, previous: int, text: str) -> None:
    assert summarise_failures(Failures(total, [], [], [], previous, "stable"), 12482) == text


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        ({"delivery_time_seconds": 125.0}, "in 2 m 05 s"),
        ({"delivery_time_seconds": None}, ""),
        ({"message_body": "Thank you!"}, "“Thank you!”"),
        ({"error_code": 30007, "description": "Carrier filtered"}, "30007 Carrier filtered"),
        ({"error_code": None, "description": "Unknown error"}, "Unknown error"),
        (
            {"from_phone": None, "message_body": None, "people": 1200, "source": "import"},
            "1,200 people by an import",
        ),
        ({"from_phone": "+1", "message_body": "STOP", "people": 1, "source": "inbound"}, "“STOP”"),
        ({"recipient": "+1", "reason": "consent_stop"}, "Said STOP"),
        ({"severity": "critical", "message": "No web process"}, "critical: No web process"),
    ],
)
def test_event_says_what_is_particular_about_it(event: dict[str, object], detail: str) -> None:
    assert describe_detail(event) == detail
