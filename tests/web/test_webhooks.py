"""The provider's webhooks at the door: what is taken, what is refused, and that everything is counted."""

import asyncio
import hashlib
import json
import random
import string
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.ingest import intake
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging.webhooks import parse_form, sign_request
from event_stream_engine.web import webhooks
from tests.engine import ACCOUNT_SID, BASE, TOKEN, Engine, make_settings, running_engine

STATUS, INBOUND = "/webhooks/status", "/webhooks/inbound"
FORM_TYPE = "application/x-www-form-urlencoded"
OTHER_TOKEN = "fedcba9876543210fedcba9876543210"


@pytest.fixture(autouse=True)
def _quick_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(intake, "RECONNECT_SECONDS", 0.05)


def make_receipt(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "AccountSid": ACCOUNT_SID,
        "MessageSid": f"SM{number:032x}",
        "MessageStatus": "delivered",
        "To": "+14155551234",
        "From": "+14155238886",
    } | changes


def make_inbound(number: int = 1, **changes: Any) -> dict[str, Any]:
    form = {"AccountSid": ACCOUNT_SID, "MessageSid": f"SM{number:032x}", "From": "+14155551234"}
    return form | {"To": "+14155238886", "Body": "hello"} | changes


def headers_for(signature: str, content_type: str = FORM_TYPE) -> dict[str, str]:
    return {"content-type": content_type, "x-twilio-signature": signature}


async def post(
    engine: Engine, body: bytes, *, path: str = STATUS, url: str = BASE, token: str = TOKEN
) -> httpx.Response:
    """Post a body as it stands, signed for a URL that may differ from the one it goes to."""
    signature = sign_request(token, url + path, parse_form(body))
    return await engine.anonymous.post(path, content=body, headers=headers_for(signature))


async def wait_until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while not await check():
            await asyncio.sleep(0.02)


async def count_outcomes(engine: Engine, expected: int) -> Counter[str]:
    """Return the counters by outcome once they add up to what was sent."""
    outcomes: Counter[str] = Counter()

    async def add_up() -> bool:
        nonlocal outcomes
        query = "SELECT outcome, sum(events)::integer FROM intake_counts WHERE outcome <> 'spooled' GROUP BY outcome"
        outcomes = Counter(dict(await engine.rows(query)))
        return outcomes.total() >= expected

    await wait_until(add_up)
    assert outcomes.total() == expected
    return outcomes


async def list_events(engine: Engine) -> list[tuple[str, dict[str, Any]]]:
    return await engine.rows("SELECT event_type, payload FROM events ORDER BY received_at")  # type: ignore[return-value]


async def test_a_receipt_is_answered_204_and_an_inbound_message_with_twiml(engine: Engine) -> None:
    form = make_receipt(Unheard="of", Empty="", MediaUrl=["b", "a", "b"])
    taken = await engine.post_webhook(STATUS, form)
    assert (taken.status_code, taken.content) == (204, b"")
    answered = await engine.post_webhook(INBOUND, make_inbound(2))
    assert answered.status_code == 200
    assert answered.headers["content-type"].startswith("text/xml")
    assert answered.text == '<?xml version="1.0" encoding="UTF-8"?><Response/>'

    assert await count_outcomes(engine, 2) == {"accepted": 2}
    assert await list_events(engine) == [("receipt.received", form), ("inbound.received", make_inbound(2))]


async def test_json_is_taken_when_signature_and_body_hash_hold(engine: Engine) -> None:
    form = make_receipt()
    body = json.dumps(form | {"NumSegments": 2}).encode()
    right = f"{STATUS}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    wrong = f"{STATUS}?bodySHA256={hashlib.sha256(b'other').hexdigest()}"

    async def post_json(path: str, content: bytes = body) -> int:
        signature = sign_request(TOKEN, BASE + path, {})
        answer = await engine.anonymous.post(
            path, content=content, headers=headers_for(signature, "application/json; charset=utf-8")
        )
        return answer.status_code

    assert await post_json(right) == 204
    assert await post_json(wrong) == 403
    assert await post_json(STATUS) == 403
    assert await post_json(right, body + b" ") == 403
    for malformed in (b"[1]", b"{", b'{"a":"\\ud800"}', b'{"a":' + b"[" * 5000):
        hashed = hashlib.sha256(malformed).hexdigest()
        assert await post_json(f"{STATUS}?bodySHA256={hashed}", malformed) == 400
    outcomes = await count_outcomes(engine, 8)
    assert outcomes == {"accepted": 1, "rejected: wrong signature": 3, "rejected: malformed": 4}
    assert [payload for _, payload in await list_events(engine)] == [form | {"NumSegments": "2"}]


async def stream(chunks: int, stall: bool = False) -> AsyncIterator[bytes]:
    for _ in range(chunks):
        yield b"a" * 1024
    if stall:
        await asyncio.Event().wait()


