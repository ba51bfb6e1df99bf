"""Templates over the API: made, changed, archived, previewed; and the list of prohibited words."""

from typing import Any

import pytest

from tests.engine import Engine

BODY = {
    "name": "Welcome",
    "channel": "sms",
    "locale": "en",
    "body": "Hi {first_name|friend}, your code is {code}",
}


async def make(engine: Engine, **changes: Any) -> dict[str, Any]:
    answer = await engine.client.post("/api/v1/templates", json=BODY | changes)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def add_person(engine: Engine, phone: str, attributes: str) -> None:
    await engine.rows(
        "INSERT INTO users (phone_e164, attributes, created_at, updated_at) VALUES (%s, %s, now(), now()) RETURNING 1",
        phone,
        attributes,
    )


async def test_a_template_is_made_changed_and_archived_with_its_trail(engine: Engine) -> None:
    made = await make(engine)
    assert made["placeholders"] == [
        {"name": "first_name", "default": "friend"},
        {"name": "code", "default": None},
    ]
    path = f"/api/v1/templates/{made['id']}"
    changed = await engine.client.put(path, json=BODY | {"body": "Bye"})
    assert changed.json()["body"] == "Bye"
    assert (await engine.get(path))["body"] == "Bye"
    assert (await engine.client.post(f"{path}/archive")).status_code == 200
    assert (await engine.client.put(path, json=BODY)).status_code == 409
    assert (await engine.get("/api/v1/templates"))["items"] == []
    assert [one["name"] for one in (await engine.get("/api/v1/templates", archived="true"))["items"]] == [
        "Welcome"
    ]
    trail = "SELECT action, before ->> 'body', after ->> 'body' FROM audit_log WHERE subject = %s ORDER BY id"
    assert await engine.rows(trail, f"template:{made['id']}") == [
        ("template.created", None, BODY["body"]),
        ("template.changed", BODY["body"], "Bye"),
        ("template.archived", None, None),
    ]


async def test_a_name_is_used_once_and_is_free_again_after_archiving(engine: Engine) -> None:
    made = await make(engine)
    answer = await engine.client.post("/api/v1/templates", json=BODY)
    assert answer.status_code == 409
    other = await make(engine, name="Other")
    assert (await engine.client.put(f"/api/v1/templates/{other['id']}", json=BODY)).status_code == 409
    await engine.client.post(f"/api/v1/templates/{made['id']}/archive")
    await make(engine)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": " "}),
        ("channel", {"channel": "fax"}),
        ("locale", {"locale": "english!"}),
        ("body", {"body": "Hi {name"}),
        ("body", {"body": " "}),
        ("content_sid", {"content_sid": "HX" + "0" * 32}),
        ("content_sid", {"channel": "whatsapp", "content_sid": "HX1"}),
        ("content_variables", {"channel": "whatsapp", "content_variables": {"1": "a"}}),
        (
            "content_variables",
            {"channel": "whatsapp", "content_sid": "HX" + "0" * 32, "content_variables": {"a": "b"}},
        ),
    ],
)
async def test_a_wrong_template_is_refused_with_its_field(
    engine: Engine, field: str, changes: dict[str, Any]
) -> None:
    answer = await engine.client.post("/api/v1/templates", json=BODY | changes)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_a_preview_shows_what_one_person_would_get_or_why_not(engine: Engine) -> None:
    await add_person(engine, "+14155550100", '{"first_name": "Zoë", "code": 7}')
    await add_person(engine, "+14155550101", "{}")

    async def preview(phone: str | None, **changes: Any) -> dict[str, Any]:
        body = {"template": BODY | changes} | ({"phone_e164": phone} if phone else {})
        answer = await engine.client.post("/api/v1/templates/preview", json=body)
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    shown = await preview("+14155550100")
    assert shown["text"] == "Hi Zoë, your code is 7"
    assert (shown["size"]["encoding"], shown["size"]["foreign_character"]) == ("UCS-2", "ë")
    assert (await preview(None))["text"] == "Hi friend, your code is {code}"
    denied = await preview("+14155550101")
    assert (denied["text"], denied["reason"], denied["missing"]) == (None, "placeholder_missing", ["code"])
    await engine.client.put("/api/v1/prohibited-words", json={"words": ["Code is  7", "casino"]})
    assert await engine.get("/api/v1/prohibited-words") == {"words": ["casino", "code is 7"]}
    shown = await preview("+14155550100")
    assert (shown["reason"], shown["prohibited"]) == ("prohibited_word", "code is 7")
    unknown = await engine.client.post(
        "/api/v1/templates/preview", json={"template": BODY, "phone_e164": "+14155559999"}
    )
    assert unknown.status_code == 404
    told = await engine.rows("SELECT after FROM audit_log WHERE action = 'prohibited_words.changed'")
    assert told == [({"added": ["casino", "code is 7"], "removed": []},)]


