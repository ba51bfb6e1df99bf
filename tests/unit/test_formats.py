from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.kernel.formats import (
    format_change,
    format_clock,
    format_duration,
    format_figure,
    format_growth,
    format_moment,
    format_number,
    format_percent,
    format_rate,
    format_window,
)
from event_stream_engine.kernel.windows import Window

COLOMBO = ZoneInfo("Asia/Colombo")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12482, "12,482"),
        (25_000_000, "25,000,000"),
        (-3, "−3"),
        (1234.5, "1,234"),
        (99.96, "100"),
        (45.2, "45.2"),
        (9.996, "10"),
        (3.14159, "3.14"),
        (8.1, "8.1"),
        (0.045678, "0.0457"),
        (-0.06, "−0.06"),
        (1e-9, "0"),
        (None, "–"),
    ],
)
def test_number_has_separators_and_at_most_three_significant_decimals(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_percentage_keeps_two_decimals_and_its_sign_is_set_apart() -> None:
    assert format_percent(94.0) == "94.00"
    assert format_figure(95.955, "%") in ("95.95", "95.96")
    assert format_figure(12482, "") == "12,482"
    assert format_rate(88.5) == "88.50 %"


def test_unknown_is_a_dash_and_never_zero() -> None:
    assert {format_number(None), format_percent(None), format_rate(None), format_duration(None)} == {"–"}


@pytest.mark.parametrize(
    ("change", "unit", "text"),
    [
        (8.1, "%", "+8.1 %"),
        (-0.06, "", "−0.06"),
        (125, "", "+125"),
        (-1200, "", "−1,200"),
        (0, "%", "0"),
        (0.001, "%", "0"),
    ],
)
def test_change_carries_its_sign_unless_there_is_none(change: float, unit: str, text: str) -> None:
    assert format_change(change, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.12, "120 ms"),
        (0.9996, "1 s"),
        (3.14, "3.1 s"),
        (9.96, "10 s"),
        (41.3, "41 s"),
        (59.6, "1 m"),
        (125, "2 m 05 s"),
        (3599.7, "1 h"),
        (3 * 3600, "3 h"),
        (3 * 3600 + 5 * 60, "3 h 05 m"),
        (48 * 3600 - 1, "2 d"),
        (98 * 3600, "4 d 02 h"),
    ],
)
def test_duration_has_its_two_largest_units_and_never_sixty_of_one(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_times_are_those_of_the_workspace() -> None:
    at = datetime(2026, 3, 1, 22, 45, 14, tzinfo=UTC)
    assert format_clock(at, COLOMBO) == "04:15:14"
    assert format_clock("2026-03-01T22:45:14Z", COLOMBO) == "04:15:14"
    assert format_moment(at, COLOMBO) == "2 Mar 04:15"


def test_window_names_its_day_once_when_both_ends_share_it() -> None:
    since, until = datetime(2026, 3, 1, 17, tzinfo=UTC), datetime(2026, 3, 1, 18, 30, tzinfo=UTC)
    assert format_window(Window(since, until), ZoneInfo("UTC")) == "1 Mar 17:00 – 18:30"
    assert format_window(Window(since, until), COLOMBO) == "1 Mar 22:30 – 2 Mar 00:00"


@pytest.mark.parametrize(
    ("change", "text"),
    [(15.0, "+15%"), (2.1, "+2.1%"), (-15.0, "-15%"), (0.0, "0%"), (1250.0, "+1250%")],
)
def test_growth_is_signed_text(change: float, text: str) -> None:
    assert format_growth(change) == text
