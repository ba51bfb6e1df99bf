"""How long does it take to import people?

Writes a CSV of people with four attributes, a time zone for some, consent, some dirt and some duplicates, and imports
it into the embedded PostgreSQL (fsync on) as `ese import users` does. Prints seconds, rows a second and the largest
memory of this process, for the first import and for the same file once more.

    .venv/bin/python benchmarks/imports.py [--rows 1000000]
"""

import argparse
import asyncio
import random
import resource
import tempfile
import time
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from event_stream_engine.audience import importing
from event_stream_engine.audit.entries import Actor
from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.kernel.clock import SystemClock

CITIES = ("San Francisco", "New York", "Austin", "Seattle", "Berlin")


def write_file(path: Path, rows: int) -> None:
    rng = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        file.write("phone,first_name,city,tier,age,consent,timezone\n")
        for number in range(rows):
            phone = f"+1415{2000000 + number % (rows - rows // 100):07d}"
            if number % 1000 == 7:
                phone = "not a number"
            zone = "America/Los_Angeles" if number % 4 == 0 else ""
            city, tier = rng.choice(CITIES), rng.choice(("premium", "standard", "trial"))
            file.write(f"{phone},Name {number},{city},{tier},{number % 80},OPT_IN,{zone}\n")


async def run(url: str, path: Path, size: int) -> tuple[float, float, importing.Import]:
    """Import a file and return the seconds of reading, of all, and the import."""
    clock = SystemClock()
    began, staged = time.perf_counter(), 0.0

    async def note(import_: importing.Import) -> None:
        nonlocal staged
        if import_.applied_to is None:
            staged = time.perf_counter() - began

    async with await connect(url, "benchmark") as conn:
        async with transaction(conn):
            made = await importing.create_import(
                conn, Actor("engine:benchmark"), clock.now(), file_name=path.name, file_format="csv"
            )
            made = await importing.begin_local(conn, made.id, size, clock.now())
        with path.open("rb") as file:
            done = await importing.run_import(
                conn, made, file, secret_key="a key", clock=clock, on_progress=note
            )
    return staged, time.perf_counter() - began, done


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    table = Table(
        "import", "read s", "all s", "rows/s", "created", "unchanged", "duplicates", "rejected", "peak MB"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.csv"
        write_file(path, rows)
        size = path.stat().st_size
        async with embedded_postgres(Path(folder) / "data") as url:
            await prepare_database(url, ZoneInfo("UTC"))
            for name in ("first", "again"):
                staged, seconds, done = await run(url, path, size)
                assert done.state == "completed", done.error
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                counts = (done.created, done.unchanged, done.duplicates, done.rejected)
                table.add_row(
                    name,
                    f"{staged:.1f}",
                    f"{seconds:.1f}",
                    f"{rows / seconds:,.0f}",
                    *map(str, counts),
                    f"{peak:,.0f}",
                )
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
