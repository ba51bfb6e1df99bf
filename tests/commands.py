"""`ese` as a process on a database of a test."""

import asyncio
import os
import sys
from pathlib import Path

from tests.engine import ACCOUNT_SID, TOKEN


async def run_ese(url: str, folder: Path, *arguments: str) -> tuple[int | None, str]:
    """Run a command to its end, and return its exit code and what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESE_")} | {
        "ESE_DATA_DIR": str(folder),
        "ESE_DATABASE_URL": url,
        "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "ESE_TWILIO_AUTH_TOKEN": TOKEN,
        "ESE_PROVIDER": "simulator",
        "ESE_SIMULATOR_URL": "http://127.0.0.1:9",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "event_stream_engine.cli.main", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()
