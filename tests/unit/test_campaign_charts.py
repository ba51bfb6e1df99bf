"""The charts and marks of a campaign's figures."""

from typing import Any

import altair
import pytest

from event_stream_engine.analytics.durations import Durations
from event_stream_engine.analytics.rates import Rate
from event_stream_engine.kernel.stats import sketch_index
from event_stream_engine.web.charts import theme
from event_stream_engine.web.duration_charts import chart_delivery_times
from event_stream_engine.web.intervals import draw_intervals

MEASURED = Durations(
    111, 14.0, 2.0, 300.0, {sketch_index(2.0): 80, sketch_index(39.0): 30, sketch_index(300.0): 1}
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("times", [MEASURED, Durations()], ids=["measured", "nothing"])
def test_definition_and_theme_are_valid_vega_lite(times: Durations, scheme: Any) -> None:
    chart = chart_delivery_times(times)
    altair.LayerChart.from_dict({**chart.spec, "datasets": {"rows": chart.rows}, "config": theme(scheme)})


def test_histogram_names_median_and_95th_percentile_in_the_bins_that_hold_them() -> None:
    chart = chart_delivery_times(MEASURED)
    marks = {mark["text"]: mark["slot"] for mark in chart.spec["layer"][2]["data"]["values"]}
    assert list(marks) == ["p50 2 s", "p95 39 s"]
    held = {row["slot"]: row["messages"] for row in chart.rows}
    assert [held[slot] for slot in marks.values()] == [80, 30]


def test_table_behind_the_histogram_ends_with_everything() -> None:
    chart = chart_delivery_times(MEASURED)
    assert chart.table[-1][0][0].endswith("and more")
    assert chart.table[-1][-1] == ("100.00 %", 100.0)
    assert chart.table[0][0][0] == "0 – 2 s"


def test_nothing_measured_says_so_instead_of_drawing_nothing() -> None:
    assert chart_delivery_times(Durations()).nothing
    assert not chart_delivery_times(MEASURED).nothing


def test_marks_share_one_scale_and_unknown_rates_have_none() -> None:
    wide, narrow, unknown = draw_intervals([Rate(9, 10), Rate(900, 1000), Rate(0, 0)])
    assert unknown is None
    assert wide is not None
    assert narrow is not None
    assert wide.width > 3 * narrow.width
    assert abs(wide.at - narrow.at) < 0.01
    for mark in (wide, narrow):
        assert 0 <= mark.begins <= mark.at <= mark.begins + mark.width <= 100
    assert draw_intervals([Rate(0, 0)]) == [None]
