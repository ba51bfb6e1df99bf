"""Redis as a dependency that is watched: there, away, with the wrong password, not configured."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.monitoring import redis_server, resources
from event_stream_engine.monitoring.health import load_health
from event_stream_engine.monitoring.redis_server import RedisLook, RedisProbe
from tests.engine import make_settings

PASSWORD = "correct-horse"
SERVER = shutil.which("redis-server")


@dataclass(slots=True)
class RedisServer:
    port: int
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        assert SERVER is not None, "no redis-server: run `make test`, which installs it or says how"
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", ""]
        self.process = subprocess.Popen(
            [SERVER, *arguments], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture
def redis(free_port: int, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(free_port, tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
async def probe(redis: RedisServer) -> AsyncIterator[RedisProbe]:
    probe = RedisProbe(redis.url)
    yield probe
    await probe.close()


async def look_until(probe: RedisProbe, *, away: bool) -> RedisLook:
    async with asyncio.timeout(20):
        while ((found := await probe.look()).fault is not None) != away:
            await asyncio.sleep(0.05)
    return found


async def test_redis_is_measured_goes_away_and_comes_back(redis: RedisServer, probe: RedisProbe) -> None:
    there = await look_until(probe, away=False)
    assert there.memory_bytes is not None
    assert there.memory_bytes > 100_000
    assert there.latency_ms is not None
    redis.stop()
    assert await look_until(probe, away=True) == RedisLook(None, None, "cannot be reached")
    redis.start()
    assert (await look_until(probe, away=False)).memory_bytes


async def test_a_wrong_password_is_said_and_not_told(redis: RedisServer, probe: RedisProbe) -> None:
    await look_until(probe, away=False)
    stranger = RedisProbe(redis.url.replace(PASSWORD, "guessed"))
    found = await stranger.look()
    await stranger.close()
    assert found == RedisLook(None, None, "refuses the password")


async def test_health_tells_of_redis_and_since_when_it_is_away(
    database_url: str, clock: SettableClock
) -> None:
    began = clock.now()
    async with await connect(database_url, "test") as conn:
        assert (await load_health(conn, began)).redis_unknown == "not configured"
        await resources.note_redis(conn, began, RedisLook(3 * 1024**2, 0.5, None))
        health = await load_health(conn, began)
        assert (health.redis_memory_bytes, health.redis_unknown) == (3 * 1024**2, None)
        for seconds in (10, 20):
            at = began + timedelta(seconds=seconds)
            await resources.note_redis(conn, at, RedisLook(None, None, "cannot be reached"))
        health = await load_health(conn, began + timedelta(seconds=21))
        row = next(row for row in health.rows if row.slug == "redis")
        assert (row.state, row.text, row.since) == (
            "warning",
            "cannot be reached",
            began + timedelta(seconds=10),
        )
        assert health.redis_unknown == "cannot be reached"
        later = await load_health(conn, began + timedelta(minutes=5))
        assert later.redis_unknown == "not configured", "nobody measures it any more"


def test_without_its_package_the_engine_refuses_to_start_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_server, "find_spec", lambda name: None)
    with pytest.raises(Invalid, match=r"pip install 'event-stream-engine\[redis\]'"):
        redis_server.require_package("redis://127.0.0.1")
    redis_server.require_package(None)


def test_the_url_of_redis_is_read_and_a_wrong_one_refused_without_telling_it(tmp_path: Path) -> None:
    assert make_settings(tmp_path, REDIS_URL="redis://:secret@h:1/0").redis_url == "redis://:secret@h:1/0"
    with pytest.raises(Invalid, match="ESE_REDIS_URL") as refused:
        make_settings(tmp_path, REDIS_URL="http://:secret@h")
    assert "secret" not in str(refused.value)
