"""Exports over HTTP: asked for with the filters of the pages, watched, downloaded, handed on."""

import csv
import gzip
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SettableClock, SystemClock
from event_stream_engine.kernel.phone import mask_phone
from tests.engine import BASE, Engine, make_settings, running_engine
from tests.exports import add_messages, make_next
from tests.querying import prepare_readers
from tests.sent_campaigns import send_campaign
from tests.web.test_room_pages import load_page

CLOCK = SystemClock()
MESSAGES = 300


@asynccontextmanager
async def signed_in_as(engine: Engine, role: Role) -> AsyncIterator[httpx.AsyncClient]:
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, role.value, role, CLOCK.now())).key
    transport = engine.client._transport
    async with httpx.AsyncClient(
        transport=transport, base_url=BASE, headers={"authorization": f"Bearer {key}"}
    ) as client:
        yield client


async def ask(engine: Engine, expected: int = 201, **body: Any) -> dict[str, Any]:
    answer = await engine.client.post("/api/v1/exports", json={"set": "messages", "format": "csv", **body})
    assert answer.status_code == expected, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def make_file(engine: Engine, **body: Any) -> dict[str, Any]:
    asked = await ask(engine, **body)
    await make_next(engine.url, CLOCK)
    return await engine.get(f"/api/v1/exports/{asked['id']}")


