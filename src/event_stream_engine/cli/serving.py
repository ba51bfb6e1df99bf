"""Commands that stay: serve, work, up."""

import asyncio
import logging
import signal
import socket
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Annotated

import typer
import uvicorn
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from event_stream_engine.cli.demo import (
    EMAIL,
    make_demo_audience,
    make_demo_environment,
    make_demo_operator,
)
from event_stream_engine.cli.demo_people import PEOPLE
from event_stream_engine.cli.session import command, err, open_database, open_settings, out
from event_stream_engine.cli.supervisor import Child, bind_port, end_with_supervisor, is_ready, supervise
from event_stream_engine.infra.embedded import embedded_url, revive
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.monitoring.redis_server import require_package
from event_stream_engine.web.app import build_app
from event_stream_engine.web.chart_bundle import prepare_chart_bundle
from event_stream_engine.web.connections import HttpProtocol
from event_stream_engine.worker.main import run_worker

DRAIN_SECONDS = 4  # a webhook is answered within 3; only open feeds last longer, and their viewers come back
KEEP_ALIVE_SECONDS = 15


@command
async def serve(
    workers: Annotated[int, typer.Option(min=1, max=64, help="how many web processes share the port")] = 1,
    fd: Annotated[int | None, typer.Option(hidden=True, help="a listening socket handed down")] = None,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Take webhooks and serve API and console."""
    if supervised:
        end_with_supervisor()
    settings = open_settings(logging.INFO)
    settings.require_provider()
    require_package(settings.redis_url)
    if fd is not None:  # the supervisor keeps the database; while it is away, webhooks go to the spool
        await _serve(settings, settings.database_url or embedded_url(settings.data_dir), fd)
        return
    async with open_database(settings) as url:
        if workers == 1:
            await _serve(settings, url, None)
            return
        listener = bind_port(settings.host, settings.port)
        children = [Child(f"web {number}", ["serve"], listener) for number in range(1, workers + 1)]
        await supervise(children, _stop_on_signals(), lambda: _tend(settings))


async def _serve(settings: Settings, url: str, fd: int | None) -> None:
    async with _traced(settings, "web"):
        await _serve_http(settings, url, fd)


async def _serve_http(settings: Settings, url: str, fd: int | None) -> None:
    config = uvicorn.Config(
        build_app(settings, url, SystemClock()),
        host=settings.host,
        port=settings.port,
        http=HttpProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    # From the number alone Python finds out that it is TCP; uvicorn's own `fd` takes it for a Unix socket.
    sockets = None if fd is None else [socket.socket(fileno=fd)]
    # uvicorn raises the signal once more when it is done; without a handler that would be the end, with the database
    # left running.
    _stop_on_signals()
    preparing = asyncio.create_task(prepare_chart_bundle())
    await uvicorn.Server(config).serve(sockets)
    preparing.cancel()
    await asyncio.wait({preparing})


@command
async def work(supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False) -> None:
    """Bring state and figures up to date from the log."""
    if supervised:
        end_with_supervisor()
    settings = open_settings(logging.INFO)
    require_package(settings.redis_url)
    stopping = _stop_on_signals()
    async with open_database(settings) as url, _traced(settings, "worker"):
        await run_worker(settings, url, SystemClock(), stopping)


def _traced(settings: Settings, kind: str) -> AbstractAsyncContextManager[None]:
    """Keep traces of this process, if a collector is configured for them."""
    if not settings.telemetry.traces:
        return nullcontext()
    from event_stream_engine.infra.telemetry import traced  # noqa: PLC0415 - an extra that may not be there

    return traced(kind)


@command
async def up(
    demo: Annotated[bool, typer.Option("--demo", help="with a simulated provider and its traffic")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="how many web processes share the port")] = 1,
) -> None:
    """Run everything: database, web, worker; with --demo also traffic to look at."""
    settings = open_settings()
    environment = make_demo_environment(settings) if demo else {}
    if demo:
        settings = replace(settings, twilio_auth_tokens=(environment["ESE_TWILIO_AUTH_TOKEN"],))
    settings.require_provider()
    require_package(settings.redis_url)
    stopping = _stop_on_signals()
    listener = bind_port(settings.host, settings.port)
    children = [Child(f"web {number}", ["serve"], listener, environment) for number in range(1, workers + 1)]
    children.append(Child("worker", ["work"], environment=environment))
    if demo:
        children.append(Child("demo traffic", ["simulate"], environment=environment))
    async with open_database(settings) as url:
        password = await _prepare_demo(url, settings) if demo else None
        announcing = asyncio.create_task(_announce(settings, password))
        try:
            await supervise(children, stopping, lambda: _tend(settings))
        finally:
            announcing.cancel()
        out.print("Stopped. The data are kept.")


async def _prepare_demo(url: str, settings: Settings) -> str:
    """Make what the demo begins with, before any worker runs, and return the operator's password."""
    with Progress(TextColumn("Making customers"), BarColumn(), MofNCompleteColumn(), console=err) as progress:
        task = progress.add_task("", total=PEOPLE)
        await make_demo_audience(url, settings, lambda rows: progress.advance(task, rows))
        progress.update(task, completed=PEOPLE)
    return await make_demo_operator(url, settings)


async def _tend(settings: Settings) -> None:
    if settings.database_url is None:
        await revive(settings.data_dir)


async def _announce(settings: Settings, password: str | None) -> None:
    own = f"http://{settings.host}:{settings.port}"
    while not await asyncio.to_thread(is_ready, own):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.1)
    out.print(f"\n  Console   {settings.public_url}/monitoring", highlight=False)
    if password is None:
        out.print("  Sign in   with an operator made by `ese operators add EMAIL`", highlight=False)
    else:
        out.print(f"  Sign in   {EMAIL} with password {password}", highlight=False)
    out.print(f"  Webhooks  {settings.public_url}/webhooks/status and /webhooks/inbound", highlight=False)
    out.print("  Ctrl-C stops everything; the data stay.\n", highlight=False)


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping
