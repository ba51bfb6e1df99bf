"""How long each request took, whatever answered it: the outermost layer of the application.

It is in the way of every request, so it does little: `benchmarks/requests.py` holds it to that.
"""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from event_stream_engine.monitoring.requests import RequestMeter
from event_stream_engine.web.request_trails import find_template

_UNANSWERED: Message = {"status": 0}


class MeasuredRequests:
    """Takes note of each request's route, method, status and time, until the last of its answer is handed to the server.

    A stream of events is measured to its first byte: how long somebody watches says nothing about us. Status 0: the
    request ended without an answer.
    """

    def __init__(self, app: ASGIApp, meter: RequestMeter) -> None:
        self._app = app
        self._note, self._timer = meter.note, meter.timer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = self._timer()
        start: Message = _UNANSWERED
        is_noted = False

        # No coroutine around that of the server: two fewer for each request are a third of what this layer would cost.
        def send_measured(message: Message) -> Awaitable[None]:
            nonlocal start, is_noted
            if message["type"] == "http.response.start":
                start = message
            elif not is_noted and (not message.get("more_body") or _is_event_stream(start)):
                is_noted = True
                self._note((find_template(scope), scope["method"], start["status"]), began, self._timer())
            return send(message)

        try:
            await self._app(scope, receive, send_measured)
        finally:
            if not is_noted:
                self._note((find_template(scope), scope["method"], start["status"]), began, self._timer())


def _is_event_stream(start: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in start.get("headers", ())
    )
