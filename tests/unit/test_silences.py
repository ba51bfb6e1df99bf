"""When a silence holds: once, or at the same hours of some days again and again."""

from datetime import UTC, datetime, time
from uuid import UUID

import pytest

from event_stream_engine.alerting.silences import Schedule, Silence

NIGHTS = Schedule((6,), time(22), time(4), "Europe/Berlin")  # from Sunday evening to Monday morning


@pytest.mark.parametrize(
    ("at", "holds"),
    [
        (datetime(2026, 3, 1, 20, 59, tzinfo=UTC), False),  # Sunday, 21:59 in Berlin
        (datetime(2026, 3, 1, 21, tzinfo=UTC), True),
        (datetime(2026, 3, 2, 2, 59, tzinfo=UTC), True),
        (datetime(2026, 3, 2, 3, tzinfo=UTC), False),
        (datetime(2026, 3, 2, 21, tzinfo=UTC), False),
        (datetime(2026, 3, 29, 20, tzinfo=UTC), True),  # summer time has begun that morning
        (datetime(2026, 3, 30, 2, tzinfo=UTC), False),
    ],
)
def test_hours_over_midnight_belong_to_the_day_on_which_they_start(at: datetime, holds: bool) -> None:
    assert NIGHTS.holds_at(at) is holds


def test_a_silence_with_a_schedule_holds_only_between_its_begin_and_its_end() -> None:
    begins, ends = datetime(2026, 3, 1, 22, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    silence = Silence(
        UUID(int=1), {"severity": "warning"}, begins, ends, NIGHTS, "Upgrade", "operator:1", begins
    )
    assert not silence.holds_at(datetime(2026, 3, 1, 21, 30, tzinfo=UTC))
    assert silence.holds_at(begins)
    assert not silence.holds_at(ends)
    assert silence.matches({"severity": "warning", "rule": "Lag"})
    assert not silence.matches({"severity": "critical"})
