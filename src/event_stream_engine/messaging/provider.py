"""Handing messages to the provider through the official SDK's client, to Twilio or to the simulator.

What comes of a call is one of four: taken, refused for good, not taken now, or not known. Creating a message has no
idempotency key, so nothing is tried again in here.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import aiohttp
import orjson
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.errors import Invalid, Unavailable

API_VERSION = "2010-04-01"
TWILIO_URL = "https://api.twilio.com"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
KEEP_ALIVE_SECONDS = 15.0
# How the provider is to call back: three tries, also when we answer 5xx.
CALLBACK_OVERRIDES = "rc=3&rp=5xx,ct,rt"

TOO_MANY_REQUESTS = 20429
THROTTLE_SECONDS = 1.0
QUEUE_FULL = frozenset({21611, 30001, 30022, 63018})
QUEUE_FULL_SECONDS = 2.0
ACCOUNT_CODES = frozenset({20003, 20005, 20008, 30002})
ACCOUNT_SECONDS = 60.0  # nothing goes until a person has settled it


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message as it is to be handed over. `sender` is a number or the SID of a messaging service."""

    message_id: UUID
    channel: str
    recipient_phone: str
    sender: str
    body: str | None
    content_sid: str | None
    content_variables: Mapping[str, str] | None
    validity_seconds: int


@dataclass(frozen=True, slots=True)
class Accepted:
    sid: str
    status: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Never again: the provider will not take this message."""

    code: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """Surely not taken. `pause_seconds`: nobody may call before; None: only this message waits."""

    code: int | None
    text: str
    pause_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The provider may have the message or not."""

    text: str


@dataclass(frozen=True, slots=True)
class ProviderMessage:
    """A message as the provider has it; addresses without channel prefix."""

    sid: str
    status: str
    error_code: int | None
    to: str
    sender: str | None
    messaging_service_sid: str | None
    body: str
    created_at: datetime | None
    updated_at: datetime | None
    form: Mapping[str, str]  # as a status callback would tell it


class Provider:
    """The provider's message API."""

    def __init__(self, settings: Settings, client: Client) -> None:
        base = settings.simulator_url if settings.provider == "simulator" else TWILIO_URL
        self._client = client
        self._messages_url = f"{base}/{API_VERSION}/Accounts/{client.username}/Messages"
        self._callback_url = f"{settings.public_url}/webhooks/status?message="

    async def send_message(self, message: OutgoingMessage) -> Accepted | Refused | Postponed | Unknown:
        """Hand a message over, once."""
        is_service = message.sender.startswith("MG")
        sender = message.sender if is_service else address_of(message.channel, message.sender)
        form: dict[str, object] = {
            "To": address_of(message.channel, message.recipient_phone),
            "MessagingServiceSid" if is_service else "From": sender,
            "StatusCallback": f"{self._callback_url}{message.message_id}#{CALLBACK_OVERRIDES}",
            "ValidityPeriod": str(message.validity_seconds),
        }
        if message.content_sid is None:
            form["Body"] = message.body
        else:
            form["ContentSid"] = message.content_sid
            form["ContentVariables"] = orjson.dumps(message.content_variables or {}).decode()
        try:
            answer = await self._client.request_async("POST", f"{self._messages_url}.json", data=form)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Postponed(None, type(error).__name__)  # no connection, so nothing was sent
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Unknown(type(error).__name__)
        return _read_outcome(answer)

    async def fetch_message(self, sid: str) -> ProviderMessage | None:
        """Return a message, None when the provider does not have it. Errors: Unavailable."""
        answer = await self._get(f"{self._messages_url}/{sid}.json", {})
        return None if answer.status_code == 404 else _read_message(orjson.loads(answer.text))

    async def list_messages(
        self, channel: str, recipient_phone: str, since: datetime
    ) -> list[ProviderMessage]:
        """Return the messages to a person since the day of an instant, newest first. Errors: Unavailable."""
        parameters = {
            "To": address_of(channel, recipient_phone),
            "DateSent>": since.astimezone(UTC).date().isoformat(),
            "PageSize": "200",
        }
        answer = await self._get(f"{self._messages_url}.json", parameters)
        return [_read_message(one) for one in orjson.loads(answer.text)["messages"]]

    async def _get(self, url: str, parameters: Mapping[str, str]) -> Response:
        try:
            answer = await self._client.request_async("GET", url, params=dict(parameters))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"The provider does not answer: {type(error).__name__}.") from None
        if answer.status_code not in (200, 404):
            raise Unavailable(f"The provider answers {answer.status_code} when it is asked for messages.")
        return answer


