"""The live feed: what is shown, in which order, and that a lost connection costs nothing."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest
import uvicorn

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, open_pool, transaction
from event_stream_engine.ingest.callbacks import make_event
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging import outcomes
from event_stream_engine.messaging.webhooks import sign_request
from event_stream_engine.monitoring import feed
from event_stream_engine.monitoring.feed import Feed
from event_stream_engine.monitoring.feed_events import (
    BEGINNING,
    EVERYTHING,
    FeedFilter,
    FeedPlace,
    parse_place,
)
from event_stream_engine.stream.log import Event, append_events, append_own_events
from event_stream_engine.web.api import feed as api_feed
from event_stream_engine.web.app import build_app
from event_stream_engine.web.feed_words import write_step
from event_stream_engine.worker.projector import run_projector
from tests.engine import ACCOUNT_SID, LIVE, TOKEN, Engine, make_settings, project_all

_numbers = itertools.count(1)


def make_form(**changes: str) -> dict[str, str]:
    """Make a receipt with a SID of its own."""
    form = {"AccountSid": ACCOUNT_SID, "MessageSid": f"SM{next(_numbers):032x}", "MessageStatus": "delivered"}
    return form | {"To": "+14155551234", "From": "+14155238886"} | changes


async def happen(url: str, *forms: dict[str, str], project: bool = True) -> None:
    """Let receipts come in, and unless told otherwise take effect."""
    now = datetime.now(UTC)
    async with await connect(url, "test") as conn:
        for form in forms:  # one commit each, so that the log has their order
            event = make_event("receipt", form, now, ACCOUNT_SID)
            await append_events(conn, [event], source=uuid4(), counted_at=now)
    if project:
        await project_all(url)


@asynccontextmanager
async def running_feed(url: str) -> AsyncIterator[Feed]:
    async with open_pool(url, "test", largest=4) as pool:
        running = Feed(pool, write_step)
        task = asyncio.create_task(running.run())
        yield running
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Viewer:
    """Reads a stream as a browser does: `places` are of events, `left_out` of what was counted, `place` of the last line."""

    def __init__(self, parts: AsyncGenerator[bytes, None]) -> None:
        self.parts = parts
        self.places: list[FeedPlace] = []
        self.left_out = 0
        self.place: FeedPlace | None = None

    async def take(self, count: int) -> list[FeedPlace]:
        """Read until so many events were told, shown or left out, and return the places of those shown."""
        until, began = len(self.places) + self.left_out + count, len(self.places)
        async with asyncio.timeout(10):
            while len(self.places) + self.left_out < until:
                self.read(await anext(self.parts))
        return self.places[began:]

    def read(self, part: bytes) -> None:
        for block in part.decode().strip().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n"))
            self.place = parse_place(lines["id"])
            if lines.get("event") == "feed":
                self.places.append(self.place)
            elif lines.get("event") == "sampled":
                self.left_out += json.loads(lines["data"])["left_out"]


@pytest.fixture
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "POLL_SECONDS", 0.01)


async def test_the_newest_come_first_and_after_an_id_the_next_come_in_order(engine: Engine) -> None:
    await happen(engine.url, *(make_form(MessageStatus=status) for status in ("sent", "failed", "delivered")))

    async def list_events(**parameters: str) -> list[dict[str, Any]]:
        return (await engine.get("/api/v1/monitoring/events", **parameters))["live_events"]  # type: ignore[no-any-return]

    newest = await list_events()
    assert [event["event_type"] for event in newest] == [
        "message_delivered",
        "message_failed",
        "message_sent",
    ]
    assert await list_events(limit="1") == newest[:1]
    assert await list_events(after=newest[2]["id"]) == [newest[1], newest[0]]
    assert await list_events(after=newest[2]["id"], limit="1") == [newest[1]]
    assert await list_events(after=newest[0]["id"]) == []


async def test_events_have_the_documents_keys_and_masked_numbers(engine: Engine) -> None:
    sid = make_form()["MessageSid"]
    await happen(engine.url, make_form(MessageSid=sid, MessageStatus="sent"), make_form(MessageSid=sid))
    await engine.post_webhook(
        "/webhooks/inbound",
        {"AccountSid": ACCOUNT_SID, "MessageSid": "SMa", "From": "+447776105348", "To": "+1", "Body": "Hi"},
    )
    async with asyncio.timeout(10):
        while not await engine.project():
            await asyncio.sleep(0.02)
    answer = await engine.client.get("/api/v1/monitoring/events")
    assert "5551234" not in answer.text
    assert "776105348" not in answer.text
    inbound, delivered, _ = answer.json()["live_events"]
    assert {
        name: inbound[name] for name in ("event_type", "from_phone", "message_body", "auto_response")
    } == {
        "event_type": "inbound_message",
        "from_phone": "+44 777 ••• ••48",
        "message_body": "Hi",
        "auto_response": False,
    }
    assert delivered["recipient"] == "+1 415 ••• ••34"
    assert delivered["delivery_time_seconds"] == 0.0
    assert datetime.fromisoformat(delivered["timestamp"]).tzinfo is not None


async def test_nothing_is_shown_before_it_is_projected(engine: Engine) -> None:
    await happen(engine.url, make_form(), project=False)
    assert await engine.get("/api/v1/monitoring/events") == {"live_events": [], "before": None}
    assert await engine.get("/api/v1/monitoring/events", after="0-0") == {"live_events": [], "after": "0-0"}
    await engine.project()
    assert len((await engine.get("/api/v1/monitoring/events"))["live_events"]) == 1


async def test_dead_letters_are_not_shown_and_hide_nothing(engine: Engine) -> None:
    known = make_form()
    await happen(engine.url, known, make_form())
    await happen(engine.url, *(make_form(AccountSid="AC" + "f" * 32) for _ in range(4)))
    await happen(engine.url, known | {"MessageStatus": "lost"})
    newest = (await engine.get("/api/v1/monitoring/events", limit="2"))["live_events"]
    assert [event["event_type"] for event in newest] == ["message_delivered"] * 2
    await happen(engine.url, make_form())
    (next_event,) = (await engine.get("/api/v1/monitoring/events", limit="2", after=newest[0]["id"]))[
        "live_events"
    ]
    assert next_event["id"] != newest[0]["id"]


async def test_campaigns_and_refusals_are_shown_with_the_campaigns_name_and_acceptances_are_not(
    engine: Engine,
) -> None:
    now, message_id, campaign_id, other_id = datetime.now(UTC), uuid4(), uuid4(), uuid4()
    async with await connect(engine.url, "test") as conn:
        await conn.execute("INSERT INTO segments VALUES (%s, 'all', '{}', now(), now())", (campaign_id,))
        await conn.execute(
            "INSERT INTO templates VALUES (%s, 'hi', 'sms', 'en', 'Hi', NULL, '{}', now(), now())",
            (campaign_id,),
        )
        await conn.execute(
            "INSERT INTO campaigns (id, name, segment_id, template_id, sender, rate_per_second, state, created_by,"
            " created_at, updated_at) VALUES (%(id)s, 'Flash sale', %(id)s, %(id)s, '+14155238886', 1, 'running', 'x', now(), now())",
            {"id": campaign_id},
        )
        for id_ in (message_id, other_id):
            await conn.execute(
                "INSERT INTO messages (id, campaign_id, recipient_phone, channel, sender, queued_at)"
                " VALUES (%s, %s, '+14155551234', 'sms', '+14155238886', %s)",
                (id_, campaign_id, now),
            )
        payload = {"CampaignId": str(campaign_id), "CampaignName": "Flash sale", "Recipients": 2500}
        started = Event(now, "campaign.started", uuid4(), json.dumps(payload))
        accepted = outcomes.accepted(other_id, now, "SM" + "a" * 32, "queued")
        for event in (started, outcomes.refused(message_id, now, 21211), accepted):
            async with transaction(conn):
                await append_own_events(conn, [event])
    await happen(engine.url, make_form(MessageSid="SM" + "a" * 32, EseMessageId=str(other_id)))
    shown = (await engine.get("/api/v1/monitoring/events"))["live_events"]
    assert [event["event_type"] for event in shown] == [
        "message_delivered",
        "message_failed",
        "campaign_started",
    ]
    assert [event["campaign_name"] for event in shown] == ["Flash sale"] * 3
    assert shown[2]["estimated_recipients"] == 2500
    assert (shown[1]["error_code"], shown[1]["recipient"]) == (21211, "+1 415 ••• ••34")
    after = await engine.get("/api/v1/monitoring/events", after="0-0")
    assert after["live_events"] == shown[::-1]


@pytest.mark.parametrize("after", ["x", "1", "1-2-3", "-1-2", "٣-1", "9" * 20 + "-1"])
async def test_an_id_that_is_none_is_refused(engine: Engine, after: str) -> None:
    for path in ("events", "events/stream"):
        answer = await engine.client.get(f"/api/v1/monitoring/{path}", params={"after": after})
        assert (answer.status_code, answer.json()["field"]) == (422, "after")


@pytest.mark.usefixtures("quick_polls")
async def test_a_viewer_without_a_place_sees_what_comes_from_now_on(database_url: str) -> None:
    await happen(database_url, make_form(), make_form(AccountSid="AC" + "f" * 32))
    async with running_feed(database_url) as running:
        viewer = Viewer(running.watch(None))
        coming = asyncio.ensure_future(viewer.take(1))
        async with asyncio.timeout(10):
            await running._placed.wait()
        await happen(database_url, make_form())
        (seen,) = await coming
        assert (await Viewer(running.watch(BEGINNING)).take(2))[1] == seen


@pytest.mark.usefixtures("quick_polls")
async def test_catching_up_takes_as_many_pages_as_it_needs(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is short also when something between its events is not shown."""
    monkeypatch.setattr(feed, "PAGE", 3)
    foreign = "AC" + "f" * 32
    for _ in range(3):
        await happen(database_url, make_form(), make_form(), make_form(AccountSid=foreign), make_form())
        await happen(database_url, *(make_form(AccountSid=foreign) for _ in range(5)))
    async with running_feed(database_url) as running:
        viewer = Viewer(running.watch(BEGINNING))
        seen = await viewer.take(9)
        await happen(database_url, *(make_form() for _ in range(7)))
        seen += await viewer.take(7)
    assert len(set(seen)) == 16
    assert all(one.is_behind(other) for one, other in itertools.pairwise(seen))


