"""Saved queries without a database: when they run, what their parameters take, and what becomes of a result."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import altair
import pytest

from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.reporting.query_schedules import find_next
from event_stream_engine.web.charts import theme
from event_stream_engine.web.query_charts import Drawn, chart_result, name_colours
from event_stream_engine.workbench.parameters import Parameter, check_parameters, read_values
from event_stream_engine.workbench.query_readings import read_number
from event_stream_engine.workbench.result_text import write_csv, write_lines
from event_stream_engine.workbench.running import Column

NEW_YORK = ZoneInfo("America/New_York")
BY_DAY = [Drawn("delivered", [4, 5, None]), Drawn("failed", ["1", 2.5, 3])]
DAYS = Drawn("day", ["2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"])


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("weekday", "runs_at", "after", "expected"),
    [
        (None, "08:30", "2026-03-02T13:29Z", "2026-03-02T13:30Z"),
        (None, "08:30", "2026-03-02T13:30Z", "2026-03-03T13:30Z"),
        (1, "08:30", "2026-03-02T13:30Z", "2026-03-09T12:30Z"),  # the clock has gone forward meanwhile
        (7, "02:30", "2026-03-07T12:00Z", "2026-03-08T07:30Z"),  # skipped: an hour later by the clock
        (None, "01:30", "2026-11-01T04:00Z", "2026-11-01T05:30Z"),  # twice that night: the first time …
        (None, "01:30", "2026-11-01T05:30Z", "2026-11-02T06:30Z"),  # … and not the second
    ],
)
def test_a_schedule_keeps_its_local_time_over_changes_of_the_clock(
    weekday: int | None, runs_at: str, after: str, expected: str
) -> None:
    found = find_next(weekday, time.fromisoformat(runs_at), NEW_YORK, instant(after))
    assert found == instant(expected)


def test_every_day_runs_once_in_a_year_with_both_clock_changes() -> None:
    at, days = instant("2026-01-01T00:00Z"), []
    while at < instant("2027-01-01T00:00Z"):
        at = find_next(None, time(2, 30), NEW_YORK, at)
        days.append(at.astimezone(NEW_YORK).date())
    assert len(set(days)) == len(days)
    assert days == [days[0] + timedelta(days=number) for number in range(len(days))]


@pytest.mark.parametrize(
    ("kind", "given", "read"),
    [
        ("text", "Austin", "Austin"),
        ("integer", 30, 30),
        ("integer", "30", 30),
        ("number", "2.5", 2.5),
        ("boolean", False, False),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("timestamp", "2026-03-02T09:00:00+01:00", instant("2026-03-02T08:00Z")),
    ],
)
def test_a_value_is_read_as_the_type_of_its_parameter(kind: str, given: Any, read: Any) -> None:
    assert read_values([Parameter("x", kind)], {"x": given}) == {"x": read}


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("text", "a\0b"),
        ("text", 5),
        ("integer", 2.5),
        ("integer", True),
        ("integer", 2**63),
        ("number", "nan"),
        ("number", "many"),
        ("boolean", "true"),
        ("date", "2025-02-29"),
        ("timestamp", "2026-03-02T09:00:00"),
        ("integer", None),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(kind: str, given: Any) -> None:
    with pytest.raises(Invalid, match=r"^x needs ") as refused:
        read_values([Parameter("x", kind)], {"x": given})
    assert refused.value.field == "parameters.x"


def test_what_is_not_given_has_its_default_and_what_nobody_asked_for_is_refused() -> None:
    assert read_values([Parameter("days", "integer", 30)], {"days": None}) == {"days": 30}
    with pytest.raises(Invalid, match="no parameter weeks"):
        read_values([Parameter("days", "integer", 30)], {"weeks": 4})


@pytest.mark.parametrize(
    ("sql", "parameters", "field"),
    [
        ("SELECT :a", [], "parameters"),
        ("SELECT 1", [Parameter("a")], "parameters.0.name"),
        ("SELECT :a", [Parameter("a"), Parameter("a")], "parameters.1.name"),
        ("SELECT :a", [Parameter("a", "money")], "parameters.0.type"),
        ("SELECT :a", [Parameter("a", "integer", "many")], "parameters.0.default"),
        ("SELECT '", [], "sql"),
        ("DELETE FROM users", [], "sql"),
    ],
)
def test_parameters_are_those_of_the_text(sql: str, parameters: list[Parameter], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_parameters(sql, parameters)
    assert refused.value.field == field


def test_a_colon_in_a_string_a_cast_or_a_comment_is_no_parameter() -> None:
    check_parameters("SELECT ':a', 1::text, \":b\" /* :c */ -- :d\n, :e", [Parameter("e")])


@pytest.mark.parametrize("value", [3, 2.5, Decimal("7.10")])
def test_a_rule_reads_the_one_number_of_a_result(value: Any) -> None:
    assert read_number([Column("n", "numeric")], [(value,)]) == float(value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "0 rows and 1 column"),
        ([(1,), (2,)], "2 rows"),
        ([(None,)], "no value"),
        ([("7",)], "something else"),
        ([(True,)], "something else"),
        ([(Decimal("NaN"),)], "infinite or none at all"),
    ],
)
def test_a_rule_is_told_what_a_result_is_instead_of_a_number(rows: list[tuple[Any]], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        read_number([Column("n", "text")], rows)


def test_csv_opens_as_text_whatever_a_name_begins_with() -> None:
    hostile = ["=cmd|' /C calc'!A0", "  =1+1", "\t=1+1", "+1;2", "-2+3", "@SUM(1)", "\r=1", 'say "hi", then']
    csv, is_whole = write_csv([Column("=name", "text")], [(one,) for one in hostile], 10_000)
    assert is_whole
    assert csv.splitlines()[0] == "'=name"
    assert write_csv([Column("a", "text")], [("+14155551234",), ("\u200b＝1",)], 99)[0].splitlines()[1:] == [
        "+14155551234",
        "'\u200b＝1",
    ]
    assert csv.count("'=cmd|") == csv.count("'  =1+1") == csv.count("'\t=1+1") == csv.count("'@SUM") == 1
    assert '"say ""hi"", then"' in csv


def test_csv_keeps_numbers_and_instants_as_programs_read_them() -> None:
    columns = [Column(name, "x") for name in "abcd"]
    row = (-5, Decimal("1E+3"), None, datetime(2026, 3, 2, 12, tzinfo=UTC))
    assert write_csv(columns, [row], 10_000)[0] == "a,b,c,d\r\n-5,1000,,2026-03-02T12:00:00Z\r\n"


def test_csv_stops_before_the_row_that_is_too_much() -> None:
    csv, is_whole = write_csv([Column("a", "text")], [("x" * 40,), ("y" * 40,), ("z" * 40,)], 100)
    assert (csv, is_whole) == (f"a\r\n{'x' * 40}\r\n{'y' * 40}\r\n", False)


def test_a_message_has_the_first_rows_and_says_how_many_more() -> None:
    lines = write_lines([Column("a", "text"), Column("b", "int")], [("x\ny" * 60, n) for n in range(25)])
    assert lines.splitlines()[0] == "a | b"
    assert len(lines.splitlines()) == 22
    assert lines.endswith("… and 5 more")
    assert max(map(len, lines.splitlines())) < 70


@pytest.mark.parametrize("kind", ["bar", "line"])
def test_a_chart_of_a_result_is_what_vega_lite_takes(kind: Any) -> None:
    chart = chart_result(kind, DAYS, BY_DAY, ZoneInfo("UTC"))
    altair.LayerChart.from_dict({**chart.spec, "config": theme("light")})
    assert [row["tip_when"] for row in chart.rows] == ["1 Mar 2026", "2 Mar 2026", "3 Mar 2026"]
    assert [row["y0"] for row in chart.rows] == [4, 5, None]
    assert [row["tip_failed"] for row in chart.rows] == ["1", "2.5", "3"]
    assert chart.summary == "delivered, failed by day"


def test_the_same_thing_has_the_same_colour_in_every_chart() -> None:
    assert name_colours(["failed", "delivered"]) == {"failed": "failed", "delivered": "delivered"}
    assert name_colours(["messages", "delivered"]) == {"messages": "accent", "delivered": "delivered"}
    assert name_colours(["a", "b", "c"]) == {"a": "accent", "b": "ink", "c": "muted"}


def test_a_column_that_is_no_number_is_named() -> None:
    with pytest.raises(Invalid, match="column name does not hold numbers"):
        chart_result("bar", DAYS, [Drawn("name", ["a", "b", "c"])], ZoneInfo("UTC"))
