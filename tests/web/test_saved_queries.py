"""Saved queries over HTTP: who may do what, what is answered, and the pages as a browser gets them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.worker.scheduler import run_next_query
from tests.engine import Engine
from tests.querying import prepare_readers
from tests.sending import add_people
from tests.web.test_room_pages import HOSTILE, load_page

API = "/api/v1/queries"
PEOPLE = {
    "name": "People",
    "sql": "SELECT phone_e164, :word AS word FROM users ORDER BY created_at LIMIT :most",
    "parameters": [
        {"name": "word", "type": "text", "default": "people"},
        {"name": "most", "type": "integer", "default": 2},
    ],
    "chart": None,
    "is_shared": True,
}


async def ask_as(engine: Engine, role: Role, method: str, path: str, body: Any = None) -> httpx.Response:
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, f"{role.value} {uuid4()}", role, datetime.now(UTC))).key
    return await engine.anonymous.request(method, path, json=body, headers={"authorization": f"Bearer {key}"})


async def save(engine: Engine, **changes: Any) -> dict[str, Any]:
    answer = await engine.client.post(API, json=PEOPLE | changes)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def add_channel(engine: Engine) -> str:
    channel_id = str(uuid4())
    async with await connect(engine.url, "test") as conn:
        await conn.execute(
            "INSERT INTO notification_channels (id, name, kind, sealed_target, shown_target, is_enabled, created_at)"
            " VALUES (%s, %s, 'apprise', 'x', 'x', true, now())",
            (channel_id, HOSTILE),
        )
    return channel_id


async def test_a_query_is_saved_changed_run_and_removed(engine: Engine) -> None:
    await prepare_readers(engine.url)
    async with await connect(engine.url, "test") as conn:
        await add_people(conn, 3, datetime.now(UTC))
    made = await save(engine)
    address = f"{API}/{made['id']}"
    assert (made["owner"], made["version"], made["may_change"], made["is_shipped"]) == (
        "test",
        1,
        True,
        False,
    )
    answer = await engine.client.post(f"{address}/run", json={"parameters": {"most": 1}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["rows"] == [["+14152000000", "people"]]
    refused = await engine.client.post(f"{address}/run", json={"parameters": {"most": "many"}})
    assert (refused.status_code, refused.json()["field"]) == (422, "parameters.most")
    changed = PEOPLE | {"sql": "SELECT 1 AS one", "parameters": [], "version": 1}
    assert (await engine.client.put(address, json=changed)).json()["version"] == 2
    again = await engine.client.put(address, json=changed)
    assert (again.status_code, "changed since you read it" in again.json()["detail"]) == (409, True)
    versions = (await engine.get(address))["versions"]
    assert [(one["version"], one["changed_by"]) for one in versions] == [(2, "test"), (1, "test")]
    assert (await engine.client.delete(address)).status_code == 204
    assert (await engine.client.get(address)).status_code == 404


async def test_a_viewer_runs_what_is_shared_with_numbers_masked_and_saves_nothing(engine: Engine) -> None:
    await prepare_readers(engine.url)
    async with await connect(engine.url, "test") as conn:
        await add_people(conn, 1, datetime.now(UTC))
    shared, private = await save(engine), await save(engine, name="Mine", is_shared=False)
    answer = await ask_as(engine, Role.viewer, "POST", f"{API}/{shared['id']}/run", {})
    assert answer.json()["rows"][0][0].startswith("+1••••00·")
    for method, path, body, status in (
        ("POST", f"{API}/{private['id']}/run", {}, 404),
        ("GET", f"{API}/{private['id']}", None, 404),
        ("POST", API, PEOPLE, 403),
        ("PUT", f"{API}/{shared['id']}", PEOPLE | {"version": 1}, 403),
        ("DELETE", f"{API}/{shared['id']}", None, 403),
        ("POST", f"{API}/schedules", {}, 403),
    ):
        answer = await ask_as(engine, Role.viewer, method, path, body)
        assert answer.status_code == status, (method, path, answer.text)


async def test_a_run_of_a_saved_query_is_in_the_trail_by_its_id(engine: Engine) -> None:
    await prepare_readers(engine.url)
    made = await save(engine)
    await engine.client.post(f"{API}/{made['id']}/run", json={})
    rows = await engine.rows("SELECT subject, after ->> 'outcome' FROM audit_log WHERE action = 'query.run'")
    assert rows == [(f"query:{made['id']}", "answered")]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"sql": "DROP TABLE users"}, "sql"),
        ({"sql": "SELECT 1"}, "parameters.0.name"),
        ({"parameters": []}, "parameters"),
        ({"chart": {"kind": "pie", "x": "a", "y": ["b"]}}, "chart.kind"),
        ({"chart": {"kind": "bar", "x": "a", "y": []}}, "chart.y"),
        ({"chart": {"kind": "bar", "x": "a", "y": list("bcde")}}, "chart.y"),
    ],
)
async def test_what_no_query_can_be_is_refused_by_field(
    engine: Engine, changes: dict[str, Any], field: str
) -> None:
    answer = await engine.client.post(API, json=PEOPLE | changes)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_a_schedule_runs_tells_and_gives_out_its_result(engine: Engine) -> None:
    readers = await prepare_readers(engine.url)
    async with await connect(engine.url, "test") as conn:
        await add_people(conn, 3, datetime.now(UTC))
    made, channel_id = await save(engine, name=f"People {HOSTILE}"), await add_channel(engine)
    body = {"query_id": made["id"], "runs_at": "08:30", "channel_id": channel_id, "weekday": 1}
    answer = await engine.client.post(f"{API}/schedules", json=body)
    assert answer.status_code == 201, answer.text
    schedule = answer.json()
    clock = SettableClock(datetime.fromisoformat(schedule["next_at"]) + timedelta(minutes=1))
    async with await connect(engine.url, "test") as conn:
        assert await run_next_query(conn, readers, engine.settings.timezone, clock)
    address = f"{API}/schedules/{schedule['id']}"
    [run] = (await engine.get(address))["runs"]
    assert (run["rows"], run["truncated"], run["failed_because"]) == (2, False, None)
    file = await engine.client.get(f"{address}/runs/{run['due_at']}/csv")
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    assert file.text.count("people") == 2
    assert "+14152000000" not in file.text
    page = await load_page(engine, f"/reports/queries/{made['id']}")
    assert "Mondays at 08:30" in page.text
    assert "2 rows" in page.text
    changed = {"runs_at": "18:00", "channel_id": channel_id, "is_enabled": False}
    answer = await engine.client.put(address, json=changed)
    assert (answer.json()["weekday"], answer.json()["next_at"]) == (None, None)
    assert (await engine.client.delete(address)).status_code == 204
    assert (await engine.get(f"{API}/schedules", query_id=made["id"]))["schedules"] == []


async def test_every_page_of_queries_is_whole_and_says_nothing_foreign(engine: Engine) -> None:
    made = await save(
        engine, name=HOSTILE, description=HOSTILE, sql=f"SELECT '{HOSTILE}' AS \"x\"", parameters=[]
    )
    [shipped] = [one for one in (await engine.get(API))["queries"] if one["name"] == "Messages by day"]
    for address in (
        "/reports/queries",
        "/reports/queries/new",
        f"/reports/queries/{made['id']}",
        f"/reports/queries/{shipped['id']}",
        f"/alerts/rules/new?query={shipped['id']}",
    ):
        page = await load_page(engine, address)
        assert (page.refused, len(page.ids)) == ([], len(set(page.ids))), address
        assert page.refers_to <= set(page.ids), address
    missing = await engine.client.get(f"/reports/queries/{uuid4()}", headers={"accept": "text/html"})
    assert missing.status_code == 404


async def test_a_chart_is_drawn_of_what_the_page_sends(engine: Engine) -> None:
    column = {"name": "day", "values": ["2026-03-01", "2026-03-02"]}
    body = {"kind": "bar", "x": column, "y": [{"name": "failed", "values": [1, None]}]}
    answer = await engine.client.post("/reports/queries/chart", json=body)
    assert answer.status_code == 200, answer.text
    drawn = answer.json()
    assert drawn["colours"] == {"failed": "failed"}
    assert [row["tip_when"] for row in drawn["rows"]] == ["1 Mar 2026", "2 Mar 2026"]
    body["y"] = [{"name": "failed", "values": [1]}]
    assert (await engine.client.post("/reports/queries/chart", json=body)).status_code == 422
