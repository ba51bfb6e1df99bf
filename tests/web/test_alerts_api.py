"""Alerts over HTTP: the document's objects, taking one in hand, rules, silences, and who may do what."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.alerting.evaluation import evaluate, measure_rules
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.worker.evaluator import tick
from tests.document import OBJECTS, find_faults
from tests.engine import Engine
from tests.hand_overs import decision, hand_over, list_messages, start
from tests.web.test_api import happen, receipt

API = "/api/v1/alerts"
MINUTE = timedelta(minutes=1)
RULE = {
    "name": "Dead letters pile up",
    "metric": "dead_letters",
    "scope": "all",
    "comparison": "above",
    "threshold": 100,
    "severity": "info",
}


async def drive(engine: Engine, arrived: int, sent: int = 200) -> None:
    """Let a campaign's messages be handed over an hour ago, and so many of them arrive."""
    at = datetime.now(UTC) - timedelta(hours=1)
    async with await connect(engine.url, "test") as conn:
        campaign_id = await start(conn, sent, at, name="Spring Promotion 2024")
        messages = await list_messages(conn, campaign_id)
        await hand_over(conn, *(decision(campaign_id, one, at) for one in messages))
    await engine.project()
    await happen(engine, *(receipt(at + MINUTE, f"SM{one.hex}", "delivered") for one in messages[:arrived]))


async def tick_once(engine: Engine, seconds_later: int = 0) -> None:
    async with await connect(engine.url, "test") as conn:
        await conn.execute("UPDATE alert_rules SET is_enabled = false WHERE metric <> 'delivery_rate'")
        if not seconds_later:
            await tick(conn, SystemClock())
            return
        now = datetime.now(UTC) + timedelta(seconds=seconds_later)
        readings = await measure_rules(conn, now)
        async with transaction(conn):
            await evaluate(conn, readings, now)


async def as_role(engine: Engine, role: Role) -> dict[str, str]:
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, role.value, role, datetime.now(UTC))).key
    return {"authorization": f"Bearer {key}"}


