"""Receivers of notifications on loopback: a web server, a mail server, Debian's Alertmanager. Not part of the product."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
from aiohttp import web
from aiosmtpd.controller import UnthreadedController

from event_stream_engine.audit.entries import Actor
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.notifications.channels import create_channel
from event_stream_engine.worker.notifier import Notifier

ME = Actor("operator:1")


@dataclass(slots=True)
class Receiver:
    """A web server that keeps what it gets. `status` is what it answers; while `is_hanging` it does not."""

    port: int
    status: int = 200
    reply: str = ""
    is_hanging: bool = False
    got: list[dict[str, Any]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/hooks/s3cret-token"

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.got]

    async def take(self, request: web.Request) -> web.Response:
        self.asked.set()
        if self.is_hanging:
            await self.released.wait()
        if self.status < 300:
            self.got.append(await request.json() if request.can_read_body else {})
        return web.Response(status=self.status, text=self.reply)


@asynccontextmanager
async def running_receiver(port: int, **options: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(port, **options)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        await runner.cleanup()


class _Mailbox:
    def __init__(self) -> None:
        self.letters: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.letters.append(envelope.content.decode())
        return "250 taken"


@asynccontextmanager
async def running_mail_server(port: int) -> AsyncIterator[list[str]]:
    """A real SMTP server; yields the letters it has got."""
    mailbox = _Mailbox()
    controller = UnthreadedController(
        mailbox, hostname="127.0.0.1", port=port, loop=asyncio.get_running_loop()
    )
    server = await controller._create_server()
    try:
        yield mailbox.letters
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def running_alertmanager(port: int, folder: Path) -> AsyncIterator[str]:
    """Debian's Alertmanager; yields its address once it is ready."""
    program = shutil.which("prometheus-alertmanager")
    assert program, "run tests/provide_programs.sh"
    folder.mkdir(exist_ok=True)
    (folder / "config.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    address = f"http://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={folder}/config.yml",
        f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{address}/-/ready") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientConnectorError:
                    pass
                await asyncio.sleep(0.05)
        yield address
    finally:
        process.terminate()
        await process.wait()


async def list_alerts(address: str) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{address}/api/v2/alerts") as answer:
        alerts: list[dict[str, Any]] = await answer.json()
        return alerts


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def add_channel(
    url: str, settings: Settings, clock: Clock, name: str, target: str, *, kind: str = "apprise"
) -> UUID:
    """Make a channel as an admin would."""
    async with await connect(url, "test") as conn, transaction(conn):
        channel = await create_channel(
            conn, ME, clock.now(), settings, name=name, kind=kind, target=target, is_enabled=True
        )
    return channel.id


async def deliver_all(url: str, settings: Settings, clock: Clock) -> None:
    """Run a notifier until nothing is due and nothing is on its way."""
    notifier = Notifier(settings, clock)
    async with asyncio.timeout(60), await connect(url, "test") as conn:
        await notifier.step(conn)
        while notifier.sendings:
            await asyncio.wait(notifier.sendings, return_when=asyncio.FIRST_COMPLETED)
            await notifier.step(conn)
