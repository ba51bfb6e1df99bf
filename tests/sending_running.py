"""Senders as processes, and the simulator they hand messages to."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from event_stream_engine.kernel.clock import Clock
from event_stream_engine.messaging.simulated_behaviour import Behaviour
from event_stream_engine.messaging.simulator import build_simulator
from tests.engine import ACCOUNT_SID, TOKEN

PROGRAM = Path(__file__).with_name("sending_process.py")


# Every callback is lost: nobody listens, and what became of messages must be found out without them.
SILENT = Behaviour(lost_share=1.0)


@asynccontextmanager
async def running_simulator(port: int, clock: Clock, behaviour: Behaviour = SILENT) -> AsyncIterator[str]:
    app = build_simulator(behaviour, ACCOUNT_SID, TOKEN, None, clock)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def running_sender(
    url: str, folder: Path, simulator: str, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), url, str(folder), simulator, *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 20) == 0


async def list_given(simulator: str) -> list[dict[str, Any]]:
    """Return all messages the provider was given."""
    found: list[dict[str, Any]] = []
    page: str | None = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json?PageSize=1000"
    async with httpx.AsyncClient(auth=(ACCOUNT_SID, TOKEN), base_url=simulator) as client:
        while page:
            answer = (await client.get(page)).json()
            found += answer["messages"]
            page = answer["next_page_uri"]
    return found
