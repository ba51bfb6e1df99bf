"""Probes and health as programs and the page see them, on a real engine."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.monitoring import processes
from tests.engine import Engine, make_settings, running_engine


async def probe(engine: Engine) -> tuple[int, dict[str, Any]]:
    answer = await engine.anonymous.get("/readyz")
    return answer.status_code, answer.json()


async def live(engine: Engine, kind: str, **changes: Any) -> processes.Process:
    now = datetime.now(UTC)
    process = processes.Process(uuid4(), kind, now - timedelta(minutes=3), now, 0, **changes)
    async with await connect(engine.url, "test") as conn:
        await processes.beat(conn, process)
    return process


async def parts_of(engine: Engine) -> dict[str, dict[str, Any]]:
    return {part["slug"]: part for part in (await engine.get("/api/v1/monitoring/health"))["parts"]}


async def test_ready_names_each_check(engine: Engine) -> None:
    status, answer = await probe(engine)
    assert (status, answer["status"], answer["reason"]) == (200, "ready", None)
    assert [(check["name"], check["ok"]) for check in answer["checks"]] == [
        ("database", True),
        ("migrations", True),
        ("spool", True),
    ]


async def test_pending_migrations_are_not_ready_and_say_the_command(engine: Engine) -> None:
    await engine.rows("UPDATE alembic_version SET version_num = '0001_foundation' RETURNING 1")
    status, answer = await probe(engine)
    assert (status, answer["reason"]) == (503, "migrations pending: run `ese migrate`")


async def test_a_database_that_is_away_is_not_ready_and_the_page_tells_since_when(engine: Engine) -> None:
    name = psycopg.conninfo.conninfo_to_dict(engine.url)["dbname"]
    server = engine.url.replace(f"/{name}?", "/postgres?")
    with psycopg.connect(server, autocommit=True) as admin:
        database = sql.Identifier(str(name))
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(database))
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            async with asyncio.timeout(30):
                while "away_since" not in (answer := (await probe(engine))[1]):
                    await asyncio.sleep(0.1)
            assert answer["reason"] == "database away"
            assert [check["ok"] for check in answer["checks"]] == [False, None, True]
            assert str(name) not in str(answer), "the probe is open to everybody"
        finally:
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database))
    async with asyncio.timeout(30):
        while (await probe(engine))[0] != 200 or "away_since" in (await probe(engine))[1]:
            await asyncio.sleep(0.1)


async def test_a_full_spool_is_not_ready(database_url: str, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, SPOOL_LIMIT_MB="1")
    async with (
        running_engine(database_url, settings, SystemClock()) as engine,
        await connect(database_url, "test") as locker,
        locker.transaction(),
    ):
        await locker.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        form = {"MessageStatus": "sent", "AccountSid": settings.twilio_account_sid, "Padding": "x" * 60_000}
        number = 0
        async with asyncio.timeout(60):
            while (answer := await probe(engine))[0] == 200:
                sids = [f"SM{number + more}" for more in range(6)]
                number += len(sids)
                await asyncio.gather(
                    *(engine.post_webhook("/webhooks/status", form | {"MessageSid": sid}) for sid in sids)
                )
        assert "% of ESE_SPOOL_LIMIT_MB is used" in answer[1]["reason"]
        assert answer[1]["checks"][2]["ok"] is False


async def test_health_lists_each_part_with_its_numbers(engine: Engine) -> None:
    loops = {"projector": datetime.now(UTC).isoformat()}
    await live(engine, "worker", provider="simulator", loops=loops)
    found = await engine.get("/api/v1/monitoring/health")
    parts = {part["slug"]: part for part in found["parts"]}
    assert set(parts) == {
        *("database", "web", "worker", "loops", "event_lag", "unsent", "spool", "dead_letters", "provider"),
        *("sealing", "checking", "redis", "notifications", "deadman"),
    }
    assert parts["database"]["figures"]["connections"] >= 1
    assert parts["worker"]["figures"]["running"] == 1
    assert parts["provider"]["text"] == "simulator: nothing is really sent"
    assert {process["kind"] for process in found["processes"]} == {"web", "worker"}


async def test_a_worker_whose_projector_hangs_does_not_look_healthy(engine: Engine) -> None:
    await live(engine, "worker", loops={"projector": (datetime.now(UTC) - timedelta(seconds=50)).isoformat()})
    found = await engine.get("/api/v1/monitoring/health")
    parts = {part["slug"]: part for part in found["parts"]}
    assert parts["worker"]["state"] == "ok"
    assert parts["loops"]["state"] == "failed"
    assert found["state"] == "failed"


async def test_a_missing_kind_is_told_since_its_last_sign_of_life_or_minute(engine: Engine) -> None:
    assert (await parts_of(engine))["worker"]["since"] is None, "there never was one"
    at = (datetime.now(UTC) - timedelta(minutes=30)).replace(second=0, microsecond=0)
    async with await connect(engine.url, "test") as conn:
        process = processes.Process(uuid4(), "worker", at, at, 0)
        await processes.beat(conn, process)
        assert (await parts_of(engine))["worker"]["since"] == at.isoformat().replace("+00:00", "Z")
        await processes.end(conn, process.id)
    missing = (await parts_of(engine))["worker"]
    assert missing["since"] == at.isoformat().replace("+00:00", "Z")
    assert missing["consequence"] == "Webhooks are stored, nothing is applied and nothing is sent"
    assert missing["advice"] == "Start `ese work`."


async def test_the_page_says_loudly_what_is_missing_and_asks_at_a_light_address(engine: Engine) -> None:
    page = (await engine.client.get("/monitoring", headers={"accept": "text/html"})).text
    assert 'data-failed="Workers"' in page
    async with asyncio.timeout(20):
        while (answer := await engine.client.get("/monitoring/health")).status_code != 200:
            await asyncio.sleep(0.05)
    assert 'data-failed="Workers"' in answer.text
    assert len(answer.content) < 8_000
    assert (await engine.anonymous.get("/monitoring/health")).status_code == 401
