"""An erased person is nowhere any more, the figures stay, and nobody brings them back."""

import asyncio
import io
from datetime import UTC, datetime

import pytest

from event_stream_engine.audience import consent, importing
from event_stream_engine.audience.erasure import list_erasures, make_pseudonym
from event_stream_engine.audience.importing import Import
from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns.erasure import erase_person
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.worker.eraser import finish, look_for_late
from event_stream_engine.worker.recount import recount
from tests.engine import ACCOUNT_SID, Engine

PHONE = "+4915112345678"
OTHER = "+14155550100"
NAME = "Wilhelmina"
US = "+14155550199"


async def write(engine: Engine, sid: str, body: str, sender: str = PHONE, **more: str) -> None:
    form = {
        "MessageSid": sid,
        "From": f"whatsapp:{sender}",
        "To": f"whatsapp:{US}",
        "Body": body,
        "AccountSid": ACCOUNT_SID,
    }
    answer = await engine.post_webhook(
        "/webhooks/inbound",
        form | {"ProfileName": NAME if sender == PHONE else "Someone", "WaId": sender[1:]} | more,
    )
    assert answer.status_code == 200


async def receive(engine: Engine, sid: str, status: str, to: str = PHONE, **more: str) -> None:
    form = {"MessageSid": sid, "MessageStatus": status, "To": to, "From": US, "AccountSid": ACCOUNT_SID}
    assert (await engine.post_webhook("/webhooks/status", form | more)).status_code == 204


async def find_traces(engine: Engine, *texts: str) -> dict[str, str]:
    """Return the tables with a row that holds any of the texts, with the row."""
    found = {}
    tables = await engine.rows(
        "SELECT quote_ident(c.relname) FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
    )
    for (table,) in tables:
        for text in texts:
            # A bytea shows as hexadecimal digits; what a file holds lies in one.
            query = f"SELECT t::text FROM {table} t WHERE t::text ILIKE %s OR t::text LIKE %s LIMIT 1"
            for (row,) in await engine.rows(query, f"%{text}%", f"%{text.encode().hex()}%"):
                found[table] = row
    return found


async def fill(engine: Engine) -> str:
    answer = await engine.client.post(
        "/api/v1/users",
        json={
            "phone_e164": PHONE,
            "attributes": {"name": NAME},
            "consent": {"state": "OPT_IN", "evidence": f"{NAME} signed"},
        },
    )
    await engine.client.post("/api/v1/users", json={"phone_e164": OTHER})
    await receive(engine, "SM1", "sent")
    await receive(engine, "SM1", "delivered", ChannelToAddress=f"+{PHONE[1:]}")
    await receive(engine, "SM2", "undelivered", ErrorCode="30003")
    for sid, body in {
        "IN1": f"I am {NAME}",
        "IN2": "Stop",
        "IN3": "yes",
        "IN4": "where is my order",
        "IN5": "HELP",
    }.items():
        await write(engine, sid, body)
    await write(engine, "IN6", f"hi, {NAME} said STOP", OptOutType="STOP")
    await write(engine, "IN7", f"call my friend at {PHONE}", sender=OTHER)
    await receive(engine, "SM3", "nonsense")  # a dead letter
    await engine.project()
    id: str = answer.json()["id"]
    return id


async def erase(engine: Engine) -> None:
    assert (await engine.client.delete(f"/api/v1/users/{PHONE}")).status_code == 204


