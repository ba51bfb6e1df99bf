"""What every answer carries, whoever made it: security headers and the request's id."""

import re
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from event_stream_engine.infra.logs import carry_log_fields

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
_SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    # Not `no-referrer`: with it browsers send `Origin: null` even for our own forms.
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def protect(app: ASGIApp, public_url: str) -> ASGIApp:
    """Wrap the finished application, so that also its last resort, the answer 500, carries the headers."""
    return RequestId(SecurityHeaders(app, secure=urlsplit(public_url).scheme == "https"))


def request_id_of(request: Request) -> str | None:
    found: str | None = getattr(request.state, "request_id", None)
    return found


class RequestId:
    """Names each request: a sane `X-Request-ID` is taken over, and it is echoed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        # Not taken back: a server has a task for each request, and writes the traceback of a failed one when this is left.
        carry_log_fields(request_id=request_id)
        await self.app(scope, receive, send_named)


class SecurityHeaders:
    """Tells browsers what our pages may do. Answers are kept out of caches unless they say otherwise."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self.app = app
        hsts = {"strict-transport-security": "max-age=31536000"} if secure else {}
        self.headers = _SECURITY_HEADERS | hsts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self.headers)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        return await self.app(scope, receive, send_protected)
