"""Campaigns over the API, as a program uses them."""

from datetime import timedelta
from typing import Any

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock, format_instant
from event_stream_engine.messaging.deliveries import prepare_queueing
from event_stream_engine.worker.runner import run_once
from tests.engine import Engine
from tests.sending import SENDER, add_campaign, add_people

CLOCK = SystemClock()
API = "/api/v1/campaigns"


async def make_sources(engine: Engine) -> dict[str, Any]:
    """Make people, a segment and a template, and return the body of a campaign of them."""
    async with await connect(engine.url, "test") as conn:
        await add_people(conn, 3, CLOCK.now())
        await add_campaign(conn, CLOCK.now(), name="Older")
    (segment, template) = (await engine.rows("SELECT segment_id::text, template_id::text FROM campaigns"))[0]
    return {"name": "Newer", "segment_id": segment, "template_id": template, "sender": SENDER}


async def test_campaign_is_made_changed_started_paused_and_cancelled(engine: Engine) -> None:
    body = await make_sources(engine)
    answer = await engine.client.post(API, json=body)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["state"], made["quiet_starts"], made["quiet_ends"]) == ("draft", "21:00", "08:00")
    path = f"{API}/{made['id']}"
    changed = await engine.client.put(path, json=body | {"rate_per_second": 5, "quiet_starts": "20:00"})
    assert (changed.json()["rate_per_second"], changed.json()["quiet_starts"]) == (5, "20:00")
    states = []
    for what in ("start", "start", "pause", "resume", "cancel"):
        answer = await engine.client.post(f"{path}/{what}")
        assert answer.status_code == 200, answer.text
        states.append(answer.json()["state"])
    assert states == ["running", "running", "paused", "running", "cancelled"]
    refused = await engine.client.post(f"{path}/resume")
    assert refused.status_code == 409
    assert "it has ended" in refused.json()["detail"]
    actors = await engine.rows(
        "SELECT DISTINCT actor FROM audit_log WHERE subject = %s", f"campaign:{made['id']}"
    )
    assert len(actors) == 1
    assert actors[0][0].startswith("key:")


async def test_scheduled_campaign_names_a_moment_to_come(engine: Engine) -> None:
    made = (await engine.client.post(API, json=await make_sources(engine))).json()
    at = format_instant(CLOCK.now() + timedelta(hours=1))
    answer = await engine.client.post(f"{API}/{made['id']}/schedule", json={"at": at})
    assert (answer.json()["state"], answer.json()["scheduled_at"]) == ("scheduled", at)
    past = await engine.client.post(f"{API}/{made['id']}/schedule", json={"at": "2020-01-01T00:00:00Z"})
    assert (past.status_code, past.json()["field"]) == (422, "at")


async def test_progress_counts_every_recipient_once(engine: Engine) -> None:
    made = (await engine.client.post(API, json=await make_sources(engine))).json()
    await engine.client.post(f"{API}/{made['id']}/start")
    async with await connect(engine.url, "test") as conn:
        await prepare_queueing(conn)
        while await run_once(conn, CLOCK):
            pass
    progress = (await engine.get(f"{API}/{made['id']}"))["progress"]
    assert (progress["recipients"], progress["is_filled"], progress["by_status"]) == (3, True, {"PENDING": 3})
    assert (progress["waiting"], progress["deferred"], progress["eta"]) == (3, {}, None)


async def test_list_goes_on_where_it_ended(engine: Engine) -> None:
    await engine.client.post(API, json=await make_sources(engine))
    first = await engine.get(API, limit="1")
    second = await engine.get(API, limit="1", cursor=first["next_cursor"])
    assert [page["items"][0]["name"] for page in (first, second)] == ["Newer", "Older"]
    assert second["next_cursor"] is None
    assert (await engine.get(API, state="running"))["items"] == []


async def test_fault_names_its_field(engine: Engine) -> None:
    body = await make_sources(engine)
    for change, field in (
        ({"sender": "Acme"}, "sender"),
        ({"rate_per_second": 0}, "rate_per_second"),
        ({"segment_id": body["template_id"]}, "segment_id"),
        ({"name": " "}, "name"),
        ({"colour": "red"}, "colour"),
    ):
        answer = await engine.client.post(API, json=body | change)
        assert answer.status_code == 422, answer.text
        assert answer.json()["field"] == field


async def test_preview_shows_reach_and_a_message(engine: Engine) -> None:
    made = (await engine.client.post(API, json=await make_sources(engine))).json()
    answer = await engine.client.post(f"{API}/{made['id']}/preview")
    assert answer.status_code == 200, answer.text
    assert answer.json()["people"] == 3
    assert answer.json()["message"]["text"].startswith("Hello Person ")
