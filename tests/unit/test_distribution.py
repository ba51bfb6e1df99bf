"""Histograms of durations: bins that people can read, and nothing lost."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from event_stream_engine.analytics.distribution import spread
from event_stream_engine.kernel.stats import sketch_index

sketches = st.dictionaries(
    st.floats(min_value=0.001, max_value=1e6).map(sketch_index), st.integers(1, 10_000), max_size=80
)


@given(sketches)
def test_histogram_counts_every_message_once_and_has_no_gap(sketch: dict[int, int]) -> None:
    bins = spread(sketch)
    assert sum(one.messages for one in bins) == sum(sketch.values())
    assert [one.so_far for one in bins][-1:] == ([sum(sketch.values())] if sketch else [])
    assert all(one.until_seconds == following.since_seconds for one, following in pairwise(bins))
    assert len(bins) <= 31


def test_bins_have_a_round_width_and_the_slow_few_share_the_last_one() -> None:
    sketch = {sketch_index(seconds): 100 for seconds in (1.5, 3.0, 8.2, 14.4)} | {sketch_index(4000.0): 1}
    bins = spread(sketch)
    assert [(one.since_seconds, one.until_seconds) for one in bins][:2] == [(0.0, 0.5), (0.5, 1.0)]
    assert (bins[-1].until_seconds, bins[-1].messages) == (None, 1)


def test_nothing_measured_is_no_histogram() -> None:
    assert spread({}) == []
