"""The client against the simulator and against servers that misbehave: what is taken, refused, put off or unknown."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from event_stream_engine.kernel.errors import Invalid, NotFound, Unavailable
from event_stream_engine.messaging import twilio
from event_stream_engine.messaging.provider import (
    Accepted,
    OutgoingMessage,
    Postponed,
    Refused,
    Unknown,
    judge_refusal,
)
from event_stream_engine.messaging.simulated_behaviour import Behaviour, Fault
from event_stream_engine.messaging.twilio import TwilioProvider, open_provider
from tests.engine import make_settings
from tests.flow.test_simulator import ACCOUNT, ALL_GOES_WELL, FROM, NOW, TOKEN, Stage, simulate

MESSAGE = OutgoingMessage(
    message_id=UUID("01900000-0000-8000-a000-00000000000a"),
    channel="sms",
    recipient_phone="+14155550123",
    sender=FROM,
    body="Héllo & good-bye {x}",
    content_sid=None,
    content_variables=None,
    validity_seconds=3600,
)


@asynccontextmanager
async def provide(
    folder: Path, url: str, public_url: str = "http://127.0.0.1:9", token: str = TOKEN
) -> AsyncIterator[TwilioProvider]:
    settings = make_settings(
        folder,
        PROVIDER="simulator",
        SIMULATOR_URL=url,
        PUBLIC_URL=public_url,
        TWILIO_ACCOUNT_SID=ACCOUNT,
        TWILIO_AUTH_TOKEN=token,
    )
    async with open_provider(settings) as provider:
        yield provider


@asynccontextmanager
async def simulated(
    folder: Path, behaviour: Behaviour = ALL_GOES_WELL
) -> AsyncIterator[tuple[Stage, TwilioProvider]]:
    async with simulate(behaviour) as stage, provide(folder, stage.url, stage.receiver.url) as provider:
        yield stage, provider


@asynccontextmanager
async def answer_with(folder: Path, *answers: bytes) -> AsyncIterator[tuple[list[bytes], TwilioProvider]]:
    """A server that takes one request a connection, gives the next answer as it stands, and hangs up."""
    taken: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        taken.append(head + await reader.readexactly(length))
        writer.write(answers[len(taken) - 1])
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, provide(folder, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as provider:
        yield taken, provider


async def test_a_message_is_sent_fetched_and_listed(tmp_path: Path) -> None:
    async with simulated(tmp_path) as (stage, provider):
        outcome = await provider.send_message(MESSAGE)
        assert isinstance(outcome, Accepted)
        assert outcome.status == "queued"
        await stage.settle()
        found = await provider.load_message(outcome.sid)
        assert (found.status, found.recipient, found.sender) == ("delivered", "+14155550123", FROM)
        assert (found.body, found.error_code, found.created_at, found.sent_at) == (
            MESSAGE.body,
            None,
            NOW,
            NOW,
        )
        assert await provider.list_messages("+14155550123", NOW.date()) == [found]
        assert await provider.list_messages("+14155550124", NOW.date()) == []
        assert await provider.list_messages("+14155550123", (NOW - timedelta(days=1)).date()) == []
        assert await provider.list_sent_between(NOW - timedelta(minutes=1), NOW, 10) == [found]
        with pytest.raises(NotFound):
            await provider.load_message("SM0")


async def test_callbacks_come_with_our_id_in_the_signed_address(tmp_path: Path) -> None:
    async with simulated(tmp_path) as (stage, provider):
        await provider.send_message(MESSAGE)
        await stage.settle()
        expected = f"{stage.receiver.url}/webhooks/status?message={MESSAGE.message_id}#rc=3&rp=5xx,ct,rt"
        assert {posted.url for posted in stage.ledger} == {expected}
        assert stage.receiver.forged_count == 0
        assert [form["MessageStatus"] for form in stage.receiver.forms] == ["sent", "delivered"]


async def test_a_callback_the_engine_cannot_take_is_tried_four_times(tmp_path: Path) -> None:
    async with simulated(tmp_path) as (stage, provider):
        stage.receiver.status = 503
        await provider.send_message(MESSAGE)
        await stage.settle()
        assert {(posted.http_status, posted.attempt_count) for posted in stage.ledger} == {(503, 4)}


async def test_each_channel_and_sender_is_named_as_the_provider_wants_it(tmp_path: Path) -> None:
    async with simulated(tmp_path) as (stage, provider):
        service = "MG" + "1" * 32
        whatsapp = replace(MESSAGE, channel="whatsapp", recipient_phone="+447400123456")
        approved = replace(whatsapp, body=None, content_sid="HX" + "1" * 32, content_variables={"1": "Ana"})
        for message in (whatsapp, approved, replace(MESSAGE, sender=service)):
            assert isinstance(await provider.send_message(message), Accepted)
        await stage.settle()  # the service has then chosen a sender
        made = await stage.call(stage.client.messages.list)
        assert [(one.to, one.from_, one.messaging_service_sid, one.body) for one in reversed(made)] == [
            ("whatsapp:+447400123456", f"whatsapp:{FROM}", None, MESSAGE.body),
            ("whatsapp:+447400123456", f"whatsapp:{FROM}", None, ""),
            ("+14155550123", FROM, service, MESSAGE.body),
        ]


@pytest.mark.parametrize(
    ("recipient", "code"),
    [("+15005550001", 21211), ("+15005550003", 21408), ("+15005550004", 21610), ("+15005550009", 21614)],
)
async def test_a_refusal_for_ever_carries_its_code(tmp_path: Path, recipient: str, code: int) -> None:
    async with simulated(tmp_path) as (_, provider):
        outcome = await provider.send_message(replace(MESSAGE, recipient_phone=recipient))
        assert isinstance(outcome, Refused)
        assert outcome.code == code
        assert outcome.text


async def test_too_many_requests_pause_everybody_for_as_long_as_the_provider_asks(tmp_path: Path) -> None:
    behaviour = replace(ALL_GOES_WELL, first_faults=(Fault.throttled,), retry_after_seconds=7)
    async with simulated(tmp_path, behaviour) as (stage, provider):
        assert await provider.send_message(MESSAGE) == Postponed(20429, "Too Many Requests", 7)
        assert isinstance(await provider.send_message(MESSAGE), Accepted)
        assert len(await stage.call(stage.client.messages.list)) == 1


async def test_what_may_have_been_made_is_unknown_and_can_be_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio, "TIMEOUT_SECONDS", 0.5)
    faults = (Fault.error, Fault.error_after, Fault.cut_after, Fault.hang_after)
    async with simulated(tmp_path, replace(ALL_GOES_WELL, first_faults=faults)) as (_, provider):
        for fault in faults:
            before = await provider.list_messages(MESSAGE.recipient_phone, NOW.date())
            assert isinstance(await provider.send_message(MESSAGE), Unknown), fault
            after = await provider.list_messages(MESSAGE.recipient_phone, NOW.date())
            assert len(after) - len(before) == (fault is not Fault.error), fault


async def test_a_connection_that_was_never_made_is_no_question(tmp_path: Path, free_port: int) -> None:
    async with provide(tmp_path, f"http://127.0.0.1:{free_port}") as provider:
        outcome = await provider.send_message(MESSAGE)
        assert isinstance(outcome, Postponed)
        assert outcome.pause_seconds == 2
        with pytest.raises(Unavailable):
            await provider.load_message("SM0")
        with pytest.raises(Unavailable):
            await provider.list_messages("+14155550123", NOW.date())


async def test_wrong_credentials_stop_everybody_and_burn_nobody(tmp_path: Path) -> None:
    async with simulate() as stage, provide(tmp_path, stage.url, token="x" * 32) as provider:
        assert await provider.send_message(MESSAGE) == Postponed(20003, "Authenticate", 60)


OK = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s"


def whole(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return OK % (status, len(body), headers, body)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"", Unknown("ServerDisconnectedError")),
        (b"HTTP/1.1 201 Cre", Unknown("ClientPayloadError")),
        (whole(b"201 Created", b"<html>"), Unknown("JSONDecodeError")),
        (whole(b"201 Created", b"[]"), Unknown("AttributeError")),
        (whole(b"201 Created", b"{}"), Unknown("an answer without SID")),
        (whole(b"502 Bad Gateway", b"<html>"), Unknown("HTTP 502")),
        (whole(b"307 Temporary Redirect", b"", b"Location: /elsewhere\r\n"), Postponed(None, "", 60)),
        (whole(b"429 Too Many", b"slow", b"Retry-After: soon\r\n"), Postponed(None, "", 1)),
        (
            whole(
                b"429 Too Many",
                b"",
                b"Date: Mon, 02 Mar 2026 12:00:00 GMT\r\nRetry-After: Mon, 02 Mar 2026 12:00:30 GMT\r\n",
            ),
            Postponed(None, "", 30),
        ),
        (whole(b"400 Bad Request", b'{"code": 21610, "message": "opted out"}'), Refused(21610, "opted out")),
        (whole(b"400 Bad Request", b'{"code": 99999, "message": "new"}'), Refused(99999, "new")),
    ],
)
async def test_whatever_the_answer_a_message_is_offered_once(
    tmp_path: Path, answer: bytes, outcome: object
) -> None:
    async with answer_with(tmp_path, answer, b"") as (taken, provider):
        found = await provider.send_message(MESSAGE)
        if isinstance(outcome, Unknown) and answer.startswith(b"HTTP/1.1 201 Cre"):
            assert isinstance(found, Unknown)
        else:
            assert found == outcome
        assert len(taken) == 1


async def test_no_fault_makes_two_of_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message is offered once: what was accepted is there, what was put off is not, the rest may be."""
    monkeypatch.setattr(twilio, "TIMEOUT_SECONDS", 1.0)
    shares = tuple((fault, 0.15) for fault in Fault)
    async with simulated(tmp_path, replace(ALL_GOES_WELL, fault_shares=shares)) as (stage, provider):
        phones = [f"+1415555{number:04}" for number in range(100, 200)]
        outcomes = await asyncio.gather(
            *(provider.send_message(replace(MESSAGE, recipient_phone=phone)) for phone in phones)
        )
        made = [one.to for one in await stage.call(stage.client.messages.list)]
        allowed = {Accepted: {1}, Postponed: {0}, Unknown: {0, 1}}
        for phone, outcome in zip(phones, outcomes, strict=True):
            assert made.count(phone) in allowed[type(outcome)]
        assert {type(outcome) for outcome in outcomes} == set(allowed)


