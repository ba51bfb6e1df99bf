"""The provider's webhooks. Bare ASGI: this path is measured (benchmarks/ingest.py), and a framework's convenience costs
more than all the rest of it.

Nothing of a refused request is kept but a count.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qs
from uuid import UUID

from starlette.types import Receive, Scope, Send

from event_stream_engine.infra.settings import Settings
from event_stream_engine.ingest.callbacks import (
    INBOUND,
    KIND_BY_PATH,
    MESSAGE_ID,
    event_type_of,
    make_event,
    read_json,
)
from event_stream_engine.ingest.intake import Intake
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import Invalid, Unavailable
from event_stream_engine.messaging.webhooks import (
    Form,
    is_json_signature_valid,
    is_signature_valid,
    parse_form,
)
from event_stream_engine.monitoring.pipeline import StoredMeter

LARGEST_BODY_BYTES = 64 * 1024
BODY_SECONDS = 5.0
_TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
_PLAIN = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
_XML = [(b"content-type", b"text/xml; charset=utf-8"), (b"content-length", str(len(_TWIML)).encode())]


class Refused(Exception):
    """A request that is not taken: status, reason for the counter, text for whoever looks at the answer."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason


class Webhooks:
    """ASGI application of `/webhooks/status` and `/webhooks/inbound`."""

    def __init__(self, settings: Settings, intake: Intake, clock: Clock, stored: StoredMeter) -> None:
        self._settings = settings
        self._intake = intake
        self._clock = clock
        self._stored = stored

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = KIND_BY_PATH.get(scope["path"])
        try:
            if kind is None:
                raise Refused(404, "path", "Webhooks go to /webhooks/status and /webhooks/inbound.")
            await self._take(kind, scope, receive)
        except Refused as refusal:
            if kind is not None:
                self._intake.count(event_type_of(kind), f"rejected: {refusal.reason}")
            await _answer(send, refusal.status, _PLAIN, str(refusal).encode())
        except Invalid as error:
            await _answer(send, 400, _PLAIN, str(error).encode())
        except Unavailable as error:
            await _answer(send, 503, [*_PLAIN, (b"retry-after", b"5")], str(error).encode())
        else:
            if kind == INBOUND:
                await _answer(send, 200, _XML, _TWIML)
            else:
                await _answer(send, 204, [], b"")

    async def _take(self, kind: str, scope: Scope, receive: Receive) -> None:
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if scope["method"] != "POST":
            raise Refused(405, "method", "Webhooks are sent with POST.")
        content_type = headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
        if content_type not in (b"application/x-www-form-urlencoded", b"application/json"):
            raise Refused(415, "content type", "Send application/x-www-form-urlencoded, or application/json.")
        signature = headers.get(b"x-twilio-signature")
        if not signature:
            raise Refused(400, "no signature", "The header X-Twilio-Signature is missing.")
        body = await _read_body(headers, receive)
        received_at, began = self._clock.now(), self._stored.timer()
        form = dict(
            self._verify(content_type, self._signed_url(scope, headers), body, signature.decode("latin-1"))
        )
        form.pop(MESSAGE_ID, None)  # ours to say, from the address that the signature covers
        if (message_id := _read_message_id(scope)) is not None:
            form[MESSAGE_ID] = message_id
        await self._intake.accept(make_event(kind, form, received_at, self._settings.twilio_account_sid))
        self._stored.note("stored", began, self._stored.timer())

    def _signed_url(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        if self._settings.is_public_url_set:
            base = self._settings.public_url
        else:
            base = f"{scope['scheme']}://{headers.get(b'host', b'').decode('latin-1')}"
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        return f"{base}{path}?{query}" if query else base + path

    def _verify(self, content_type: bytes, url: str, body: bytes, signature: str) -> Form:
        tokens = self._settings.twilio_auth_tokens
        form: Form
        if content_type == b"application/json":
            is_valid = is_json_signature_valid(tokens, url, body, signature)
            try:
                form = read_json(body) if is_valid else {}
            except ValueError as error:
                raise Refused(400, "malformed", f"The body is no JSON object: {error}.") from None
        else:
            try:
                form = parse_form(body)
            except Invalid as error:
                raise Refused(400, "malformed", str(error)) from None
            is_valid = is_signature_valid(tokens, url, form, signature)
        if not is_valid:
            raise Refused(
                403,
                "wrong signature",
                f"The signature is not that of {url} with our auth token; check ESE_PUBLIC_URL.",
            )
        return form


def _read_message_id(scope: Scope) -> str | None:
    """Return which message of ours a callback is about: our sender put its id into the callback's address."""
    named = parse_qs(scope["query_string"].decode("latin-1")).get("message")
    try:
        return str(UUID(named[0])) if named else None
    except ValueError:
        return None


async def _read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > LARGEST_BODY_BYTES:
        raise Refused(413, "too large", f"At most {LARGEST_BODY_BYTES} bytes are taken.")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused(400, "disconnected", "The client left before the body was complete.")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > LARGEST_BODY_BYTES:
                    raise Refused(413, "too large", f"At most {LARGEST_BODY_BYTES} bytes are taken.")
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise Refused(408, "slow", f"The body did not arrive within {BODY_SECONDS:.0f} s.") from None


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    # A body that was not read to its end would be taken for the next request on the connection.
    if status in (408, 413):
        headers = [*headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
