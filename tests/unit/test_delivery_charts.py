"""The charts against Altair's schema and the stylesheet, and what they decide to show."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import altair
import pytest

from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.kernel.stats import sketch_index, sketch_percentiles
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.charts import PALETTE, Chart, make_time_axis, theme
from event_stream_engine.web.delivery_charts import (
    Series,
    chart_delivery_rate,
    chart_delivery_time,
    chart_messages_by_status,
    make_series,
)
from event_stream_engine.web.periods import Period
from event_stream_engine.web.render import STATIC_DIR

HOUR = timedelta(hours=1)
NOW = datetime(2026, 3, 2, 16, 45, tzinfo=UTC)
DAY = Period("24h", "Last 24 hours", Window(NOW - 24 * HOUR, NOW), HOUR, "hour")
TIMES = sketch_percentiles({sketch_index(39.0): 200, sketch_index(188.0): 30}, (50, 95))


def make_point(hours_ago: int, **changes: Any) -> DeliveryPoint:
    at = NOW.replace(minute=0) - hours_ago * HOUR
    return replace(DeliveryPoint(at, 100, 96, 0, 4, 96.0, 39.0, 188.0), **changes)


def draw_series(*points: DeliveryPoint) -> Series:
    return make_series(points, DAY, ZoneInfo("UTC"), NOW)


def draw_all(series: Series) -> list[Chart]:
    return [
        chart_messages_by_status(series),
        chart_delivery_rate(series, 95.83, 90.0),
        chart_delivery_time(series, TIMES),
    ]


BUSY = draw_series(*(make_point(hours) for hours in range(23, -1, -1)))
SILENT = draw_series(
    *(DeliveryPoint(NOW - hours * HOUR, 0, 0, 0, 0, None, None, None) for hours in (2, 1, 0))
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("series", [BUSY, SILENT], ids=["busy", "silent"])
def test_definition_and_theme_are_valid_vega_lite(series: Series, scheme: Any) -> None:
    for chart in draw_all(series):
        complete = {**chart.spec, "datasets": {"rows": chart.rows}, "config": theme(scheme)}
        altair.LayerChart.from_dict(complete)


def test_definition_holds_no_colour_of_its_own() -> None:
    for chart in draw_all(BUSY):
        assert not re.search(r"#[0-9a-f]{3,8}\b|rgb|hsl", str(chart.spec))


def test_stylesheet_and_charts_have_the_same_palette() -> None:
    css = (STATIC_DIR / "console.css").read_text("utf-8")
    for name, colours in PALETTE.items():
        declared = re.search(rf"--{name.replace('_', '-')}: light-dark\((\S+), (\S+)\);", css)
        assert declared is not None, f"console.css does not declare {name}"
        assert declared.groups() == colours


def test_rate_is_dashed_only_while_young_messages_are_in_flight() -> None:
    rows = chart_delivery_rate(
        draw_series(
            make_point(5, delivered=80, in_flight=16, delivery_rate_percent=80.0),  # lost callbacks
            make_point(1),
            make_point(0, delivered=40, in_flight=56, delivery_rate_percent=40.0),
        ),
        95.83,
        90.0,
    ).rows
    assert [row.get("settled") for row in rows] == [80.0, 96.0, None]
    assert [row["open"] for row in rows] == [80.0, 96.0, 40.0]


@pytest.mark.parametrize(("worst", "floor"), [(96.0, 80), (73.0, 70), (0.0, 0)])
def test_axis_of_rates_reaches_down_to_the_worst_settled_one(worst: float, floor: int) -> None:
    spec = chart_delivery_rate(
        draw_series(make_point(3, delivery_rate_percent=worst), make_point(2)), 95.83, 90.0
    ).spec
    assert spec["layer"][0]["encoding"]["y"]["scale"]["domain"] == [floor, 100]


@pytest.mark.parametrize(
    ("longest", "ticks"),
    [(2.5, [1, 2, 3]), (188.0, [120, 240]), (410.0, [300, 600]), (5 * 3600.0, [7200, 14400, 21600])],
)
def test_axis_of_durations_has_round_marks_and_room_for_the_longest(longest: float, ticks: list[int]) -> None:
    spec = chart_delivery_time(draw_series(make_point(2, p95_seconds=longest)), TIMES).spec
    y = spec["layer"][0]["encoding"]["y"]
    assert y["axis"]["values"] == ticks
    assert y["scale"]["domain"][1] == ticks[-1] >= longest


def test_hour_that_a_clock_change_repeats_stays_two_slots() -> None:
    instants = [datetime(2026, 10, 25, hour, tzinfo=UTC) for hour in (0, 1)]
    axis = make_time_axis(instants, HOUR, ZoneInfo("Europe/Berlin"))
    assert [slot[-5:] for slot in axis.slots] == ["02:00", "02:00"]
    assert len(set(axis.slots)) == 2


@pytest.mark.parametrize(
    ("step", "labels"),
    [
        (timedelta(minutes=5), ["06:00", "06:15", "06:30", "06:45", "07:00"]),
        (HOUR, ["06:00", "09:00", "12:00"]),
        (timedelta(days=1), ["1 Mar", "2 Mar"]),
    ],
)
def test_labels_stand_at_round_times_of_the_workspace(step: timedelta, labels: list[str]) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    begin = datetime(2026, 3, 1, 0 if step < timedelta(days=1) else 6, tzinfo=zone)
    begin = begin.replace(hour=6) if step < timedelta(days=1) else begin.replace(hour=0)
    axis = make_time_axis([begin + step * number for number in range(13)], step, zone)
    assert [tick[21:] for tick in axis.ticks][: len(labels)] == labels


def test_table_behind_a_chart_has_a_row_for_each_point_with_what_hovering_shows() -> None:
    chart = chart_messages_by_status(draw_series(make_point(1, sent=1204, delivered=1200)))
    assert [title for title, _ in chart.columns] == ["From", "Sent", "Delivered", "In flight", "Failed"]
    assert chart.table == [
        [("2 Mar 15:00", "2026-03-02T15:00:00Z"), ("1,204", 1204), ("1,200", 1200), ("0", 0), ("4", 4)]
    ]
    assert chart.rows[0]["tip_delivered"] == "1,200"


def test_silent_period_says_so_instead_of_drawing_nothing() -> None:
    assert all(chart.nothing for chart in draw_all(SILENT))
    assert not any(chart.nothing for chart in draw_all(BUSY))
