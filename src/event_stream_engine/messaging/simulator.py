"""The provider's message API, simulated: the official SDK pointed at it cannot tell the difference.

Creates, fetches and lists messages, and posts signed callbacks about them. `seed` and `speed` are the behaviour's.
"""

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from urllib.parse import urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from event_stream_engine.kernel.clock import Clock, parse_instant
from event_stream_engine.messaging.simulated_account import Refusal, SimulatedAccount, SimulatedMessage
from event_stream_engine.messaging.simulated_behaviour import Behaviour, Course, Fault, Step, draw_fault
from event_stream_engine.messaging.simulated_callbacks import (
    API_VERSION,
    CallbackPoster,
    Envelope,
    Record,
    list_callbacks,
)
from event_stream_engine.messaging.webhooks import parse_form

PAGE_SIZE_LIMIT = 1000


async def serve_simulator(app: Starlette, host: str, port: int) -> None:
    """Serve a simulator until the process is asked to stop."""
    await uvicorn.Server(uvicorn.Config(app, host, port, log_level="warning", access_log=False)).serve()


def build_simulator(
    behaviour: Behaviour,
    account_sid: str,
    token: str,
    callback_base: str | None,
    clock: Clock,
    *,
    record: Record | None = None,
) -> Starlette:
    """Build the simulated API of one account.

    People answer to `callback_base` + `/webhooks/inbound`, not at all without it; receipts go to each message's own
    StatusCallback. `record` is told of every callback posted.
    """
    simulator = _Simulator(
        behaviour=behaviour,
        account=SimulatedAccount(behaviour, account_sid, clock),
        poster=CallbackPoster(token, clock, record),
        clock=clock,
        credentials=base64.b64encode(f"{account_sid}:{token}".encode()),
        inbound_url=f"{callback_base.rstrip('/')}/webhooks/inbound" if callback_base else None,
    )
    messages = f"/{API_VERSION}/Accounts/{{account_sid}}/Messages"
    return Starlette(
        routes=[
            Route(f"{messages}.json", simulator.create_message, methods=["POST"]),
            Route(f"{messages}.json", simulator.list_messages),
            Route(f"{messages}/{{sid}}.json", simulator.fetch_message),
        ],
        exception_handlers={Refusal: _answer_refusal, HTTPException: _answer_unknown_path},
        lifespan=simulator.run,
    )


