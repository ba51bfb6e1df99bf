"""Incidents and their policy as programs see them, on a real engine."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.incidents.following import follow
from event_stream_engine.infra.database import connect, transaction
from tests.document import ANSWERED, OBJECTS
from tests.engine import Engine
from tests.incidents import add_channel, end, fire
from tests.web.test_api import happen, receipt

POLICY, INCIDENTS = "/api/v1/incidents/policy", "/api/v1/incidents"
DOWN = {"title": "Nothing arrives", "severity": "critical", "summary": "Since noon."}


async def post(engine: Engine, path: str, body: Mapping[str, Any], status: int = 200) -> dict[str, Any]:
    answer = await engine.client.post(f"{INCIDENTS}{path}", json=body)
    assert answer.status_code == status, answer.text
    result: dict[str, Any] = answer.json()
    return result


async def test_policy_is_answered_with_the_documents_keys_texts_and_types(engine: Engine) -> None:
    answer = await engine.get(ANSWERED["incident_management"])
    assert answer["incident_management"] == OBJECTS["incident_management"]


async def test_policy_is_changed_by_an_admin_alone_and_read_by_all(engine: Engine) -> None:
    now = datetime.now(UTC)
    async with await connect(engine.url, "test") as conn, transaction(conn):
        channel = str(await add_channel(conn, "Pager", now))
        key = (await add_api_key(conn, "op", Role.operator, now)).key
    policy = await engine.get(POLICY)
    assert policy["channels"] == [{"id": channel, "name": "Pager", "is_enabled": True}]
    body = {name: policy[name] for name in ("version", "levels", "steps")}
    body["levels"]["critical"]["response_seconds"] = 300
    body["steps"] = [
        {
            "name": "Whoever",
            "after_seconds": {"critical": 0},
            "contacts": [{"name": "Ada", "channel_ids": [channel]}],
        }
    ]
    operator = {"authorization": f"Bearer {key}"}
    assert (await engine.anonymous.put(POLICY, json=body, headers=operator)).status_code == 403
    changed = await engine.client.put(POLICY, json=body)
    assert changed.status_code == 200, changed.text
    document = changed.json()["incident_management"]
    assert (document["response_times"]["critical"], document["escalation_path"]) == ("5 minutes", ["Whoever"])
    assert (await engine.anonymous.get(POLICY, headers=operator)).json() == changed.json()
    again = await engine.client.put(POLICY, json=body)
    assert (again.status_code, "changed since you read it" in again.text) == (409, True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"levels": {}}, "levels"),
        ({"steps": []}, "steps"),
        (
            {"steps": [{"name": "A", "after_seconds": {"urgent": 1}, "contacts": []}]},
            "steps.0.after_seconds.urgent",
        ),
        ({"steps": [{"name": "", "after_seconds": {}, "contacts": []}]}, "steps.0.name"),
    ],
)
async def test_faulty_policy_is_refused_naming_the_field(
    engine: Engine, change: dict[str, Any], field: str
) -> None:
    policy = await engine.get(POLICY)
    body = {name: policy[name] for name in ("version", "levels", "steps")} | change
    answer = await engine.client.put(POLICY, json=body)
    assert answer.status_code == 422
    assert answer.json()["field"].startswith(field)


async def test_incident_goes_its_way_and_a_stale_version_is_a_conflict_that_says_what_changed(
    engine: Engine,
) -> None:
    opened = await post(engine, "", DOWN, 201)
    assert (opened["number"], opened["state"], opened["response"]) == ("INC-0001", "open", "running")
    path, version = f"/{opened['id']}", opened["version"]
    acknowledged = await post(engine, f"{path}/acknowledge", {"version": version, "note": "Mine."})
    assert (acknowledged["state"], acknowledged["response"]) == ("acknowledged", "met")
    late = await post(engine, f"{path}/resolve", {"version": version}, 409)
    assert late["detail"].startswith("INC-0001 has changed since you looked: Acknowledged (test, ")
    await post(engine, f"{path}/notes", {"text": "The carrier knows."}, 201)
    version = acknowledged["version"]
    lowered = await post(engine, f"{path}/severity", {"version": version, "severity": "high"})
    report = {"version": lowered["version"], "summary": "S", "root_cause": "R", "follow_ups": "F"}
    written = (await engine.client.put(f"{INCIDENTS}{path}/report", json=report)).json()
    resolved = await post(engine, f"{path}/resolve", {"version": written["version"], "note": "Over."})
    assert resolved["possible"] == ["reopen"]
    await post(engine, f"{path}/mitigate", {"version": resolved["version"]}, 409)
    found = await engine.get(f"{INCIDENTS}{path}")
    assert [row["kind"] for row in found["timeline"] if row["kind"] != "escalated"] == [
        "opened", "acknowledged", "noted", "severity_changed", "report_changed", "resolved",
    ]  # fmt: skip
    assert (found["root_cause"], found["timers"]) == ("R", [])


async def test_incidents_are_listed_filtered_and_paged(engine: Engine) -> None:
    for severity in ("low", "high", "low"):
        await post(engine, "", DOWN | {"severity": severity}, 201)
    first = await engine.get(INCIDENTS, limit="2")
    assert [one["number"] for one in first["items"]] == ["INC-0003", "INC-0002"]
    second = await engine.get(INCIDENTS, limit="2", cursor=first["next_cursor"])
    assert [one["number"] for one in second["items"]] == ["INC-0001"]
    assert len((await engine.get(INCIDENTS, severity="low", state="open"))["items"]) == 2
    assert (await engine.client.get(INCIDENTS, params={"state": "lost"})).status_code == 422
    assert (await engine.client.post(INCIDENTS, json=DOWN | {"title": " "})).json()["field"] == "title"


async def test_viewer_reads_and_changes_nothing(engine: Engine) -> None:
    opened = await post(engine, "", DOWN, 201)
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, "viewer", Role.viewer, datetime.now(UTC))).key
    viewer = {"authorization": f"Bearer {key}"}
    for path in ("", f"/{opened['id']}", f"/{opened['id']}/affected", "/figures", "/policy"):
        assert (await engine.anonymous.get(f"{INCIDENTS}{path}", headers=viewer)).status_code == 200
    for path in ("acknowledge", "mitigate", "resolve", "reopen"):
        answer = await engine.anonymous.post(
            f"{INCIDENTS}/{opened['id']}/{path}", json={"version": 1}, headers=viewer
        )
        assert answer.status_code == 403, path


async def test_affected_are_the_messages_of_the_alerts_scope_and_time_each_counted_once(
    engine: Engine,
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    at = now - timedelta(minutes=5)
    for number in range(4):
        to, status = f"+1415555010{number}", "delivered" if number == 0 else "failed"
        await happen(
            engine, receipt(at, f"SM{number}", "sent", To=to), receipt(at, f"SM{number}", status, To=to)
        )
    await happen(engine, receipt(at, "SM9", "sent", To="+447700900123"))
    async with await connect(engine.url, "test") as conn, transaction(conn):
        one, two = (fire(now - timedelta(minutes=10), subject=name) for name in ("country:US", "channel:sms"))
        host = fire(now, rule_id=one.episode_id, subject="host:web-1")
        await follow(conn, [one, host], now)
    by_name = {
        item["title"] + str(item["alert_count"]): item for item in (await engine.get(INCIDENTS))["items"]
    }
    assert len(by_name) == 1 or len((await engine.get(INCIDENTS))["items"]) == 2
    found = [
        await engine.get(f"{INCIDENTS}/{item['id']}/affected")
        for item in (await engine.get(INCIDENTS))["items"]
    ]
    counted = next(one["affected"] for one in found if one["affected"]["messages"] is not None)
    unknown = next(one for one in found if one["affected"]["messages"] is None)
    assert (counted["messages"], counted["delivered"], counted["failed"], counted["recipients"]) == (
        4,
        1,
        3,
        3,
    )
    assert unknown["unknown"]["affected.failed"] == "None of its alerts is about messages."
    async with await connect(engine.url, "test") as conn, transaction(conn):
        await follow(conn, [two], now)
    item = next(item for item in (await engine.get(INCIDENTS))["items"] if item["alert_count"] == 2)
    both = (await engine.get(f"{INCIDENTS}/{item['id']}/affected"))["affected"]
    assert (both["messages"], both["failed"]) == (5, 3)
    failed = await engine.get(f"{INCIDENTS}/{item['id']}/failed-messages", limit="2")
    assert len(failed["items"]) == 2
    assert all("•" in one["recipient"] for one in failed["items"])
    rest = await engine.get(f"{INCIDENTS}/{item['id']}/failed-messages", cursor=failed["next_cursor"])
    assert len(rest["items"]) == 1


async def test_figures_say_how_soon_incidents_are_answered_by_severity(engine: Engine) -> None:
    empty = await engine.get(f"{INCIDENTS}/figures")
    assert empty["incident_figures"]["mtta_seconds"] is None
    assert "acknowledged" in empty["unknown"]["incident_figures.mtta_seconds"]
    now = datetime.now(UTC)
    async with await connect(engine.url, "test") as conn, transaction(conn):
        alert = fire(now, opens_incident="low")
        await follow(conn, [alert], now)
        await follow(conn, [end(alert, now)], now)
        for number, (severity, minutes) in enumerate((("critical", 5), ("critical", 25), ("high", 30))):
            await conn.execute(
                "INSERT INTO incidents (id, title, severity, state, labels, opened_at, opened_by, clock_at, due_at,"
                " responded_at, acknowledged_at, resolved_at, summary) VALUES (gen_random_uuid(), %(title)s, %(severity)s,"
                " 'resolved', '{}', %(at)s, 'engine:cli', %(at)s, %(at)s + interval '15 minutes', %(at)s + %(took)s,"
                " %(at)s + %(took)s, %(at)s + 2 * %(took)s, '')",
                {
                    "title": f"Nr. {number}",
                    "severity": severity,
                    "at": now - timedelta(hours=3),
                    "took": timedelta(minutes=minutes),
                },
            )
    found = await engine.get(f"{INCIDENTS}/figures", period="24h")
    every, critical = found["incident_figures"], found["by_severity"]["critical"]
    assert (every["opened"], every["acknowledged"], every["resolved"], every["open"]) == (4, 3, 4, 0)
    assert (every["mtta_seconds"], every["mtta_mean_seconds"]) == (1500, 1200)
    assert (critical["mtta_seconds"], critical["mttr_seconds"]) == (900, 1800)
    assert (critical["responses"], critical["responded_in_time_percent"]) == (2, 50)
    assert found["by_severity"]["low"]["responses"] == 0  # it ended by itself before anybody had to answer