async def test_no_number_gets_into_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with simulated(tmp_path) as (_, provider):
        await provider.send_message(MESSAGE)
        await provider.send_message(replace(MESSAGE, recipient_phone="+15005550001"))
        await provider.list_messages(MESSAGE.recipient_phone, NOW.date())
    assert not any(number in caplog.text for number in ("4155550123", "5005550001", TOKEN))


async def test_an_account_that_is_not_named_is_asked_for(tmp_path: Path) -> None:
    settings = replace(make_settings(tmp_path), twilio_account_sid=None)
    with pytest.raises(Invalid, match="ESE_TWILIO_ACCOUNT_SID"):
        async with open_provider(settings):
            pass


POSTPONED = {20429: 1.0, 63018: 1.0, 21611: None, 30001: None, 30022: None, 30002: 60.0, 20003: 60.0}


@pytest.mark.parametrize(
    "code",
    [20003, 20429, 21211, 21408, 21606, 21610, 21611, 21614, 21617, 30001, 30002, 30022, 63016, 63018, 63024],
)
def test_every_code_at_creation_has_one_meaning(code: int) -> None:
    outcome: Any = judge_refusal(400, code, "", None)
    if code in POSTPONED:
        assert outcome == Postponed(code, "", POSTPONED[code])
    else:
        assert outcome == Refused(code, "")
