"""Reports over HTTP: the document's objects of a day and a week, their versions, and refused questions."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SettableClock
from tests.document import OBJECTS, find_faults
from tests.engine import Engine, make_settings, running_engine
from tests.reports import make_all, send_campaign
from tests.web.test_api import happen, happen_a_bit_of_all, receipt
from tests.web.test_metrics import FRAME, has_entry, list_leaves

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
RIGA = ZoneInfo("Europe/Riga")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def engine(database_url: str, tmp_path: Path, clock: SettableClock) -> AsyncIterator[Engine]:
    """An engine in Riga by the test's clock."""
    chosen = make_settings(tmp_path, TIMEZONE=RIGA.key)
    async with running_engine(database_url, chosen, clock) as running:
        yield running


async def make_reports(engine: Engine, clock: SettableClock) -> int:
    """Let the reporter make all that is due, and return how many reports it counted."""
    async with await connect(engine.url, "test") as conn:
        return await make_all(conn, engine.settings.timezone, clock)


def list_nulls_without_reason(answer: dict[str, Any], objects: dict[str, Any]) -> list[str]:
    """Return the document's keys that are null without a reason."""
    nulls = [
        f"{name}.{key}"
        for name, value in objects.items()
        if isinstance(value, dict)
        for key in value
        if answer[name][key] is None
    ]
    return [one for one in nulls if one not in answer["unknown"]]


@pytest.mark.parametrize("kind", ["daily", "weekly"])
@pytest.mark.parametrize("has_traffic", [True, False], ids=["with traffic", "empty"])
async def test_a_report_has_the_documents_keys_and_types_and_a_reason_for_each_null(
    engine: Engine, kind: str, has_traffic: bool
) -> None:
    if has_traffic:
        await happen_a_bit_of_all(engine, NOON)
    answer = await engine.get(f"/api/v1/reports/{kind}")
    expected = OBJECTS[f"{kind}_report"]
    assert find_faults(expected, answer, kind) == []
    assert list_nulls_without_reason(answer, expected) == []
    assert answer["time_zone"] == RIGA.key
    assert answer["is_so_far"]


async def test_today_is_so_far(engine: Engine, clock: SettableClock) -> None:
    await happen_a_bit_of_all(engine, NOON)
    clock.set(NOON + HOUR)
    answer = await engine.get("/api/v1/reports/daily", date="2026-03-02")
    assert answer["is_so_far"]
    assert answer["cut_off_at"] == "2026-03-02T13:00:00Z"
    assert [one["local"][11:16] for one in answer["hours"]] == [f"{hour:02d}:00" for hour in range(15)]
    assert answer["recorded_since"] == "2026-03-02T12:00:00Z"
    assert answer["version"] is None
    assert "version of its own" in answer["unknown"]["version"]


async def test_today_is_compared_with_as_much_of_yesterday(engine: Engine, clock: SettableClock) -> None:
    told = [
        receipt(NOON + when, f"SM{place}", "sent")
        for place, when in enumerate((-3 * DAY, -DAY - HOUR, -DAY + 3 * HOUR, -HOUR, timedelta()))
    ]
    await happen(engine, *told)
    clock.set(NOON + HOUR)
    compared = (await engine.get("/api/v1/reports/daily", date="2026-03-02"))["compared_with"]
    assert compared["window"] == {"since": "2026-02-28T22:00:00Z", "until": "2026-03-01T13:00:00Z"}
    sent = next(one for one in compared["figures"] if one["slug"] == "total_messages_sent")
    assert (sent["now"], sent["before"], sent["change_percent"]) == (2, 1, 100.0)


async def test_yesterday_and_the_last_week_are_meant_when_nothing_is_named(
    engine: Engine, clock: SettableClock
) -> None:
    await happen_a_bit_of_all(engine, NOON)
    clock.set(NOON + 8 * DAY)
    assert (await engine.get("/api/v1/reports/daily"))["date"] == "2026-03-09"
    assert (await engine.get("/api/v1/reports/weekly"))["report_period"] == "2026-03-02 to 2026-03-08"


async def test_the_latest_version_is_answered_and_each_one_can_be_asked_for(
    engine: Engine, clock: SettableClock
) -> None:
    await happen(engine, receipt(NOON, "SM1", "sent"))
    clock.set(NOON + 16 * HOUR)
    await make_reports(engine, clock)
    await happen(engine, receipt(NOON + 20 * HOUR, "SM1", "delivered"))
    clock.set(NOON + 40 * HOUR)
    await make_reports(engine, clock)
    clock.set(NOON + 44 * HOUR)
    latest = await engine.get("/api/v1/reports/daily", date="2026-03-02")
    first = await engine.get("/api/v1/reports/daily", date="2026-03-02", version="1")
    assert (latest["version"], latest["summary"]["delivery_rate"]) == (2, 100.0)
    assert (first["version"], first["summary"]["delivery_rate"]) == (1, 0.0)
    assert {"slug": "delivery_rate", "name": "Delivery rate, %", "before": 0.0, "after": 100.0} in latest[
        "restated"
    ]["changes"]
    assert first["restated"] is None
    assert {one["slug"] for one in first["definitions"]} >= {"report_delivery_rate", "report_opt_outs"}
    listed = await engine.get("/api/v1/reports")
    day = next(one for one in listed["items"] if one.get("date") == "2026-03-02")
    assert [
        (one["version"], one["changed_figures"] > 0, one["reason"] is None) for one in day["versions"]
    ] == [
        (2, True, False),
        (1, False, True),
    ]
    assert (await engine.client.get(day["path"])).json()["version"] == 2


