"""Work that takes a whole core or much memory, done by a process of its own beside the loops of the worker."""

import asyncio
import logging
import sys
from collections.abc import Mapping

from event_stream_engine.infra.settings import extend_environment
from event_stream_engine.monitoring.loops import CameRound

LOOK_SECONDS = 1.0
END_SECONDS = 5
_logger = logging.getLogger(__name__)


async def run_child(
    module: str,
    *arguments: str,
    stopping: asyncio.Event,
    came_round: CameRound,
    told: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a module of ours until it ends, or with us. `told` is written to its standard input."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", f"event_stream_engine.{module}", *arguments),
        stdin=asyncio.subprocess.PIPE,  # left open: its end tells the child of ours
        start_new_session=True,
        env=extend_environment(environment or {}),
    )
    assert child.stdin is not None  # noqa: S101 - narrows the type
    child.stdin.write(told)
    ended = asyncio.ensure_future(child.wait())
    stopped = asyncio.ensure_future(stopping.wait())
    while not (ended.done() or stopped.done()):
        await asyncio.wait({ended, stopped}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        came_round()
    stopped.cancel()
    if ended.done():
        if child.returncode:
            _logger.error("%s ended with %s; its work is tried again", module, child.returncode)
        return
    child.terminate()
    try:
        await asyncio.wait_for(ended, END_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()
