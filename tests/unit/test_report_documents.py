"""What documents of reports write, and how a mail draws its bars."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.analytics.calendar import find_midnight
from event_stream_engine.analytics.counts import MessageCounts
from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.kernel.markdown import write_table
from event_stream_engine.kernel.windows import Window
from event_stream_engine.reporting.daily import DailyReport
from event_stream_engine.reporting.documents import word_days, write_document
from event_stream_engine.reporting.mail import HIGHEST_PX, write_mail, write_summary
from event_stream_engine.reporting.report import DAILY, DeliveryTimes, Figures, Frame

RIGA = ZoneInfo("Europe/Riga")
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LONG = date(2026, 10, 25)  # of 25 hours


def make_figures(sent: int, delivered: int) -> Figures:
    counts = MessageCounts(sent, sent, 0, 0, 0, 0, 0, 0, 0, 0, 0, sent - delivered, 0, delivered, 0)
    times = DeliveryTimes(0, None, None, None, {"p50": None, "p95": None})
    return Figures(counts, times, 0, 0, 2, 0)


def make_report(on: date, before: Figures | None = None) -> DailyReport:
    """Return a report of a day in whose first hour two of 200 messages failed, and in whose last one was delivered."""
    window = Window(find_midnight(on, RIGA), find_midnight(on + DAY, RIGA))
    starts = [window.since + HOUR * number for number in range(window.length // HOUR)]
    sent = {starts[0]: (200, 198), starts[-1]: (1, 1)}
    hours = [
        DeliveryPoint(at, s, d, 0, s - d, None, None, None)
        for at, (s, d) in ((at, sent.get(at, (0, 0))) for at in starts)
    ]
    frame = Frame(
        DAILY, on, on, window, None, RIGA.key, window.until, is_so_far=False, definitions=(), version=1
    )
    return DailyReport(frame, make_figures(201, 199), before, tuple(hours), (), (), (), {})


def test_hours_that_a_clock_change_repeats_are_told_apart() -> None:
    hours = [row[0] for row in write_document(make_report(LONG)).course.rows]
    assert len(hours) == len(set(hours)) == 25
    assert hours[2:6] == ["02:00", "03:00 EEST", "03:00 EET", "04:00"]


def test_change_is_of_shares_in_points_of_counts_relative_and_of_nothing_unchanged() -> None:
    document = write_document(make_report(LONG, before=make_figures(100, 100)))
    changes = {one.name: (one.change, one.is_good) for one in document.figures}
    assert changes["Messages sent"] == ("+101 %", None)
    assert changes["Delivery rate"] == ("−1 points", False)
    assert changes["Error rate"] == ("+1 points", False)
    assert changes["Opt-outs"] == ("unchanged", None)
    assert changes["Delivery time, half within"] == ("", None)


def test_without_a_time_before_no_change_is_told() -> None:
    document = write_document(make_report(LONG))
    assert [one.change for one in document.figures if one.change] == []
    assert document.compared_with == ""
    assert "against" not in write_summary(document)


def test_mail_draws_a_bar_for_each_hour_and_shows_also_the_smallest_part() -> None:
    html = write_mail(write_document(make_report(LONG)))
    assert html.count('valign="bottom"') == 25
    assert f"height:{round(198 * HIGHEST_PX / 200)}px;background:#2a7f62" in html
    assert html.count("height:1px;background:#c2413b") == 1  # two of 200
    assert html.count("height:1px;background:#2a7f62") == 1  # the last hour


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (date(2024, 2, 29), date(2024, 2, 29), "Thursday, 29 February 2024"),
        (date(2026, 3, 2), date(2026, 3, 8), "2 – 8 March 2026"),
        (date(2026, 2, 27), date(2026, 3, 5), "27 February – 5 March 2026"),
        (date(2026, 12, 28), date(2027, 1, 3), "28 December 2026 – 3 January 2027"),
    ],
)
def test_days_are_written_with_what_differs(first: date, last: date, words: str) -> None:
    assert word_days(first, last) == words


def test_markdown_table_keeps_its_cells_whatever_they_hold() -> None:
    rows = [("a|b\nc", "1")]
    assert (
        write_table(("Name", "n"), rows, (False, True)) == "| Name | n |\n| --- | ---: |\n| a\\|b<br>c | 1 |"
    )
    assert write_table(("Name",), []) == ""


def test_window_of_a_long_day_is_what_the_document_is_about() -> None:
    report = make_report(LONG)
    assert report.frame.window == Window(
        datetime(2026, 10, 24, 21, tzinfo=UTC), datetime(2026, 10, 25, 22, tzinfo=UTC)
    )
    assert write_document(report).subtitle == "Sunday, 25 October 2026"
