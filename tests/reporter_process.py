"""A reporter as a process of its own, which ends when nothing is due, or kills itself at a named point. Not part of the product.

python tests/reporter_process.py DATABASE_URL ZONE INSTANT [FAILPOINT]
"""

import asyncio
import os
import signal
import sys
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SettableClock, parse_instant
from event_stream_engine.reporting import production, versions
from event_stream_engine.worker.reporter import report_once


def die_at(failpoint: str) -> None:
    """Put a kill -9 into the third passing of a point."""
    passed = iter(range(100))

    def pass_or_die() -> None:
        if next(passed) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    keep, store = production.keep, versions.store

    async def die_within(*arguments: Any) -> Any:
        is_stored = await store(*arguments)
        pass_or_die()
        return is_stored

    async def die_after(*arguments: Any) -> Any:
        is_kept = await keep(*arguments)
        pass_or_die()
        return is_kept

    match failpoint:
        case "stored":
            versions.store = die_within
        case "before commit":
            production.keep = die_after
        case _:
            raise ValueError(failpoint)


async def main(url: str, zone: str, instant: str, *failpoint: str) -> None:
    if failpoint:
        die_at(failpoint[0])
    clock = SettableClock(parse_instant(instant))
    async with await connect(url, "ese-reporter") as conn:
        while await report_once(conn, ZoneInfo(zone), clock):
            pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
