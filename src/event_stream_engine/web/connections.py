"""Connections of the HTTP server whose clients must say what they want: a silent or endless one is closed.

uvicorn waits for ever for the headers of a request and takes any amount of them.
"""

from asyncio import TimerHandle, Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0  # from the connection, or from the first byte of a later request, to the last header
LARGEST_HEADERS_BYTES = 64 * 1024


class HttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a deadline and a limit for the headers of each request."""

    _deadline: TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        # Only after the parser had it: a first piece may be whole headers and much of a body.
        if self._deadline is not None and self._header_bytes > LARGEST_HEADERS_BYTES:
            self.send_400_response(f"The headers are longer than {LARGEST_HEADERS_BYTES} bytes.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:  # another request on a connection that was kept
            self._await_headers()

    def on_headers_complete(self) -> Any:
        self._end_wait()
        return super().on_headers_complete()

    def _await_headers(self) -> None:
        self._header_bytes = 0
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._close_late)

    def _end_wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_late(self) -> None:
        self._deadline = None
        self.transport.close()
