"""People's SQL over the API: who sees what, what an answer holds, and what the audit trail keeps of it."""

import asyncio
from typing import Any

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from tests.engine import BASE, Engine
from tests.querying import prepare_readers

RUN = "/api/v1/queries/run"
ENDLESS = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"


@pytest.fixture
async def asked(engine: Engine) -> Engine:
    """An engine with the logins and one person."""
    await prepare_readers(engine.url)
    await engine.rows(
        "INSERT INTO users (phone_e164, attributes, created_at, updated_at) VALUES ('+14155550123', '{}', now(), now()) RETURNING 1"
    )
    return engine


async def authorise(engine: Engine, role: Role) -> dict[str, str]:
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, role.value, role, SystemClock().now())).key
    return {"authorization": f"Bearer {key}"}


async def list_entries(engine: Engine) -> list[dict[str, Any]]:
    rows = await engine.rows("SELECT subject, after FROM audit_log WHERE action = 'query.run' ORDER BY id")
    return [{"subject": subject, **after} for subject, after in rows]


async def test_an_answer_holds_columns_rows_and_what_it_cost(asked: Engine) -> None:
    body = {
        "sql": "SELECT count(*) AS people, :n::numeric AS n, now() > :since::timestamptz AS late FROM users;"
    }
    answer = await asked.client.post(RUN, json=body | {"parameters": {"n": 1.5, "since": "2020-01-01"}})
    assert answer.status_code == 200, answer.text
    given = answer.json()
    assert given["columns"] == [
        {"name": "people", "type": "bigint"},
        {"name": "n", "type": "numeric"},
        {"name": "late", "type": "boolean"},
    ]
    assert given["rows"] == [[1, 1.5, True]]
    assert given["truncated"] is False
    assert given["duration_ms"] > 0
    assert given["cost"] > 0


async def test_numbers_are_for_operators(asked: Engine) -> None:
    body = {"sql": "SELECT phone_e164 FROM users"}
    shown = await asked.anonymous.post(RUN, json=body, headers=await authorise(asked, Role.operator))
    assert shown.json()["rows"] == [["+14155550123"]]
    masked = await asked.anonymous.post(RUN, json=body, headers=await authorise(asked, Role.viewer))
    [[number]] = masked.json()["rows"]
    assert number.startswith("+1••••23·")
    assert (await asked.anonymous.post(RUN, json=body)).status_code == 401


async def test_values_that_json_has_no_word_for_are_text(asked: Engine) -> None:
    body = {
        "sql": "SELECT 'NaN'::float, 9007199254740993::bigint, 1e30::numeric, '2026-03-02T12:00:00Z'::timestamptz, interval '90 minutes', ARRAY[1]"
    }
    [row] = (await asked.client.post(RUN, json=body)).json()["rows"]
    assert row == ["nan", "9007199254740993", "1" + "0" * 30, "2026-03-02T12:00:00Z", "1:30:00", "{1}"]


async def test_a_refusal_names_field_and_place(asked: Engine) -> None:
    answer = await asked.client.post(RUN, json={"sql": "SELECT nope FROM users"})
    problem = answer.json()
    assert answer.status_code == 422
    assert (problem["field"], problem["position"]) == ("sql", 7)
    assert problem["detail"] == 'Column "nope" does not exist. The list of tables says what there is.'
    answer = await asked.client.post(RUN, json={"sql": "SELECT :x"})
    assert answer.json()["field"] == "parameters.x"
    assert "position" not in answer.json()


async def test_every_run_is_entered_with_its_outcome_and_without_numbers(asked: Engine) -> None:
    await asked.client.post(
        RUN,
        json={
            "sql": "SELECT * FROM users WHERE phone_e164 = '+1 (415) 555-0123' AND created_at > '2026-03-02 12:30'"
        },
    )
    await asked.client.post(RUN, json={"sql": "DROP TABLE users"})
    answered, refused = await list_entries(asked)
    assert (
        answered["sql"] == "SELECT * FROM users WHERE phone_e164 = '+•••' AND created_at > '2026-03-02 12:30'"
    )
    assert (answered["outcome"], answered["rows"], answered["sees_numbers"]) == ("answered", 0, True)
    assert answered["subject"] == "query:unsaved"
    assert (refused["outcome"], refused["sql"]) == ("refused", "DROP TABLE users")
    assert "rows" not in refused


async def test_a_query_ends_when_its_client_leaves_and_is_entered_as_abandoned(asked: Engine) -> None:
    active = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ese-queries' AND datname = current_database() AND state = 'active'"

    async def count_active() -> int:
        return int((await asked.rows(active))[0][0])

    scope = _scope(await authorise(asked, Role.viewer))
    gone = asyncio.Event()
    sent = [{"type": "http.request", "body": httpx.Request("POST", BASE, json={"sql": ENDLESS}).content}]

    async def receive() -> dict[str, Any]:
        if sent:
            return sent.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    transport: Any = asked.client._transport
    async with asyncio.timeout(20):
        request = asyncio.create_task(transport.app(scope, receive, send))
        while await count_active() == 0:
            await asyncio.sleep(0.02)
        gone.set()
        await request
        while await count_active() > 0:
            await asyncio.sleep(0.02)
    [entry] = await list_entries(asked)
    assert entry["outcome"] == "abandoned"


def _scope(headers: dict[str, str]) -> dict[str, Any]:
    given = {"host": "engine.test", "content-type": "application/json", **headers}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": RUN,
        "raw_path": RUN.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("engine.test", 80),
    }


async def test_tables_are_told_with_columns_and_meaning(asked: Engine) -> None:
    tables = {table["name"]: table for table in (await asked.get("/api/v1/queries/tables"))["items"]}
    document = {"users", "campaigns", "segments", "messages", "delivery_receipts", "inbound_events"}
    assert document | {"pg_stat_statements", "pg_stat_user_indexes"} <= set(tables)
    assert not {"operators", "sessions", "api_keys", "events", "masking_key"} & set(tables)
    assert {"name": "phone_e164", "type": "text"} in tables["users"]["columns"]
    assert all(table["description"] for table in tables.values())
