"""Recommendations over HTTP: what they say, who may decide, the rows behind, and what is never told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.insights.look import Look
from event_stream_engine.worker.adviser import advise_once
from tests.engine import BASE, Engine
from tests.sending import add_people
from tests.sent_history import Sent, add_sent, add_started, count_all
from tests.web.test_room_pages import load_page

API = "/api/v1/insights"
NUMBER = "+14152000003"


async def advise(engine: Engine) -> None:
    """Let five numbers have failed for good and 40 messages have met a registration that is missing, and look."""
    now = datetime.now(UTC)
    async with await connect(engine.url, "test") as conn:
        await add_people(conn, 2000, now - timedelta(days=50))
        campaign_id = await add_started(conn, now - timedelta(days=5), name="Spring")
        await add_sent(
            conn,
            Sent(now - timedelta(days=5), 5, campaign_id, first=0, arrive_percent=0, code=21614),
            Sent(now - timedelta(days=5), 400, campaign_id, first=100, arrive_percent=90, code=30034),
        )
        await count_all(engine.url, now)
        await advise_once(conn, Look(now, engine.settings.timezone, engine.settings.secret_key))


async def list_open(engine: Engine) -> dict[str, dict[str, Any]]:
    answer = await engine.get(f"{API}/recommendations", state="open")
    return {one["kind"]: one for one in answer["recommendations"]}


async def post(engine: Engine, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    return await engine.client.post(f"{API}/recommendations/{path}", json=body)


async def test_recommendations_are_told_with_grounds_and_what_was_looked_at(engine: Engine) -> None:
    empty = await engine.get(f"{API}/recommendations")
    assert (empty["recommendations"], empty["looks"]) == ([], [])
    await advise(engine)
    answer = await engine.get(f"{API}/recommendations")
    gains = [one["expected_gain_messages"] for one in answer["recommendations"]]
    assert gains == [40, 5], "those that promise most first"
    registration = (await list_open(engine))["registration"]
    assert (registration["sample_size"], registration["effect"], registration["corrected_p"]) == (
        405,
        9.88,
        None,
    )
    assert registration["action"] is None
    looks = {one["slug"]: one for one in answer["looks"]}
    assert looks["registration"]["found"] == 1
    assert looks["registration"]["text"].startswith("1 found: refusals by country")
    assert looks["send_rate"]["text"].startswith("No campaign")
    whole = await engine.get(f"{API}/recommendations/{registration['id']}")
    assert whole["evidence"] == [
        {"Sender": "+14155238886", "Messages that failed": 40, "Attempted there": 405, "Share, %": 9.88}
    ]
    assert (await engine.client.get(f"{API}/recommendations", params={"state": "lost"})).status_code == 422


async def test_taking_suppresses_and_is_said_once_and_taking_back_releases(engine: Engine) -> None:
    await advise(engine)
    advice = (await list_open(engine))["unreachable"]
    assert advice["action"] == {"name": "suppress_numbers", "label": "Suppress 5 numbers"}
    for _ in range(2):
        taken = await post(engine, f"{advice['id']}/take")
        assert taken.status_code == 200
        assert taken.json()["done"] == "5 numbers are not written to on sms until they write to us."
    assert await engine.rows("SELECT count(*) FROM suppressions WHERE reason = 'unreachable'") == [(5,)]
    assert (await engine.get(f"{API}/unreachable/sms"))["items"] == [], "nobody is left to suppress"
    assert (await post(engine, f"{advice['id']}/dismiss", {"reason": "no"})).status_code == 409
    opened = await post(engine, f"{advice['id']}/reopen")
    assert opened.json()["state"] == "open"
    assert await engine.rows("SELECT count(*) FROM suppressions") == [(0,)]


async def test_a_dismissal_needs_a_reason_and_is_listed_with_it(engine: Engine) -> None:
    await advise(engine)
    advice = (await list_open(engine))["registration"]
    refused = await post(engine, f"{advice['id']}/dismiss", {"reason": " "})
    assert (refused.status_code, refused.json()["field"]) == (422, "reason")
    await post(engine, f"{advice['id']}/dismiss", {"reason": "In progress"})
    (dismissed,) = (await engine.get(f"{API}/recommendations", state="dismissed"))["recommendations"]
    assert (dismissed["reason"], dismissed["state"]) == ("In progress", "dismissed")
    assert (await post(engine, "00000000-0000-0000-0000-000000000000/take")).status_code == 404


async def test_a_viewer_reads_and_does_not_decide(engine: Engine) -> None:
    await advise(engine)
    advice = (await list_open(engine))["unreachable"]
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, "reader", Role.viewer, datetime.now(UTC))).key
    reader = {"authorization": f"Bearer {key}"}
    assert (await engine.anonymous.get(f"{API}/recommendations", headers=reader)).status_code == 200
    for action in ("take", "dismiss", "reopen"):
        path = f"{BASE}{API}/recommendations/{advice['id']}/{action}"
        answer = await engine.anonymous.post(path, headers=reader, json={"reason": "x"})
        assert answer.status_code == 403, action
    page = await engine.anonymous.get(f"/insights/recommendations/{advice['id']}", headers=reader)
    assert page.status_code == 200
    assert "Suppress 5 numbers</button>" not in page.text


async def test_no_number_of_a_person_is_stored_or_told(engine: Engine) -> None:
    await advise(engine)
    advice = await list_open(engine)
    stored = await engine.rows("SELECT content::text FROM recommendations")
    people = await engine.get(f"{API}/unreachable/sms", limit="2")
    failures = await engine.get(f"{API}/failures", code="21614")
    for text in (str(stored), str(advice), str(people), str(failures)):
        assert NUMBER not in text
        assert NUMBER[1:] not in text
    assert len(people["items"]) == 2
    assert {one["phone"] for one in people["items"]} <= {f"+1 415 ••• ••0{n}" for n in range(5)}


async def test_the_messages_behind_come_by_pages_and_filters(engine: Engine) -> None:
    await advise(engine)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await engine.get(f"{API}/failures", code="30034", country="US", limit="15", **cursor)
        seen += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert (len(seen), len(set(seen))) == (40, 40)
    assert (await engine.get(f"{API}/failures", code="30034", country="DE"))["items"] == []
    assert len((await engine.get(f"{API}/failures"))["items"]) == 45
    assert (await engine.client.get(f"{API}/failures", params={"code": "-1"})).status_code == 422


async def test_pages_show_the_same_and_note_who_saw_it_first(engine: Engine) -> None:
    before = await load_page(engine, "/insights")
    assert "Nobody has looked yet" in before.text
    await advise(engine)
    advice = (await list_open(engine))["registration"]
    assert advice["title"] in (await load_page(engine, "/insights")).text
    for state in ("taken", "dismissed", "gone"):
        assert advice["title"] not in (await load_page(engine, f"/insights?state={state}")).text
    shown = await load_page(engine, f"/insights/recommendations/{advice['id']}")
    assert "9.88" in shown.text
    assert (await list_open(engine))["registration"]["seen_by"].startswith("key:")
    for address in ("/insights/failures?code=30034", "/insights/unreachable/sms"):
        assert "•••" in (await load_page(engine, address)).text
