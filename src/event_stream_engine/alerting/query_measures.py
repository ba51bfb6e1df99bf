"""The measure that people make themselves: the number a saved query answers with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.alerting.measure import Measure, Measured, Question
from event_stream_engine.alerting.state import Reading
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.workbench.query_readings import EVERY

SQL = load_queries(__package__)
HOLDS = EVERY + timedelta(minutes=4)  # an older number says nothing of now
MEASURES = (
    Measure(
        "query_value",
        "Value of a saved query",
        "as the query counts",
        "the number a shared query answers with: one row, one column; read once a minute",
        ("query",),
    ),
)


@dataclass(frozen=True, slots=True)
class _Asked:
    query_id: str
    read_at: datetime | None
    value: float | None
    reason: str


def divide(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Return the questions that one reading answers together."""
    return ((question,) for question in questions)


async def read(conn: Connection, questions: Sequence[Question], now: datetime) -> Mapping[Question, Measured]:
    """Return the last number of each query that a rule asks for, as a worker has read it."""
    asked = await SQL.list_query_readings.many(conn, _Asked)
    return dict.fromkeys(questions, Measured([_judge(one, now) for one in asked]))


def _judge(asked: _Asked, now: datetime) -> Reading:
    subject = f"query:{asked.query_id}"
    if asked.read_at is None:
        return Reading(subject, None, reason="It has not been read yet; a worker does so once a minute.")
    if now - asked.read_at > HOLDS:
        return Reading(
            subject, None, reason="It was last read more than five minutes ago. Is a worker running?"
        )
    return Reading(subject, asked.value, reason=asked.reason)
