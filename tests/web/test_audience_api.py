"""Users and segments over HTTP."""

from typing import Any

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from tests.engine import BASE, Engine

PHONE = "+14155550100"


async def create(engine: Engine, phone: str = PHONE, **fields: Any) -> dict[str, Any]:
    answer = await engine.client.post("/api/v1/users", json={"phone_e164": phone, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def headers_of(engine: Engine, role: Role) -> dict[str, str]:
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, role.value, role, SystemClock().now())).key
    return {"authorization": f"Bearer {key}"}


async def audited(engine: Engine) -> list[str]:
    return [action for (action,) in await engine.rows("SELECT action FROM audit_log ORDER BY xid, id")]


async def figures(engine: Engine) -> dict[str, int]:
    await engine.project()
    found = await engine.get("/api/v1/analytics/consent")
    return {
        state: found["consent_analytics"][f"{state}_users"]
        for state in ("opt_in", "opt_out", "stop", "unknown")
    }


async def test_created_user_is_masked_and_counted(engine: Engine) -> None:
    made = await create(
        engine,
        "+1 (415) 555-0100",
        attributes={"city": "Riga"},
        timezone="Europe/Riga",
        consent={"state": "OPT_IN", "evidence": "form of 2 March"},
    )
    assert made["phone_e164"] == "+1 415 ••• ••00"
    assert (made["country"], made["consent_state"], made["attributes"]) == ("US", "OPT_IN", {"city": "Riga"})
    assert "4155550100" not in str(made)
    assert await engine.get(f"/api/v1/users/{made['id']}") == made
    assert await engine.get(f"/api/v1/users/{PHONE}") == made
    assert (await figures(engine))["opt_in"] == 1
    assert {"user.created", "consent.opted_in"} <= set(await audited(engine))


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"phone_e164": "0171 123"}, 422, "phone"),
        ({"phone_e164": "+999123456789"}, 422, "phone"),
        ({"phone_e164": PHONE, "timezone": "Europe/Atlantis"}, 422, "timezone"),
        ({"phone_e164": PHONE, "attributes": {f"a{n}": n for n in range(65)}}, 422, "attributes"),
        ({"phone_e164": PHONE, "attributes": {"a": "x" * 17_000}}, 422, "attributes"),
        ({"phone_e164": PHONE, "attributes": {"a": "nul \0"}}, 422, "attributes"),
        ({"phone_e164": PHONE, "consent": {"state": "YES", "evidence": "x"}}, 422, "consent"),
        ({"phone_e164": PHONE, "consent": {"state": "OPT_IN", "evidence": " "}}, 422, "evidence"),
        ({"phone_e164": PHONE, "surprise": 1}, 422, "surprise"),
    ],
)
async def test_wrong_user_is_refused_naming_the_field(
    engine: Engine, body: dict[str, Any], status: int, field: str
) -> None:
    answer = await engine.client.post("/api/v1/users", json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert await engine.rows("SELECT 1 FROM users") == []


async def test_same_number_twice_is_a_conflict(engine: Engine) -> None:
    await create(engine)
    assert (await engine.client.post("/api/v1/users", json={"phone_e164": PHONE})).status_code == 409


async def test_patch_merges_and_put_replaces(engine: Engine) -> None:
    made = await create(engine, attributes={"a": 1, "b": 2}, timezone="Europe/Riga")
    path = f"/api/v1/users/{made['id']}"
    patched = (await engine.client.patch(path, json={"attributes": {"b": None, "c": "3"}})).json()
    assert (patched["attributes"], patched["timezone"]) == ({"a": 1, "c": "3"}, "Europe/Riga")
    patched = (await engine.client.patch(path, json={"timezone": None})).json()
    assert (patched["attributes"], patched["timezone"]) == ({"a": 1, "c": "3"}, None)
    put = (await engine.client.put(path, json={"attributes": {"d": True}})).json()
    assert put["attributes"] == {"d": True}
    changes = await engine.rows("SELECT after FROM audit_log WHERE action = 'user.changed' ORDER BY id")
    assert [after["attributes"] for (after,) in changes] == [["b", "c"], [], ["a", "c", "d"]]


async def test_consent_is_stated_with_evidence_and_printed_as_a_ledger(engine: Engine) -> None:
    made = await create(engine, consent={"state": "OPT_IN", "evidence": "form"})
    path = f"/api/v1/users/{made['id']}/consent"
    assert (
        await engine.client.post(path, json={"state": "OPT_OUT", "evidence": "letter"})
    ).status_code == 201
    refused = await engine.client.post(path, json={"state": "OPT_IN", "evidence": "says so"})
    assert refused.status_code == 409
    proved = await engine.client.post(
        path, json={"state": "OPT_IN", "evidence": "signed form 7", "proved": True}
    )
    assert proved.json()["consent_state"] == "OPT_IN"
    ledger = await engine.get(path)
    assert [
        (entry["state_before"], entry["state_after"], entry["evidence"]) for entry in ledger["items"]
    ] == [
        ("UNKNOWN", "OPT_IN", "form"),
        ("OPT_IN", "OPT_OUT", "letter"),
        ("OPT_OUT", "OPT_IN", "signed form 7"),
    ]
    assert {entry["source"] for entry in ledger["items"]} == {"api"}
    assert all(entry["actor"].startswith("key:") for entry in ledger["items"])
    assert proved.json()["consent_entry"] == ledger["items"][-1]["id"]
    assert await figures(engine) == {"opt_in": 1, "opt_out": 0, "stop": 0, "unknown": 0}


async def test_stop_by_message_outranks_and_is_audited_without_the_number(engine: Engine) -> None:
    await create(engine, consent={"state": "OPT_IN", "evidence": "form"})
    form = {
        "MessageSid": "SM1",
        "From": PHONE,
        "To": "+14155550199",
        "Body": "STOP",
        "AccountSid": engine.settings.twilio_account_sid,
    }
    await engine.post_webhook("/webhooks/inbound", form)
    assert (await figures(engine))["stop"] == 1
    rows = await engine.rows(
        "SELECT actor, subject, before, after FROM audit_log WHERE action = 'consent.stopped'"
    )
    [(actor, subject, before, after)] = rows
    assert actor == subject
    assert subject.startswith("person:")
    assert (before, after["state"], after["message_sid"]) == ({"state": "OPT_IN"}, "STOP", "SM1")
    assert "4155550100" not in str(await engine.rows("SELECT audit_log::text FROM audit_log"))
    found = await engine.get(f"/api/v1/users/{PHONE}")
    assert found["consent_state"] == "STOP"


async def test_list_pages_through_everybody_once_and_filters(engine: Engine) -> None:
    phones = [f"+1415555{n:04d}" for n in range(100, 112)] + ["+371291234" + f"{n:02d}" for n in range(3)]
    for place, phone in enumerate(phones):
        await create(engine, phone, attributes={"place": place, "city": "Riga" if place % 2 else "Rome 50%"})
    seen, cursor = [], None
    while True:
        page = await engine.get("/api/v1/users", limit="4", **({"cursor": cursor} if cursor else {}))
        seen += [person["attributes"]["place"] for person in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert "415" not in cursor
    assert sorted(seen) == list(range(15))

    async def count(**parameters: str) -> int:
        return len((await engine.get("/api/v1/users", **parameters))["items"])

    assert await count(country="LV") == 3
    assert await count(search="riga") == 7
    assert await count(search="50%") == 8
    assert await count(search="5%0") == 0
    assert await count(search="+371 291") == 3
    assert await count(consent="OPT_IN") == 0
    assert (await engine.client.get("/api/v1/users", params={"consent": "MAYBE"})).json()[
        "field"
    ] == "consent"
    assert (await engine.client.get("/api/v1/users", params={"country": "\0"})).json()["field"] == "country"
    assert await count(search="\0") == 15
    assert (await engine.client.get("/api/v1/users", params={"cursor": "ä" * 42})).json()["field"] == "cursor"
    assert (await engine.client.get("/api/v1/users", params={"cursor": "x" * 42})).json()["field"] == "cursor"


async def test_numbers_are_revealed_to_operators_alone_and_recorded(engine: Engine) -> None:
    made = await create(engine)
    viewer, operator = await headers_of(engine, Role.viewer), await headers_of(engine, Role.operator)
    for path in ("/api/v1/users", f"/api/v1/users/{made['id']}"):
        refused = await engine.anonymous.get(path, params={"reveal": "true"}, headers=viewer)
        assert (refused.status_code, PHONE in refused.text) == (403, False)
        assert PHONE in (await engine.anonymous.get(path, params={"reveal": "true"}, headers=operator)).text
        assert PHONE not in (await engine.anonymous.get(path, headers=operator)).text
    assert (await audited(engine)).count("number.revealed") == 2
    guess = await engine.anonymous.get("/api/v1/users", params={"search": "+1415555010"}, headers=viewer)
    assert guess.status_code == 200  # a whole number of another person
    assert guess.json()["items"] == []
    guess = await engine.anonymous.get("/api/v1/users", params={"search": "5550100"}, headers=viewer)
    assert guess.status_code == 403


async def test_viewer_writes_nothing(engine: Engine) -> None:
    made, viewer = await create(engine), await headers_of(engine, Role.viewer)
    path = f"/api/v1/users/{made['id']}"

    async def status(method: str, url: str, **arguments: Any) -> int:
        answer: httpx.Response = await engine.anonymous.request(
            method, f"{BASE}{url}", headers=viewer, **arguments
        )
        return answer.status_code

    assert await status("POST", "/api/v1/users", json={"phone_e164": "+14155550101"}) == 403
    assert await status("PATCH", path, json={}) == 403
    assert await status("POST", f"{path}/consent", json={"state": "STOP", "evidence": "x"}) == 403
    assert await status("DELETE", path) == 403
    assert await status("POST", "/api/v1/segments", json={"name": "x", "filter": {"and": []}}) == 403
    assert await status("POST", "/api/v1/segments/preview", json={"filter": {"and": []}}) == 200


async def test_segment_is_made_previewed_changed_and_archived(engine: Engine) -> None:
    for n in range(7):
        await create(engine, f"+1415555010{n}", attributes={"city": "Riga" if n else "Rome"})
    riga = {"field": "attributes.city", "operator": "equals", "value": "Riga"}
    preview = (await engine.client.post("/api/v1/segments/preview", json={"filter": riga})).json()
    assert (preview["people"], preview["all_people"], len(preview["sample"])) == (6, 7, 5)
    assert "+1415555" not in str(preview)
    made = (await engine.client.post("/api/v1/segments", json={"name": "Riga", "filter": riga})).json()
    path = f"/api/v1/segments/{made['id']}"
    again = await engine.client.post("/api/v1/segments", json={"name": "Riga", "filter": riga})
    assert again.status_code == 409
    changed = await engine.client.put(path, json={"name": "Not Riga", "filter": {"not": riga}})
    assert changed.json()["filter"] == {"not": riga}
    assert [one["name"] for one in (await engine.get("/api/v1/segments"))["items"]] == ["Not Riga"]
    assert (await engine.client.delete(path)).status_code == 204
    assert (await engine.get("/api/v1/segments"))["items"] == []
    assert (await engine.client.put(path, json={"name": "Riga", "filter": riga})).status_code == 409
    assert (await engine.get(path))["archived_at"] is not None
    assert [one for one in await audited(engine) if one.startswith("segment.")] == [
        "segment.created",
        "segment.changed",
        "segment.archived",
    ]


async def test_segments_page_by_name(engine: Engine) -> None:
    for name in "cab":
        await engine.client.post("/api/v1/segments", json={"name": name, "filter": {"and": []}})
    first = await engine.get("/api/v1/segments", limit="2")
    second = await engine.get("/api/v1/segments", limit="2", cursor=first["next_cursor"])
    assert [one["name"] for one in first["items"] + second["items"]] == ["a", "b", "c"]
    assert second["next_cursor"] is None
    assert (await engine.client.get("/api/v1/segments", params={"cursor": "!"})).json()["field"] == "cursor"


async def test_wrong_filter_names_its_place(engine: Engine) -> None:
    tree = {"and": [{"not": {"field": "consent", "operator": "equals", "value": "MAYBE"}}]}
    answer = await engine.client.post("/api/v1/segments/preview", json={"filter": tree})
    assert (answer.status_code, answer.json()["field"]) == (422, "filter.and.0.not.value")
