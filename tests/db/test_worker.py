"""The worker's upkeep: what has run out is cleared away, what has not is left."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.worker.main import run_worker
from tests.engine import make_settings


async def test_sessions_and_attempts_that_ran_out_are_cleared_away(
    database_url: str, clock: SettableClock, tmp_path: Path
) -> None:
    now, operator = clock.now(), uuid4()
    async with await connect(database_url, "test") as conn:
        await conn.execute(
            "INSERT INTO operators (id, email, name, password_hash, role, created_at) VALUES (%s, 'a@b.example', 'A', 'x', 'viewer', %s)",
            (operator, now),
        )
        for number, ends in enumerate((now - timedelta(hours=1), now + timedelta(hours=1))):
            await conn.execute(
                "INSERT INTO sessions (token_hash, operator_id, created_at, expires_at, last_used_at) VALUES (%s, %s, %s, %s, %s)",
                (bytes([number]) * 32, operator, now - timedelta(hours=2), ends, now - timedelta(hours=2)),
            )
            await conn.execute(
                "INSERT INTO sign_in_attempts (subject, free_at) VALUES (%s, %s)",
                (bytes([number]) * 32, ends),
            )
        stopping = asyncio.Event()
        working = asyncio.create_task(run_worker(make_settings(tmp_path), database_url, clock, stopping))
        left = "SELECT (SELECT array_agg(token_hash) FROM sessions), (SELECT array_agg(subject) FROM sign_in_attempts)"
        async with asyncio.timeout(20):
            while (found := await (await conn.execute(left)).fetchone()) != ([b"\1" * 32], [b"\1" * 32]):
                assert found is not None
                await asyncio.sleep(0.05)
        stopping.set()
        await working
