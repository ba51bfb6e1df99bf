"""How many messages one process hands over to the simulator in another, through the official SDK.

Run: python benchmarks/handing_over.py [messages]. Prints a table; the processor times of client and simulator hold also
when the machine is busy with other work.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import uvloop
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from event_stream_engine.infra.settings import load_settings
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging.provider import Accepted, OutgoingMessage
from event_stream_engine.messaging.simulated_behaviour import Behaviour
from event_stream_engine.messaging.simulator import build_simulator, serve_simulator
from event_stream_engine.messaging.twilio import open_provider

ACCOUNT, TOKEN, SENDER = (
    "AC5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e",
    "2b7e151628aed2a6abf7158809cf4f3c",
    "+14155238886",
)
AT_A_TIME = 64


def main() -> None:
    if sys.argv[1:2] == ["simulator"]:
        # Slow courses: only the API's own work is measured, no callbacks.
        app = build_simulator(Behaviour(speed=1e-6), ACCOUNT, TOKEN, None, SystemClock())
        uvloop.run(serve_simulator(app, "127.0.0.1", int(sys.argv[2])))
        return
    count = int(sys.argv[1]) if sys.argv[1:] else 5000
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    simulator = subprocess.Popen([sys.executable, __file__, "simulator", str(port)])
    try:
        uvloop.run(measure_all(simulator.pid, f"http://127.0.0.1:{port}", count))
    finally:
        simulator.terminate()
        simulator.wait()


async def measure_all(simulator_pid: int, url: str, count: int) -> None:
    await wait_for(url)
    print("| client | messages/s | client's processor µs each | simulator's µs each |\n|---|---|---|---|")
    async with AsyncTwilioHttpClient() as http_client:
        client = Client(ACCOUNT, TOKEN, http_client=http_client)
        client.api.base_url = url

        async def create() -> None:
            await client.messages.create_async(
                to="+14155550123", from_=SENDER, body="Hello", status_callback="http://127.0.0.1:1/w#rc=3"
            )

        await measure("AsyncTwilioHttpClient", simulator_pid, count, create)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            {
                "ESE_DATA_DIR": str(Path(folder)),
                "ESE_TWILIO_ACCOUNT_SID": ACCOUNT,
                "ESE_TWILIO_AUTH_TOKEN": TOKEN,
                "ESE_PROVIDER": "simulator",
                "ESE_SIMULATOR_URL": url,
            }
        )
        async with open_provider(settings) as provider:

            async def send() -> None:
                message = OutgoingMessage(uuid4(), "sms", "+14155550123", SENDER, "Hello", None, None, 36000)
                outcome = await provider.send_message(message)
                assert isinstance(outcome, Accepted), outcome

            await measure("messaging/twilio.py", simulator_pid, count, send)


async def measure(name: str, simulator_pid: int, count: int, call: Callable[[], Awaitable[None]]) -> None:
    async def work(share: int) -> None:
        for _ in range(share):
            await call()

    await asyncio.gather(*(work(3) for _ in range(AT_A_TIME)))
    simulated, used, began = read_processor_seconds(simulator_pid), time.process_time(), time.perf_counter()
    await asyncio.gather(*(work(count // AT_A_TIME) for _ in range(AT_A_TIME)))
    seconds, used = time.perf_counter() - began, time.process_time() - used
    simulated = read_processor_seconds(simulator_pid) - simulated
    done = count // AT_A_TIME * AT_A_TIME
    print(f"| {name} | {done / seconds:,.0f} | {used / done * 1e6:.0f} | {simulated / done * 1e6:.0f} |")


def read_processor_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def wait_for(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    main()