@dataclass(slots=True)
class _Simulator:
    behaviour: Behaviour
    account: SimulatedAccount
    poster: CallbackPoster
    clock: Clock
    credentials: bytes
    inbound_url: str | None
    second: int = 0
    second_count: int = 0
    creation_count: int = 0

    @asynccontextmanager
    async def run(self, app: Starlette) -> AsyncIterator[None]:
        async with self.poster:
            app.state.poster = self.poster
            yield

    async def create_message(self, request: Request) -> Response:
        self._admit(request)
        fault = draw_fault(self.behaviour, self.creation_count)
        self.creation_count += 1
        if fault is Fault.throttled:
            raise self._throttle()
        if fault is Fault.error:
            raise Refusal(500, 20500, "Internal Server Error")
        form = parse_form(await request.body())
        message, envelope, course, reply_sid = self.account.take_message(form)
        resource = message.as_resource()
        callback_url = form.get("StatusCallback")
        urls = {
            "status": callback_url if isinstance(callback_url, str) else None,
            "inbound": self.inbound_url,
        }
        self._schedule(message, envelope, course, urls, reply_sid)
        if fault is Fault.error_after:
            raise Refusal(500, 20500, "Internal Server Error")
        if fault is Fault.cut_after:
            return _CutResponse()
        if fault is Fault.hang_after:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.behaviour.hang_seconds):
                    await request.receive()  # the body has been read: this waits for the caller to leave
        return JSONResponse(resource, 201)

    async def fetch_message(self, request: Request) -> Response:
        self._admit(request)
        return JSONResponse(self.account.load_message(request.path_params["sid"]).as_resource())

    async def list_messages(self, request: Request) -> Response:
        self._admit(request)
        query = dict(request.query_params)
        size = min(max(_read_number(query, "PageSize", 50), 1), PAGE_SIZE_LIMIT)
        page = _read_number(query, "Page", 0)
        wanted = self.account.list_messages(query.get("To"), _read_filter(query))
        if token := query.get("PageToken", "").removeprefix("PA"):
            # Anchored at a message: what was made since the first page shifts nothing.
            for message in wanted:
                if message.sid == token:
                    break
        else:
            wanted = islice(wanted, page * size, None)
        found = list(islice(wanted, size + 1))
        shown = found[:size]
        kept = {name: value for name, value in query.items() if not name.startswith("Page")} | {
            "PageSize": size
        }

        def name_page(number: int, **token: str) -> str:
            return f"{request.url.path}?{urlencode(kept | {'Page': number} | token)}"

        return JSONResponse(
            {
                "end": page * size + max(len(shown) - 1, 0),
                "first_page_uri": name_page(0),
                "messages": [message.as_resource() for message in shown],
                "next_page_uri": name_page(page + 1, PageToken=f"PA{shown[-1].sid}")
                if len(found) > size
                else None,
                "page": page,
                "page_size": size,
                "previous_page_uri": name_page(page - 1) if page else None,
                "start": page * size,
                "uri": name_page(page),
            }
        )

    def _admit(self, request: Request) -> None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic" or not hmac.compare_digest(
            credentials.strip().encode("utf-8", "replace"), self.credentials
        ):
            raise Refusal(401, 20003, "Authenticate")
        if request.path_params["account_sid"] != self.account.account_sid:
            raise Refusal(404, 20404, f"The requested resource {request.url.path} was not found")
        second = int(self.clock.now().timestamp())
        self.second_count = self.second_count + 1 if second == self.second else 1
        self.second = second
        limit = self.behaviour.requests_per_second_limit
        if limit is not None and self.second_count > limit:
            raise self._throttle()

    def _throttle(self) -> Refusal:
        return Refusal(429, 20429, "Too Many Requests", self.behaviour.retry_after_seconds)

    def _schedule(
        self,
        message: SimulatedMessage,
        envelope: Envelope,
        course: Course,
        urls: Mapping[str, str | None],
        reply_sid: str,
    ) -> None:
        speed, starts_at = self.behaviour.speed, message.send_at or message.created_at
        wait_seconds = max((starts_at - message.created_at).total_seconds(), 0.0)
        for step in course.steps:
            reach = partial(self._reach, message, step, envelope.sender)
            self.poster.call_later((wait_seconds + step.at_seconds) / speed, reach)
        for due in list_callbacks(envelope, course, starts_at, speed, reply_sid):
            if url := urls[due.kind]:
                self.poster.post_later((wait_seconds + due.after_seconds) / speed, url, due.form)
        if course.reply and self.inbound_url:
            answer = partial(self.account.take_reply, envelope.recipient, course.reply.body)
            self.poster.call_later((wait_seconds + course.reply.at_seconds) / speed, answer)

    def _reach(self, message: SimulatedMessage, step: Step, sender: str) -> None:
        message.reach(step, sender, self.clock.now())


class _CutResponse(Response):
    """An answer that ends before it is whole; the server then closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


def _read_filter(query: Mapping[str, str]) -> Callable[[SimulatedMessage], bool]:
    sender = query.get("From")
    on, until, since = (_read_moments(query, name) for name in ("DateSent", "DateSent<", "DateSent>"))

    def is_wanted(message: SimulatedMessage) -> bool:
        # A message still waiting has no date sent; it is found by the day it was made.
        sent_at = message.sent_at or message.created_at
        return (
            sender in (None, message.sender)
            and (on is None or sent_at.date() == on[0].date())
            and (until is None or sent_at <= until[1])
            and (since is None or sent_at >= since[0])
        )

    return is_wanted


def _read_moments(query: Mapping[str, str], name: str) -> tuple[datetime, datetime] | None:
    """Return the first and the last moment a filter means: those of a day, or an instant twice."""
    if not (text := query.get(name)):
        return None
    try:
        if len(text) == len("2026-03-02"):
            midnight = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return midnight, midnight + timedelta(days=1, microseconds=-1)
        instant = parse_instant(text)
    except ValueError:
        raise Refusal(400, 20001, f"Invalid parameter {name}: {text}") from None
    return instant, instant


def _read_number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default


def _answer_refusal(request: Request, refusal: Exception) -> Response:  # noqa: ARG001
    assert isinstance(refusal, Refusal)  # noqa: S101
    body = {
        "code": refusal.code,
        "message": str(refusal),
        "more_info": f"https://www.twilio.com/docs/errors/{refusal.code}",
        "status": refusal.status,
    }
    headers = {}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    if refusal.retry_after_seconds is not None:
        headers["Retry-After"] = str(refusal.retry_after_seconds)
    return JSONResponse(body, refusal.status, headers)


def _answer_unknown_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    code, text = (20004, "Method not allowed") if error.status_code == 405 else (20404, "")
    text = text or f"The requested resource {request.url.path} was not found"
    return _answer_refusal(request, Refusal(error.status_code, code, text))
