"""Processes killed at random moments while webhooks arrive: nothing that was acknowledged may be lost."""

import asyncio
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import httpx
import psycopg

from event_stream_engine.infra.database import connect
from event_stream_engine.infra.embedded import embedded_url, find_postmaster_pid
from event_stream_engine.messaging.webhooks import sign_request
from event_stream_engine.stream import log
from event_stream_engine.worker.recount import recount
from tests.engine import ACCOUNT_SID, TOKEN

KILLS = 20
CONNECTIONS = 16
PAUSE_SECONDS = 0.05  # between two webhooks of one connection: the machine is to be left some air
ANSWER_SECONDS = 3.0
MARGIN_SECONDS = 1.5  # for a machine with two cores that starts processes meanwhile
Key = tuple[str, str]  # SID and status; of an inbound message SID and ""


@dataclass(slots=True)
class Answer:
    began_at: float
    ended_at: float

    @property
    def seconds(self) -> float:
        return self.ended_at - self.began_at


@dataclass(slots=True)
class Ledger:
    """What the sender of the webhooks knows."""

    acknowledged: set[Key] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    not_answered: int = 0
    repeated: int = 0
    messages: int = 0
    inbound: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Running:
    """A started `ese up`."""

    process: asyncio.subprocess.Process
    data_dir: Path
    url: str

    def find_child(self, command: str) -> int | None:
        """Return the process id of the supervisor's child that runs this command."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except (OSError, ValueError):
                    continue
                if parent == self.process.pid and command.encode() in words:
                    return int(entry.name)
        return None

    def find_victim(self, name: str) -> int | None:
        return find_postmaster_pid(self.data_dir) if name == "postgres" else self.find_child(name)

    def count_spooled(self) -> int:
        total = 0
        for path in (self.data_dir / "spool").glob("spool-*.db"):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
                total += db.execute("SELECT count(*) FROM spooled").fetchone()[0]
        return total


@asynccontextmanager
async def running_command(data_dir: Path, port: int) -> AsyncIterator[Running]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESE_")} | {
        "ESE_DATA_DIR": str(data_dir),
        "ESE_PORT": str(port),
        "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "ESE_TWILIO_AUTH_TOKEN": TOKEN,
        "ESE_PROVIDER": "simulator",  # the replies to STOP find nobody there, and wait
        "ESE_SIMULATOR_URL": "http://127.0.0.1:9",
    }
    said = data_dir.with_suffix(".log")
    with said.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "event_stream_engine.cli.main", "up"),
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield Running(process, data_dir, f"http://127.0.0.1:{port}")
    except BaseException:
        print("\n".join(said.read_text(errors="replace").splitlines()[-60:]))
        raise
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 40)
            except TimeoutError:
                process.kill()
                await process.wait()


async def wait_until_up(engine: Running, client: httpx.AsyncClient) -> None:
    """Wait for all three; not for the web process's pool, which finds back to the database by itself."""
    async with asyncio.timeout(40):
        while True:
            assert engine.process.returncode is None, "ese up has ended"
            try:
                (await client.get("/healthz")).raise_for_status()
                await (await connect(embedded_url(engine.data_dir), "test")).close()
                if engine.find_child("work"):
                    return
            except (httpx.TransportError, psycopg.OperationalError):
                pass
            await asyncio.sleep(0.05)


async def post(client: httpx.AsyncClient, path: str, form: dict[str, str], ledger: Ledger, key: Key) -> None:
    """Post until it is acknowledged, as the provider would."""
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-twilio-signature": sign_request(TOKEN, f"{client.base_url}{path}".replace("//w", "/w"), form),
    }
    while True:
        began_at = time.monotonic()
        try:
            answer = await client.post(path, content=urlencode(form), headers=headers)
        except httpx.ConnectError as error:
            ledger.faults.append(f"refused to connect: {error}")
            return
        except httpx.TransportError:  # the process that had the request was killed
            ledger.not_answered += 1
            await asyncio.sleep(0.05)
            continue
        ledger.answers.append(Answer(began_at, time.monotonic()))
        if not answer.is_success:
            ledger.faults.append(f"{answer.status_code} {answer.text}")
            return
        ledger.acknowledged.add(key)
        return


async def send_traffic(
    client: httpx.AsyncClient, sender: int, ledger: Ledger, chance: random.Random, stopping: asyncio.Event
) -> None:
    """Post messages with two status callbacks each, inbound messages, and some of both once more."""
    number = 0
    while not stopping.is_set():
        number += 1
        sid = f"SM{sender:04x}{number:028x}"
        phone = f"+4179{sender:02d}{number:05d}"
        common = {"MessageSid": sid, "AccountSid": ACCOUNT_SID}
        if number % 4 == 0:
            ledger.inbound += 1
            form = common | {"From": phone, "To": "+41790000000", "Body": chance.choice(("STOP", "hello"))}
            steps = [("/webhooks/inbound", form, (sid, ""))]
        else:
            ledger.messages += 1
            form = common | {"To": phone, "From": "+41790000000"}
            steps = [
                ("/webhooks/status", form | {"MessageStatus": status}, (sid, status))
                for status in ("sent", "delivered")
            ]
        if chance.random() < 0.2:
            ledger.repeated += len(steps)
            steps += steps
        for step in steps:
            path, parameters, key = step
            await post(client, path, parameters, ledger, key)
            await asyncio.sleep(PAUSE_SECONDS)