async def test_lists_page_by_cursor(engine: Engine) -> None:
    for name in ("C", "A~b", "B"):
        await make(engine, name=name)
    first = await engine.get("/api/v1/templates", limit="2")
    assert [one["name"] for one in first["items"]] == ["A~b", "B"]
    second = await engine.get("/api/v1/templates", limit="2", cursor=first["next_cursor"])
    assert ([one["name"] for one in second["items"]], second["next_cursor"]) == (["C"], None)
    assert (await engine.client.get("/api/v1/templates", params={"cursor": "x"})).status_code == 422


async def test_reply_rules_over_the_api(engine: Engine) -> None:
    rule = {"intent": "general", "words": ["Hours"], "body": "Nine to five", "per_person_minutes": 5}
    made = (await engine.client.post("/api/v1/reply-rules", json=rule)).json()
    assert made["words"] == ["hours"]
    path = f"/api/v1/reply-rules/{made['id']}"
    changed = await engine.client.put(path, json=rule | {"is_enabled": False})
    assert changed.json()["is_enabled"] is False
    assert len((await engine.get("/api/v1/reply-rules"))["items"]) == 4
    assert (await engine.client.delete(path)).status_code == 204
    assert (await engine.client.delete(path)).status_code == 404
    assert (await engine.client.post("/api/v1/reply-rules", json=rule | {"intent": "x"})).json()[
        "field"
    ] == "intent"


async def test_quiet_hours_of_a_place_are_made_changed_and_removed_with_their_trail(engine: Engine) -> None:
    rule = {"prefix": "44", "starts": "20:00", "ends": "09:00", "reason": "ICO advice"}
    made = await engine.client.post("/api/v1/quiet-hours-rules", json=rule)
    assert (made.status_code, made.json()) == (200, rule)
    await engine.client.post("/api/v1/quiet-hours-rules", json=rule | {"ends": "10:00"})
    shown = (await engine.get("/api/v1/quiet-hours-rules"))["rules"]
    assert {one["prefix"]: one["ends"] for one in shown}["44"] == "10:00"
    assert (await engine.client.delete("/api/v1/quiet-hours-rules/44")).status_code == 204
    assert (await engine.client.delete("/api/v1/quiet-hours-rules/44")).status_code == 404
    trail = "SELECT action, after ->> 'ends' FROM audit_log WHERE subject = 'quiet_hours_rule:44' ORDER BY id"
    assert await engine.rows(trail) == [
        ("quiet_hours_rule.created", "09:00"),
        ("quiet_hours_rule.changed", "10:00"),
        ("quiet_hours_rule.deleted", None),
    ]


@pytest.mark.parametrize(
    ("field", "changes"),
    [("prefix", {"prefix": "+44"}), ("prefix", {"prefix": "0"}), ("reason", {"reason": " "})],
)
async def test_a_wrong_rule_of_quiet_hours_is_refused_with_its_field(
    engine: Engine, field: str, changes: dict[str, Any]
) -> None:
    rule = {"prefix": "44", "starts": "20:00", "ends": "09:00", "reason": "ICO advice"} | changes
    answer = await engine.client.post("/api/v1/quiet-hours-rules", json=rule)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
