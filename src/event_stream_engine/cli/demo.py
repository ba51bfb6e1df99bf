"""The demo: a simulated provider with traffic of its own, two weeks of past, and an operator to look at it."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import psycopg
import typer

from event_stream_engine.access.credentials import add_operator, find_operator
from event_stream_engine.access.roles import Role
from event_stream_engine.audit.entries import Actor
from event_stream_engine.cli.demo_campaigns import make_demo_campaigns, start_small_campaign
from event_stream_engine.cli.demo_people import make_demo_people
from event_stream_engine.cli.session import command, open_database, open_settings
from event_stream_engine.cli.supervisor import end_with_supervisor
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.infra.settings import Settings, load_or_make_secret
from event_stream_engine.ingest.importing import import_webhooks
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.errors import EngineError
from event_stream_engine.messaging.simulated_behaviour import Behaviour
from event_stream_engine.messaging.simulated_traffic import draw_crowd, make_history, run_demo_traffic
from event_stream_engine.messaging.simulator import build_simulator, serve_simulator
from event_stream_engine.stream.log import has_waiting, has_webhooks
from event_stream_engine.worker.projector import pause

ACCOUNT_SID = "AC5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e"
EMAIL = "demo@example.com"
MESSAGES_PER_MINUTE = 12.0  # beside the campaigns; more would make the first start long
HISTORY = timedelta(days=2)  # the last 24 hours and the 24 before them
THIN_HISTORY = timedelta(days=14)  # with less traffic, so that each hour of the week has had some
THIN_SHARE = 0.12
BEHAVIOUR = Behaviour(speed=4.0)
ACTOR = Actor("engine:demo")
CAMPAIGN_EVERY_SECONDS = 20 * 60
LOOK_SECONDS = 0.5
_logger = logging.getLogger(__name__)


def make_demo_environment(settings: Settings) -> dict[str, str]:
    """Return the settings that make an engine a demo: the simulated account, its token, and a port for its API."""
    token = load_or_make_secret(settings.data_dir / "demo-auth-token")
    # The file, if the person has set one, would contradict the token.
    return {
        "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "ESE_TWILIO_AUTH_TOKEN": token,
        "ESE_TWILIO_AUTH_TOKEN_FILE": "",
        "ESE_PROVIDER": "simulator",
        "ESE_SIMULATOR_URL": f"http://127.0.0.1:{_find_free_port()}",
    }


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def make_demo_audience(url: str, settings: Settings, on_file: Callable[[int], None]) -> None:
    """Make people on first use; `on_file` is told how many rows of them were taken."""
    crowd = draw_crowd(BEHAVIOUR.seed, BEHAVIOUR.people_count, BEHAVIOUR.whatsapp_share)
    now = SystemClock().now()
    async with await connect(url, "ese-demo") as conn:
        await make_demo_people(conn, ACTOR, settings.secret_key, now, crowd=crowd, on_file=on_file)


async def make_demo_operator(url: str, settings: Settings) -> str:
    """Make the demo operator on first use and return the password, the same each time."""
    password = load_or_make_secret(settings.data_dir / "demo-password")[:16]
    async with await connect(url, "ese-demo") as conn:
        if await find_operator(conn, EMAIL) is None:
            async with transaction(conn):
                now = SystemClock().now()
                await add_operator(conn, EMAIL, name="Demo", password=password, role=Role.admin, now=now)
    return password


@command
async def simulate(supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False) -> None:
    """Serve the simulated provider; give an empty log two weeks of past, then make campaigns and post traffic of other senders."""
    if supervised:
        end_with_supervisor()
    settings = open_settings(logging.INFO)
    settings.require_provider()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    account = (settings.twilio_account_sid or ACCOUNT_SID, settings.twilio_auth_tokens[0])
    address = urlsplit(settings.simulator_url)
    simulator = build_simulator(BEHAVIOUR, *account, settings.public_url, SystemClock())
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve_simulator(simulator, address.hostname or "", address.port or 80))
        serving.add_done_callback(lambda _: stopping.set())
        async with open_database(settings) as url:
            await _make_past(url)
            await _make_campaigns(url, stopping)
            tasks.create_task(_start_campaigns(url, stopping))
            await run_demo_traffic(
                settings.public_url,
                account[1],
                account[0],
                BEHAVIOUR,
                MESSAGES_PER_MINUTE,
                stop=stopping,
                clock=SystemClock(),
            )


async def _make_campaigns(url: str, stopping: asyncio.Event) -> None:
    """Make campaigns on first use, when everything of the past is known: who said STOP then must not be written to."""
    async with await connect(url, "ese-demo") as conn:
        while not stopping.is_set() and await has_waiting(conn):
            await pause(stopping, LOOK_SECONDS)
        if not stopping.is_set():
            await make_demo_campaigns(conn, ACTOR, BEHAVIOUR.senders[0], SystemClock().now())


async def _start_campaigns(url: str, stopping: asyncio.Event) -> None:
    """Start a small campaign now and then; what is missing for it is not made anew."""
    while not stopping.is_set():
        await pause(stopping, CAMPAIGN_EVERY_SECONDS)
        if stopping.is_set():
            return
        try:
            async with await connect(url, "ese-demo") as conn:
                await start_small_campaign(conn, ACTOR, SystemClock().now())
        except (psycopg.Error, EngineError) as error:
            _logger.warning("no small campaign this time: %s", str(error).splitlines()[0])


async def _make_past(url: str) -> None:
    async with await connect(url, "ese-demo") as conn:
        if await has_webhooks(conn):
            return
        now = SystemClock().now()
        with _history_file() as file:
            imported = await import_webhooks(
                conn,
                file,
                source=uuid4(),
                now=now,
                on_reject=lambda reject: _logger.error("history line %s: %s", reject.line, reject.reason),
                on_read=lambda _: None,
                on_stored=lambda *_: None,
            )
        _logger.info("the demo begins with %s webhooks of the past two weeks", imported.accepted)


@contextmanager
def _history_file() -> Iterator[Path]:
    now = SystemClock().now()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "history.ndjson"
        with file.open("wb") as lines:
            a_day = MESSAGES_PER_MINUTE * 24 * 60
            for since, until, messages_per_day in (
                (now - THIN_HISTORY, now - HISTORY, a_day * THIN_SHARE),
                (now - HISTORY, now, a_day),
            ):
                for line in make_history(BEHAVIOUR, ACCOUNT_SID, since, until, messages_per_day):
                    lines.write(orjson.dumps(line) + b"\n")
        yield file