@pytest.mark.usefixtures("quick_polls")
async def test_what_the_reader_remembers_is_not_asked_for_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_feed(database_url) as running:
        staying = Viewer(running.watch(BEGINNING))
        await happen(database_url, make_form())
        await staying.take(1)
        await happen(database_url, *(make_form() for _ in range(5)))
        await staying.take(5)

        async def ask(*_: object) -> None:
            pytest.fail("the database was asked")

        monkeypatch.setattr(running, "_ask", ask)
        again = Viewer(running.watch(staying.places[1]))
        assert await again.take(4) == staying.places[2:]


@pytest.mark.usefixtures("quick_polls")
async def test_a_slow_viewer_is_cut_off_and_goes_on_where_it_was(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_WAITING", 2)
    async with running_feed(database_url) as running:
        quick, slow = Viewer(running.watch(BEGINNING)), Viewer(running.watch(BEGINNING))
        for turn in range(6):
            await happen(database_url, *(make_form() for _ in range(3)))
            await quick.take(3)
            if turn == 0:
                await slow.take(1)
        async with asyncio.timeout(10):
            async for part in slow.parts:
                slow.read(part)
        assert slow.places == quick.places[: len(slow.places)]
        assert len(slow.places) < len(quick.places)
        again = Viewer(running.watch(slow.places[-1]))
        assert slow.places + await again.take(len(quick.places) - len(slow.places)) == quick.places


@pytest.mark.usefixtures("quick_polls")
async def test_who_comes_while_the_last_one_leaves_is_served(database_url: str) -> None:
    async with running_feed(database_url) as running, await connect(database_url, "test") as holder:
        await happen(database_url, make_form())
        first = Viewer(running.watch(BEGINNING))
        await first.take(1)
        leaving = asyncio.ensure_future(anext(first.parts))
        await happen(database_url, make_form(), project=False)
        # What the read finds that nobody waits for any more.
        async with transaction(holder):
            await holder.execute("LOCK TABLE dead_letters IN ACCESS EXCLUSIVE MODE")
            await project_with_lock(database_url)
            async with asyncio.timeout(10):
                while not await is_somebody_waiting(database_url):
                    await asyncio.sleep(0.01)
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving
            coming = asyncio.ensure_future(anext(running.watch(None)))
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while not coming.done():
                await happen(database_url, make_form())
                await asyncio.wait({coming}, timeout=0.05)


@pytest.mark.usefixtures("quick_polls")
async def test_viewers_with_one_filter_get_the_same_bytes(database_url: str) -> None:
    failed = FeedFilter(kinds=frozenset({"message_failed"}))
    async with running_feed(database_url) as running:
        one, other, all_of_it = (running.watch(BEGINNING, wanted) for wanted in (failed, failed, EVERYTHING))
        firsts = [asyncio.ensure_future(anext(viewer)) for viewer in (one, other, all_of_it)]
        async with asyncio.timeout(10):
            await running._placed.wait()
        await happen(database_url, make_form(), make_form(MessageStatus="failed", ErrorCode="30003"))
        parts = await asyncio.gather(*firsts)
        assert parts[0] is parts[1]
        assert b"message_delivered" not in parts[0]
        assert parts[2].endswith(parts[0])


@pytest.mark.usefixtures("quick_polls")
async def test_where_a_filter_lets_nothing_through_the_place_moves_on(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reconnect must not read hours again, neither of those that were missed nor of those that came since."""
    monkeypatch.setattr(feed, "PAGE", 3)
    monkeypatch.setattr(feed, "KEEPALIVE_SECONDS", 0.05)
    await happen(database_url, *(make_form() for _ in range(7)))
    async with running_feed(database_url) as running:
        viewer = Viewer(running.watch(BEGINNING, FeedFilter(error_code=30003)))
        places = []
        async with asyncio.timeout(10):
            for _ in range(3):
                viewer.read(await anext(viewer.parts))
                places.append(viewer.place)
            await happen(database_url, make_form())
            while viewer.place == places[-1]:
                viewer.read(await anext(viewer.parts))
        assert len(set(places)) == 3
        await happen(database_url, make_form(MessageStatus="failed", ErrorCode="30003"))
        again = Viewer(running.watch(viewer.place, FeedFilter(error_code=30003)))
        assert len(await again.take(1)) == 1
        assert viewer.places == []


@pytest.mark.usefixtures("quick_polls")
async def test_shown_and_left_out_add_up_wherever_a_connection_breaks(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_AT_ONCE", 2)
    monkeypatch.setattr(feed, "MOST_CAUGHT_UP", 2)
    monkeypatch.setattr(feed, "READABLE_PER_SECOND", 0.0)
    await happen(database_url, *(make_form() for _ in range(10)))
    async with running_feed(database_url) as running:
        whole = Viewer(running.watch(BEGINNING, is_sampled=False))
        assert len(await whole.take(10)) == 10
        (part,) = [await anext(running.watch(BEGINNING))]
        blocks = part.decode().split("\n\n")
        assert len(blocks) == 4  # one that counts, two that show, and what follows the last blank line
        for broken_after in range(3):
            viewer = Viewer(running.watch(BEGINNING))
            if broken_after:
                viewer.read("\n\n".join(blocks[:broken_after]).encode())
                viewer.parts = running.watch(viewer.place)
            left = 10 - len(viewer.places) - viewer.left_out
            await viewer.take(left)
            assert len(viewer.places) + viewer.left_out == 10
            assert len(set(viewer.places)) == len(viewer.places)
            assert viewer.place == whole.places[-1]


@pytest.mark.usefixtures("quick_polls")
async def test_a_place_that_the_log_has_not_reached_is_served_from_now_on(database_url: str) -> None:
    """Another process may be a moment ahead, and a database that was restored begins anew."""
    await happen(database_url, make_form())
    async with running_feed(database_url) as running:
        viewer = Viewer(running.watch(FeedPlace("9" * 18, 1)))
        coming = asyncio.ensure_future(viewer.take(1))
        async with asyncio.timeout(10):
            while not coming.done():
                await happen(database_url, make_form())
                await asyncio.wait({coming}, timeout=0.05)


async def test_a_stream_ends_in_time_so_that_who_may_no_longer_look_is_out(
    database_url: str, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_feed, "LONGEST_STREAM_SECONDS", 0.0)
    await happen(database_url, make_form(), make_form())
    async with serving(database_url, tmp_path, free_port) as client, asyncio.timeout(10):
        assert len(await read_stream(client, "0-0", 1000)) == 2


async def project_with_lock(url: str) -> None:
    """Let the cursor pass what waits, as the projector would, while nobody may look at dead letters."""
    async with await connect(url, "test") as conn:
        await conn.execute(
            "UPDATE log_cursors SET (xid, id) = (SELECT xid, id FROM events ORDER BY xid DESC, id DESC LIMIT 1)"
            " WHERE reader = 'projector'"
        )


async def is_somebody_waiting(url: str) -> bool:
    async with await connect(url, "test") as conn:
        query = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'dead_letters'::regclass"
        return await (await conn.execute(query)).fetchone() is not None


@asynccontextmanager
async def serving(url: str, folder: Path, port: int) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the real application on a loopback port; the client sends a viewer's key."""
    app = build_app(make_settings(folder, PORT=str(port)), url, SystemClock())
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False))
    async with await connect(url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, "test", Role.viewer, datetime.now(UTC))).key
    running = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {key}"}
        ) as client:
            yield client
    finally:
        server.should_exit = True
        await running


