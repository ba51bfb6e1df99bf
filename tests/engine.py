"""A whole engine inside the test's event loop: the real application, worker code and database, spoken to over ASGI."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.analytics.calendar import find_timezone, refresh_calendar
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.infra.settings import Settings, load_settings
from event_stream_engine.ingest.projection import Live
from event_stream_engine.kernel.clock import Clock, SystemClock
from event_stream_engine.messaging.webhooks import sign_request
from event_stream_engine.web.app import build_app
from event_stream_engine.worker.projector import open_projector, run_once
from event_stream_engine.worker.recount import recount_attributes

TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT_SID = "AC5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e"
BASE = "http://engine.test"
LIVE = Live("a secret key of tests, 32 letters and more", SystemClock())


@dataclass(slots=True)
class Engine:
    """`client` sends an admin's API key; `anonymous` sends nothing."""

    url: str
    settings: Settings
    client: httpx.AsyncClient
    anonymous: httpx.AsyncClient

    async def post_webhook(self, path: str, form: dict[str, Any], *, token: str = TOKEN) -> httpx.Response:
        """Post a form as the provider would, signed with a token."""
        body = urlencode(form, doseq=True)
        return await self.anonymous.post(
            path,
            content=body,
            headers={
                "content-type": "application/x-www-form-urlencoded",
                "x-twilio-signature": sign_request(token, BASE + path, form),
            },
        )

    async def project(self, most: int = 5000) -> int:
        """Project all that is committed and return how many events it was."""
        return await project_all(self.url, most)

    async def get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = await self.client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    async def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        async with await connect(self.url, "test") as conn:
            return await (await conn.execute(query, parameters)).fetchall()  # type: ignore[arg-type]


async def project_all(url: str, most: int = 5000) -> int:
    """Project all that is committed and return how many events it was.

    The log is read up to the oldest transaction of the whole server, also one of another database: the next try may
    find what this one did not.
    """
    total = 0
    waiting = "SELECT e.id FROM events e JOIN log_cursors c ON c.reader = 'projector' AND (e.xid, e.id) > (c.xid, c.id) LIMIT 1"
    async with asyncio.timeout(30), await open_projector(url) as conn:
        while await (await conn.execute(waiting)).fetchone():
            count = await run_once(conn, LIVE, most)
            total += count
            if count == 0:
                await asyncio.sleep(0.01)
    return total


def make_settings(folder: Path, **changes: str) -> Settings:
    """Return settings for a test; `changes` are environment variables without `ESE_`."""
    environment = {
        "ESE_DATA_DIR": str(folder),
        "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "ESE_TWILIO_AUTH_TOKEN": TOKEN,
        "ESE_SECRET_KEY": LIVE.secret_key,
    }
    return load_settings(environment | {f"ESE_{name}": value for name, value in changes.items()})


@asynccontextmanager
async def running_engine(
    url: str, settings: Settings, clock: Clock, key_name: str = "test"
) -> AsyncIterator[Engine]:
    """Run a web process; of several on one database each needs a name of its own for its key."""
    app = build_app(settings, url, clock)
    async with await connect(url, "test") as conn, transaction(conn):
        if await find_timezone(conn) != settings.timezone.key:
            await refresh_calendar(conn, settings.timezone)
        await recount_attributes(conn, settings.attributes)
        key = (await add_api_key(conn, key_name, Role.admin, clock.now())).key
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        _lifespan(app),
        httpx.AsyncClient(
            transport=transport, base_url=BASE, headers={"authorization": f"Bearer {key}"}
        ) as client,
        httpx.AsyncClient(transport=transport, base_url=BASE) as anonymous,
    ):
        yield Engine(url, settings, client, anonymous)


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    """Start the application as a server would, and end it in good order."""
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    running = asyncio.create_task(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, to_app.get, from_app.put)
    )

    async def tell(message: str) -> None:
        await to_app.put({"type": f"lifespan.{message}"})
        answered = asyncio.ensure_future(from_app.get())
        await asyncio.wait({answered, running}, return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            answered.cancel()
            await running
        assert (await answered)["type"] == f"lifespan.{message}.complete"

    await tell("startup")
    try:
        yield
    finally:  # also when the test has failed: the application waits for it
        await tell("shutdown")
        await running
