"""A sender as a process of its own, which may kill itself at a named point. Not part of the product.

python tests/sending_process.py DATABASE_URL FOLDER SIMULATOR_URL CLOCK_SHIFT_SECONDS [FAILPOINT COUNT]
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from event_stream_engine.infra.settings import load_settings
from event_stream_engine.messaging import twilio
from event_stream_engine.worker import sender

ACCOUNT_SID = "AC5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e"
TOKEN = "0123456789abcdef0123456789abcdef"


class ShiftedClock:
    """The system's clock, some seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)


def die_at(failpoint: str, number: int) -> None:
    """Put a kill -9 into the `number`-th passing of a point."""
    passes = count(1)

    def die() -> None:
        if next(passes) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        async def patched(*arguments: Any, **options: Any) -> Any:
            die()
            return await original(*arguments, **options)

        setattr(owner, name, patched)

    def after(owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        async def patched(*arguments: Any, **options: Any) -> Any:
            result = await original(*arguments, **options)
            die()
            return result

        setattr(owner, name, patched)

    match failpoint:
        case "after claim commit":
            before(sender.Sender, "_begin")
        case "before call":
            before(twilio.TwilioProvider, "send_message")
        case "after answer":
            after(twilio.TwilioProvider, "send_message")
        case "mid record":
            after(sender, "record_answers")
        case "after record commit":
            after(sender.Sender, "record")
        case _:
            raise ValueError(failpoint)


async def main(url: str, folder: str, simulator_url: str, shift: str, *failpoint: str) -> None:
    settings = load_settings(
        {
            "ESE_DATA_DIR": folder,
            "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "ESE_TWILIO_AUTH_TOKEN": TOKEN,
            "ESE_PROVIDER": "simulator",
            "ESE_SIMULATOR_URL": simulator_url,
        }
    )
    if failpoint:
        sender.CLAIM = 15  # several claims, so that a kill leaves some done, some begun and some untouched
        sender.CALLS = 20
        die_at(failpoint[0], int(failpoint[1]))
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    print("ready", flush=True)
    async with twilio.open_provider(settings) as provider:
        await sender.run_sender(settings, url, ShiftedClock(float(shift)), stopping, provider)


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(*sys.argv[1:]))
