"""Measures over what the check of compliance found."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from event_stream_engine.alerting.measure import Measure, Measured, Question
from event_stream_engine.alerting.message_measures import CAMPAIGN_FOLLOWED
from event_stream_engine.alerting.state import Reading
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
SCOPES = ("all", "campaign")
_KINDS = {
    "consent_missing": ["consent"],
    "quiet_hours_violations": ["quiet_hours"],
    "rate_limit_violations": ["rate"],
}
MEASURES = (
    Measure(
        "consent_missing",
        "Handed over without consent",
        "hand-overs",
        "hand-overs without consent that were found",
        SCOPES,
        has_window=True,
        has_history=True,
    ),
    Measure(
        "quiet_hours_violations",
        "Handed over inside quiet hours",
        "hand-overs",
        "hand-overs inside quiet hours that were found",
        SCOPES,
        has_window=True,
        has_history=True,
    ),
    Measure(
        "rate_limit_violations",
        "Seconds above the campaign’s limit",
        "seconds",
        "seconds in which a campaign handed over more than its limit",
        SCOPES,
        has_window=True,
        has_history=True,
    ),
)


@dataclass(frozen=True, slots=True)
class _Found:
    subject: str
    violations: int


def divide(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Return the questions that one reading answers together."""
    return ((question,) for question in questions)


async def read(conn: Connection, questions: Sequence[Question], now: datetime) -> Mapping[Question, Measured]:
    """Count what was found in the window before now."""
    return {question: await _read(conn, question, now) for question in questions}


async def _read(conn: Connection, question: Question, now: datetime) -> Measured:
    rows = await SQL.measure_violations.many(conn, _Found, list_parameters(question, now))
    return Measured([Reading(row.subject, float(row.violations)) for row in rows])


def list_parameters(question: Question, now: datetime) -> dict[str, Any]:
    """Return what the queries over violations ask for."""
    return {
        "scope": question.scope,
        "kinds": _KINDS[question.metric],
        "since": now - timedelta(seconds=question.window_seconds),
        "followed_since": now - CAMPAIGN_FOLLOWED,
    }
