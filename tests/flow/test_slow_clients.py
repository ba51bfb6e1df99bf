"""Clients that say nothing, say it slowly or say too much: refused or closed by a deadline, the others unaffected."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.web import bodies, connections
from event_stream_engine.web.app import build_app
from event_stream_engine.web.connections import HttpProtocol
from tests.engine import make_settings

SHORT_SECONDS = 0.3
IDLE_SOCKETS = 200
HEAD = b"POST /sign-in HTTP/1.1\r\nHost: engine\r\nContent-Type: application/x-www-form-urlencoded\r\n"
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def port(
    database_url: str, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[int]:
    """The port of the real application, served as `ese serve` does, with short deadlines."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(bodies, "LINGER_SECONDS", SHORT_SECONDS)
    app = build_app(make_settings(tmp_path, PORT=str(free_port)), database_url, SystemClock())
    config = uvicorn.Config(app, port=free_port, http=HttpProtocol, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        yield free_port
    finally:
        server.should_exit = True
        await running


async def say(port: int, words: bytes) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(words)
    return reader, writer


async def hear_all(client: Client) -> bytes:
    """Return what the server says until it hangs up."""
    reader, writer = client
    async with asyncio.timeout(20):
        heard = await reader.read()
    writer.close()
    return heard


async def test_silent_and_slow_headers_are_closed_and_others_served(port: int) -> None:
    idle = [await say(port, b"") for _ in range(IDLE_SOCKETS)]
    slow = await say(port, b"GET /healthz HTTP/1.1\r\nHost: eng")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as others:
        assert (await others.get("/healthz")).status_code == 200
    assert await asyncio.gather(*map(hear_all, [*idle, slow])) == [b""] * (IDLE_SOCKETS + 1)


async def test_a_later_request_on_a_kept_connection_has_a_deadline_too(port: int) -> None:
    reader, writer = await say(port, b"GET /healthz HTTP/1.1\r\nHost: engine\r\n\r\n")
    assert await reader.readuntil(b'{"status":"alive"}')
    writer.write(b"GET /healthz HTT")
    assert await hear_all((reader, writer)) == b""


async def test_endless_headers_are_refused(port: int) -> None:
    client = await say(
        port, b"GET /healthz HTTP/1.1\r\nX-Much: " + b"x" * (connections.LARGEST_HEADERS_BYTES + 1)
    )
    assert b"400 Bad Request" in await hear_all(client)


async def test_a_body_that_does_not_come_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", SHORT_SECONDS)
    heard = await hear_all(await say(port, HEAD + b"Content-Length: 100\r\n\r\nemail="))
    assert heard.startswith(b"HTTP/1.1 408")
    assert b"did not arrive" in heard


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused_before_it_is_all_there(port: int, chunked: bool) -> None:
    much = b"x" * (bodies.LARGEST_BODY_BYTES + 1)
    if chunked:
        words = b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % len(much) + much
    else:
        words = b"Content-Length: 1000000000\r\n\r\n" + much
    heard = await hear_all(await say(port, HEAD + words))
    assert heard.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in heard


async def test_a_client_that_goes_on_sending_still_hears_why_it_is_refused(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "LINGER_SECONDS", 20.0)
    size = 8 * bodies.LARGEST_BODY_BYTES
    reader, writer = await say(port, HEAD + b"Content-Length: %d\r\n\r\n" % size)
    for _ in range(8):
        writer.write(b"x" * bodies.LARGEST_BODY_BYTES)
        await writer.drain()
    assert (await hear_all((reader, writer))).startswith(b"HTTP/1.1 413")
