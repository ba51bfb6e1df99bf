"""The document's objects are answered with its keys and types."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.document import (
    ANSWERED,
    API,
    OBJECTS,
    WINDOW_DAYS,
    find_faults,
    list_figures,
    list_nulls,
)
from tests.engine import Engine
from tests.web.test_api import add_campaign, happen_a_bit_of_all

SPEC = Path(__file__).parents[3] / "shared" / "spec" / "monitoring-analytics.md"


def read_document() -> dict[str, Any]:
    """Return the objects as the document has them."""
    found: dict[str, Any] = {}
    for text in re.findall(r"```json\n(.*?)```", SPEC.read_text("utf-8"), re.DOTALL):
        block = json.loads(text)
        reports = {"report_type": "daily_report", "report_period": "weekly_report"}
        name = next((name for key, name in reports.items() if key in block), None)
        found |= {name: block} if name else block
    return found


@pytest.mark.skipif(not SPEC.exists(), reason="the document is not here; its objects are kept in tests/data")
def test_the_objects_kept_are_the_documents() -> None:
    assert read_document() == OBJECTS


def test_each_object_is_answered() -> None:
    assert sorted(ANSWERED) == sorted(OBJECTS)


@pytest.mark.parametrize("has_traffic", [True, False], ids=["with traffic", "empty"])
async def test_every_answer_has_the_documents_keys_and_types_and_a_reason_for_each_null(
    engine: Engine, has_traffic: bool
) -> None:
    if has_traffic:
        await happen_a_bit_of_all(engine, datetime.now(UTC) - timedelta(minutes=30))
    for path, expected in list_figures().items():
        answer = await engine.get(path)
        assert_shapes(expected, answer)
        assert answer["time_zone"] == "UTC"
        assert answer["as_of"].endswith("Z")
        since, until = (datetime.fromisoformat(answer["window"][end]) for end in ("since", "until"))
        assert until - since == timedelta(days=WINDOW_DAYS.get(path, 1))
        assert answer["as_of"] >= answer["window"]["until"]


async def test_a_campaigns_performance_has_the_documents_keys_and_types(engine: Engine) -> None:
    campaign_id = await add_campaign(engine, "Spring", "running", started=timedelta(hours=1))
    name = "campaign_performance"
    answer = await engine.get(ANSWERED[name].format(campaign_id=campaign_id))
    assert_shapes({name: OBJECTS[name]}, answer)


async def test_live_events_have_the_documents_keys_and_types(engine: Engine) -> None:
    """Each kind of event has its own keys, so each is held against the document's event of that kind."""
    await happen_a_bit_of_all(engine, datetime.now(UTC) - timedelta(minutes=30))
    kinds = {event["event_type"]: event for event in OBJECTS["live_events"]}
    events = (await engine.get(f"{API}/monitoring/events"))["live_events"]
    assert {"message_delivered", "inbound_message"} <= {event["event_type"] for event in events}
    for event in events:
        assert find_faults(kinds.get(event["event_type"], {}), event, event["event_type"]) == []


def assert_shapes(expected: dict[str, Any], answer: dict[str, Any]) -> None:
    unknown = answer.get("unknown", {})
    for name, block in expected.items():
        assert find_faults(block, answer[name], name) == []
        for null in list_nulls(answer[name], name):
            assert any(f"{null}.".startswith(f"{named}.") for named in unknown), f"{null} has no reason"
    assert all(isinstance(reason, str) and reason for reason in unknown.values())