async def test_reports_are_listed_by_kind_and_day(engine: Engine, clock: SettableClock) -> None:
    await happen(engine, receipt(NOON, "SM1", "sent"))
    clock.set(NOON + 8 * DAY)
    await make_reports(engine, clock)
    listed = (await engine.get("/api/v1/reports"))["items"]
    assert [(one["kind"], one.get("date") or one["ending"]) for one in listed][:3] == [
        ("daily", "2026-03-09"),
        ("daily", "2026-03-08"),
        ("weekly", "2026-03-08"),
    ]
    weekly = (await engine.get("/api/v1/reports", kind="weekly"))["items"]
    assert [one["ending"] for one in weekly] == ["2026-03-08"]
    some = await engine.get("/api/v1/reports", kind="daily", since="2026-03-03", until="2026-03-04")
    assert [one["date"] for one in some["items"]] == ["2026-03-04", "2026-03-03"]


REFUSED: list[tuple[str, dict[str, str], str, str]] = [
    ("/daily", {"date": "2026-03-03"}, "date", "is in the future"),
    ("/daily", {"date": "2026-03-01"}, "date", "records begin on 2026-03-02"),
    ("/daily", {"date": "0001-01-01"}, "date", "Use a day from 1970-01-01"),
    ("/daily", {"date": "9999-12-31"}, "date", "Use a day from 1970-01-01"),
    ("/daily", {"date": "2026-02-30"}, "date", "date"),
    ("/daily", {"date": "2026-03-02", "version": "0"}, "version", "greater than or equal to 1"),
    ("/daily", {"date": "2026-03-02", "version": "3000000000"}, "version", "less than or equal to"),
    ("/daily", {"day": "2026-03-02"}, "day", "is not known here; use date, version"),
    ("/weekly", {"ending": "2026-03-03"}, "ending", "is in the future"),
    ("/weekly", {"ending": "2026-03-01"}, "ending", "records begin on 2026-03-02"),
    ("", {"since": "2026-03-02", "until": "2026-03-01"}, "since", "since comes before until"),
    ("", {"since": "2020-03-02"}, "since", "1 to 367 days"),
    ("", {"until": "0001-01-01"}, "until", "Use a day from 1970-01-01"),
    ("", {"kind": "monthly"}, "kind", "'daily' or 'weekly'"),
]


async def test_bad_questions_are_refused_with_the_field_and_a_remedy(engine: Engine) -> None:
    await happen_a_bit_of_all(engine, NOON)
    for path, parameters, field, detail in REFUSED:
        answer = await engine.client.get(f"/api/v1/reports{path}", params=parameters)
        assert answer.status_code == 422, parameters
        assert answer.json()["field"] == field
        assert detail in answer.json()["detail"], parameters


async def test_a_version_that_is_not_there_is_not_found(engine: Engine) -> None:
    await happen_a_bit_of_all(engine, NOON)
    answer = await engine.client.get("/api/v1/reports/daily", params={"date": "2026-03-02", "version": "3"})
    assert answer.status_code == 404
    assert "no version 3 of the daily report of 2026-03-02" in answer.json()["detail"]


async def test_a_week_that_does_not_end_on_a_sunday_says_why_it_is_none_of_the_calendar(
    engine: Engine,
) -> None:
    await happen_a_bit_of_all(engine, NOON)
    answer = await engine.get("/api/v1/reports/weekly", ending="2026-03-02")
    assert answer["calendar_week"] is None
    assert answer["unknown"]["calendar_week"] == "The seven days do not end on a Sunday."
    assert answer["report_period"] == "2026-02-24 to 2026-03-02"


@pytest.mark.parametrize("kind", ["daily", "weekly"])
async def test_every_figure_of_a_rich_report_is_in_the_catalogue(
    engine: Engine, clock: SettableClock, kind: str
) -> None:
    clock.set(NOON + 8 * DAY)
    await happen(engine, receipt(NOON - 9 * DAY, "SM0", "sent"))
    async with await connect(engine.url, "test") as conn:
        await send_campaign(conn, engine.url, NOON + 7 * DAY, name="Spring", people=60, new=True)
        await send_campaign(
            conn, engine.url, NOON + 7 * DAY, name="Autumn", people=60, new=False, failed=20, seconds=900
        )
    asked = {"daily": {"date": "2026-03-09"}, "weekly": {"ending": "2026-03-09"}}[kind]
    answer = await engine.get(f"/api/v1/reports/{kind}", **asked)
    assert answer["top_performing_campaigns"]
    assert len(answer["improvements"]) == len(answer["areas_for_improvement"]) == 3
    assert answer["compared_with"]
    missing = [
        ".".join(place)
        for place, value in list_leaves(answer)
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and place[0] not in FRAME
        and "evidence" not in place
        and not has_entry(f"/api/v1/reports/{kind}", place)
    ]
    assert not missing
    for one in answer["improvements"]:
        assert one["evidence"]
        page = await engine.client.get(one["path"], headers={"accept": "text/html"})
        assert page.status_code == 200, one["path"]
