"""Channels, routes and history over the API and on the page: who may do what, and that no address leaks."""

import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.notifications import outbox
from tests.db.test_outbox_of_notices import make_notice
from tests.engine import BASE, Engine, make_settings, running_engine
from tests.receivers import deliver_all, running_receiver
from tests.web.test_room_pages import load_page

PAGE = "/settings/notifications"
SECRET = "T0KEN-that-nobody-sees"


@pytest.fixture
async def engine(database_url: str, tmp_path: Path) -> Any:
    settings = make_settings(tmp_path, PRIVATE_TARGETS="127.0.0.0/8")
    async with running_engine(database_url, settings, SystemClock()) as running:
        yield running


async def send(engine: Engine, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = await engine.client.request(method, f"/api/v1/notifications{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def add(engine: Engine, name: str, port: int = 9) -> str:
    target = f"json://user:{SECRET}@127.0.0.1:{port}/hooks/{SECRET}"
    made = await send(engine, "POST", "/channels", {"name": name, "target": target}, 201)
    return str(made["id"])


async def test_address_is_shown_nowhere_but_its_host(
    engine: Engine, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        channel = await add(engine, "Pager", free_port)
        await send(engine, "PUT", f"/channels/{channel}", {"name": "Pager 2"})
        await send(engine, "POST", f"/channels/{channel}/test", status=202)
        await deliver_all(engine.url, engine.settings, SystemClock())
    (shown,) = (await send(engine, "GET", "/channels"))["items"]
    assert shown["target"] == f"json://127.0.0.1:{free_port}"
    assert shown["last_attempt"]["result"] == "postponed"
    page = await engine.client.get(PAGE)
    audit = await engine.rows("SELECT action, before::text || ' ' || after::text FROM audit_log ORDER BY id")
    rows = await engine.rows(
        "SELECT c::text FROM notification_channels c UNION ALL SELECT a::text FROM notice_attempts a"
    )
    assert SECRET not in page.text + str(shown) + caplog.text + str(audit) + str(rows)
    actions = [action for action, _ in audit if action.startswith("notification")]
    assert actions == [f"notification_channel.{what}" for what in ("created", "changed", "tested")]


@pytest.mark.parametrize("role", [Role.viewer, Role.operator])
async def test_only_an_admin_changes_channels_and_routes(engine: Engine, role: Role) -> None:
    channel = await add(engine, "Pager")
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, "reader", role, SystemClock().now())).key
    changes = [
        ("POST", "/channels", {"name": "x", "target": "y"}),
        ("PUT", f"/channels/{channel}", {"name": "x"}),
        ("DELETE", f"/channels/{channel}", None),
        ("POST", f"/channels/{channel}/test", None),
        ("PUT", "/routes", {"routes": []}),
        ("POST", "/routes", {"channel_id": channel}),
        ("PUT", f"/routes/{uuid4()}", {"channel_id": channel}),
        ("DELETE", f"/routes/{uuid4()}", None),
        ("POST", "/deliveries/1/retry", None),
    ]
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        transport=engine.client._transport, base_url=BASE, headers=headers
    ) as reader:
        for method, path, body in changes:
            answer = await reader.request(method, f"/api/v1/notifications{path}", json=body)
            assert answer.status_code == 403, (method, path)
        for path in ("/channels", "/routes", "/deliveries", "/deliveries/1/attempts"):
            assert (await reader.get(f"/api/v1/notifications{path}")).status_code == 200
        page = await reader.get(PAGE, headers={"accept": "text/html"})
    assert "Pager" in page.text
    assert "New channel" not in page.text


async def test_what_happened_is_on_page_and_api_and_can_be_tried_again(
    engine: Engine, free_port: int
) -> None:
    async with running_receiver(free_port, status=403, reply="<b>not you</b>") as receiver:
        channel = await add(engine, "Pager", free_port)
        async with await connect(engine.url, "test") as conn, transaction(conn):
            await outbox.queue(conn, [make_notice(title="<i>Low</i>", at=SystemClock().now())])
        await deliver_all(engine.url, engine.settings, SystemClock())
        page = await load_page(engine, f"{PAGE}?state=failed&channel_id={channel}")
        assert "&lt;i&gt;Low&lt;/i&gt;" in page.text
        assert "HTTP 403 Forbidden: &lt;b&gt;not you&lt;/b&gt;" in page.text
        assert "Try again now" in page.text
        assert "failing since" in page.text
        (line,) = (await send(engine, "GET", "/deliveries?state=failed"))["items"]
        receiver.status = 200
        await send(engine, "POST", f"/deliveries/{line['id']}/retry", status=202)
        await deliver_all(engine.url, engine.settings, SystemClock())
        attempts = (await send(engine, "GET", f"/deliveries/{line['id']}/attempts"))["items"]
        assert [one["result"] for one in attempts] == ["refused", "delivered"]
        await send(engine, "POST", f"/deliveries/{line['id']}/retry", status=409)
        assert "works" in (await load_page(engine, PAGE)).text


