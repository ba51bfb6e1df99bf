"""Reports over HTTP: the document's objects of a day and a week, their versions, and refused questions."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.worker.reporter import report_once
from tests.document import OBJECTS, find_faults
from tests.engine import Engine, make_settings, running_engine
from tests.web.test_api import happen_a_bit_of_all

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
RIGA = ZoneInfo("Europe/Riga")
HOUR = timedelta(hours=1)


@pytest.fixture
async def engine(database_url: str, tmp_path: Path, clock: SettableClock) -> AsyncIterator[Engine]:
    """An engine in Riga by the test's clock."""
    chosen = make_settings(tmp_path, TIMEZONE=RIGA.key)
    async with running_engine(database_url, chosen, clock) as running:
        yield running


async def make_reports(engine: Engine, clock: SettableClock) -> int:
    """Let the reporter make all that is due, and return how many reports it counted."""
    made = 0
    async with await connect(engine.url, "test") as conn:
        while await report_once(conn, engine.settings.timezone, clock):
            made += 1
    return made


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
    print(answer)
    assert answer["is_so_far"]
    assert answer["cut_off_at"] == "2026-03-02T13:00:00Z"
    assert len(answer["hours"]) == 15
    assert answer["version"] is None
