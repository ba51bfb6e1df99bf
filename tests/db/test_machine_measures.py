"""Rules over requests, hosts and connection pools, from rows as the monitoring of the engine keeps them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from event_stream_engine.alerting.backtest import try_rule
from event_stream_engine.alerting.measure import Question
from event_stream_engine.alerting.measures import measure
from event_stream_engine.alerting.rules import Draft
from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.monitoring import processes
from event_stream_engine.monitoring.processes import Process
from tests.db.test_alerts import NOON

LATER = NOON + timedelta(minutes=2)
WINDOWED = Draft("Rule", "average_response_time", "all", "above", 1000, 800, "warning", window_seconds=300)


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    """A connection to a database in which slow requests, a busy host and a full pool are noted at noon."""
    async with await connect(database_url, "test") as opened:
        for grain in ("minute", "quarter"):
            for route in ("", "/api/v1/users"):
                await opened.execute(
                    "INSERT INTO request_rollups (grain, bucket, route, method, status_class, requests, failed, microseconds, fastest, slowest, sketch)"
                    " VALUES (%s, %s, %s, '', '', 10, 0, 15000000, 1, 2, '{}')",
                    (grain, NOON, route),
                )
            for host, used in (("web-1", 900), ("web-2", 300)):
                await opened.execute(
                    "INSERT INTO resource_rollups (grain, bucket, host, kind, pid, metric, count, sum, peak) VALUES (%s, %s, %s, 'host', 0, 'cpu_percent', 10, %s, 100)",
                    (grain, NOON, host, used),
                )
        process_id = UUID(int=1)
        await processes.beat(opened, Process(process_id, "web", NOON, LATER, 0))
        await opened.execute(
            "INSERT INTO pool_states (process_id, noted_at, size, idle, largest, waiting, counters) VALUES (%s, %s, 10, 0, 10, 4, '{}')",
            (process_id, LATER),
        )
        await opened.execute(
            "INSERT INTO pool_rollups (minute, process_id, requests, waited, wait_ms, failed, lost) VALUES (%s, %s, 9, 9, 9, 3, 0)",
            (NOON, process_id),
        )
        yield opened


@pytest.mark.parametrize(
    ("question", "readings"),
    [
        (Question("average_response_time", "all", 300), {"all": 1500}),
        (Question("host_cpu_percent", "host", 300), {"host:web-1": 90, "host:web-2": 30}),
        (Question("host_memory_percent", "host", 300), {}),
        (Question("pool_waiting", "all", 0), {"all": 4}),
        (Question("pool_timeouts", "all", 300), {"all": 3}),
    ],
)
async def test_what_the_monitoring_keeps_is_measured(
    conn: Connection, question: Question, readings: dict[str, float]
) -> None:
    found = (await measure(conn, [question], LATER))[question]
    assert {reading.subject: reading.value for reading in found.readings} == readings


@pytest.mark.parametrize(
    ("draft", "subject"),
    [
        (WINDOWED, "all traffic"),
        (
            replace(WINDOWED, metric="host_cpu_percent", scope="host", threshold=80, clear_threshold=80),
            "web-1",
        ),
        (replace(WINDOWED, metric="pool_timeouts", threshold=0, clear_threshold=0), "all traffic"),
    ],
)
async def test_what_the_monitoring_keeps_has_a_history(conn: Connection, draft: Draft, subject: str) -> None:
    found = await try_rule(conn, draft, NOON + timedelta(days=1))
    assert [(period.subject_name, period.fired_at) for period in found.periods] == [
        (subject, NOON + timedelta(minutes=15))
    ]
