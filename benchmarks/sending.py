"""How many messages a second does one worker send?

One campaign to people in their waking hours, its rate out of the way: from the claim through all six steps and the
provider's answer (the simulator in a process of its own, through the official SDK) to the record in outbox, log and
audit trail, on the embedded PostgreSQL (fsync on). Every callback is lost, so that the projector has no part in it.
Prints messages/s over all and for the slowest and fastest second, where the time goes, and what the trail counted.

    .venv/bin/python benchmarks/sending.py [--messages 20000]
"""

import argparse
import asyncio
import multiprocessing
import socket
import tempfile
import time
from collections import Counter
from datetime import UTC
from datetime import time as time_of_day
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import uvloop
from rich.console import Console
from rich.table import Table

from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns import campaigns
from event_stream_engine.cli.session import prepare_database
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.infra.queries import Query
from event_stream_engine.infra.settings import load_settings
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging.deliveries import prepare_queueing
from event_stream_engine.messaging.simulated_behaviour import Behaviour
from event_stream_engine.messaging.simulator import build_simulator, serve_simulator
from event_stream_engine.messaging.twilio import open_provider
from event_stream_engine.worker.runner import run_once
from event_stream_engine.worker.sender import run_sender

ACCOUNT_SID = "AC" + "5e" * 16
TOKEN = "benchmark-token-benchmark-token-"
ACTOR = Actor("engine:benchmark")


def simulate(port: int) -> None:
    app = build_simulator(Behaviour(lost_share=1.0), ACCOUNT_SID, TOKEN, None, SystemClock())
    uvloop.run(serve_simulator(app, "127.0.0.1", port))


async def prepare(conn: Connection, clock: SystemClock, count: int) -> None:
    """Make people whose local time is noon, and start a campaign to them."""
    now = clock.now()
    await conn.execute(
        """
        INSERT INTO users (phone_e164, attributes, consent_state, created_at, country, timezone, updated_at, consent_entry)
        SELECT '+1415' || 2000000 + n, jsonb_build_object('name', 'Person ' || n), 'OPT_IN', %(now)s, 'US', %(zone)s, %(now)s, gen_random_uuid()
        FROM generate_series(1, %(count)s::int) AS n
        """,
        {"count": count, "now": now, "zone": f"Etc/GMT{now.hour - 12:+d}"},
    )
    segment_id, template_id = uuid4(), uuid4()
    await conn.execute(
        "INSERT INTO segments (id, name, filter, created_at, updated_at) VALUES (%s, 'all', %s, %s, %s)",
        (segment_id, '{"and": []}', now, now),
    )
    await conn.execute(
        "INSERT INTO templates (id, name, channel, locale, body, created_at, updated_at) VALUES (%s, 't', 'sms', 'en', %s, %s, %s)",
        (template_id, "Hello {name}, our spring offers end on Sunday. Reply STOP to unsubscribe.", now, now),
    )
    draft = campaigns.Draft(
        "Benchmark", segment_id, template_id, "+14155238886", 10_000, time_of_day(21), time_of_day(8)
    )
    async with transaction(conn):
        campaign = await campaigns.create_campaign(conn, ACTOR, draft, now)
        await campaigns.start_campaign(conn, ACTOR, campaign.id, now)
    await prepare_queueing(conn)
    while await run_once(conn, clock):
        pass


def watch_queries() -> dict[str, list[float]]:
    """Note how long each query takes; return the seconds by name."""
    seconds: dict[str, list[float]] = {}

    def watched(original):
        async def run(query, *arguments):
            began = time.perf_counter()
            try:
                return await original(query, *arguments)
            finally:
                seconds.setdefault(query.name, []).append(time.perf_counter() - began)

        return run

    for name in ("execute", "many", "value"):
        setattr(Query, name, watched(getattr(Query, name)))
    return seconds


async def send(
    url: str, folder: Path, port: int, clock: SystemClock, conn: Connection
) -> tuple[float, float]:
    """Send everything; return wall and processor seconds of the worker."""
    settings = load_settings(
        {
            "ESE_DATA_DIR": str(folder),
            "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "ESE_TWILIO_AUTH_TOKEN": TOKEN,
            "ESE_PROVIDER": "simulator",
            "ESE_SIMULATOR_URL": f"http://127.0.0.1:{port}",
        }
    )
    stopping = asyncio.Event()
    async with open_provider(settings) as provider:
        began, busy = time.perf_counter(), time.process_time()
        sending = asyncio.create_task(run_sender(settings, url, clock, stopping, provider))
        while (await (await conn.execute("SELECT EXISTS (SELECT FROM outbox)")).fetchone())[0]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        ended = time.perf_counter() - began, time.process_time() - busy
        stopping.set()
        await sending
    return ended


async def main(count: int) -> None:
    clock, console = SystemClock(), Console()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    simulator = multiprocessing.get_context("spawn").Process(target=simulate, args=(port,), daemon=True)
    simulator.start()
    with tempfile.TemporaryDirectory() as folder:
        async with embedded_postgres(Path(folder) / "database") as url:
            await prepare_database(url, ZoneInfo("UTC"))
            async with await connect(url, "benchmark") as conn:
                began = time.perf_counter()
                await prepare(conn, clock, count)
                console.print(
                    f"filled {count:,} recipients at {count / (time.perf_counter() - began):,.0f}/s"
                )
                queries = watch_queries()
                wall, busy = await send(url, Path(folder), port, clock, conn)
                trail = await (
                    await conn.execute(
                        "SELECT action, after #>> '{steps,4,outcome}', date_trunc('second', at), count(*),"
                        " min(jsonb_array_length(after -> 'steps')) FROM audit_log WHERE action LIKE 'compliance.%'"
                        " GROUP BY 1, 2, 3"
                    )
                ).fetchall()
    simulator.terminate()
    outcomes, seconds = Counter(), Counter()
    for action, outcome, second, messages, steps in trail:
        outcomes[f"{action}, {outcome}, {steps} steps"] += messages
        seconds[second.astimezone(UTC)] += messages
    whole = [messages for _, messages in sorted(seconds.items())][1:-1]
    table = Table("", "messages/s", title="Sending")
    table.add_row("all", f"{count / wall:,.0f}")
    if whole:
        table.add_row("slowest second", f"{min(whole):,}")
        table.add_row("fastest second", f"{max(whole):,}")
    console.print(table)
    console.print(f"worker's processor time: {busy:.1f} s of {wall:.1f} s;", dict(outcomes))
    table = Table("query", "times", "ms each", "ms a message")
    for name, each in sorted(queries.items(), key=lambda item: -sum(item[1])):
        table.add_row(
            name, str(len(each)), f"{sum(each) / len(each) * 1000:.1f}", f"{sum(each) / count * 1000:.3f}"
        )
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=20_000)
    uvloop.run(main(parser.parse_args().messages))