async def finish_all(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        for one in await list_erasures(conn):
            await finish(conn, engine.settings.secret_key, one, SystemClock())


async def figures(engine: Engine) -> dict[str, object]:
    shown = {
        name: await engine.get(f"/api/v1/analytics/{name}")
        for name in ("delivery", "errors", "inbound", "consent")
    }
    return {
        "delivery": shown["delivery"]["performance_breakdown"],
        "errors": shown["errors"]["error_analysis"],
        "inbound": shown["inbound"]["inbound_analytics"],
        "trends": shown["consent"]["consent_analytics"]["consent_trends"],
    }


async def test_nothing_of_number_and_name_remains_in_any_table(engine: Engine) -> None:
    await fill(engine)
    assert {"users", "consent_ledger", "messages", "inbound_events"} <= (
        await find_traces(engine, PHONE[1:], NAME)
    ).keys()
    before = await figures(engine)
    await erase(engine)
    await engine.project()
    assert (
        not {"users", "consent_ledger", "messages", "outbox"} & (await find_traces(engine, PHONE[1:])).keys()
    )
    await finish_all(engine)
    await engine.project()
    assert await find_traces(engine, PHONE[1:], NAME) == {}
    assert await figures(engine) == before
    assert await engine.rows("SELECT users FROM user_rollups WHERE users <> 0") == [(1,)]
    async with await connect(engine.url, "test") as conn:
        assert await list_erasures(conn) == []
    [(after,)] = await engine.rows("SELECT after FROM audit_log WHERE action = 'user.erased'")
    [(replies,)] = await engine.rows("SELECT count(*) FROM messages WHERE in_reply_to IS NOT NULL")
    assert after == {
        "profiles": 1,
        "ledger_entries": 4,
        "messages": 2 + replies,
        "inbound_messages": 6,
        "outbox": replies,
    }


async def test_recount_of_the_scrubbed_log_finds_what_was_projected(engine: Engine) -> None:
    await fill(engine)
    await erase(engine)
    await finish_all(engine)
    await engine.project()
    assert await recount(engine.url, repair=False, on_progress=lambda _: None) == []
    assert await engine.rows("SELECT DISTINCT country FROM messages WHERE recipient_phone LIKE '+999%%'") == [
        ("DE",)
    ]


async def import_file(engine: Engine, conn: Connection) -> Import:
    actor = Actor("key:test")
    content = f"phone,name,consent\n{PHONE},{NAME},OPT_IN\n+49 151 1234 5678,{NAME},maybe\n{OTHER},Someone,\n"
    now = datetime.now(UTC)
    one = await importing.create_import(conn, actor, now, file_name="people.csv", file_format="csv")
    one = await importing.begin_local(conn, one.id, len(content), now)

    async def ignore(_: Import) -> None:
        return None

    key = engine.settings.secret_key
    return await importing.run_import(
        conn, one, io.BytesIO(content.encode()), secret_key=key, clock=SystemClock(), on_progress=ignore
    )


async def test_nothing_of_an_imported_person_remains_and_the_file_does_not_bring_them_back(
    engine: Engine,
) -> None:
    async with await connect(engine.url, "import") as conn:
        await import_file(engine, conn)
        assert {"users", "import_rejects"} <= (
            await find_traces(engine, PHONE[1:], NAME, "+49 151 1234")
        ).keys()
        await erase(engine)
        await finish_all(engine)
        assert await find_traces(engine, PHONE[1:], NAME, "+49 151 1234") == {}
        again = await import_file(engine, conn)
        assert (again.created, again.rejected) == (0, 2)
        assert await find_traces(engine, PHONE[1:]) == {}


async def test_import_that_meets_an_erasure_does_not_bring_the_person_back(engine: Engine) -> None:
    await fill(engine)
    async with await connect(engine.url, "test") as conn, await connect(engine.url, "import") as importing:
        async with transaction(conn):
            await erase_person(
                conn, Actor("engine:test"), engine.settings.secret_key, PHONE, datetime.now(UTC)
            )
            running = asyncio.create_task(import_file(engine, importing))
            await asyncio.sleep(0.3)
            assert not running.done()
        await running
    assert await engine.rows("SELECT phone_e164 FROM users") == [(OTHER,)]


async def test_erased_number_is_not_taken_back(engine: Engine) -> None:
    await fill(engine)
    await erase(engine)
    answer = await engine.client.post("/api/v1/users", json={"phone_e164": PHONE})
    assert answer.status_code == 409
    assert "erased" in answer.json()["detail"]
    assert (await engine.client.get(f"/api/v1/users/{PHONE}")).status_code == 404
    assert (await engine.client.delete(f"/api/v1/users/{PHONE}")).status_code == 404


async def test_what_waits_to_be_projected_at_the_erasure_does_not_bring_the_number_back(
    engine: Engine,
) -> None:
    await fill(engine)
    await write(engine, "IN8", "STOP")
    await receive(engine, "SM4", "delivered")
    await erase(engine)
    await engine.project()  # before the log is scrubbed
    assert "messages" in await find_traces(engine, PHONE[1:])
    await finish_all(engine)
    await engine.project()
    assert await find_traces(engine, PHONE[1:], NAME) == {}


async def test_late_callback_is_scrubbed_too(engine: Engine) -> None:
    await fill(engine)
    await erase(engine)
    await finish_all(engine)
    await receive(engine, "SM1", "read")
    await engine.project()
    assert (await find_traces(engine, PHONE[1:])).keys() == {
        "events",
        *await find_traces_of_partition(engine),
    }
    async with await connect(engine.url, "test") as conn:
        await look_for_late(conn, engine.settings.secret_key, datetime.now(UTC))
    await finish_all(engine)
    assert await find_traces(engine, PHONE[1:], NAME) == {}


async def find_traces_of_partition(engine: Engine) -> list[str]:
    return [f"events_{datetime.now(UTC):%Y%m%d}"]


async def test_erasure_skips_what_waits_and_disguises_what_is_being_handed_over(engine: Engine) -> None:
    await fill(engine)
    async with await connect(engine.url, "test") as conn:
        for number, claimed in ((1, None), (2, "00000000-0000-0000-0000-00000000000a")):
            id = f"00000000-0000-0000-0000-00000000000{number}"
            await conn.execute(
                "INSERT INTO messages (id, recipient_phone, channel, sender, queued_at) VALUES (%s, %s, 'sms', %s, now())",
                (id, PHONE, US),
            )
            await conn.execute(
                "INSERT INTO outbox (message_id, recipient_phone, due_at, body, claimed_by) VALUES (%s, %s, now(), %s, %s)",
                (id, PHONE, f"Hello {NAME}", claimed),
            )
    await erase(engine)
    await finish_all(engine)
    await engine.project()
    assert await engine.rows("SELECT message_id::text, body FROM outbox") == [
        ("00000000-0000-0000-0000-000000000002", None)
    ]
    assert await engine.rows(
        "SELECT skip_reason, id IN (SELECT message_id FROM outbox) FROM messages WHERE status = 'SKIPPED' AND in_reply_to IS NULL"
    ) == [("erased", False)]
    assert await find_traces(engine, PHONE[1:], NAME) == {}


async def test_erasure_waits_for_a_delivery_in_progress_and_holds_off_the_next(engine: Engine) -> None:
    await fill(engine)
    async with await connect(engine.url, "sender") as sender, await connect(engine.url, "test") as conn:
        await sender.execute("SELECT pg_advisory_lock_shared(person_lock(%s))", (PHONE,))
        erasing = asyncio.create_task(erase(engine))
        await asyncio.sleep(0.2)
        assert not erasing.done()
        await sender.execute("SELECT pg_advisory_unlock_shared(person_lock(%s))", (PHONE,))
        await erasing
        async with transaction(conn):
            await consent.hold_off_deliveries(conn, [PHONE])
            tried = await sender.execute("SELECT pg_try_advisory_lock_shared(person_lock(%s))", (PHONE,))
            assert await tried.fetchone() == (False,)


async def test_creating_waits_for_an_erasure_beside_it_and_is_refused(engine: Engine) -> None:
    await fill(engine)
    async with await connect(engine.url, "test") as conn:
        async with transaction(conn):
            await erase_person(
                conn, Actor("engine:test"), engine.settings.secret_key, PHONE, datetime.now(UTC)
            )
            creating = asyncio.create_task(engine.client.post("/api/v1/users", json={"phone_e164": PHONE}))
            await asyncio.sleep(0.2)
            assert not creating.done()
        assert (await creating).status_code == 409


@pytest.mark.parametrize("phone", ["+4915112345678", "+14155550100"])
def test_pseudonym_is_a_number_that_no_country_gives_out(phone: str) -> None:
    pseudonym = make_pseudonym("k" * 32, phone)
    assert len(pseudonym) == 16
    assert pseudonym.startswith("+999")
    assert pseudonym == make_pseudonym("k" * 32, phone) != make_pseudonym("l" * 32, phone)