async def kill_at_random(
    engine: Running, client: httpx.AsyncClient, chance: random.Random
) -> tuple[list[tuple[str, ...]], list[Answer]]:
    """Kill -9 until it was often enough; return who was killed, and when no web process was up."""
    killed: list[tuple[str, ...]] = []
    web_away: list[Answer] = []
    while sum(len(names) for names in killed) < KILLS:
        await asyncio.sleep(chance.uniform(0, 0.6))
        names = tuple(chance.sample(("serve", "work", "postgres"), chance.choice((1, 1, 2))))
        pids = [engine.find_victim(name) for name in names]
        if None in pids:
            continue
        began_at = time.monotonic()
        for pid in pids:
            os.kill(pid or 0, signal.SIGKILL)
        killed.append(names)

        if "serve" in names:
            while True:
                try:
                    await client.get("/healthz")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
            web_away.append(Answer(began_at, time.monotonic()))
        await wait_until_up(engine, client)
    return killed, web_away


async def wait_until_all_is_projected(engine: Running, url: str) -> None:
    async with asyncio.timeout(30), await connect(url, "test") as conn:
        while engine.count_spooled() or await log.has_waiting(conn):
            await asyncio.sleep(0.1)


async def read_stored(url: str) -> tuple[set[Key], dict[str, int]]:
    async with await connect(url, "test") as conn:
        stored = await conn.execute(
            "SELECT payload ->> 'MessageSid', coalesce(payload ->> 'MessageStatus', '') FROM events"
        )
        keys: set[Key] = set(await stored.fetchall())
        counted = await conn.execute(
            "SELECT (SELECT count(*) FROM messages WHERE queued_at IS NULL), (SELECT count(*) FROM messages WHERE status = 'DELIVERED'),"
            " (SELECT count(*) FROM inbound_events), (SELECT count(*) FROM dead_letters),"
            " (SELECT sum(now_delivered)::int FROM message_rollups WHERE grain = 'minute'),"
            " (SELECT sum(messages)::int FROM inbound_rollups WHERE grain = 'minute')"
        )
        row = await counted.fetchone()
    assert row is not None
    names = ("messages", "delivered", "inbound", "dead", "delivered_counted", "inbound_counted")
    return keys, dict(zip(names, row, strict=True))


async def test_no_kill_loses_an_acknowledged_webhook(tmp_path: Path, free_port: int) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ledger = Ledger()
    data_dir = tmp_path / "engine"
    async with (
        running_command(data_dir, free_port) as engine,
        httpx.AsyncClient(
            base_url=engine.url, timeout=30, limits=httpx.Limits(max_connections=CONNECTIONS)
        ) as client,
        httpx.AsyncClient(base_url=engine.url, timeout=30) as watcher,
    ):
        await wait_until_up(engine, watcher)
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for sender in range(CONNECTIONS):
                tasks.create_task(
                    send_traffic(client, sender, ledger, random.Random(seed + sender), stopping)
                )
            killed, web_away = await kill_at_random(engine, watcher, chance)
            stopping.set()
        url = embedded_url(data_dir)
        await wait_until_all_is_projected(engine, url)
        stored, counts = await read_stored(url)
        differences = await recount(url, repair=False, on_progress=lambda _: None)

        worst = max(answer.seconds for answer in ledger.answers)
        with_web = [
            answer.seconds
            for answer in ledger.answers
            if not any(
                answer.ended_at > away.began_at and answer.began_at < away.ended_at for away in web_away
            )
        ]
        print(
            f"{len(killed)} rounds {killed}\n{len(ledger.acknowledged)} acknowledged, {ledger.not_answered} not"
            f" answered, {ledger.repeated} repeated; slowest answer {worst:.2f} s, {max(with_web):.2f} s with a web"
            f" process up; web away at most {max((a.seconds for a in web_away), default=0):.2f} s"
        )
        assert ledger.faults == []
        assert ledger.acknowledged - stored == set()
        assert counts == {
            "messages": ledger.messages,
            "delivered": ledger.messages,
            "inbound": ledger.inbound,
            "dead": 0,
            "delivered_counted": ledger.messages,
            "inbound_counted": ledger.inbound,
        }
        assert differences == []
        assert max(with_web) < ANSWER_SECONDS + MARGIN_SECONDS

        assert engine.process.returncode is None
        engine.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await engine.process.wait() == 0
        assert find_postmaster_pid(data_dir) is None
        assert engine.find_child("serve") is None
        assert engine.find_child("work") is None