async def test_of_a_refused_webhook_nothing_is_kept_but_a_count(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "BODY_SECONDS", 0.1)
    form = make_receipt()
    body = urlencode(form)
    signed = headers_for(sign_request(TOKEN, BASE + STATUS, form))
    unsigned = {"content-type": FORM_TYPE}
    wrong = headers_for(sign_request(OTHER_TOKEN, BASE + STATUS, form))
    refusals: list[tuple[int, str, dict[str, Any]]] = [
        (400, "no signature", {"headers": unsigned, "content": body}),
        (400, "no signature", {"headers": headers_for(""), "content": body}),
        (403, "wrong signature", {"headers": wrong, "content": body}),
        (403, "wrong signature", {"headers": headers_for("no base64!"), "content": body}),
        (403, "wrong signature", {"headers": signed, "content": body.replace("delivered", "failed")}),
        (403, "wrong signature", {"headers": signed, "content": body + "&More="}),
        (403, "wrong signature", {"headers": signed, "content": body, "params": {"a": "b"}}),
        (403, "wrong signature", {"headers": signed | {"host": "elsewhere.test"}, "content": body}),
        (400, "malformed", {"headers": signed, "content": "&".join(f"p{n}=" for n in range(1001))}),
        (405, "method", {"method": "GET", "headers": signed}),
        (405, "method", {"method": "PUT", "headers": signed, "content": body}),
        (408, "slow", {"headers": signed, "content": stream(1, stall=True)}),
        (413, "too large", {"headers": signed, "content": b"a" * (64 * 1024 + 1)}),
        (413, "too large", {"headers": signed, "content": stream(65)}),
        (413, "too large", {"headers": signed | {"content-length": "many"}, "content": body}),
        (415, "content type", {"headers": signed | {"content-type": "text/plain"}, "content": body}),
        (
            415,
            "content type",
            {"headers": {"x-twilio-signature": signed["x-twilio-signature"]}, "content": body},
        ),
    ]
    for status, reason, request in refusals:
        answer = await engine.anonymous.request(request.pop("method", "POST"), STATUS, **request)
        assert (answer.status_code, reason) == (status, reason), answer.text
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        if status in (408, 413):
            assert answer.headers["connection"] == "close"
    outcomes = await count_outcomes(engine, len(refusals))
    assert outcomes == Counter(f"rejected: {reason}" for _, reason, _ in refusals)
    assert await list_events(engine) == []


async def test_below_webhooks_there_is_nothing_else(engine: Engine) -> None:
    for path in ("/webhooks/", "/webhooks/other", "/webhooks/status/", "/webhooks/Status"):
        assert (await engine.post_webhook(path, make_receipt())).status_code == 404
    assert await list_events(engine) == []


async def test_a_body_of_exactly_64_kib_is_taken(engine: Engine) -> None:
    body = urlencode(make_receipt()).encode() + b"&Body="
    assert (await post(engine, body.ljust(64 * 1024, b"a"))).status_code == 204


async def test_behind_a_proxy_the_public_url_counts_and_during_rotation_both_tokens(
    database_url: str, tmp_path: Path
) -> None:
    public = "https://engine.example.com"
    settings = make_settings(tmp_path, PUBLIC_URL=f"{public}/", TWILIO_AUTH_TOKEN_SECONDARY=OTHER_TOKEN)
    body = urlencode(make_receipt()).encode()
    async with running_engine(database_url, settings, SystemClock()) as engine:
        for token in (TOKEN, OTHER_TOKEN):
            for url in (public, f"{public}:443"):
                assert (await post(engine, body, url=url, token=token)).status_code == 204
        for url in (BASE, "http://engine.example.com", f"{public}:8443", "https://evil.example.com"):
            assert (await post(engine, body, url=url)).status_code == 403
        assert (await post(engine, body, url=public, token="0" * 32)).status_code == 403
        assert await count_outcomes(engine, 9) == {
            "accepted": 1,
            "duplicate": 3,
            "rejected: wrong signature": 5,
        }


