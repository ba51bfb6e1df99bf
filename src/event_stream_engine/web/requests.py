"""How long each request took, whatever answered it: the outermost layer of the application.

It is in the way of every request, so it does little: `benchmarks/requests.py` holds it to that.
"""

from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from event_stream_engine.ingest.callbacks import KIND_BY_PATH
from event_stream_engine.monitoring.requests import RequestMeter

API = "/api/v1"
_PLAIN_PATHS = frozenset(("/", "/healthz", "/readyz", *KIND_BY_PATH))


class MeasuredRequests:
    """Takes note of each request's route, method, status and time, to the last byte of its answer.

    A stream of events is measured to its first byte: how long somebody watches says nothing about us. Status 0: the
    request ended without an answer.
    """

    def __init__(self, app: ASGIApp, meter: RequestMeter, name_route: Callable[[Scope], str]) -> None:
        self._app = app
        self._note, self._timer = meter.note, meter.timer
        self._name_route = name_route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = self._timer()
        status, headers, is_noted = 0, (), False

        async def send_measured(message: Message) -> None:
            nonlocal status, headers, is_noted
            await send(message)
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
            elif not is_noted and (not message.get("more_body") or _is_event_stream(headers)):
                is_noted = True
                self._note((self._name_route(scope), scope["method"], status), began, self._timer())

        try:
            await self._app(scope, receive, send_measured)
        finally:
            if not is_noted:
                self._note((self._name_route(scope), scope["method"], status), began, self._timer())


def _is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def name_route(scope: Scope) -> str:
    """Return the template of the route that took a request, or a name for all requests that none took.

    Never the path: whoever asks for addresses by chance would make as many names.
    """
    path: str = scope["path"]
    if (route := scope.get("route")) is not None:
        # FastAPI names a route as its own router does, without the prefix that the router got in the application.
        template: str = route.path
        return f"{API}{template}" if path.startswith(f"{API}/") and not template.startswith(API) else template
    if path in _PLAIN_PATHS:
        return path
    return "/static" if path.startswith("/static/") else "(no route)"
