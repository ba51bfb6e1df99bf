"""Reports as pages, PDF, Markdown and CSV, on a real engine."""

import csv
import io
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pypdfium2
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.formats import format_number, format_rate
from event_stream_engine.reporting.schedule import READY_AFTER
from event_stream_engine.web.charts import PALETTE
from tests.engine import Engine, make_settings, running_engine
from tests.reports import happen, make_all, send, send_campaign, tell
from tests.web.test_room_pages import HOSTILE, load_page

API = "/api/v1/reports"
RIGA = ZoneInfo("Europe/Riga")
NOON = datetime(2026, 3, 2, 10, tzinfo=UTC)  # a Monday in Riga
READY = datetime(2026, 3, 2, 22, tzinfo=UTC) + READY_AFTER
DAY = timedelta(days=1)
NAME = f"=cmd|' /C calc'!A0 #*{HOSTILE}"


@pytest.fixture
async def engine(database_url: str, tmp_path: Path, clock: SettableClock) -> AsyncIterator[Engine]:
    """An engine in Riga by the test's clock, on the morning after a day with a campaign of 60 messages, 9 failed."""
    clock.set(NOON)
    async with (
        running_engine(database_url, make_settings(tmp_path, TIMEZONE=RIGA.key), clock) as running,
        await connect(database_url, "test") as conn,
    ):
        await send_campaign(conn, database_url, NOON, name=NAME, people=60, new=True, failed=9)
        for hours in (1, 2):
            sids = [f"SM{100 * hours + number}" for number in range(20)]
            await send(conn, database_url, NOON - timedelta(hours=hours), sids)
        clock.set(READY)
        await make_all(conn, RIGA, clock)
        yield running


async def restate(engine: Engine, clock: SettableClock) -> None:
    """Let ten more messages of that day become known, and the day be counted anew."""
    clock.set(READY + DAY)
    async with await connect(engine.url, "test") as conn:
        late = [tell(NOON, f"SM{900 + number}", "sent") for number in range(10)]
        await happen(conn, engine.url, late)
        await make_all(conn, RIGA, clock)


def read(pdf: bytes) -> tuple[str, list[Counter[tuple[int, int, int]]]]:
    """Return the text of a PDF, and how often each page has each colour when it is drawn."""
    document = pypdfium2.PdfDocument(pdf)
    texts, pages = [], []
    for page in document:
        texts.append(page.get_textpage().get_text_bounded())
        bitmap = page.render(scale=1, rev_byteorder=True)
        pixels, channels = bytes(bitmap.buffer), bitmap.n_channels
        rows = [pixels[at : at + bitmap.width * channels] for at in range(0, len(pixels), bitmap.stride)]
        counted: Counter[tuple[int, int, int]] = Counter()
        for row in rows:
            counted.update(zip(row[0::channels], row[1::channels], row[2::channels], strict=True))
        pages.append(counted)
    return " ".join(" ".join(texts).split()), pages


