"""When reports are due: worked out from days, versions and the clock alone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.reporting.schedule import (
    KEPT_UP_DAYS,
    READY_AFTER,
    Due,
    Kept,
    list_days,
    list_due,
)

UTC_ZONE = ZoneInfo("UTC")
MONDAY = date(2026, 3, 2)
READY = datetime(2026, 3, 3, tzinfo=UTC) + READY_AFTER
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


def find_due(day: date, now: datetime, confirmed_at: datetime | None, zone: ZoneInfo = UTC_ZONE) -> list[str]:
    """Return the kinds of report of a day that are due; `confirmed_at`: of the version that there is of each."""
    kept = {(kind, day): Kept(day, confirmed_at) for kind in ("daily", "weekly") if confirmed_at is not None}
    return [one.kind for one in list_due([day], kept, now, zone)]


def test_a_report_is_due_from_six_hours_after_its_day_on() -> None:
    assert find_due(MONDAY, READY - SECOND, None) == []
    assert find_due(MONDAY, READY, None) == ["daily"]
    assert find_due(MONDAY, READY + 30 * DAY, None) == ["daily"]


def test_a_week_is_due_with_its_sunday() -> None:
    assert find_due(MONDAY + 6 * DAY, READY + 6 * DAY, None) == ["daily", "weekly"]
    assert find_due(MONDAY + 5 * DAY, READY + 5 * DAY, None) == ["daily"]


def test_a_report_is_counted_again_at_that_hour_of_each_day() -> None:
    assert find_due(MONDAY, READY + DAY - SECOND, READY) == []
    for day in (1, 2, 30):
        assert find_due(MONDAY, READY + day * DAY, READY + day * DAY - SECOND) == ["daily"]
        assert find_due(MONDAY, READY + day * DAY + 5 * SECOND, READY + day * DAY) == []


def test_days_that_were_missed_are_made_up_for_by_one_count() -> None:
    assert find_due(MONDAY, READY + 20 * DAY, READY + 3 * DAY) == ["daily"]
    assert find_due(MONDAY, READY + 20 * DAY + SECOND, READY + 20 * DAY) == []


@pytest.mark.parametrize(
    ("zone", "day", "ready"),
    [
        ("America/New_York", date(2026, 3, 8), datetime(2026, 3, 9, 4, tzinfo=UTC)),  # 23 hours long
        ("America/New_York", date(2026, 11, 1), datetime(2026, 11, 2, 5, tzinfo=UTC)),  # 25 hours long
        ("Asia/Kathmandu", date(2028, 2, 29), datetime(2028, 2, 29, 18, 15, tzinfo=UTC)),
    ],
)
def test_days_are_those_of_the_zone(zone: str, day: date, ready: datetime) -> None:
    ready += READY_AFTER
    assert "daily" in find_due(day, ready, None, ZoneInfo(zone))
    assert find_due(day, ready - SECOND, None, ZoneInfo(zone)) == []


def test_a_day_comes_before_the_week_that_it_ends_and_the_oldest_first() -> None:
    days = [MONDAY + number * DAY for number in range(5, 8)]
    assert list_due(days, {}, READY + 8 * DAY, UTC_ZONE) == [
        Due("daily", days[0]),
        Due("daily", days[1]),
        Due("weekly", days[1]),
        Due("daily", days[2]),
    ]


def test_days_are_kept_up_within_bounds_and_never_before_the_records() -> None:
    now = READY + 100 * DAY
    days = list_days(now, UTC_ZONE, READY)
    assert len(days) == KEPT_UP_DAYS
    assert days == sorted(days)
    assert days[-1] == now.date() - DAY
    assert list_days(now, UTC_ZONE, now - 2 * DAY) == [now.date() - 2 * DAY, now.date() - DAY]
    assert list_days(now, UTC_ZONE, now) == []


def test_a_day_that_the_calendar_skipped_is_never_due() -> None:
    apia = ZoneInfo("Pacific/Apia")
    days = list_days(datetime(2012, 1, 3, tzinfo=UTC), apia, datetime(2011, 12, 28, 12, tzinfo=UTC))
    assert date(2011, 12, 29) in days
    assert date(2011, 12, 30) not in days
    assert date(2011, 12, 31) in days
