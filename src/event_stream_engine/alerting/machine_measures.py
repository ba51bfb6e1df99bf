"""Measures over requests, hosts and connection pools, as the monitoring of the engine keeps them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.alerting.measure import ALL, Measure, Measured, Question
from event_stream_engine.alerting.state import Reading
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.monitoring.processes import MISSING_AFTER

SQL = load_queries(__package__)
_HOST_METRICS = {
    "host_cpu_percent": "cpu_percent",
    "host_memory_percent": "memory_percent",
    "disk_usage_percent": "disk_percent",
}
MEASURES = (
    Measure(
        "average_response_time",
        "API response time",
        "ms",
        "mean time of a request",
        has_window=True,
        sample="requests",
        has_history=True,
    ),
    Measure(
        "host_cpu_percent",
        "CPU usage",
        "%",
        "mean use of the processors, or of what a container may use",
        ("host",),
        has_window=True,
        has_history=True,
    ),
    Measure(
        "host_memory_percent",
        "Memory usage",
        "%",
        "mean use of the memory, or of what a container may use",
        ("host",),
        has_window=True,
        has_history=True,
    ),
    Measure(
        "disk_usage_percent",
        "Disk usage",
        "%",
        "use of the disk that holds `ESE_DATA_DIR`",
        ("host",),
        has_window=True,
        has_history=True,
    ),
    Measure(
        "pool_waiting",
        "Requests waiting for a connection",
        "requests",
        "requests in the queues of the connection pools of all web processes",
    ),
    Measure(
        "pool_timeouts",
        "Requests without a connection",
        "requests",
        "requests that got no connection: timeout or full queue",
        has_window=True,
        has_history=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Requests:
    requests: int
    microseconds: int

    @property
    def mean_ms(self) -> float | None:
        return self.microseconds / self.requests / 1000 if self.requests else None


@dataclass(frozen=True, slots=True)
class _Used:
    subject: str
    mean: float


def divide(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Return the questions that one reading answers together."""
    return ((question,) for question in questions)


async def read(conn: Connection, questions: Sequence[Question], now: datetime) -> Mapping[Question, Measured]:
    """Measure as the last minutes have it; a host that is silent has no reading."""
    return {question: Measured(await _read(conn, question, now)) for question in questions}


def host_metric_of(question: Question) -> str:
    """Return what the samples of hosts call a metric."""
    return _HOST_METRICS[question.metric]


async def _read(conn: Connection, question: Question, now: datetime) -> list[Reading]:
    since = now - timedelta(seconds=question.window_seconds)
    if question.metric in _HOST_METRICS:
        asked = {"metric": host_metric_of(question), "since": since}
        return [Reading(row.subject, row.mean) for row in await SQL.measure_hosts.many(conn, _Used, asked)]
    if question.metric == "average_response_time":
        found = await SQL.measure_requests.one(conn, Requests, {"since": since})
        reason = "" if found.requests else "There was no request in this window."
        return [Reading(ALL, found.mean_ms, found.requests, reason)]
    if question.metric == "pool_waiting":
        waiting = await SQL.count_waiting_requests.value(conn, {"alive_since": now - MISSING_AFTER})
        return [Reading(ALL, float(waiting))]
    return [Reading(ALL, float(await SQL.count_pool_timeouts.value(conn, {"since": since})))]
