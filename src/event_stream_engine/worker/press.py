"""The press: the exports that wait, made in a process of its own, which imports no more than that takes.

Shape: reads `{url, queries_url, secret_key, limit_bytes}` as a line of JSON from standard input; when that ends, so does
the press.
"""

import asyncio
import json
import os
import signal
import sys

from event_stream_engine.exports import jobs
from event_stream_engine.exports.making import make
from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import Clock, SystemClock
from event_stream_engine.workbench.readers import Readers, find_database


async def make_waiting(url: str, readers: Readers, limit_bytes: int, clock: Clock) -> None:
    """Make the exports that wait, one after the other, until none does."""
    async with await connect(url, "ese-press") as reading, await connect(url, "ese-press-parts") as storing:
        while (claimed := await jobs.claim_next(storing, clock.now())) is not None:
            await make(reading, storing, readers, claimed, clock, limit_bytes=limit_bytes)


async def main() -> None:
    order = json.loads(sys.stdin.buffer.readline())
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os.kill, os.getpid(), signal.SIGTERM)
    readers = Readers(order["queries_url"], find_database(order["url"]), order["secret_key"])
    await make_waiting(order["url"], readers, order["limit_bytes"], SystemClock())


if __name__ == "__main__":
    asyncio.run(main())
