"""Measures over messages, from the roll-ups: rates by campaign, channel and country, and single error codes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from event_stream_engine.alerting.measure import ALL, Measure, Measured, Question
from event_stream_engine.alerting.state import Reading
from event_stream_engine.analytics.scope import DIMENSIONS
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
SCOPES = ("all", "campaign", "channel", "country")
YOUNG = timedelta(minutes=10)  # so long a message may be in flight before it counts as not delivered
# A campaign's last messages may still arrive for so long after its end.
CAMPAIGN_FOLLOWED = timedelta(hours=72)
MEASURES = (
    Measure(
        "message_error_rate",
        "Error rate of messages",
        "%",
        "failed / attempted",
        SCOPES,
        has_window=True,
        spans_campaign=True,
        sample="attempted",
        has_history=True,
    ),
    Measure(
        "delivery_rate",
        "Delivery rate",
        "%",
        "delivered / sent, without those in flight for less than 10 min",
        SCOPES,
        has_window=True,
        spans_campaign=True,
        sample="sent",
        has_history=True,
    ),
    Measure(
        "message_opt_out_rate",
        "Opt-outs per message",
        "%",
        "answered with STOP / sent",
        SCOPES,
        has_window=True,
        spans_campaign=True,
        sample="sent",
        has_history=True,
    ),
    Measure(
        "error_30007_share",
        "Filtered by carriers (30007)",
        "%",
        "failed with 30007 / attempted",
        SCOPES,
        has_window=True,
        spans_campaign=True,
        sample="attempted",
        has_history=True,
    ),
    Measure(
        "error_30002",
        "Account suspended (30002)",
        "messages",
        "messages failed with 30002",
        SCOPES,
        has_window=True,
        spans_campaign=True,
        has_history=True,
    ),
)
_CODES = {"error_30007_share": 30007, "error_30002": 30002}


@dataclass(frozen=True, slots=True)
class Counts:
    """`young`: in flight for less than YOUNG; `coded`: failed with the code that was asked for."""

    messages: int
    sent: int
    delivered: int
    failed: int
    stopped: int
    young: int
    coded: int


@dataclass(frozen=True, slots=True)
class _Counted(Counts):
    subject: str


@dataclass(frozen=True, slots=True)
class _BinCounts(Counts):
    bin: datetime
    subject: str


def weigh(metric: str, counts: Counts) -> tuple[float | None, int | None]:
    """Return the value of a metric and its sample."""
    match metric:
        case "message_error_rate":
            return _percent(counts.failed, counts.messages), counts.messages
        case "delivery_rate":
            settled = counts.sent - counts.young
            # Failures are quick and deliveries take their time: while much is in flight, what is settled is no fair sample.
            return _percent(counts.delivered, settled), max(0, settled - counts.young)
        case "message_opt_out_rate":
            return _percent(counts.stopped, counts.sent), counts.sent
        case "error_30007_share":
            return _percent(counts.coded, counts.messages), counts.messages
        case _:
            return float(counts.coded), None


def _percent(numerator: int, denominator: int) -> float | None:
    """Return a share that is not rounded: 5.001 % is above 5 %."""
    return numerator * 100 / denominator if denominator else None


def divide(questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
    """Return the questions that one reading answers together."""
    return ((question,) for question in questions)


async def read(conn: Connection, questions: Sequence[Question], now: datetime) -> Mapping[Question, Measured]:
    """Measure each subject that had messages; all traffic, and each campaign until 72 h after its end, also without any."""
    return {question: await _read(conn, question, now) for question in questions}


async def _read(conn: Connection, question: Question, now: datetime) -> Measured:
    rows = await SQL.measure_messages.many(conn, _Counted, list_parameters(question, now))
    if question.scope == ALL and not rows:
        rows = [_Counted(0, 0, 0, 0, 0, 0, 0, ALL)]
    return Measured([_describe(question.metric, row) for row in rows])


def list_parameters(question: Question, now: datetime) -> dict[str, Any]:
    """Return what the queries over messages ask for."""
    window = timedelta(seconds=question.window_seconds)
    return {
        "scope": question.scope,
        "slice": DIMENSIONS.get(question.scope, 0),
        "since": now - window if window else None,
        "until": now,
        "young_since": now - YOUNG,
        "code": _CODES.get(question.metric),
        "followed_since": now - CAMPAIGN_FOLLOWED,
    }


def _describe(metric: str, row: _Counted) -> Reading:
    value, sample = weigh(metric, row)
    reason = "" if value is not None else "There was no message yet whose fate is known."
    return Reading(row.subject, value, sample, reason)
