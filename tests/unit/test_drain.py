"""How long a campaign takes is reckoned as an engine that hands over message by message would take."""

from collections import deque
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.campaigns.quiet_hours import QuietHours
from event_stream_engine.insights.drain import Audience, Speed, advise, reckon_drain

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
NIGHT = (QuietHours(time(21), time(8)),)
NEW_YORK, LOS_ANGELES, TOKYO, BERLIN = (
    ZoneInfo(name) for name in ("America/New_York", "America/Los_Angeles", "Asia/Tokyo", "Europe/Berlin")
)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def is_quiet(at: datetime, zone: ZoneInfo) -> bool:
    local = at.astimezone(zone).time()
    return local >= time(21) or local < time(8)


def simulate(zones: dict[ZoneInfo, int], pace: int, provider_pace: float) -> tuple[datetime, datetime, int]:
    """Hand over second by second and return when the last was handed over and sent, and how many waited too long.

    Whoever is awake at the start goes first, then those whose morning came, over a quarter of an hour.
    """
    due: list[tuple[datetime, ZoneInfo]] = []
    for zone, people in zones.items():
        morning = AT
        while is_quiet(morning, zone):
            morning += MINUTE
        spread = timedelta(0) if morning == AT else timedelta(minutes=15) / people
        due += [(morning + number * spread, zone) for number in range(people)]
    waiting, queue = deque(sorted(due, key=lambda one: one[0])), 0.0
    at, handed_over, late = AT, AT, 0
    while waiting:
        for _ in range(pace):
            if not waiting or waiting[0][0] > at:
                break
            zone = waiting.popleft()[1]
            handed_over, wait = at, queue / provider_pace
            leaves = at + timedelta(seconds=wait)
            if wait > 36_000 or is_quiet(leaves, zone):
                late += 1
            else:
                queue += 1
        queue = max(0.0, queue - provider_pace)
        at += timedelta(seconds=1)
    return handed_over, at + timedelta(seconds=queue / provider_pace), late


@pytest.mark.parametrize(
    ("zones", "pace", "provider_pace"),
    [
        ({NEW_YORK: 9000}, 5, 10.0),
        ({NEW_YORK: 9000, BERLIN: 4000}, 5, 2.0),
        ({LOS_ANGELES: 6000, BERLIN: 6000, TOKYO: 900}, 3, 3.0),
        ({NEW_YORK: 30_000, LOS_ANGELES: 20_000}, 20, 1.0),
        ({BERLIN: 40_000}, 10, 1.0),
    ],
)
def test_it_takes_as_long_as_handing_over_message_by_message(
    zones: dict[ZoneInfo, int], pace: int, provider_pace: float
) -> None:
    audiences = [Audience(people, (zone,), NIGHT) for zone, people in zones.items()]
    found = reckon_drain(audiences, Speed(pace, sender_rate=provider_pace), AT)
    handed_over, sent, late = simulate(zones, pace, provider_pace)
    assert found.handed_over_at is not None
    assert found.sent_at is not None
    assert found.expiring is not None
    assert abs(found.handed_over_at - handed_over) <= MINUTE
    assert abs(found.sent_at - sent) <= 2 * MINUTE
    assert found.expiring == pytest.approx(late, rel=0.01, abs=5)


def test_without_quiet_hours_it_is_recipients_by_pace() -> None:
    found = reckon_drain([Audience(1000, (), ())], Speed(10), AT)
    assert found.handed_over_at == AT + timedelta(seconds=100)
    assert (found.sent_at, found.expiring, found.idle_seconds) == (None, None, 0)


def test_quiet_hours_put_the_rest_off_until_the_next_morning() -> None:
    # From 12:00 UTC Berlin has eight hours left of its day: 8 * 3600 messages, and the next ones from 7:00 UTC on.
    found = reckon_drain([Audience(8 * 3600 + 1800, (BERLIN,), NIGHT)], Speed(1), AT)
    assert found.handed_over_at == AT + 19 * HOUR + timedelta(seconds=1800)
    assert found.idle_seconds == 11 * 3600


def test_clocks_that_go_forward_take_an_hour_of_the_night() -> None:
    evening = datetime(2026, 3, 28, 20, tzinfo=UTC)  # 21:00 in Berlin; summer time begins at night
    found = reckon_drain([Audience(900, (BERLIN,), NIGHT)], Speed(100), evening)
    assert found.idle_seconds == 10 * 3600
    assert found.handed_over_at == datetime(2026, 3, 29, 6, 15, tzinfo=UTC)


def test_queue_of_the_provider_holds_ten_hours_and_refuses_the_rest() -> None:
    found = reckon_drain([Audience(100_000, (), ())], Speed(100, sender_rate=1), AT)
    assert found.longest_wait_seconds == pytest.approx(36_000, rel=0.01)
    assert found.expiring == pytest.approx(100_000 - 36_000 - 1000, rel=0.01)
    assert "30001" in " ".join(advise(found, Speed(100, sender_rate=1)))


def test_more_senders_send_as_fast_as_they_are_fed() -> None:
    speed = Speed(20, senders=20, sender_rate=2, segments=2)
    found = reckon_drain([Audience(72_000, (), ())], speed, AT)
    assert found.sent_at == found.handed_over_at == AT + HOUR
    assert found.expiring == 0
    assert advise(found, speed) == []


def test_advice_says_how_many_senders_a_pace_needs() -> None:
    speed = Speed(20, senders=3, sender_rate=1, segments=2)
    [first, *_] = advise(reckon_drain([Audience(5000, (), ())], speed, AT), speed)
    assert "1.5 messages a second" in first
    assert "40 senders" in first


def test_zones_without_a_common_minute_are_told_and_not_waited_for() -> None:
    hours = (QuietHours(time(9), time(8)),)
    found = reckon_drain([Audience(10, (NEW_YORK, TOKYO), hours), Audience(90, (), ())], Speed(10), AT)
    assert (found.always_quiet, found.handed_over_at) == (10, AT + timedelta(seconds=9))
    alone = reckon_drain([Audience(10, (NEW_YORK, TOKYO), hours)], Speed(10), AT)
    assert alone.handed_over_at is None


def test_what_would_take_months_is_given_up_after_thirty_days() -> None:
    speed = Speed(1)
    found = reckon_drain([Audience(10_000_000, (BERLIN,), NIGHT)], speed, AT)
    assert found.handed_over_at is None
    assert "After 30 days" in advise(found, speed)[0]


def test_nobody_takes_no_time() -> None:
    found = reckon_drain([], Speed(10, sender_rate=1), AT)
    assert (found.recipients, found.handed_over_at, found.expiring) == (0, None, 0)