async def test_history_pages(engine: Engine) -> None:
    await add(engine, "Pager")
    async with await connect(engine.url, "test") as conn, transaction(conn):
        await outbox.queue(conn, [make_notice(title=str(number)) for number in range(55)])
    titles: list[str] = []
    cursor = ""
    while cursor is not None:
        answer = await send(engine, "GET", f"/deliveries?limit=20{cursor and f'&cursor={cursor}'}")
        titles += [item["title"] for item in answer["items"]]
        cursor = answer["next_cursor"]
    assert len(titles) == len(set(titles)) == 55
    page = await load_page(engine, PAGE)
    assert "Next page" in page.text


async def test_routes_are_made_moved_and_removed(engine: Engine) -> None:
    pager, mail = await add(engine, "Pager"), await add(engine, "Mail")
    first = await send(engine, "POST", "/routes", {"channel_id": mail}, 201)
    matcher = {"label": "host", "value": "web-.*", "is_regex": True}
    second = await send(
        engine,
        "POST",
        "/routes",
        {
            "channel_id": pager,
            "fallback_id": mail,
            "severities": ["critical"],
            "matchers": [matcher],
            "position": 1,
        },
        201,
    )
    listed = (await send(engine, "GET", "/routes"))["routes"]
    assert [route["id"] for route in listed] == [second["id"], first["id"]]
    assert listed[0]["matchers"] == [matcher]
    page = await load_page(engine, PAGE)
    assert "1. critical" in page.text
    await send(engine, "DELETE", f"/channels/{pager}", status=409)
    await send(engine, "PUT", f"/routes/{first['id']}", {"channel_id": mail, "position": 1})
    listed = (await send(engine, "GET", "/routes"))["routes"]
    assert [route["id"] for route in listed] == [first["id"], second["id"]]
    await send(engine, "PUT", "/routes", {"routes": listed_without_ids(listed[::-1])})
    for route in (await send(engine, "GET", "/routes"))["routes"]:
        await send(engine, "DELETE", f"/routes/{route['id']}", status=204)
    await send(engine, "DELETE", f"/channels/{pager}", status=204)
    assert [item["name"] for item in (await send(engine, "GET", "/channels"))["items"]] == ["Mail"]


def listed_without_ids(routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in route.items() if name != "id"} for route in routes]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"severities": ["loud"]}, "severities"),
        ({"kinds": ["alert.born"]}, "kinds"),
        ({"channel_id": str(uuid4())}, "channel_id"),
        ({"fallback_id": str(uuid4())}, "fallback_id"),
        ({"fallback_after_seconds": -1}, "fallback_after_seconds"),
        ({"group_wait_seconds": 3601}, "group_wait_seconds"),
        ({"matchers": [{"label": "host", "value": "(", "is_regex": True}]}, "matchers"),
        ({"matchers": [{"label": "host", "value": "(a)\\1", "is_regex": True}]}, "matchers"),
        ({"matchers": [{"label": "", "value": "x"}]}, "matchers"),
    ],
)
async def test_route_that_cannot_be_is_refused_by_the_name_of_its_field(
    engine: Engine, change: dict[str, Any], field: str
) -> None:
    route = {"channel_id": await add(engine, "Pager")} | change
    one = await engine.client.post("/api/v1/notifications/routes", json=route)
    assert one.status_code == 422
    assert one.json()["field"] == field
    all_of_them = await engine.client.put("/api/v1/notifications/routes", json={"routes": [route]})
    assert all_of_them.json()["field"] == f"routes.0.{field}"


async def test_name_is_taken_once_and_free_again_after_removal(engine: Engine) -> None:
    channel = await add(engine, "Pager")
    twice = await engine.client.post(
        "/api/v1/notifications/channels", json={"name": "pager", "target": "json://127.0.0.1/x"}
    )
    assert (twice.status_code, twice.json()["field"]) == (422, "name")
    await send(engine, "DELETE", f"/channels/{channel}", status=204)
    await send(engine, "DELETE", f"/channels/{channel}", status=404)
    await add(engine, "Pager")


async def test_channel_that_is_off_is_not_tested(engine: Engine) -> None:
    channel = await add(engine, "Pager")
    await send(engine, "PUT", f"/channels/{channel}", {"name": "Pager", "is_enabled": False})
    await send(engine, "POST", f"/channels/{channel}/test", status=409)
    await send(engine, "POST", f"/channels/{uuid4()}/test", status=404)


async def test_page_teaches_the_first_step(engine: Engine) -> None:
    page = await load_page(engine, PAGE)
    assert "Nobody is told yet" in page.text
    assert "New channel" in page.text