async def send(engine: Engine, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    return await engine.client.request(method, path, json=body, headers=headers)


async def test_a_campaign_at_88_5_raises_the_documents_alert_and_its_recovery_resolves_it(
    engine: Engine,
) -> None:
    await drive(engine, 177)
    await tick_once(engine)
    answer = await engine.get(API)
    [alert] = answer["active_alerts"]
    expected = OBJECTS["active_alerts"][0]
    assert find_faults(OBJECTS["active_alerts"], answer["active_alerts"], "active_alerts") == []
    same = ("alert_id", "severity", "message", "current_value", "threshold")
    assert {key: alert[key] for key in same} == {key: expected[key] for key in same}
    assert isinstance(alert["threshold"], float)
    assert alert["triggered_at"].endswith("Z")
    assert (alert["state"], alert["subject_name"]) == ("firing", "Spring Promotion 2024")

    async with await connect(engine.url, "test") as conn:
        rest = await (
            await conn.execute("SELECT provider_sid FROM messages WHERE delivered_at IS NULL")
        ).fetchall()
    await happen(engine, *(receipt(datetime.now(UTC), sid, "delivered") for (sid,) in rest))
    for seconds in range(0, 100, 10):
        await tick_once(engine, seconds)
    assert (await engine.get(API))["active_alerts"] == []
    [resolved] = (await engine.get(f"{API}/resolved"))["items"]
    assert (resolved["alert_id"], resolved["current_value"], resolved["worst_value"]) == (
        "ALT001",
        100.0,
        88.5,
    )


async def test_the_configuration_is_the_documents_and_can_be_changed_by_an_admin(engine: Engine) -> None:
    assert (await engine.get(API))["alert_configuration"] == OBJECTS["alert_configuration"]
    changed = await send(engine, "PUT", f"{API}/configuration", {"delivery_rate_threshold": 80})
    assert changed.json()["alert_configuration"] == OBJECTS["alert_configuration"] | {
        "delivery_rate_threshold": 80
    }
    await drive(engine, 177)
    await tick_once(engine)
    assert (await engine.get(API))["active_alerts"] == []
    refused = await send(engine, "PUT", f"{API}/configuration", {"error_rate_threshold": 250})
    assert refused.status_code == 422
    assert refused.json()["field"] == "error_rate_threshold"


async def test_an_alert_is_taken_in_hand_by_an_operator_and_its_history_tells(engine: Engine) -> None:
    await drive(engine, 100)
    await tick_once(engine)
    viewer, operator = await as_role(engine, Role.viewer), await as_role(engine, Role.operator)
    refused = await send(engine, "POST", f"{API}/ALT001/acknowledge", **viewer)
    assert refused.status_code == 403
    taken = await send(engine, "POST", f"{API}/ALT001/acknowledge", **operator)
    assert taken.json()["state"] == "acknowledged"
    again = await send(engine, "POST", f"{API}/{taken.json()['id']}/acknowledge", **operator)
    assert again.json()["acknowledged_at"] == taken.json()["acknowledged_at"]
    history = (await engine.get(f"{API}/alt001"))["history"]
    assert [step["kind"] for step in history] == ["fired", "told", "acknowledged"]
    assert history[2]["actor"].startswith("key:")
    assert (await engine.client.get(f"{API}/ALT999")).status_code == 404
    assert (await engine.client.get(f"{API}/nonsense")).status_code == 404


async def test_rules_are_made_changed_and_removed_by_an_admin_alone(engine: Engine) -> None:
    operator = await as_role(engine, Role.operator)
    assert (await send(engine, "POST", f"{API}/rules", RULE, **operator)).status_code == 403
    made = (await send(engine, "POST", f"{API}/rules", RULE)).json()
    assert (made["clear_threshold"], made["is_enabled"]) == (100, True)
    address = f"{API}/rules/{made['id']}"
    changed = await send(engine, "PUT", address, RULE | {"threshold": 50, "severity": "warning"})
    assert changed.json()["threshold"] == 50
    assert (await engine.get(address))["severity"] == "warning"
    assert made["id"] in {rule["id"] for rule in (await engine.get(f"{API}/rules"))["rules"]}
    refused = await send(engine, "PUT", address, RULE | {"severity": "awful"})
    assert (refused.status_code, refused.json()["field"]) == (422, "severity")
    assert (await send(engine, "DELETE", address)).status_code == 204
    assert (await send(engine, "DELETE", address)).status_code == 404
    audited = await engine.rows("SELECT action FROM audit_log WHERE subject LIKE 'alert_rule:%%' ORDER BY id")
    assert audited == [("alert_rule.created",), ("alert_rule.changed",), ("alert_rule.deleted",)]


async def test_a_rule_is_tried_on_the_past_before_it_is_saved(engine: Engine) -> None:
    await drive(engine, 100)
    rate = RULE | {
        "name": "Rate",
        "metric": "delivery_rate",
        "comparison": "below",
        "threshold": 90,
        "window_seconds": 900,
    }
    found = (await send(engine, "POST", f"{API}/rules/backtest", rate)).json()
    assert found["would_have_fired"] == 1
    assert found["periods"][0]["worst_value"] == 50
    assert 50 in {point["value"] for point in found["series"]["points"]}
    unknown = (await send(engine, "POST", f"{API}/rules/backtest", RULE)).json()
    assert unknown["would_have_fired"] is None
    assert unknown["unknown"]["would_have_fired"].startswith("No history is kept")
    refused = await send(engine, "POST", f"{API}/rules/backtest", rate | {"window_seconds": None})
    assert (refused.status_code, refused.json()["field"]) == (422, "window_seconds")


async def test_silences_are_made_and_ended_by_an_operator(engine: Engine) -> None:
    operator = await as_role(engine, Role.operator)
    ends_at = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    night = {
        "weekdays": [0, 1, 2, 3, 4, 5, 6],
        "starts": "22:00",
        "ends": "04:00",
        "timezone": "Europe/Berlin",
    }
    body = {"matchers": {"severity": "warning"}, "ends_at": ends_at, "comment": "Upgrade", "schedule": night}
    made = (await send(engine, "POST", "/api/v1/silences", body, **operator)).json()
    assert made["schedule"] == night
    [listed] = (await engine.get("/api/v1/silences"))["silences"]
    assert listed["id"] == made["id"]
    assert (await send(engine, "DELETE", f"/api/v1/silences/{made['id']}", **operator)).status_code == 204
    assert (await engine.get("/api/v1/silences"))["silences"] == []


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("matchers", {"matchers": {}}),
        ("ends_at", {"ends_at": "2020-01-01T00:00:00Z"}),
        ("comment", {"comment": " "}),
        (
            "schedule.timezone",
            {"schedule": {"weekdays": [0], "starts": "01:00", "ends": "02:00", "timezone": "Mars"}},
        ),
    ],
)
async def test_what_no_silence_can_be_is_refused_with_the_field(
    engine: Engine, field: str, changes: dict[str, Any]
) -> None:
    ends_at = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    body = {"matchers": {"severity": "warning"}, "ends_at": ends_at, "comment": "Upgrade"}
    refused = await send(engine, "POST", "/api/v1/silences", body | changes)
    assert (refused.status_code, refused.json()["field"]) == (422, field)
