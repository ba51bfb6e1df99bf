"""The feed's filters and the story of a message, as programs ask for them."""

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.audience import people
from event_stream_engine.audience.people import ConsentGiven
from event_stream_engine.audience.references import make_reference
from event_stream_engine.audit.entries import Actor, Entry, name_person, record
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.ingest.callbacks import make_event
from event_stream_engine.messaging import outcomes
from event_stream_engine.monitoring import feed_events
from event_stream_engine.monitoring.feed_kinds import KINDS
from event_stream_engine.stream.log import Event, append_events, append_own_events
from tests.engine import ACCOUNT_SID, LIVE, Engine, project_all
from tests.web.test_api import add_campaign

FEED = "/api/v1/monitoring/events"
PHONE, OTHER = "+14155551234", "+447776105348"


async def log_receipts(engine: Engine, *forms: dict[str, str], at: datetime | None = None) -> None:
    now = at or datetime.now(UTC)
    async with await connect(engine.url, "test") as conn:
        for place, form in enumerate(forms):
            complete = {"AccountSid": ACCOUNT_SID, "To": PHONE, "From": "+14155238886"} | form
            event = make_event("receipt", complete, now + timedelta(milliseconds=place), ACCOUNT_SID)
            await append_events(conn, [event], source=uuid4(), counted_at=now)
    await project_all(engine.url)


async def log_own(engine: Engine, *events: Event) -> None:
    async with await connect(engine.url, "test") as conn:
        for event in events:
            async with transaction(conn):
                await append_own_events(conn, [event])
    await project_all(engine.url)


async def list_kinds(engine: Engine, **parameters: str) -> list[str]:
    return [event["event_type"] for event in (await engine.get(FEED, **parameters))["live_events"]]


async def queue_message(engine: Engine, campaign_id: UUID, phone: str = PHONE) -> UUID:
    message_id = uuid4()
    async with await connect(engine.url, "test") as conn:
        await conn.execute(
            "INSERT INTO messages (id, campaign_id, recipient_phone, channel, sender, queued_at)"
            " VALUES (%s, %s, %s, 'sms', '+14155238886', now())",
            (message_id, campaign_id, phone),
        )
    return message_id


def sids(count: int) -> Iterable[str]:
    return (f"SM{number:032x}" for number in range(1, count + 1))


async def test_each_filter_narrows_and_all_hold_at_once(engine: Engine) -> None:
    campaign_id = await add_campaign(engine, "Spring", "running", started=timedelta(hours=1))
    message_id = await queue_message(engine, campaign_id)
    one, two, three = sids(3)
    await log_own(engine, outcomes.accepted(message_id, datetime.now(UTC), one, "queued"))
    failed = {"MessageStatus": "failed", "ErrorCode": "30003"}
    await log_receipts(
        engine,
        {"MessageSid": one, "MessageStatus": "sent", "EseMessageId": str(message_id)},
        {"MessageSid": one, **failed},
        {"MessageSid": two, **failed, "To": OTHER},
        {"MessageSid": three, "MessageStatus": "undelivered", "ErrorCode": "30006", "To": OTHER},
    )
    assert await list_kinds(engine, campaign_id=str(campaign_id)) == ["message_failed", "message_sent"]
    assert await list_kinds(engine, error_code="30003") == ["message_failed"] * 2
    assert await list_kinds(engine, kind="message_sent,message_undelivered") == [
        "message_undelivered",
        "message_sent",
    ]
    by_number = await list_kinds(engine, person=OTHER)
    assert by_number == ["message_undelivered", "message_failed"]
    reference = make_reference(LIVE.secret_key, OTHER)
    assert await list_kinds(engine, person=reference) == by_number
    assert await list_kinds(engine, person=reference, error_code="30006") == ["message_undelivered"]
    assert await list_kinds(engine, person=reference, error_code="21211") == []
    forward = await list_kinds(engine, after="0-0", error_code="30003", person=OTHER)
    assert forward == ["message_failed"]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"kind": "message_lost"}, "kind"),
        ({"kind": "message_sent,"}, "kind"),
        ({"campaign_id": "spring"}, "campaign_id"),
        ({"error_code": "many"}, "error_code"),
        ({"error_code": "0"}, "error_code"),
        ({"person": "5551234"}, "person"),
        ({"person": "x" * 42}, "person"),
        ({"campain": str(uuid4())}, "campain"),
    ],
)
async def test_a_filter_that_is_none_is_refused_and_named(
    engine: Engine, parameters: dict[str, str], field: str
) -> None:
    for path in (FEED, f"{FEED}/stream"):
        answer = await engine.client.get(path, params=parameters)
        assert (answer.status_code, answer.json()["field"]) == (422, field), path


