"""Keeping processes alive: children are started, started anew when they die, and ended in good order.

The listening socket belongs to the supervisor and is handed to the web processes: while one of them is restarted,
connections wait in the socket's queue instead of being refused.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.request import urlopen

from event_stream_engine.infra.settings import extend_environment
from event_stream_engine.kernel.errors import Conflict, Unavailable

STOP_SECONDS = 12
CHECK_SECONDS = 0.2
QUICK_DEATH_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 5.0
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Child:
    """A process of ours: `ese` with these arguments."""

    name: str
    arguments: Sequence[str]
    listener: socket.socket | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def bind_port(host: str, port: int) -> socket.socket:
    """Take the port the web processes will share. Errors: Conflict when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Conflict(
            f"{host}:{port} cannot be used: {error.strerror}. Stop what uses it or set ESE_PORT."
        ) from None
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


async def supervise(
    children: Sequence[Child], stopping: asyncio.Event, tend: Callable[[], Awaitable[None]]
) -> None:
    """Run the children until told to stop; `tend` is called again and again meanwhile."""
    async with asyncio.TaskGroup() as tasks:
        for child in children:
            tasks.create_task(_keep_alive(child, stopping))
        tending = tasks.create_task(_repeat(tend))
        await stopping.wait()
        tending.cancel()


async def _repeat(tend: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await tend()
        except Unavailable as error:
            _logger.error("%s", error)
        await asyncio.sleep(CHECK_SECONDS)


async def _keep_alive(child: Child, stopping: asyncio.Event) -> None:
    pause = CHECK_SECONDS
    while not stopping.is_set():
        began = time.monotonic()
        process = await _start(child)
        _logger.info("%s runs as process %s", child.name, process.pid)
        ended = asyncio.ensure_future(process.wait())
        told = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not ended.done():
            await _end(child, process, ended)
            return
        _logger.error("%s ended with %s; starting it anew", child.name, process.returncode)
        # One that dies at once would otherwise be started a hundred times a second.
        quick = time.monotonic() - began < QUICK_DEATH_SECONDS
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS) if quick else CHECK_SECONDS
        await _pause(stopping, pause)


async def _start(child: Child) -> asyncio.subprocess.Process:
    arguments = [*child.arguments, "--supervised"]
    descriptors: tuple[int, ...] = ()
    if child.listener is not None:
        arguments += ["--fd", str(child.listener.fileno())]
        descriptors = (child.listener.fileno(),)
    # A session of its own: the terminal's Ctrl-C is for the supervisor, which then ends its children in order.
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "event_stream_engine.cli.main",
        *arguments,
        stdin=subprocess.PIPE,  # never written to: see end_with_supervisor
        pass_fds=descriptors,
        env=extend_environment(child.environment),
        start_new_session=True,
    )


def end_with_supervisor() -> None:
    """In a child: ask this process to stop when the supervisor is gone, however that ended.

    The pipe to our standard input is then closed. Orphans would go on holding the port against the next start.
    """
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(sys.stdin.fileno())
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(sys.stdin.fileno(), stop)


async def _end(child: Child, process: asyncio.subprocess.Process, ended: "asyncio.Future[int]") -> None:
    process.send_signal(signal.SIGTERM)
    await asyncio.wait({ended}, timeout=STOP_SECONDS)
    if not ended.done():
        _logger.error("%s does not end; it is killed", child.name)
        process.kill()
        await ended


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        pass


def is_ready(url: str) -> bool:
    """Ask an engine whether it takes traffic."""
    try:
        with urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except OSError:
        return False