async def test_one_callback_a_hundred_times_at_once_is_one_event(engine: Engine) -> None:
    answers = await asyncio.gather(*(engine.post_webhook(STATUS, make_receipt()) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {204}
    assert await count_outcomes(engine, 100) == {"accepted": 1, "duplicate": 99}
    assert len(await list_events(engine)) == 1
    assert await engine.project() == 1


async def test_every_webhook_ends_in_one_counter(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = [make_receipt(number % 40) for number in range(60)]
    answers = await asyncio.gather(*(engine.post_webhook(STATUS, form) for form in forms))
    answers += [await engine.post_webhook(STATUS, make_receipt(), token=OTHER_TOKEN) for _ in range(3)]
    monkeypatch.setattr(intake, "MOST_WAITING", 0)
    refused = [await engine.post_webhook(STATUS, make_receipt(number)) for number in range(100, 105)]
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.headers["retry-after"] for answer in refused} == {"5"}
    assert Counter(answer.status_code for answer in answers) == {204: 60, 403: 3}
    assert await count_outcomes(engine, 68) == {
        "accepted": 40,
        "duplicate": 20,
        "rejected: wrong signature": 3,
        "refused": 5,
    }
    assert len(await list_events(engine)) == 40


async def test_a_callback_of_another_account_is_kept_apart(engine: Engine) -> None:
    foreign = "AC" + "f" * 32
    for form in (make_receipt(1, AccountSid=foreign), make_receipt(2), make_inbound(3, AccountSid=foreign)):
        path = INBOUND if "Body" in form else STATUS
        assert (await engine.post_webhook(path, form)).status_code in (200, 204)
    await count_outcomes(engine, 3)
    assert await engine.project() == 3
    letters = await engine.rows("SELECT event_type, reason FROM dead_letters ORDER BY event_type")
    reason = f"callback of account {foreign}, which is not this engine's"
    assert letters == [("inbound.quarantined", reason), ("receipt.quarantined", reason)]
    assert await engine.rows("SELECT provider_sid FROM messages") == [(make_receipt(2)["MessageSid"],)]
    assert await engine.rows("SELECT count(*) FROM inbound_events") == [(0,)]


LETTERS = "".join(random.Random(7).choices(string.ascii_lowercase, k=20_000)).encode()
HOSTILE_VALUES = (
    b"%00",
    b"a%00b",
    b"%ED%A0%80",
    b"%F0%9F%91%8D",
    b"%E2%80%AE%D7%A9",
    b"%FF%FE",
    b"%",
    b"%u0041",
    b"\xf0\x9f\x91\x8d",
    b"\x00",
    b"\\u0000",
    b"%22%7B%5C",
    b"%C4%B0" * 5000,
    LETTERS,
    LETTERS + b":%2B14155551234",
    b"9" * 60,
    b"-1",
    b"",
    b"a&NAME=b",
)


def list_hostile_bodies() -> list[bytes]:
    """Bodies that are right but for one parameter, or wrong altogether."""
    bodies = [b"", b"&&&", b"=", b"a", b"&".join(b"p%d=%d" % (n, n) for n in range(900))]
    for name in (
        b"MessageSid",
        b"MessageStatus",
        b"ErrorCode",
        b"To",
        b"From",
        b"AccountSid",
        b"Body",
        b"%00",
    ):
        for value in HOSTILE_VALUES:
            form = make_inbound(len(bodies), MessageStatus="failed", ErrorCode="30003")
            form.pop(name.decode(), None)
            bodies.append(urlencode(form).encode() + b"&" + name + b"=" + value.replace(b"NAME", name))
    return bodies


async def test_whatever_a_signed_body_holds_it_is_stored_or_refused_and_the_projector_goes_on(
    engine: Engine,
) -> None:
    bodies = list_hostile_bodies()
    answers = await asyncio.gather(
        *(post(engine, body, path=path) for body in bodies for path in (STATUS, INBOUND))
    )
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {204: len(bodies), 200: len(bodies)}
    await engine.post_webhook(STATUS, make_receipt(9999))
    outcomes = await count_outcomes(engine, 2 * len(bodies) + 1)
    assert await engine.project() == outcomes["accepted"]
    assert await engine.project() == 0

    sid = make_receipt(9999)["MessageSid"]
    assert await engine.rows("SELECT status FROM messages WHERE provider_sid = %s", sid) == [("DELIVERED",)]
    kept = {body for (body,) in await engine.rows("SELECT body FROM inbound_events")}
    assert {"\ufffd", "a\ufffdb", "👍", "\u202eש", '["a", "b"]', "İ" * 5000} <= kept
    for path in ("delivery", "errors", "inbound", "consent"):
        await engine.get(f"/api/v1/analytics/{path}")
    await engine.get("/api/v1/monitoring/events", limit="500")


async def test_an_event_is_stored_although_its_sender_left_while_it_waited(engine: Engine) -> None:
    await engine.post_webhook(STATUS, make_receipt(1))
    await count_outcomes(engine, 1)

    async def is_waiting() -> bool:
        # Not the drain, which waits for the same lock when the request has long been answered from the spool.
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'ese-intake' AND wait_event_type = 'Lock'"
        )
        return (await engine.rows(query)) == [(1,)]

    async with await connect(engine.url, "test") as conn, transaction(conn):
        await conn.execute("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE")
        sending = asyncio.create_task(engine.post_webhook(STATUS, make_receipt(2)))
        await wait_until(is_waiting)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    outcomes = await count_outcomes(engine, 2)
    assert outcomes == {"accepted": 2}
    assert [payload["MessageSid"][-1] for _, payload in await list_events(engine)] == ["1", "2"]


async def test_message_id_in_the_callbacks_address_is_stored_and_one_in_the_form_is_not(
    engine: Engine,
) -> None:
    message_id = "01900000-0000-8000-a000-00000000cafe"
    receipt = {
        "AccountSid": ACCOUNT_SID,
        "MessageSid": "SM1",
        "MessageStatus": "sent",
        "To": "+14155551234",
        "EseMessageId": "forged",
    }
    answer = await engine.post_webhook(f"/webhooks/status?message={message_id}", receipt)
    assert answer.status_code == 204
    other = receipt | {"MessageSid": "SM2"}
    assert (await engine.post_webhook("/webhooks/status?message=nonsense", other)).status_code == 204
    await count_outcomes(engine, 2)
    stored = {payload["MessageSid"]: payload.get("EseMessageId") for _, payload in await list_events(engine)}
    assert stored == {"SM1": message_id, "SM2": None}
