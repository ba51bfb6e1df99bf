"""Measures over the engine itself: what waits, who is missing, what is broken."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.alerting.measure import ALL, Measure, Measured, Question
from event_stream_engine.alerting.state import Reading
from event_stream_engine.audit.chain import load_chain_status
from event_stream_engine.audit.verdicts import find_verdict
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.monitoring.health import load_health
from event_stream_engine.monitoring.processes import MISSING_AFTER

SQL = load_queries(__package__)
CALLBACK_WINDOW = timedelta(hours=1)
VERDICT_HOLDS = timedelta(days=1)
MEASURES = (
    Measure("projector_lag_seconds", "Event lag", "s", "age of the oldest event that is not projected"),
    Measure(
        "projector_lag_events", "Events waiting", "events", "events that are not projected, 10,000 at most"
    ),
    Measure("spooled_events", "Events on disk", "events", "events in the spools of all web processes"),
    Measure("dead_letters", "Dead letters", "events", "dead letters that are not resolved"),
    Measure(
        "missing_workers", "Workers missing", "processes", "workers that fell silent and have no successor"
    ),
    Measure(
        "missing_web",
        "Web processes missing",
        "processes",
        "web processes that fell silent and have no successor",
    ),
    Measure(
        "callback_silence_minutes",
        "Silence of the provider",
        "min",
        "time without a callback while messages of the last hour wait for their first",
    ),
    Measure(
        "webhook_processing_seconds",
        "Slowest webhook",
        "s",
        "the longest time from receipt to effect",
        has_window=True,
        has_history=True,
    ),
    Measure(
        "audit_faults",
        "Faults of the audit trail",
        "faults",
        "signs of damage found by the last whole verification",
    ),
    Measure(
        "audit_unsealed_seconds", "Audit trail not sealed", "s", "age of the oldest entry that is not sealed"
    ),
    Measure("evaluation_lag_seconds", "Lag of the alerts", "s", "time since the tick before this one"),
)
_OF_HEALTH = ("projector_lag_seconds", "projector_lag_events", "spooled_events", "dead_letters")


@dataclass(frozen=True, slots=True)
class _Callbacks:
    waiting: int
    silent_seconds: float | None


def divide(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Return the questions that one reading answers together."""
    if of_health := [question for question in questions if question.metric in _OF_HEALTH]:
        yield of_health
    yield from ((question,) for question in questions if question.metric not in _OF_HEALTH)


async def read(conn: Connection, questions: Sequence[Question], now: datetime) -> Mapping[Question, Measured]:
    """Measure the engine as it is now."""
    first = questions[0]
    if first.metric not in _OF_HEALTH:
        return {first: Measured([await _READERS[first.metric](conn, first, now)])}
    health = await load_health(conn, now)
    values = {
        "projector_lag_seconds": health.lag_seconds,
        "projector_lag_events": float(health.lag_events),
        "spooled_events": float(health.spooled),
        "dead_letters": float(health.dead_letters),
    }
    return {question: Measured([Reading(ALL, values[question.metric])]) for question in questions}


async def _read_missing_workers(conn: Connection, _question: Question, now: datetime) -> Reading:
    return await _count_missing(conn, "worker", now)


async def _read_missing_web(conn: Connection, _question: Question, now: datetime) -> Reading:
    return await _count_missing(conn, "web", now)


async def _count_missing(conn: Connection, kind: str, now: datetime) -> Reading:
    missing = await SQL.count_missing_processes.value(conn, {"kind": kind, "since": now - MISSING_AFTER})
    return Reading(ALL, float(missing))


async def _read_callbacks(conn: Connection, _question: Question, now: datetime) -> Reading:
    found = await SQL.measure_callbacks.one(conn, _Callbacks, {"since": now - CALLBACK_WINDOW, "now": now})
    if found.silent_seconds is None:
        return Reading(ALL, 0.0)
    return Reading(ALL, max(0.0, found.silent_seconds / 60))


async def _read_webhooks(conn: Connection, question: Question, now: datetime) -> Reading:
    since = now - timedelta(seconds=question.window_seconds)
    slowest = await SQL.find_slowest_webhook.value(conn, {"since": since})
    if slowest is None:
        return Reading(ALL, None, reason="No webhook came in this window.")
    return Reading(ALL, slowest / 1e6)


async def _read_audit_faults(conn: Connection, _question: Question, now: datetime) -> Reading:
    verdict = await find_verdict(conn)
    if verdict is None:
        return Reading(ALL, None, reason="The audit trail has not been verified yet.")
    if not verdict.faults and now - verdict.verified_at > VERDICT_HOLDS:
        return Reading(ALL, None, reason="The audit trail has not been verified for more than a day.")
    return Reading(ALL, float(verdict.faults))


async def _read_unsealed(conn: Connection, _question: Question, now: datetime) -> Reading:
    oldest_at = (await load_chain_status(conn)).oldest_unsealed_at
    return Reading(ALL, max(0.0, (now - oldest_at).total_seconds()) if oldest_at else 0.0)


async def _read_evaluation_lag(conn: Connection, _question: Question, now: datetime) -> Reading:
    lag_seconds = await SQL.find_evaluation_lag.value(conn, {"now": now})
    if lag_seconds is None:
        return Reading(ALL, None, reason="This is the first tick.")
    return Reading(ALL, max(0.0, lag_seconds))


_READERS: Mapping[str, Callable[[Connection, Question, datetime], Awaitable[Reading]]] = {
    "missing_workers": _read_missing_workers,
    "missing_web": _read_missing_web,
    "callback_silence_minutes": _read_callbacks,
    "webhook_processing_seconds": _read_webhooks,
    "audit_faults": _read_audit_faults,
    "audit_unsealed_seconds": _read_unsealed,
    "evaluation_lag_seconds": _read_evaluation_lag,
}
