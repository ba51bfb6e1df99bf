"""The official SDK drives the simulator over HTTP, and a receiver on loopback takes its callbacks."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from event_stream_engine.kernel.clock import SettableClock, SystemClock
from event_stream_engine.messaging.simulated_behaviour import Behaviour
from event_stream_engine.messaging.simulated_callbacks import PostedCallback, append_to
from event_stream_engine.messaging.simulated_traffic import run_demo_traffic
from event_stream_engine.messaging.simulator import build_simulator

ACCOUNT = "AC5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e"
TOKEN = "2b7e151628aed2a6abf7158809cf4f3c"
FROM = "+14155238886"
NOW = datetime(2026, 3, 2, 9, 30, 15, tzinfo=UTC)
FAST = Behaviour(speed=20_000)
ALL_GOES_WELL = replace(
    FAST,
    failed_share=0,
    undelivered_share=0,
    unknown_share=0,
    conflict_share=0,
    read_share=0,
    reply_share=0,
    duplicate_share=0,
    lost_share=0,
    late_share=0,
    reorder_share=0,
)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@dataclass
class Receiver:
    status: int = 204
    forms: list[dict[str, str]] = field(default_factory=list)
    forged_count: int = 0
    url: str = ""

    async def receive(self, request: Request) -> Response:
        form = await request.form()
        signature = request.headers["X-Twilio-Signature"]
        self.forged_count += not RequestValidator(TOKEN).validate(str(request.url), form, signature)
        self.forms.append({name: str(value) for name, value in form.items()} | {"path": request.url.path})
        return Response(status_code=self.status)


@dataclass
class Stage:
    client: Client
    url: str
    app: Starlette
    receiver: Receiver
    ledger: list[PostedCallback]
    clock: SettableClock

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(function, *args, **kwargs)

    async def send(self, to: str = "+14155550123", **kwargs: Any) -> Any:
        arguments = {
            "from_": FROM,
            "body": "Hello",
            "status_callback": f"{self.receiver.url}/webhooks/status",
        }
        return await self.call(self.client.messages.create, to=to, **(arguments | kwargs))

    async def settle(self) -> None:
        await wait_until(lambda: self.app.state.poster.pending_count == 0)


@asynccontextmanager
async def serve(app: Starlette) -> AsyncIterator[str]:
    # Named TCP, or asyncio leaves Nagle's algorithm on and every answer takes 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await wait_until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def receive_callbacks() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/{path:path}", receiver.receive, methods=["POST"])])
    async with serve(app) as receiver.url:
        yield receiver


@asynccontextmanager
async def simulate(behaviour: Behaviour = ALL_GOES_WELL, now: datetime = NOW) -> AsyncIterator[Stage]:
    ledger: list[PostedCallback] = []
    clock = SettableClock(now)
    async with receive_callbacks() as receiver:
        app = build_simulator(behaviour, ACCOUNT, TOKEN, receiver.url, clock, record=ledger.append)
        async with serve(app) as url:
            with connect(url) as client:
                yield Stage(client, url, app, receiver, ledger, clock)


@contextmanager
def connect(url: str, token: str = TOKEN) -> Iterator[Client]:
    client = Client(ACCOUNT, token)
    client.api.base_url = url
    try:
        yield client
    finally:
        client.http_client.session.close()


def fate(forms: list[dict[str, str]]) -> Counter[tuple[str, ...]]:
    keys = ("path", "MessageSid", "MessageStatus", "ErrorCode", "Body")
    return Counter(tuple(form.get(key, "") for key in keys) for form in forms)


async def refuse(stage: Stage, **kwargs: Any) -> TwilioRestException:
    with pytest.raises(TwilioRestException) as caught:
        await stage.send(**kwargs)
    return caught.value


async def test_a_created_message_has_the_full_resource() -> None:
    async with simulate() as stage:
        message = await stage.send(body="Hello " * 30)
        assert (message.status, message.direction, message.num_segments) == ("queued", "outbound-api", "2")
        assert (message.price, message.error_code, message.date_sent) == (None, None, None)
        assert (message.to, message.from_, message.account_sid) == ("+14155550123", FROM, ACCOUNT)
        assert message.date_created == message.date_updated == NOW
        assert message.uri == f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{message.sid}.json"
        assert message.subresource_uris == {"media": message.uri.replace(".json", "/Media.json")}
        assert (message.api_version, message.num_media, message.price_unit) == ("2010-04-01", "0", "USD")
        assert message.sid.startswith("SM")
        assert len(message.sid) == 34


async def test_a_message_is_fetched_as_it_fares_even_when_its_callbacks_are_lost() -> None:
    async with simulate(replace(ALL_GOES_WELL, lost_share=1)) as stage:
        sid = (await stage.send()).sid
        await stage.settle()
        message = await stage.call(stage.client.messages(sid).fetch)
        assert (message.status, message.date_sent, message.price) == ("delivered", NOW, "-0.00790")
        assert stage.ledger == []


async def test_a_message_of_a_service_is_accepted_and_gets_its_sender_later() -> None:
    async with simulate() as stage:
        message = await stage.send(from_=None, messaging_service_sid="MG" + "1" * 32)
        assert (message.status, message.from_, message.num_segments) == ("accepted", None, "0")
        await stage.settle()
        assert (await stage.call(message.fetch)).from_ == FROM
        assert {form["MessagingServiceSid"] for form in stage.receiver.forms} == {"MG" + "1" * 32}


async def test_a_scheduled_message_waits_for_its_time() -> None:
    async with simulate(replace(ALL_GOES_WELL, speed=1e9)) as stage:
        service = {"from_": None, "messaging_service_sid": "MG" + "1" * 32, "schedule_type": "fixed"}
        later = await stage.send(**service, send_at=NOW + timedelta(days=10_000))
        soon = await stage.send(**service, send_at=NOW + timedelta(minutes=20))
        assert (later.status, soon.status) == ("scheduled", "scheduled")
        await wait_until(lambda: len(stage.receiver.forms) == 2)
        assert {form["MessageSid"] for form in stage.receiver.forms} == {soon.sid}
        assert (await stage.call(later.fetch)).status == "scheduled"


async def test_lists_are_filtered_and_newest_first() -> None:
    async with simulate() as stage:
        first = await stage.send(to="+14155550101")
        await stage.settle()
        stage.clock.advance(timedelta(days=1))
        second = await stage.send(to="+14155550102")
        third = await stage.send(to="+14155550101")

        async def list_sids(**filters: Any) -> list[str]:
            return [message.sid for message in await stage.call(stage.client.messages.list, **filters)]

        assert await list_sids() == [third.sid, second.sid, first.sid]
        assert await list_sids(to="+14155550101") == [third.sid, first.sid]
        assert await list_sids(from_="+14155550199") == []
        assert await list_sids(date_sent=NOW) == [first.sid]
        assert await list_sids(date_sent_before=NOW) == [first.sid]
        assert await list_sids(date_sent_before="2026-03-02") == [first.sid]
        assert await list_sids(date_sent_after=NOW + timedelta(seconds=1)) == [third.sid, second.sid]
        assert await list_sids(date_sent_after="2026-03-02", to="+14155550102") == [second.sid]


async def test_paging_reaches_every_message_once_while_new_ones_are_made() -> None:
    async with simulate() as stage:
        made = [(await stage.send()).sid for _ in range(5)]
        page = await stage.call(stage.client.messages.page, page_size=2)
        assert page.previous_page_url is None
        seen = [message.sid for message in page]
        await stage.send()
        while (page := await stage.call(page.next_page)) is not None:
            seen += [message.sid for message in page]
        assert seen == made[::-1]


REFUSED: tuple[tuple[dict[str, Any], int], ...] = (
    ({"to": ""}, 21604),
    ({"from_": ""}, 21603),
    ({"body": ""}, 21602),
    ({"body": "x" * 1601}, 21617),
    ({"to": "4155550123"}, 21211),
    ({"to": "+1415555012"}, 21211),
    ({"to": "+15005550001"}, 21211),
    ({"to": "+15005550003"}, 21408),
    ({"to": "+15005550004"}, 21610),
    ({"to": "+15005550009"}, 21614),
    ({"from_": "+14155550199"}, 21606),
    ({"to": "whatsapp:+14155550123"}, 21910),
    ({"body": None, "content_sid": "HX1", "content_variables": "{"}, 21656),
    ({"schedule_type": "fixed", "send_at": "2026-03-02T10:00:00Z"}, 35118),
    ({"schedule_type": "fixed", "send_at": "tomorrow", "messaging_service_sid": "MG1"}, 35114),
)


async def test_a_refusal_has_the_providers_body_and_leaves_no_message() -> None:
    async with simulate() as stage:
        for arguments, code in REFUSED:
            refusal = await refuse(stage, **arguments)
            assert (arguments, refusal.status, refusal.code) == (arguments, 400, code)
            body = json.loads(stage.client.http_client._test_only_last_response.text)
            assert body.pop("message")
            more_info = f"https://www.twilio.com/docs/errors/{code}"
            assert body == {"code": code, "more_info": more_info, "status": 400}
        assert await stage.call(stage.client.messages.list) == []


async def test_wrong_credentials_and_unknown_things_are_refused() -> None:
    async with simulate() as stage:
        other_account = stage.client.api.accounts("AC" + "0" * 32)
        with connect(stage.url, token="wrong") as stranger:
            for call, expected in (
                (stranger.messages("SM1").fetch, (401, 20003)),
                (stage.client.messages("SM1").fetch, (404, 20404)),
                (other_account.messages("SM1").fetch, (404, 20404)),
                (stage.client.calls("CA1").fetch, (404, 20404)),
            ):
                with pytest.raises(TwilioRestException) as caught:
                    await stage.call(call)
                assert (caught.value.status, caught.value.code) == expected


async def test_too_many_requests_are_refused_until_the_next_second() -> None:
    async with simulate(replace(ALL_GOES_WELL, requests_per_second_limit=2)) as stage:
        await stage.send()
        await stage.send()
        refusal = await refuse(stage)
        assert (refusal.status, refusal.code) == (429, 20429)
        stage.clock.advance(timedelta(seconds=1))
        await stage.send()


async def test_callbacks_are_signed_and_carry_the_channels_parameters() -> None:
    async with simulate(replace(ALL_GOES_WELL, read_share=1)) as stage:
        callback = f"{stage.receiver.url}/webhooks/status?m=0191&x=%20a%2Fb;#rc=5&rp=5xx"
        await stage.send(status_callback=callback)
        content = {"content_sid": "HX" + "1" * 32, "content_variables": '{"1":"Ana"}', "body": None}
        await stage.send(to="whatsapp:+447400123456", from_=f"whatsapp:{FROM}", **content)
        await stage.settle()
        assert stage.receiver.forged_count == 0
        common = {
            "path",
            "AccountSid",
            "MessageSid",
            "SmsSid",
            "From",
            "To",
            "ApiVersion",
            "MessageStatus",
            "SmsStatus",
        }
        channel = common | {"ChannelInstallSid", "ChannelPrefix"}
        assert {(form["From"], form["MessageStatus"]): set(form) for form in stage.receiver.forms} == {
            (FROM, "sent"): common,
            (FROM, "delivered"): common | {"RawDlrDoneDate"},
            (f"whatsapp:{FROM}", "sent"): channel,
            (f"whatsapp:{FROM}", "delivered"): channel,
            (f"whatsapp:{FROM}", "read"): channel | {"EventType"},
        }
        assert {form.get("RawDlrDoneDate") for form in stage.receiver.forms} == {None, "2603020930"}


async def test_replies_are_signed_and_stop_closes_the_number() -> None:
    async with simulate(replace(ALL_GOES_WELL, reply_share=1, stop_share=1, start_share=0)) as stage:
        await stage.send()
        await stage.settle()
        reply = next(form for form in stage.receiver.forms if form["path"] == "/webhooks/inbound")
        assert (reply["From"], reply["To"], reply["SmsStatus"]) == ("+14155550123", FROM, "received")
        assert (reply["FromCountry"], reply["FromCity"]) == ("US", "")
        assert stage.receiver.forged_count == 0
        assert (await refuse(stage)).code == 21610


async def test_free_text_to_whatsapp_fails_later_unless_the_person_wrote_within_a_day() -> None:
    async with simulate(replace(ALL_GOES_WELL, reply_share=1, stop_share=0, help_share=1)) as stage:
        person = {"to": "whatsapp:+447400123456", "from_": f"whatsapp:{FROM}"}
        refused = await stage.send(**person)
        assert refused.error_code is None
        await stage.settle()
        assert stage.receiver.forms[0]["ErrorCode"] == "63016"
        assert stage.receiver.forms[0]["ChannelStatusMessage"]
        refused = await stage.call(refused.fetch)
        assert (refused.status, refused.error_code) == ("failed", 63016)

        await stage.send(**person, body=None, content_sid="HX" + "1" * 32)
        await stage.settle()
        answer = await stage.send(**person)
        await stage.settle()
        assert (await stage.call(answer.fetch)).status == "delivered"
        stage.clock.advance(timedelta(hours=25))
        late = await stage.send(**person)
        await stage.settle()
        assert (await stage.call(late.fetch)).error_code == 63016


async def run_seed(behaviour: Behaviour) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    async with simulate(behaviour) as stage:
        for number in range(60):
            await stage.send(to=f"+141555501{number:02}")
        await stage.settle()
        assert stage.receiver.forged_count == 0
        return fate(stage.receiver.forms), fate([posted.form for posted in stage.ledger])


async def test_one_seed_gives_the_same_outcomes_and_another_gives_others() -> None:
    wild = replace(FAST, seed=7, undelivered_share=0.2, duplicate_share=0.3, lost_share=0.2, reply_share=0.5)
    received, _ = await run_seed(wild)
    again, posted = await run_seed(wild)
    other, _ = await run_seed(replace(wild, seed=8))
    assert received == again
    assert Counter({key[1:]: count for key, count in received.items()}) == Counter(
        {key[1:]: count for key, count in posted.items()}
    )
    assert received != other
    assert max(received.values()) == 2
    statuses = Counter(key[2] for key in received)
    assert {"sent", "delivered", "undelivered"} <= set(statuses)
    assert statuses["sent"] < 60


async def test_a_restart_repeats_outcomes_but_no_sid() -> None:
    sids, statuses = [], []
    for now in (NOW, NOW + timedelta(hours=1)):
        async with simulate(replace(ALL_GOES_WELL, reply_share=1), now) as stage:
            await stage.send()
            await stage.settle()
            sids.append({form["MessageSid"] for form in stage.receiver.forms})
            statuses.append(sorted(form["SmsStatus"] for form in stage.receiver.forms))
    assert statuses[0] == statuses[1] == ["delivered", "received", "sent"]
    assert sids[0].isdisjoint(sids[1])
    assert len(sids[0]) == 2


async def test_a_refused_connection_is_tried_twice_and_an_error_answer_once() -> None:
    async with simulate() as stage:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            await stage.send(status_callback=f"http://127.0.0.1:{unused.getsockname()[1]}/w")
            await stage.settle()
        assert {(posted.http_status, posted.attempt_count) for posted in stage.ledger} == {(None, 2)}
        stage.ledger.clear()
        stage.receiver.status = 503
        await stage.send()
        await stage.settle()
        assert {(posted.http_status, posted.attempt_count) for posted in stage.ledger} == {(503, 1)}
        assert len(stage.receiver.forms) == 2


async def test_the_ledger_file_holds_every_callback_with_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.ndjson"
    async with receive_callbacks() as receiver:
        app = build_simulator(ALL_GOES_WELL, ACCOUNT, TOKEN, None, SettableClock(NOW), record=append_to(path))
        async with serve(app) as url:
            with connect(url) as client:
                await asyncio.to_thread(
                    client.messages.create,
                    to="+14155550123",
                    from_=FROM,
                    body="x",
                    status_callback=receiver.url + "/w",
                )
            await wait_until(lambda: app.state.poster.pending_count == 0)
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [(line["form"]["MessageStatus"], line["http_status"]) for line in lines] == [
        ("sent", 204),
        ("delivered", 204),
    ]
    assert {line["url"] for line in lines} == {receiver.url + "/w"}
    assert {line["posted_at"] for line in lines} == {"2026-03-02T09:30:15Z"}


async def test_stopping_drops_what_is_due_later_without_a_trace() -> None:
    async with simulate(replace(ALL_GOES_WELL, speed=1)) as stage:
        await stage.send()
        assert stage.app.state.poster.pending_count == 4
    assert stage.ledger == []


async def test_demo_traffic_reaches_the_engine_signed_until_it_is_stopped() -> None:
    stop = asyncio.Event()
    ledger: list[PostedCallback] = []
    behaviour = replace(FAST, reply_share=1)
    async with receive_callbacks() as receiver:
        traffic = asyncio.create_task(
            run_demo_traffic(
                receiver.url,
                TOKEN,
                ACCOUNT,
                behaviour,
                60_000,
                stop=stop,
                clock=SystemClock(),
                record=ledger.append,
            )
        )
        await wait_until(
            lambda: len(receiver.forms) > 200 and len({form["path"] for form in receiver.forms}) == 2
        )
        stop.set()
        async with asyncio.timeout(20):
            await traffic
    assert receiver.forged_count == 0
    assert {form["AccountSid"] for form in receiver.forms} == {ACCOUNT}
    assert {form["path"] for form in receiver.forms} == {"/webhooks/status", "/webhooks/inbound"}
    assert {posted.http_status for posted in ledger} == {204}
