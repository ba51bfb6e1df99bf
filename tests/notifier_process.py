"""A notifier as a process of its own, which kills itself at a named point. Not part of the product.

python tests/notifier_process.py DATABASE_URL FOLDER [FAILPOINT]
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from event_stream_engine.infra.settings import load_settings
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.notifications import deliveries
from event_stream_engine.worker.notifier import Notifier, run_notifier

SECRET_KEY = "a secret key of tests, 32 letters and more"


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(failpoint: str) -> None:
    """Put a kill -9 into the first passing of a point."""
    send, record_answer = Notifier.send, deliveries.record_answer

    async def send_and_die(self: Notifier, parcel: deliveries.Parcel) -> Any:
        answer = await send(self, parcel)
        die(answer)

    async def record_and_die(conn: Any, answer: deliveries.Answer) -> Any:
        await record_answer(conn, answer)
        die()

    match failpoint:
        case "before send":
            Notifier.send = die  # type: ignore[method-assign,assignment]
        case "after send":
            Notifier.send = send_and_die  # type: ignore[method-assign]
        case "mid record":
            deliveries.record_answer = record_and_die
        case _:
            raise ValueError(failpoint)


async def main(url: str, folder: str, *failpoint: str) -> None:
    settings = load_settings(
        {"ESE_DATA_DIR": folder, "ESE_SECRET_KEY": SECRET_KEY, "ESE_PRIVATE_TARGETS": "127.0.0.0/8"}
    )
    if failpoint:
        die_at(failpoint[0])
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await run_notifier(settings, url, SystemClock(), stopping)


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(*sys.argv[1:]))
