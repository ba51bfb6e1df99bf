"""The second step at the edges of quiet hours: how long a message may wait with the provider, and where deferral ends."""

from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from event_stream_engine.campaigns.compliance import Moment, Order, Verdict, judge_message
from event_stream_engine.campaigns.outbox import Due, Facts
from event_stream_engine.campaigns.rendering import Content

DAY = datetime(2026, 3, 2, tzinfo=UTC)


def judge(
    now: datetime,
    starts: time = time(21),
    ends: time = time(8),
    place: int = 0,
    zones: tuple[str, ...] = ("UTC",),
) -> Verdict:
    order = Order(
        campaign_id=UUID(int=1),
        sender="+14155238886",
        rate_per_second=10,
        quiet_starts=starts,
        quiet_ends=ends,
        channel="sms",
        content=Content("Hello", None, {}),
    )
    due = Due(UUID(int=place), "+14155550123", 0, True, None, None, None, None)
    facts = Facts(
        position=1,
        consent_state="OPT_IN",
        consent_entry=None,
        attributes={},
        timezone=None,
        zones=list(zones),
        rule_starts=None,
        rule_ends=None,
        is_suppressed=False,
        is_unreachable=False,
        last_inbound_at=None,
        answered_intent=None,
    )
    return judge_message(order, due, facts, Moment(now, 5, ()), 0)


def test_a_message_may_wait_with_the_provider_until_the_window_begins_and_ten_hours_at_most() -> None:
    evening, morning = judge(DAY + timedelta(hours=20)), judge(DAY + timedelta(hours=8))
    assert evening.message is not None
    assert morning.message is not None
    assert (evening.message.validity_seconds, morning.message.validity_seconds) == (3600, 36_000)


def test_seconds_before_the_window_a_message_waits_for_the_morning() -> None:
    last = judge(DAY + timedelta(hours=20, minutes=59, seconds=50))
    assert last.outcome == "allowed"
    late = judge(DAY + timedelta(hours=20, minutes=59, seconds=51))
    assert (late.outcome, late.reason) == ("deferred", "quiet_hours")
    assert late.defer_until == DAY + timedelta(days=1, hours=8)


def test_what_is_deferred_comes_back_within_a_quarter_of_an_hour_spread_by_its_id() -> None:
    morning = DAY + timedelta(days=1, hours=8)
    found = [judge(DAY + timedelta(hours=22), place=place << 30).defer_until for place in range(4)]
    assert found == [morning + n * timedelta(minutes=3, seconds=45) for n in range(4)]


def test_a_short_window_is_not_missed_by_the_spread() -> None:
    ten_minutes = {"starts": time(12, 10), "ends": time(12)}
    for place in (0, 0x8000_0000, 0xFFFF_FFFF):
        deferred = judge(DAY, place=place, **ten_minutes)
        assert deferred.defer_until is not None
        assert judge(deferred.defer_until, place=place, **ten_minutes).outcome == "allowed"


def test_where_no_minute_is_allowed_in_all_zones_nothing_is_deferred_for_ever() -> None:
    verdict = judge(DAY, time(17), time(9), zones=("Europe/Kaliningrad", "Asia/Kamchatka"))
    assert (verdict.outcome, verdict.reason) == ("denied", "always_quiet")