async def test_before_and_after_lead_through_the_whole_log(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one question finds nothing, because it looks through a part of the log only."""
    monkeypatch.setattr(feed_events, "PAGE", 2)
    monkeypatch.setattr(feed_events, "MOST_SEARCHED", 4)
    names = list(sids(11))
    await log_receipts(
        engine,
        *(
            {"MessageSid": sid, "MessageStatus": "delivered" if place % 5 else "read"}
            for place, sid in enumerate(names)
        ),
    )
    back: list[str] = []
    place: str | None = None
    for _ in range(10):
        answer = await engine.get(
            FEED, kind="message_read", limit="1", **({"before": place} if place else {})
        )
        back += [event["id"] for event in answer["live_events"]]
        place = answer["before"]
        if place is None:
            break
    assert place is None
    forward: list[str] = []
    after = "0-0"
    for _ in range(10):
        answer = await engine.get(FEED, kind="message_read", limit="1", after=after)
        forward += [event["id"] for event in answer["live_events"]]
        after = answer["after"]
    assert len(back) == 3
    assert forward == back[::-1]
    both = await engine.client.get(FEED, params={"after": after, "before": after})
    assert both.status_code == 422


async def test_each_kind_of_the_vocabulary_appears_under_its_name(engine: Engine) -> None:
    campaign_id = await add_campaign(engine, "Spring", "running", started=timedelta(hours=1))
    now = datetime.now(UTC)
    statuses = [kind.name for kind in KINDS if kind.sources[0].startswith("receipt.received")]
    await log_receipts(
        engine,
        *(
            {"MessageSid": sid, "MessageStatus": status}
            for sid, status in zip(sids(len(statuses)), statuses, strict=True)
        ),
    )
    skipped, unsure = await queue_message(engine, campaign_id), await queue_message(engine, campaign_id)
    campaign = json.dumps({"CampaignId": str(campaign_id), "CampaignName": "Spring", "Recipients": 3})
    alert = json.dumps({"AlertId": "ALT007", "Severity": "critical", "Message": "No web process"})
    changes = [
        [[2, "UNKNOWN", "OPT_IN"]],
        [[1, "OPT_IN", "STOP"]],
        [[2, "UNKNOWN", "OPT_IN"], [1, "OPT_IN", "OPT_OUT"]],
        [],
    ]
    consents = [
        json.dumps(
            {
                "users": [],
                "consent": [[n, now.isoformat(), before, after, "import"] for n, before, after in some],
            }
        )
        for some in changes
    ]
    await log_own(
        engine,
        outcomes.skipped(skipped, now, "consent_stop"),
        outcomes.unsure(unsure, now),
        *(
            Event(now, kind.sources[0], uuid4(), campaign if kind.slug.startswith("campaign") else alert)
            for kind in KINDS
            if kind.sources[0].startswith(("campaign.", "alert."))
        ),
        *(Event(now, "audience.changed", uuid4(), payload) for payload in consents),
    )
    for place, body in enumerate(("START", "STOP", "START", "Hello")):  # the first START opens nothing
        form = {
            "AccountSid": ACCOUNT_SID,
            "MessageSid": f"SMi{place}",
            "From": OTHER,
            "To": "+1",
            "Body": body,
        }
        await engine.post_webhook("/webhooks/inbound", form)
        async with asyncio.timeout(10):
            while not await engine.project():
                await asyncio.sleep(0.02)
    shown = (await engine.get(FEED, limit="500"))["live_events"][::-1]
    assert {event["event_type"] for event in shown} == {kind.slug for kind in KINDS}
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for event in shown:
        by_kind.setdefault(event["event_type"], []).append(event)
    assert by_kind["message_skipped"][0]["detail"] == "Said STOP"
    assert [event["people"] for event in by_kind["consent_started"]] == [2, 1]
    assert [event["people"] for event in by_kind["consent_stopped"]] == [1, 1]
    assert [event["people"] for event in by_kind["consent_changed"]] == [3]
    assert by_kind["consent_started"][1]["detail"] == "“START”"
    assert by_kind["consent_started"][0]["detail"] == "2 people by an import"
    assert [event["message_body"] for event in by_kind["inbound_message"]] == ["START", "Hello"]
    fired = by_kind["alert_fired"][0]
    assert (fired["detail"], fired["page"]) == ("critical: No web process", "/alerts/ALT007")
    assert by_kind["campaign_paused"][0]["campaign_id"] == str(campaign_id)


async def test_what_a_webhook_carries_cannot_pass_for_ours(engine: Engine) -> None:
    sid = next(iter(sids(1)))
    forged = {
        "CampaignId": "x",
        "CampaignName": "Forged",
        "Recipients": "many",
        "consent": "no",
        "MessageId": "x",
    }
    await log_receipts(engine, {"MessageSid": sid, "MessageStatus": "sent", **forged})
    (event,) = (await engine.get(FEED))["live_events"]
    assert (event["event_type"], event["campaign_name"]) == ("message_sent", None)


async def tell_a_story(engine: Engine) -> tuple[UUID, str]:
    """Let a message of a campaign be put off, handed over, delivered and answered with STOP."""
    campaign_id = await add_campaign(engine, "Spring", "running", started=timedelta(hours=1))
    sid = next(iter(sids(1)))
    actor, now = Actor("engine:sender"), datetime.now(UTC)
    async with await connect(engine.url, "test") as conn, transaction(conn):
        await people.create_person(
            conn,
            actor,
            LIVE.secret_key,
            now - timedelta(days=9),
            PHONE,
            source="api",
            given=ConsentGiven("OPT_IN", "form 7"),
        )
    message_id = await queue_message(engine, campaign_id)
    steps = [{"step": "consent", "outcome": "passed", "microseconds": 41}]
    async with await connect(engine.url, "test") as conn, transaction(conn):
        for action in ("compliance.deferred", "compliance.allowed"):
            entry = Entry(
                datetime.now(UTC), action, f"message:{message_id}", after={"steps": steps, "reason": None}
            )
            await record(conn, actor, entry)
    await log_own(
        engine,
        outcomes.unsure(message_id, datetime.now(UTC)),
        outcomes.accepted(message_id, datetime.now(UTC), sid, "queued"),
    )
    about = {"MessageSid": sid, "EseMessageId": str(message_id), "WaId": PHONE[1:]}
    await log_receipts(
        engine,
        *({"MessageStatus": status, **about} for status in ("sent", "delivered", "lost")),
    )
    form = {
        "AccountSid": ACCOUNT_SID,
        "MessageSid": "SMreply",
        "From": PHONE,
        "To": "+14155238886",
        "Body": "STOP",
    }
    await engine.post_webhook("/webhooks/inbound", form)
    async with asyncio.timeout(10):
        while not await engine.project():
            await asyncio.sleep(0.02)
    return message_id, sid


async def test_the_story_of_a_message_has_everything_in_order(engine: Engine) -> None:
    message_id, sid = await tell_a_story(engine)
    story = await engine.get(f"/api/v1/messages/{message_id}")
    assert [event["what"] for event in story["events"]] == [
        "consent.opt_in",
        "message.queued",
        "compliance.deferred",
        "compliance.allowed",
        "message.unsure",
        "message.accepted",
        "receipt.received",
        "receipt.received",
        "receipt.received",
        "reply.received",
        "consent.stop",
    ]
    assert story["events"][0]["seconds_since_previous"] is None
    assert all(event["seconds_since_previous"] >= 0 for event in story["events"][1:])
    receipts = [event for event in story["events"] if event["what"] == "receipt.received"]
    assert [receipt["parameters"]["MessageStatus"] for receipt in receipts] == ["sent", "delivered", "lost"]
    assert receipts[2]["dead_letter"] == "MessageStatus lost is not known"
    assert story["message"]["status"] == "DELIVERED"
    assert story["message"]["campaign_name"] == "Spring"
    assert story["is_cut"] is False
    assert await engine.get(f"/api/v1/messages/{sid}") == story


async def test_the_story_of_a_message_that_waits_says_until_when_and_why(engine: Engine) -> None:
    campaign_id = await add_campaign(engine, "Spring", "running", started=timedelta(hours=1))
    message_id = await queue_message(engine, campaign_id)
    async with await connect(engine.url, "test") as conn:
        await conn.execute(
            "INSERT INTO outbox (message_id, campaign_id, recipient_phone, due_at, defer_reason)"
            " VALUES (%s, %s, %s, '2031-05-01 08:00+00', 'quiet_hours')",
            (message_id, campaign_id, PHONE),
        )
    message = (await engine.get(f"/api/v1/messages/{message_id}"))["message"]
    assert (message["due_at"], message["defer_reason"]) == ("2031-05-01T08:00:00Z", "quiet_hours")
    page = await engine.client.get(f"/messages/{message_id}", headers={"accept": "text/html"})
    assert "1 May 2031 08:00: Quiet hours" in page.text


async def test_a_story_hides_numbers_and_each_look_behind_the_mask_is_on_record(engine: Engine) -> None:
    message_id, _ = await tell_a_story(engine)
    path = f"/api/v1/messages/{message_id}"
    hidden = await engine.client.get(path)
    assert "5551234" not in hidden.text
    assert hidden.json()["message"]["recipient"] == "+1 415 ••• ••34"
    assert hidden.json()["message"]["sender"] == "+14155238886"
    recorded = "SELECT count(*) FROM audit_log WHERE action = 'number.revealed' AND subject = %s"
    person = name_person(LIVE.secret_key, PHONE)
    assert await engine.rows(recorded, person) == [(0,)]
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, "viewer", Role.viewer, datetime.now(UTC))).key
    viewer = {"authorization": f"Bearer {key}"}
    assert (await engine.anonymous.get(path, params={"reveal": "true"}, headers=viewer)).status_code == 403
    assert await engine.rows(recorded, person) == [(0,)]
    shown = await engine.get(path, reveal="true")
    receipt = next(event for event in shown["events"] if event["what"] == "receipt.received")
    assert (receipt["parameters"]["To"], receipt["parameters"]["WaId"]) == (PHONE, PHONE[1:])
    assert await engine.rows(recorded, person) == [(1,)]
    page = await engine.client.get(f"/messages/{message_id}", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "5551234" not in page.text


async def test_a_message_that_is_not_there_is_said_to_be_not_there(engine: Engine) -> None:
    for name in (str(uuid4()), "SM" + "0" * 32, "%00x", "x" * 500):
        answer = await engine.client.get(f"/api/v1/messages/{name}")
        assert answer.status_code == 404, name
        assert "message" in answer.json()["detail"]


async def test_the_story_goes_by_an_index_on_each_day(engine: Engine) -> None:
    await log_receipts(engine, {"MessageSid": next(iter(sids(1))), "MessageStatus": "sent"})
    rows = await engine.rows(
        "SELECT count(*) FROM pg_inherits h JOIN pg_index i ON i.indrelid = h.inhrelid"
        " JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam"
        " WHERE h.inhparent = 'events'::regclass AND a.amname = 'hash'"
    )
    days = await engine.rows("SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass")
    assert rows == days


async def test_the_filter_bar_puts_a_persons_id_into_the_address_and_never_the_number(engine: Engine) -> None:
    form = {
        "period": "7d",
        "campaign_id": "",
        "kind": ["message_failed", "message_read"],
        "error_code": "",
        "number": "+1 (415) 555-1234",
    }
    answer = await engine.client.post("/monitoring/feed", data=form)
    assert answer.status_code == 303
    location = answer.headers["location"]
    assert "555" not in location
    reference = make_reference(LIVE.secret_key, PHONE)
    assert location == f"/monitoring?period=7d&kind=message_failed%2Cmessage_read&person={reference}#live"
    page = await engine.client.get(location, headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "5551234" not in page.text
    assert "+1 415 ••• ••34" in page.text
