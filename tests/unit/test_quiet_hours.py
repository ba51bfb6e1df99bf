"""Quiet hours against a reference that looks at the clock minute by minute, in every zone of the tz database."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from event_stream_engine.campaigns.quiet_hours import QuietHours, find_allowed_at, find_quiet_at

NIGHT = QuietHours(time(21), time(8))
ZONES = sorted(name for name in available_timezones() if not name.startswith(("posix/", "right/")))
MINUTE = timedelta(minutes=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def quiet_by_the_clock(at: datetime, zones: Sequence[ZoneInfo], hours: Sequence[QuietHours]) -> bool:
    """The rule said another way: minutes of the day counted from the window's start."""
    for zone in zones:
        wall = at.astimezone(zone)
        minute = wall.hour * 60 + wall.minute
        for one in hours:
            start, end = (edge.hour * 60 + edge.minute for edge in (one.starts, one.ends))
            if (minute - start) % 1440 < (end - start) % 1440:
                return True
    return False


def find_clock_changes(zone: ZoneInfo, since: datetime, until: datetime) -> list[datetime]:
    """The minutes of a zone's clock changes: between two looks a quarter of a day apart, each minute."""
    found, at = [], since
    while at < until:
        offset, later = at.astimezone(zone).utcoffset(), at + timedelta(hours=6)
        if offset != later.astimezone(zone).utcoffset():
            step = at
            while step.astimezone(zone).utcoffset() == offset:
                step += MINUTE
            found.append(step)
        at = later
    return found


def check_every_minute(
    since: datetime, minutes: int, zones: Sequence[ZoneInfo], hours: Sequence[QuietHours], step: int
) -> None:
    """Check both answers from every so many minutes against the clock, read once a minute from the end backwards."""
    allowed_at: datetime | None = None
    quiet_at: datetime | None = None
    expected = {}
    for number in range(minutes + 2 * 1440, -1, -1):
        at = since + number * MINUTE
        if quiet_by_the_clock(at, zones, hours):
            quiet_at = at
        else:
            allowed_at = at
        expected[at] = allowed_at, quiet_at
    for number in range(0, minutes, step):
        at = since + number * MINUTE
        found = find_allowed_at(at, zones, hours), find_quiet_at(at, zones, hours)
        assert found == expected[at], (at, zones, hours, found, expected[at])


def test_the_night_of_one_zone() -> None:
    berlin = [ZoneInfo("Europe/Berlin")]
    assert find_allowed_at(datetime(2026, 3, 2, 6, 59, 59, tzinfo=UTC), berlin, [NIGHT]) == datetime(
        2026, 3, 2, 7, tzinfo=UTC
    )
    noon = datetime(2026, 3, 2, 12, 0, 0, 5, tzinfo=UTC)
    assert find_allowed_at(noon, berlin, [NIGHT]) == noon
    assert find_quiet_at(noon, berlin, [NIGHT]) == datetime(2026, 3, 2, 20, tzinfo=UTC)


def test_equal_edges_mean_no_window() -> None:
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    none = [QuietHours(time(3), time(3))]
    assert find_allowed_at(midnight, [ZoneInfo("Asia/Tokyo")], none) == midnight
    assert find_quiet_at(midnight, [ZoneInfo("Asia/Tokyo")], none) is None


def test_zones_without_a_common_minute_say_so() -> None:
    russia = [ZoneInfo("Europe/Kaliningrad"), ZoneInfo("Asia/Kamchatka")]
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert find_allowed_at(now, russia, [QuietHours(time(17), time(9))]) is None
    assert find_allowed_at(now, russia, [NIGHT]) == datetime(2026, 3, 3, 6, tzinfo=UTC)


def test_the_rule_of_a_state_and_the_window_of_the_campaign_both_hold() -> None:
    florida = [ZoneInfo("America/New_York"), ZoneInfo("America/Chicago")]
    hours = [NIGHT, QuietHours(time(20), time(9))]
    check_every_minute(datetime(2026, 3, 6, tzinfo=UTC), 4 * 1440, florida, hours, 7)


def test_every_clock_change_of_every_zone() -> None:
    """A window that crosses midnight, and one whose edges lie where clocks are changed; the hours around the change."""
    since, until = datetime(2025, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    seen = set()
    for name in ZONES:
        zone = ZoneInfo(name)
        # Without a change the offset alone is looked at, which may be of 30 or 45 minutes.
        for change in find_clock_changes(zone, since, until) or [since]:
            offsets = [
                (change + hours * timedelta(hours=1)).astimezone(zone).utcoffset() for hours in (-1, 1)
            ]
            if (change, *offsets) in seen:
                continue
            seen.add((change, *offsets))
            for hours in (NIGHT, QuietHours(time(1, 30), time(2, 30))):
                check_every_minute(change - timedelta(hours=5), 600, [zone], [hours], 29)
    assert len(ZONES) > 500
    assert len(seen) > 100


TIMES = st.times().map(lambda each: each.replace(second=0, microsecond=0))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(ZONES), min_size=1, max_size=3),
    st.lists(st.builds(QuietHours, TIMES, TIMES), min_size=1, max_size=2),
    st.integers(0, 6 * 365 * 86_400).map(lambda seconds: START + timedelta(seconds=seconds)),
)
def test_never_inside_the_window_and_never_later_than_need_be(
    names: list[str], hours: list[QuietHours], now: datetime
) -> None:
    zones = [ZoneInfo(name) for name in names]
    allowed_at, quiet_at = find_allowed_at(now, zones, hours), find_quiet_at(now, zones, hours)
    if allowed_at is None:
        assert all(quiet_by_the_clock(now + n * MINUTE, zones, hours) for n in range(0, 8 * 1440, 5))
        return
    assert not quiet_by_the_clock(allowed_at, zones, hours)
    step = now
    while step < allowed_at:
        assert quiet_by_the_clock(step, zones, hours)
        step += MINUTE
    if allowed_at == now and quiet_at is not None:
        assert quiet_by_the_clock(quiet_at, zones, hours)
        assert not quiet_by_the_clock(quiet_at - timedelta(seconds=1), zones, hours)
    assert (quiet_at == now) == (allowed_at != now)