@asynccontextmanager
async def open_provider(settings: Settings, calls: int) -> AsyncIterator[Provider]:
    """Open the provider the settings name, for so many calls at a time. Errors: Invalid saying what to set."""
    if not (settings.twilio_account_sid and settings.twilio_auth_tokens):
        raise Invalid("ESE_TWILIO_ACCOUNT_SID and ESE_TWILIO_AUTH_TOKEN are needed to send.")
    http = AsyncTwilioHttpClient(pool_connections=False)
    http.session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=calls, keepalive_timeout=KEEP_ALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    try:
        client = Client(
            settings.twilio_account_sid, settings.twilio_auth_tokens[0], http_client=http, environment={}
        )
        yield Provider(settings, client)
    finally:
        await http.session.close()


def address_of(channel: str, phone: str) -> str:
    return phone if channel == "sms" else f"{channel}:{phone}"


def _read_outcome(answer: Response) -> Accepted | Refused | Postponed | Unknown:
    try:
        found = orjson.loads(answer.text)
    except ValueError:
        found = None
    document: dict[str, Any] = found if isinstance(found, dict) else {}
    status = answer.status_code
    if status in (200, 201):
        if not document.get("sid"):
            return Unknown("an answer without SID")
        return Accepted(document["sid"], document.get("status") or "queued")
    code, text = document.get("code"), f"{status} {document.get('message', '')}".strip()
    after = _read_retry_after(answer)
    if status == 429 or code == TOO_MANY_REQUESTS:
        return Postponed(code or TOO_MANY_REQUESTS, text, after or THROTTLE_SECONDS)
    if status in (401, 403) or code in ACCOUNT_CODES:
        return Postponed(code, text, after or ACCOUNT_SECONDS)
    if code in QUEUE_FULL:
        return Postponed(code, text, after or QUEUE_FULL_SECONDS)
    if status == 503:
        return Postponed(code, text, after)
    # Any other failure of theirs may have come after the message was made.
    return Unknown(text) if status >= 500 or status < 400 else Refused(code, text)


def _read_retry_after(answer: Response) -> float | None:
    text = str((answer.headers or {}).get("Retry-After", ""))
    return min(float(text), 3600.0) if text.isascii() and text.isdigit() and text != "0" else None


def _read_message(document: Mapping[str, Any]) -> ProviderMessage:
    form = {
        "MessageSid": document["sid"],
        "MessageStatus": document["status"],
        "AccountSid": document["account_sid"],
        "To": document["to"],
        "From": document.get("from") or "",
    }
    if service := document.get("messaging_service_sid"):
        form["MessagingServiceSid"] = service
    if document.get("error_code"):
        form["ErrorCode"] = str(document["error_code"])
    return ProviderMessage(
        sid=document["sid"],
        status=document["status"],
        error_code=document.get("error_code"),
        to=document["to"].rpartition(":")[2],
        sender=(document.get("from") or "").rpartition(":")[2] or None,
        messaging_service_sid=service,
        body=document.get("body") or "",
        created_at=_read_instant(document.get("date_created")),
        updated_at=_read_instant(document.get("date_updated")),
        form=form,
    )


def _read_instant(text: str | None) -> datetime | None:
    return parsedate_to_datetime(text).astimezone(UTC) if text else None
