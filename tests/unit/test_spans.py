"""Windows made of buckets: nothing twice, nothing left out."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.spans import KEPT, SECONDS, list_spans

NOW = datetime(2026, 3, 2, 12, 7, 31, tzinfo=UTC)
INSTANTS = st.integers(40, 121 * 24 * 3600).map(lambda seconds: NOW - timedelta(seconds=seconds))
MIDNIGHTS = [datetime(2025, 11, 1, 5, 30, tzinfo=UTC) + timedelta(days=day) for day in range(110)]


@given(st.lists(INSTANTS, min_size=3, max_size=3, unique=True), st.booleans())
def test_spans_of_neighbouring_windows_follow_each_other_without_gap_or_overlap(
    instants: list[datetime], has_days: bool
) -> None:
    since, middle, until = sorted(instants)
    days = [day for day in MIDNIGHTS if since <= day <= until] if has_days else []
    spans = [*list_spans(Window(since, middle), NOW, days), *list_spans(Window(middle, until), NOW, days)]
    assert all(one.ends == other.begins for one, other in pairwise(spans))
    whole = list_spans(Window(since, until), NOW, days)
    assert [span.begins for span in whole[:1]] == [span.begins for span in spans[:1]]
    assert [span.ends for span in whole[-1:]] == [span.ends for span in spans[-1:]]


@given(st.lists(INSTANTS, min_size=2, max_size=2, unique=True))
def test_spans_begin_and_end_with_their_buckets_and_use_none_that_may_be_gone(
    instants: list[datetime],
) -> None:
    since, until = sorted(instants)
    for span in list_spans(Window(since, until), NOW, MIDNIGHTS):
        if span.grain == "day":
            assert span.begins in MIDNIGHTS
            assert span.ends in MIDNIGHTS
        else:
            assert span.begins.timestamp() % SECONDS[span.grain] == 0
            assert span.ends.timestamp() % SECONDS[span.grain] == 0
        assert span.grain != "minute" or span.begins >= NOW - KEPT["minute"] - timedelta(minutes=15)


def test_window_that_ends_now_has_the_present_minute() -> None:
    window = Window(NOW - timedelta(hours=1), NOW - timedelta(milliseconds=3))
    assert list_spans(window, NOW)[-1].ends == datetime(2026, 3, 2, 12, 8, tzinfo=UTC)