def colour(name: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(PALETTE[name][0].removeprefix("#"))
    return red, green, blue


async def load_file(engine: Engine, form: str, **asked: str) -> httpx.Response:
    answer = await engine.client.get(f"{API}/daily.{form}", params={"date": "2026-03-02"} | asked)
    assert answer.status_code == 200, answer.text
    return answer


async def test_pdf_has_pages_with_charts_and_the_figures_of_the_answer(engine: Engine) -> None:
    told = await engine.get(f"{API}/daily", date="2026-03-02")
    answer = await load_file(engine, "pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == 'inline; filename="daily-report-2026-03-02-v1.pdf"'
    text, pages = read(answer.content)
    assert 1 <= len(pages) <= 3
    for page in pages:
        assert sum(page.values()) - page[255, 255, 255] > 500, "a page is empty"
    # The bars of the first chart, the lines of the other two; and the bars of the failures.
    assert pages[0][colour("delivered")] > 500
    assert pages[0][colour("failed")] > 50
    assert pages[0][colour("accent")] > 40
    assert sum(page[colour("failed")] for page in pages[1:]) > 100
    summary = told["summary"]
    for figure in (
        "Monday, 2 March 2026",
        format_number(summary["total_messages_sent"]),
        format_rate(summary["delivery_rate"]),
        format_rate(summary["error_rate"]),
        format_number(summary["new_users_added"]),
        "30003",
        "version 1, as known 3 Mar 2026 06:00 Europe/Riga",
        *told["areas_for_improvement"],
        *(one["formula"].replace("`", "") for one in told["definitions"][:3]),
    ):
        assert " ".join(figure.split()) in text, f"{figure} is not in\n{text}"
    assert NAME[:18] in text


async def test_weekly_pdf_has_the_figures_of_the_answer(engine: Engine) -> None:
    told = await engine.get(f"{API}/weekly", ending="2026-03-03")
    answer = await engine.client.get(f"{API}/weekly.pdf", params={"ending": "2026-03-03"})
    text, pages = read(answer.content)
    assert 1 <= len(pages) <= 3
    assert pages[0][colour("delivered")] > 100
    metrics = told["weekly_metrics"]
    assert metrics["campaign_performance"] == "good"
    for figure in (
        format_number(metrics["total_messages"]),
        format_rate(metrics["delivery_rate_avg"]),
        "good",
    ):
        assert figure in text, f"{figure} is not in\n{text}"
    assert "25 February – 3 March 2026" in text
    assert "so far" in text


async def test_report_of_a_day_without_messages_says_so(engine: Engine) -> None:
    text, pages = read((await load_file(engine, "pdf", date="2026-03-03")).content)
    assert len(pages) <= 3
    assert "No message was sent." in text
    assert "No message failed." in text
    page = await load_page(engine, "/reports/daily/2026-03-03")
    assert "No message was sent in this period." in page.text


async def test_markdown_holds_all_of_it_and_what_people_wrote_is_only_text(engine: Engine) -> None:
    text = (await load_file(engine, "md")).text
    for told in (
        "# Daily report, Monday, 2 March 2026\n",
        "| Messages sent | 100 |",
        "| Delivery rate | 91.00 % (91 of 100) |",
        "| =cmd\\|' /C calc'!A0 \\#\\*\"\\>\\<script\\>",
        "| 30003 | 9 | 100.00 % |",
        "| 12:00 | 60 | 51 | 0 | 9 | 85.00 % |",
        "## Definitions\n\n- **",
    ):
        assert told in text, f"{told} is not in\n{text}"


async def test_csv_holds_the_figures_of_the_answer_and_no_formula(engine: Engine) -> None:
    answer = await load_file(engine, "csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="daily-report-2026-03-02-v1.csv"'
    rows = list(csv.reader(io.StringIO(answer.text, newline="")))
    told = await engine.get(f"{API}/daily", date="2026-03-02")
    found = {(part, subject, figure): value for part, subject, figure, value in rows[1:]}
    assert len(found) == len(rows) - 1
    for name, value in told["summary"].items():
        assert found["summary", "", name] == str(value)
    assert found["best_campaigns", f"'{NAME}", "messages_sent"] == "60"
    assert found["hours", "2026-03-02T12:00:00+02:00", "failed"] == "9"
    assert found["failures", "30003", "count"] == "9"


async def test_pages_are_whole_and_what_people_wrote_is_only_text(engine: Engine) -> None:
    for address in (
        "/reports",
        "/reports?month=2026-02",
        "/reports/daily/2026-03-02",
        "/reports/daily/2026-03-03",
        "/reports/weekly/2026-03-02",
        "/reports/subscriptions",
    ):
        page = await load_page(engine, address)
        assert page.refused == [], address
        assert len(page.ids) == len(set(page.ids)), address
        assert page.refers_to <= set(page.ids), address
        assert "<script>alert" not in page.text, address


async def test_page_of_a_day_draws_its_hours_and_names_what_is_behind_an_improvement(engine: Engine) -> None:
    page = await load_page(engine, "/reports/daily/2026-03-02")
    hours = page.charts["report-volume-chart"]["rows"]
    assert len(hours) == 24
    assert [row["failed"] for row in hours if row["failed"]] == [9]
    assert "Address error code 30003 occurrences" in page.text
    assert "1 row behind it" in page.text


async def test_calendar_tells_kept_days_from_those_that_are_counted(engine: Engine) -> None:
    page = await load_page(engine, "/reports?month=2026-03")
    assert 'aria-label="2 March, version 1" class="kept"' in page.text
    assert 'aria-label="3 March, so far" class="running" aria-current="date"' in page.text
    assert "/reports/daily/2026-03-04" not in page.text
    assert "month=2026-02" not in page.text  # nothing was recorded then


async def test_restated_report_says_what_changed_and_the_version_before_stays(
    engine: Engine, clock: SettableClock
) -> None:
    await restate(engine, clock)
    text = (await load_file(engine, "md")).text
    assert "version 2, as known 4 Mar 2026 06:00 Europe/Riga" in text
    assert "**Restated:** " in text
    assert "| Messages sent | 100 | 110 |" in text
    assert "| Messages sent | 100 |" in (await load_file(engine, "md", version="1")).text
    pdf, _ = read((await load_file(engine, "pdf")).content)
    assert "Restated:" in pdf
    page = await load_page(engine, "/reports/daily/2026-03-02?version=1")
    assert 'href="/reports/daily/2026-03-02?version=2"' in page.text
    assert "daily.pdf?date=2026-03-02&amp;version=1" in page.text
    overview = await load_page(engine, "/reports")
    assert "Daily, 2 March 2026</a> v2" in overview.text
    assert 'aria-label="2 March, version 2" class="kept"' in overview.text


async def test_what_is_not_there_is_refused(engine: Engine) -> None:
    for address, status in (
        (f"{API}/daily.pdf?date=2026-03-02&version=7", 404),
        (f"{API}/daily.md?date=2027-03-02", 422),
        (f"{API}/daily.md?date=2026-02-01", 422),
        (f"{API}/daily.md?ending=2026-03-02", 422),
        (f"{API}/daily.docx?date=2026-03-02", 422),
        ("/reports/daily/2026-02-30", 422),
        ("/reports?month=2026-13", 422),
    ):
        answer = await engine.client.get(address)
        assert answer.status_code == status, f"{address}: {answer.text}"


async def test_files_need_somebody_who_is_signed_in_and_a_viewer_may_have_them(
    engine: Engine, clock: SettableClock
) -> None:
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, "viewer", Role.viewer, clock.now())).key
    for form in ("md", "csv"):
        address = f"{API}/daily.{form}?date=2026-03-02"
        assert (await engine.anonymous.get(address)).status_code == 401
        answer = await engine.anonymous.get(address, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200
