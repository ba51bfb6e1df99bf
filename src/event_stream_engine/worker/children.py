"""Work that takes a whole core or much memory, done by a process of its own beside the loops of the worker."""

import asyncio
import logging
import sys

from event_stream_engine.monitoring.loops import CameRound

LOOK_SECONDS = 1.0
END_SECONDS = 5
_logger = logging.getLogger(__name__)


async def run_child(*arguments: str, stopping: asyncio.Event, came_round: CameRound) -> None:
    """Run `ese` with these arguments until it ends, or with us."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "event_stream_engine.cli.main", *arguments, "--supervised"),
        stdin=asyncio.subprocess.PIPE,  # never written to: its end tells the child of ours
        start_new_session=True,
    )
    ended = asyncio.ensure_future(child.wait())
    told = asyncio.ensure_future(stopping.wait())
    while not (ended.done() or told.done()):
        await asyncio.wait({ended, told}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        came_round()
    told.cancel()
    if ended.done():
        if child.returncode:
            _logger.error("`ese %s` ended with %s; it is tried again", " ".join(arguments), child.returncode)
        return
    child.terminate()
    try:
        await asyncio.wait_for(ended, END_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()