def read_rows(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


async def test_rows_are_those_of_the_figure_with_the_same_filters(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        await add_messages(conn, MESSAGES, datetime.now(UTC))
    made = await make_file(engine, period="1h", channel="whatsapp", shows_numbers=True)
    assert (made["state"], made["rows"]) == ("completed", MESSAGES // 5)
    assert made["filters"]["channel"] == "whatsapp"
    rows = read_rows(await engine.client.get(made["file"]))
    assert {row["channel"] for row in rows} == {"whatsapp"}
    assert rows[0]["recipient_phone"].startswith("+1415")
    refused = await ask(engine, 422, channel="post office")
    assert refused["field"] == "channel"
    refused = await ask(engine, 422, intent="stop")
    assert refused["field"] == "intent"


async def test_file_is_sent_compressed_or_not_as_the_client_can(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        await add_messages(conn, MESSAGES, datetime.now(UTC))
    made = await make_file(engine, period="1h")
    plain = await engine.client.get(made["file"], headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert int(plain.headers["content-length"]) == len(plain.content) == made["file_bytes"]
    assert made["file_name"] in plain.headers["content-disposition"]
    async with engine.client.stream("GET", made["file"], headers={"accept-encoding": "gzip"}) as squeezed:
        raw = b"".join([piece async for piece in squeezed.aiter_raw()])
    assert len(raw) == int(squeezed.headers["content-length"]) == made["stored_bytes"]
    assert gzip.decompress(raw) == plain.content


async def test_recipients_of_a_campaign_are_all_of_them(engine: Engine) -> None:
    campaign_id = await send_campaign(engine, "Spring", 30)
    made = await make_file(engine, set="recipients", campaign_id=str(campaign_id), shows_numbers=True)
    rows = read_rows(await engine.client.get(made["file"]))
    expected = await engine.rows(
        "SELECT id::text, status FROM messages WHERE campaign_id = %s ORDER BY id", campaign_id
    )
    assert [(row["id"], row["status"]) for row in rows] == expected
    assert {row["campaign"] for row in rows} == {"Spring"}
    skipped = await make_file(engine, set="recipients", campaign_id=str(campaign_id), status="SKIPPED")
    assert skipped["rows"] == sum(status == "SKIPPED" for _, status in expected) > 0
    figures = await make_file(engine, set="rollups", period="24h", format="ndjson")
    assert figures["rows"] >= 1
    assert (await ask(engine, 422, set="recipients"))["field"] == "campaign_id"


async def test_receipts_and_ledger_and_trail_come_as_they_are(engine: Engine) -> None:
    form = {
        "MessageSid": "SM1",
        "To": "whatsapp:+14155551234",
        "From": "+14155238886",
        "AccountSid": engine.settings.twilio_account_sid,
    }
    for status in ("sent", "delivered"):
        await engine.post_webhook("/webhooks/status", form | {"MessageStatus": status})
    inbound = {
        "MessageSid": "SM2",
        "From": "+14155551234",
        "To": "+14155238886",
        "Body": "STOP",
        "AccountSid": engine.settings.twilio_account_sid,
    }
    await engine.post_webhook("/webhooks/inbound", inbound)
    await engine.project()
    receipts = read_rows(
        await engine.client.get((await make_file(engine, set="receipts", channel="whatsapp"))["file"])
    )
    receipts.sort(key=lambda row: row["received_at"])  # on a slow day the first came by way of the spool
    assert [row["message_status"] for row in receipts] == ["sent", "delivered"]
    assert receipts[0]["recipient_phone"] == mask_phone("+14155551234")
    replies = read_rows(
        await engine.client.get((await make_file(engine, set="inbound", intent="stop"))["file"])
    )
    assert [row["body"] for row in replies] == ["STOP"]
    ledger = read_rows(await engine.client.get((await make_file(engine, set="consent"))["file"]))
    assert [(row["action"], row["evidence"]) for row in ledger] == [("stop", "STOP")]
    trail = read_rows(await engine.client.get((await make_file(engine, set="audit"))["file"]))
    assert {"export.asked", "export.completed", "export.downloaded"} <= {row["action"] for row in trail}


async def test_viewer_gets_masked_rows_and_nobody_elses_numbers(engine: Engine) -> None:
    made = await make_file(engine, shows_numbers=True)
    async with signed_in_as(engine, Role.viewer) as viewer:
        assert (await viewer.get(made["file"])).status_code == 403
        assert (await viewer.delete(f"/api/v1/exports/{made['id']}")).status_code == 403
        link = await viewer.post(f"/api/v1/exports/{made['id']}/links", json={})
        assert link.status_code == 403
        for body in ({"shows_numbers": True}, {"set": "users"}, {"set": "audit"}):
            answer = await viewer.post("/api/v1/exports", json={"set": "messages", "format": "csv", **body})
            assert answer.status_code == 403, body
        own = await viewer.post("/api/v1/exports", json={"set": "messages", "format": "csv"})
        assert own.status_code == 201
        assert (await viewer.delete(f"/api/v1/exports/{own.json()['id']}")).json()["state"] == "cancelled"
        page = await viewer.get("/reports/exports?set=users", headers={"accept": "text/html"})
        assert "need the role operator" in page.text


async def test_link_is_good_for_whoever_has_it_until_it_ends(database_url: str, tmp_path: Any) -> None:
    clock = SettableClock(datetime(2026, 3, 2, 12, tzinfo=UTC))
    async with running_engine(database_url, make_settings(tmp_path), clock) as engine:
        asked = await ask(engine)
        early = await engine.client.post(f"/api/v1/exports/{asked['id']}/links", json={"hours": 1})
        assert early.status_code == 409
        await make_next(engine.url, clock)
        made = await engine.client.post(f"/api/v1/exports/{asked['id']}/links", json={"hours": 1})
        assert made.json()["until"] == "2026-03-02T13:00:00Z"
        parts = urlsplit(made.json()["url"])
        path = f"{parts.path}?{parts.query}"
        assert read_rows(await engine.anonymous.get(path)) == []
        for broken in (
            path[:-1] + ("0" if path[-1] != "0" else "1"),
            path.replace("until=", "until=9"),
            path + "é",
        ):
            assert (await engine.anonymous.get(broken)).status_code == 403
        too_long = await engine.client.post(f"/api/v1/exports/{asked['id']}/links", json={"hours": 100})
        assert too_long.json()["field"] == "hours"
        clock.advance(timedelta(hours=1))
        late = await engine.anonymous.get(path)
        assert late.status_code == 403
        assert "no longer good" in late.text
        trail = await engine.rows(
            "SELECT action, actor FROM audit_log WHERE subject = %s ORDER BY id", f"export:{asked['id']}"
        )
    assert [action for action, _ in trail] == [
        "export.asked",
        "export.completed",
        "export.linked",
        "export.downloaded",
    ]
    assert trail[-1][1] == "engine:link"


async def test_exports_are_listed_by_pages_and_deleted(engine: Engine) -> None:
    made = await make_file(engine)
    await ask(engine)
    first = await engine.get("/api/v1/exports", limit="1")
    assert first["items"][0]["state"] == "waiting"
    assert first["unknown"]["items.0.estimated_rows"]
    second = await engine.get("/api/v1/exports", limit="1", cursor=first["next_cursor"])
    assert second["items"][0]["id"] == made["id"]
    deleted = await engine.client.delete(f"/api/v1/exports/{made['id']}")
    assert (deleted.json()["state"], deleted.json()["file"]) == ("expired", None)
    assert (await engine.client.get(made["file"])).status_code == 409
    assert (await engine.client.delete(f"/api/v1/exports/{made['id']}")).status_code == 409
    sets = {one["set"]: one for one in (await engine.get("/api/v1/exports/sets"))["items"]}
    assert sets["users"]["needs"] == "operator"
    assert "period" in sets["messages"]["filters"]


@pytest.mark.parametrize(
    "address", ["/audience?consent=STOP&search=ada", "/inbound?intent=help", "/compliance?period=7d"]
)
async def test_tables_lead_to_the_export_of_what_they_show(engine: Engine, address: str) -> None:
    page = await load_page(engine, address)
    assert 'href="/reports/exports?set=' in page.text
    if "audience" in address:
        assert "/reports/exports?set=users&amp;consent=STOP&amp;search=ada" in page.text


async def test_page_shows_progress_and_files(engine: Engine) -> None:
    await make_file(engine, channel="sms")
    await ask(engine, set="users", search="ada")
    page = await load_page(
        engine,
        "/reports/exports?set=messages&channel=sms&since=2026-03-01T00:00:00Z&until=2026-03-02T00:00:00Z",
    )
    assert page.refused == []
    assert 'data-every-ms="1000"' in page.text
    assert "waiting for the worker" in page.text
    assert "a search" in page.text
    assert 'name="since" value="2026-03-01T00:00:00Z"' in page.text
    assert '<option value="sms" selected>' in page.text
    assert "/file" in page.text


async def save_query(engine: Engine, *, is_shared: bool = True) -> str:
    await prepare_readers(engine.url)
    body = {
        "name": f"Numbers <b> {is_shared}",
        "sql": "SELECT n, :word AS word FROM generate_series(1, 3000) n",
        "parameters": [{"name": "word", "type": "text", "default": "one"}],
        "is_shared": is_shared,
    }
    answer = await engine.client.post("/api/v1/queries", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_query_is_exported_whole_with_its_values_by_its_name(engine: Engine) -> None:
    query_id = await save_query(engine)
    made = await make_file(engine, set="query", query_id=query_id, parameters={"word": "two"})
    assert (made["state"], made["rows"], made["query"]) == ("completed", 3000, "Numbers <b> True")
    assert (made["shows_numbers"], made["filters"]) == (True, {"query_id": query_id, "version": 1})
    rows = read_rows(await engine.client.get(made["file"]))
    assert (len(rows), rows[-1]) == (3000, {"n": "3000", "word": "two"})
    page = await load_page(engine, "/reports/exports")
    assert page.refused == []
    assert "Numbers &lt;b&gt; True" in page.text
    assert "word = two" in page.text
    query_page = await load_page(engine, f"/reports/queries/{query_id}")
    assert query_page.refused == []
    assert "Export all" in query_page.text


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"query_id": "x"}, 422, "query_id"),
        ({}, 422, "query_id"),
        ({"query_id": "00000000-0000-4000-8000-00000000dead"}, 404, None),
        ({"query_id": "saved", "parameters": {"other": 1}}, 422, "parameters.other"),
        ({"query_id": "saved", "parameters": {"word": 5}}, 422, "parameters.word"),
        ({"query_id": "saved", "channel": "sms"}, 422, "channel"),
        ({"query_id": "saved", "format": "doc"}, 422, "format"),
        ({"set": "messages", "query_id": "saved"}, 422, "query_id"),
        ({"set": "messages", "parameters": {}}, 422, "parameters"),
    ],
)
async def test_query_that_cannot_be_exported_names_the_field(
    engine: Engine, body: dict[str, Any], status: int, field: str | None
) -> None:
    saved = await save_query(engine)
    body = {"set": "query", **body}
    if body.get("query_id") == "saved":
        body["query_id"] = saved
    assert (await ask(engine, status, **body)).get("field") == field


async def test_query_that_is_not_shared_is_nobody_elses_to_export_or_to_have(engine: Engine) -> None:
    shared, private = await save_query(engine), await save_query(engine, is_shared=False)
    made = await make_file(engine, set="query", query_id=private)
    async with signed_in_as(engine, Role.admin) as other:
        body = {"set": "query", "format": "csv", "query_id": private}
        assert (await other.post("/api/v1/exports", json=body)).status_code == 404
        told = (await other.get(f"/api/v1/exports/{made['id']}")).json()
        assert told["query"] is None
        assert (await other.get(made["file"])).status_code == 403
        page = await other.get("/reports/exports", headers={"accept": "text/html"})
        assert "Numbers" not in page.text
        assert "word =" not in page.text
        assert "/file" not in page.text
    async with signed_in_as(engine, Role.viewer) as viewer:
        asked = await viewer.post("/api/v1/exports", json=body | {"query_id": shared})
        assert (asked.status_code, asked.json()["shows_numbers"]) == (201, False)
        in_full = body | {"query_id": shared, "shows_numbers": True}
        assert (await viewer.post("/api/v1/exports", json=in_full)).status_code == 403


async def test_why_a_query_failed_is_told_to_whoever_may_have_its_rows(engine: Engine) -> None:
    await save_query(engine)
    body = {"name": "Wrong", "sql": "SELECT\n 1 / 0 AS one", "is_shared": True}
    query_id = (await engine.client.post("/api/v1/queries", json=body)).json()["id"]
    made = await make_file(engine, set="query", query_id=query_id)
    assert (made["state"], made["error"]) == ("failed", "Division by zero.")
    async with signed_in_as(engine, Role.viewer) as viewer:
        told = (await viewer.get(f"/api/v1/exports/{made['id']}")).json()
        assert "whoever may have its rows" in told["error"]
        page = await viewer.get("/reports/exports", headers={"accept": "text/html"})
        assert "Division by zero" not in page.text
