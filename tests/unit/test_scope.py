import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_stream_engine.analytics.scope import MONTH, coarsest_grain, list_bins, local_midnight
from event_stream_engine.kernel.windows import Window

BERLIN, LORD_HOWE, KATHMANDU = (
    ZoneInfo(name) for name in ("Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu")
)
DAY = timedelta(days=1)
STEPS = [timedelta(minutes=minutes) for minutes in (5, 15, 60, 360)] + [DAY, 7 * DAY]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local_window(zone: ZoneInfo, since: str, until: str) -> Window:
    """Make a window from local days."""
    ends = (datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(UTC) for day in (since, until))
    return Window(*ends)


@pytest.mark.parametrize(
    ("zone", "first", "hours"),
    [
        (BERLIN, "2026-03-28", [24, 23, 24]),
        (BERLIN, "2026-10-24", [24, 25, 24]),
        (LORD_HOWE, "2026-04-04", [24, 24.5, 24]),
        (LORD_HOWE, "2026-10-03", [24, 23.5, 24]),
        (KATHMANDU, "2026-03-28", [24, 24, 24]),
    ],
)
def test_days_follow_the_local_calendar(zone: ZoneInfo, first: str, hours: list[float]) -> None:
    last = (datetime.fromisoformat(first) + 3 * DAY).date().isoformat()
    window = local_window(zone, first, last)
    bins = list_bins(window, DAY, zone)
    assert [at.astimezone(zone).hour for at in bins] == [0, 0, 0]
    lengths = [after - at for at, after in zip(bins, [*bins[1:], window.until], strict=True)]
    assert [length.total_seconds() / 3600 for length in lengths] == hours


@pytest.mark.parametrize(("zone", "day"), [(BERLIN, "2026-03-29"), (LORD_HOWE, "2026-04-05")])
def test_shorter_steps_are_of_equal_length_also_on_the_day_of_a_change(zone: ZoneInfo, day: str) -> None:
    window = local_window(zone, day, (datetime.fromisoformat(day) + DAY).date().isoformat())
    bins = list_bins(window, timedelta(hours=1), zone)
    assert bins[0] == window.since
    assert {after - at for at, after in itertools.pairwise(bins)} == {timedelta(hours=1)}
    assert len(bins) == -(-window.length // timedelta(hours=1))


def test_a_zone_of_three_quarters_of_an_hour_has_its_own_hours() -> None:
    bins = list_bins(Window(utc("2026-03-02T11:50"), utc("2026-03-02T13:00")), timedelta(hours=1), KATHMANDU)
    assert bins == [utc("2026-03-02T11:15"), utc("2026-03-02T12:15")]


def test_a_day_without_midnight_begins_with_its_first_instant() -> None:
    """In Beirut clocks went from 00:00 to 01:00 on 29 March 2026."""
    beirut = ZoneInfo("Asia/Beirut")
    began = local_midnight(utc("2026-03-29T12:00"), beirut)
    assert began == utc("2026-03-28T22:00")
    assert began.astimezone(beirut).hour == 1


def test_months_follow_the_calendar() -> None:
    window = local_window(BERLIN, "2026-01-17", "2026-11-02")
    months = [at.astimezone(BERLIN) for at in list_bins(window, MONTH, BERLIN)]
    assert [(at.month, at.day, at.hour) for at in months] == [(month, 1, 0) for month in range(1, 12)]
    thirds = [at.astimezone(BERLIN) for at in list_bins(window, 4 * MONTH, BERLIN)]
    assert [(at.month, at.day, at.hour) for at in thirds] == [(1, 1, 0), (5, 1, 0), (9, 1, 0)]


def test_no_bin_cuts_a_bucket_that_its_series_reads() -> None:
    steps = [timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=6), DAY, 7 * DAY, MONTH, 4 * MONTH]
    assert [coarsest_grain(step) for step in steps] == [
        "minute",
        "quarter",
        "quarter",
        "day",
        "day",
        "month",
        "month",
    ]


instants = st.timedeltas(timedelta(0), 730 * DAY).map(lambda since: utc("2025-01-01") + since)


@given(
    instants,
    st.timedeltas(timedelta(microseconds=1), 10 * DAY),
    st.sampled_from(STEPS),
    st.sampled_from([BERLIN, LORD_HOWE, KATHMANDU]),
)
def test_bins_cover_the_window_in_order_without_an_empty_one_at_either_end(
    since: datetime, length: timedelta, step: timedelta, zone: ZoneInfo
) -> None:
    window = Window(since, since + length)
    bins = list_bins(window, step, zone)
    assert bins == sorted(set(bins))
    assert bins[0] <= window.since
    assert bins[-1] < window.until
    assert len(bins) == 1 or bins[1] > window.since
    assert window.until - bins[-1] <= step + timedelta(hours=1)