async def read_stream(client: httpx.AsyncClient, place: str, most: int) -> list[tuple[str, dict[str, Any]]]:
    """Read events of the stream after a place and hang up."""
    found: list[tuple[str, dict[str, Any]]] = []
    path, headers = "/api/v1/monitoring/events/stream", {"last-event-id": place}
    async with client.stream("GET", path, headers=headers, params={"sample": "none"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        event_id = ""
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                event_id = value
            elif name == "data":
                found.append((event_id, json.loads(value)))
                if len(found) == most:
                    break
    return found


@pytest.mark.usefixtures("quick_polls")
async def test_a_viewer_that_reconnects_under_traffic_sees_each_event_once_in_order(
    database_url: str, tmp_path: Path, free_port: int
) -> None:
    shown, stopping = 120, asyncio.Event()

    async def send_all(client: httpx.AsyncClient) -> None:
        forms = [
            make_form(AccountSid=ACCOUNT_SID if number % 5 else "AC" + "f" * 32)
            for number in range(shown * 5 // 4)
        ]
        for form in forms:
            signature = sign_request(TOKEN, f"{client.base_url}/webhooks/status", form)
            headers = {
                "content-type": "application/x-www-form-urlencoded",
                "x-twilio-signature": signature,
            }
            taken = await client.post("/webhooks/status", content=urlencode(form), headers=headers)
            assert taken.status_code == 204

    async with serving(database_url, tmp_path, free_port) as client, asyncio.TaskGroup() as tasks:
        tasks.create_task(run_projector(database_url, LIVE, stopping))
        tasks.create_task(send_all(client))
        seen: list[tuple[str, dict[str, Any]]] = []
        async with asyncio.timeout(30):
            while left := shown - len(seen):
                seen += await read_stream(client, seen[-1][0] if seen else "0-0", min(left, 17))
        stopping.set()
    assert all(data["id"] == event_id for event_id, data in seen)
    assert not any("5551234" in json.dumps(data) for _, data in seen)
    async with await connect(database_url, "test") as conn:
        query = (
            "SELECT xid::text || '-' || id FROM events WHERE event_type = 'receipt.received' ORDER BY xid, id"
        )
        logged = [place for (place,) in await (await conn.execute(query)).fetchall()]
    assert [event_id for event_id, _ in seen] == logged
