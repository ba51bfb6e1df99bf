"""What a request leaves behind: a line in the log, and a span where traces are kept. Both name the route's template, because a
path may hold a number."""

import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from event_stream_engine.infra import tracing
from event_stream_engine.ingest.callbacks import KIND_BY_PATH

_logger = logging.getLogger(__name__)
UNMATCHED = "unmatched"
# Asked all the time by programs: their lines would hide the others.
_UNLOGGED = frozenset(["/healthz", "/readyz", "/metrics", "/static"])


def find_template(scope: Scope) -> str:
    """Return the template of the route that took a request, once it is answered."""
    context: Any = scope.get("fastapi", {}).get("effective_route_context")
    if context is not None:
        return str(context.path_format)
    if "endpoint" not in scope:
        return UNMATCHED
    return str(scope.get("root_path") or scope["path"])  # a mount, or a route without parameters


class AccessLog:
    """Writes one line for each request of people and programs when its answer is complete."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = time.perf_counter(), 0

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            template = find_template(scope)
            if template not in _UNLOGGED:
                fields = {
                    "method": scope["method"],
                    "route": template,
                    "status": status,
                    "duration_ms": round((time.perf_counter() - began) * 1000, 1),
                }
                _logger.info("%s %s: %s", scope["method"], template, status or "no answer", extra=fields)


class RequestSpans:
    """Runs each request in a span, under the caller's where it sends `traceparent`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        method = scope["method"]
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        with tracing.span(method, {"http.request.method": method}, kind="server", carrier=carrier) as span:

            async def send_noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.note({"http.response.status_code": message["status"]})
                    if message["status"] >= 500:
                        span.fail(str(message["status"]))
                await send(message)

            try:
                await self._app(scope, receive, send_noted)
            finally:
                is_webhook = scope["path"] in KIND_BY_PATH
                template = scope["path"] if is_webhook else find_template(scope)
                span.rename(f"{method} {template}")
                span.note({"http.route": template})
