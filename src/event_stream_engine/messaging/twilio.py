"""The provider's API by the official SDK, over our own HTTP client (the SDK's extension point for that).

The SDK's own AsyncTwilioHttpClient waits for ever (it gives every request `timeout=None`) and writes numbers into the
log, and its exceptions carry no headers, so that Retry-After would be lost.
"""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import aiohttp
from twilio.base.exceptions import TwilioException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client
from twilio.rest.api.v2010.account.message import MessageInstance
from yarl import URL

from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.errors import Invalid, NotFound, Unavailable
from event_stream_engine.messaging.provider import (
    UNREACHABLE_PAUSE_SECONDS,
    Accepted,
    Outcome,
    OutgoingMessage,
    Postponed,
    ProviderMessage,
    Unknown,
    judge_refusal,
)

TIMEOUT_SECONDS = 10.0
CONNECT_SECONDS = 3.0
LARGEST_PAGE = 1000
# How the provider posts callbacks: three more tries, on a failed connection, on 5xx and when we are slow.
CONNECTION_OVERRIDES = "rc=3&rp=5xx,ct,rt"
# No byte of the request has left: whoever failed here has not been heard.
_NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_logger = logging.getLogger(__name__)
T = TypeVar("T")


class TwilioProvider:
    """Hands messages over and asks what became of them. Made by `open_provider`."""

    def __init__(self, client: Client, public_url: str) -> None:
        self._messages = client.messages
        self._callback_url = f"{public_url}/webhooks/status?message="

    async def send_message(self, message: OutgoingMessage) -> Outcome:
        """Offer a message once, and say what is known of it afterwards. Raises nothing."""
        try:
            created = await self._messages.create_async(**self._describe(message))
        except _Unsuccessful as answer:
            return judge_refusal(answer.http_status, answer.code, answer.text, answer.retry_after_seconds)
        except _NOT_CONNECTED as error:
            return Postponed(None, f"no connection: {type(error).__name__}", UNREACHABLE_PAUSE_SECONDS)
        except (
            aiohttp.ClientError,
            OSError,
            TwilioException,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:
            # No answer, half of one, or one that cannot be read.
            return Unknown(type(error).__name__)
        return Accepted(created.sid, str(created.status)) if created.sid else Unknown("an answer without SID")

    async def load_message(self, sid: str) -> ProviderMessage:
        """Return a message by its SID. Errors: NotFound, Unavailable."""
        return _read(await _ask(self._messages(sid).fetch_async))

    async def list_messages(self, recipient: str, sent_on: date) -> list[ProviderMessage]:
        """Return all messages to an address that the provider dates on a day (UTC), newest first.

        Errors: Unavailable.
        """
        return await self._list(to=recipient, date_sent=sent_on)

    async def list_sent_between(self, since: datetime, until: datetime, most: int) -> list[ProviderMessage]:
        """Return up to `most` messages the provider dates between two instants, newest first. Errors: Unavailable."""
        return await self._list(date_sent_after=since, date_sent_before=until, limit=most)

    async def _list(self, **filters: Any) -> list[ProviderMessage]:
        return [
            _read(found)
            for found in await _ask(lambda: self._messages.list_async(page_size=LARGEST_PAGE, **filters))
        ]

    def _describe(self, message: OutgoingMessage) -> dict[str, Any]:
        prefix = "" if message.channel == "sms" else f"{message.channel}:"
        described: dict[str, Any] = {
            "to": prefix + message.recipient_phone,
            "status_callback": self._name_callback(message.message_id),
            "validity_period": message.validity_seconds,
        }
        if message.sender.startswith("MG"):
            described["messaging_service_sid"] = message.sender
        else:
            described["from_"] = prefix + message.sender
        if message.content_sid:
            described["content_sid"] = message.content_sid
            if message.content_variables:
                described["content_variables"] = json.dumps(message.content_variables, ensure_ascii=False)
        else:
            described["body"] = message.body
        return described

    def _name_callback(self, message_id: UUID) -> str:
        return f"{self._callback_url}{message_id}#{CONNECTION_OVERRIDES}"


@asynccontextmanager
async def open_provider(settings: Settings) -> AsyncIterator[TwilioProvider]:
    """Open the client of the provider that the settings name. Errors: Invalid saying what to set."""
    settings.require_provider()
    if settings.twilio_account_sid is None:
        raise Invalid(
            "ESE_TWILIO_ACCOUNT_SID is not set, so nothing can be sent. Set it to the account's SID."
        )
    # Connections idle for longer may be closed under a request by the other side, and its outcome would be unknown.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, connect=CONNECT_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        client = Client(
            settings.twilio_account_sid,
            settings.twilio_auth_tokens[0],
            http_client=_HttpClient(session),
            environment={"TWILIO_EDGE": ""},  # not the process's: settings have one home
        )
        if settings.provider == "simulator":
            client.api.base_url = settings.simulator_url
        yield TwilioProvider(client, settings.public_url)


class _Unsuccessful(Exception):
    """An answer other than 2xx, with what the SDK's exceptions leave out."""

    def __init__(self, http_status: int, body: str, headers: Any) -> None:
        self.http_status = http_status
        self.code, self.text = _read_error(body)
        self.retry_after_seconds = _read_retry_after(headers)
        super().__init__(f"HTTP {http_status}, code {self.code}: {self.text}")


class _HttpClient(AsyncHttpClient):  # type: ignore[misc]
    """One pooled session with deadlines; repeats nothing."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__(_logger, is_async=True)
        self._session = session

    async def request(  # noqa: PLR0917 - the SDK's signature
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the session's hold
        allow_redirects: bool = False,
    ) -> Response:
        async with self._session.request(
            method,
            URL(f"{uri}?{urlencode(params)}" if params else uri, encoded=True),
            data=urlencode(data, doseq=True).encode("ascii") if data else None,
            headers={
                **(headers or {}),
                **({"Authorization": aiohttp.encode_basic_auth(*auth)} if auth else {}),
            },
            allow_redirects=allow_redirects,
        ) as answer:
            body = (await answer.read()).decode("utf-8", "replace")
            if not 200 <= answer.status < 300:
                raise _Unsuccessful(answer.status, body, answer.headers)
            return Response(answer.status, body, answer.headers)


async def _ask(call: Callable[[], Any]) -> Any:
    """Make a call that changes nothing. Errors: NotFound, Unavailable."""
    try:
        return await call()
    except _Unsuccessful as answer:
        if answer.http_status == 404:
            raise NotFound("The provider has no such message.") from None
        raise Unavailable(f"The provider answered {answer}.") from None
    except (aiohttp.ClientError, TwilioException, OSError, ValueError) as error:
        raise Unavailable(f"The provider could not be asked: {type(error).__name__}.") from None


def _read(found: MessageInstance) -> ProviderMessage:
    return ProviderMessage(
        sid=str(found.sid),
        status=str(found.status),
        error_code=found.error_code,
        recipient=str(found.to),
        sender=found.from_,
        body=found.body,
        created_at=found.date_created,
        sent_at=found.date_sent,
        updated_at=found.date_updated,
    )


def _read_error(body: str) -> tuple[int | None, str]:
    try:
        error = json.loads(body)
        return int(error["code"]), str(error.get("message", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None, ""


def _read_retry_after(headers: Any) -> float | None:
    """Return the seconds of Retry-After, which may be a moment: then counted from the answer's own date."""
    text = headers.get("Retry-After", "").strip()
    try:
        return float(int(text))
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(text) - parsedate_to_datetime(headers["Date"])).total_seconds()
    except (ValueError, TypeError, KeyError):
        return None
