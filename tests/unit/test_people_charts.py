"""The charts of inbound messages and of the audience against Altair's schema, and what they decide to show."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import altair
import pytest

from event_stream_engine.analytics.consent import ENTERED, ConsentPoint
from event_stream_engine.analytics.demographics import Signups
from event_stream_engine.analytics.inbound import INTENTS, InboundPoint
from event_stream_engine.kernel.formats import format_hour
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.audience_charts import chart_consent, chart_signups
from event_stream_engine.web.charts import Chart, theme
from event_stream_engine.web.inbound_charts import chart_inbound, chart_week
from event_stream_engine.web.periods import Period

NOW = datetime(2026, 3, 9, tzinfo=UTC)
ZONE = ZoneInfo("UTC")
DAY = timedelta(days=1)
WEEK = Period("7d", "Last 7 days", Window(NOW - 7 * DAY, NOW), DAY, "day")


def draw_all(count: int) -> list[Chart]:
    instants = [NOW - days * DAY for days in range(7, 0, -1)]
    week = [[count * (weekday + hour) for hour in range(24)] for weekday in range(7)]
    return [
        chart_inbound([InboundPoint(at, dict.fromkeys(INTENTS, count)) for at in instants], WEEK, ZONE),
        chart_week(week, WEEK),
        chart_consent([ConsentPoint(at, dict.fromkeys(ENTERED, count)) for at in instants], WEEK, ZONE),
        chart_signups([Signups(at, count) for at in instants], WEEK, ZONE),
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("count", [0, 1, 700])
def test_definition_and_theme_are_valid_vega_lite(count: int, scheme: Any) -> None:
    for chart in draw_all(count):
        complete = {**chart.spec, "datasets": {"rows": chart.rows}, "config": theme(scheme)}
        altair.LayerChart.from_dict(complete)


def test_definition_holds_no_colour_of_its_own() -> None:
    for chart in draw_all(7):
        assert not re.search(r"#[0-9a-f]{3,8}\b|rgb|hsl", str(chart.spec))


def test_silent_period_says_so_instead_of_drawing_nothing() -> None:
    assert all(chart.nothing for chart in draw_all(0))
    assert not any(chart.nothing for chart in draw_all(3))


def test_fullest_hour_is_named_in_words_and_bears_its_number() -> None:
    chart = draw_all(1)[1]
    assert chart.summary.endswith("most on Sunday 23:00-00:00, 29")
    assert [row["tip_when"] for row in chart.rows if row["peak"]] == ["Sunday 23:00-00:00"]
    assert chart.table[23][1:] == [(str(n), n) for n in range(23, 30)]


def test_who_leaves_is_drawn_below_the_line_and_counted_above_zero() -> None:
    chart = draw_all(3)[2]
    assert {name: chart.rows[0][name] for name in ENTERED} == {"OPT_IN": 3, "OPT_OUT": -3, "STOP": -3}
    assert chart.table[0][1:] == [("3", 3)] * 3


def test_hour_of_the_day_ends_where_the_next_begins() -> None:
    assert [format_hour(hour) for hour in (0, 14, 23)] == ["00:00-01:00", "14:00-15:00", "23:00-00:00"]
