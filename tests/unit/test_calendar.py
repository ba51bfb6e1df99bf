"""The calendar has each local day once, from its first instant on."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.analytics.calendar import list_local_days

ZONES = [
    "UTC", "America/Havana", "America/Sao_Paulo", "Asia/Beirut", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia",
]  # fmt: skip


@pytest.mark.parametrize("name", ZONES)
def test_days_follow_each_other_and_begin_where_the_local_date_changes(name: str) -> None:
    zone = ZoneInfo(name)
    days = list_local_days(zone)
    for (began, _), (ends, _) in pairwise(days):
        assert timedelta(hours=22) < ends - began < timedelta(hours=26)
        before = began - timedelta(microseconds=1)
        assert began.astimezone(zone).date() > before.astimezone(zone).date()


@pytest.mark.parametrize("name", ZONES)
def test_a_month_begins_with_the_first_of_its_days(name: str) -> None:
    zone = ZoneInfo(name)
    for began, month_began in list_local_days(zone):
        at, month = began.astimezone(zone), month_began.astimezone(zone)
        assert (month.year, month.month, month.day) == (at.year, at.month, 1)


def test_of_two_midnights_the_first_begins_the_day() -> None:
    days = dict(list_local_days(ZoneInfo("America/Havana")))
    assert datetime(2026, 11, 1, 4, tzinfo=UTC) in days
    assert datetime(2026, 11, 1, 5, tzinfo=UTC) not in days
