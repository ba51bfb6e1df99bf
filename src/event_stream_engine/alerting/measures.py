"""What rules can measure, and measuring it: one set-based query for each question, however many subjects it has."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

import psycopg

from event_stream_engine.alerting import (
    engine_measures,
    machine_measures,
    message_measures,
    query_measures,
    violation_measures,
)
from event_stream_engine.alerting.measure import Measure, Measured, Question
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.errors import Invalid

SOURCES = (message_measures, violation_measures, engine_measures, machine_measures, query_measures)
MEASURES: Mapping[str, Measure] = {measure.slug: measure for source in SOURCES for measure in source.MEASURES}
_logger = logging.getLogger(__name__)


def find_measure(slug: str) -> Measure:
    """Return a measure. Errors: Invalid naming the field."""
    measure = MEASURES.get(slug)
    if measure is None:
        raise Invalid(
            f"Rules cannot measure {slug!r}. GET /api/v1/alerts/metrics lists what they can.", "metric"
        )
    return measure


async def measure(conn: Connection, questions: Iterable[Question], now: datetime) -> dict[Question, Measured]:
    """Answer questions outside of any transaction; what cannot be read is answered with the reason.

    Errors: those of a lost connection, which nothing can be read through.
    """
    answers: dict[Question, Measured] = {}
    asked = set(questions)
    for question in asked:
        if question.metric not in MEASURES:
            answers[question] = Measured((), fault="This version does not measure it.")
    for source in SOURCES:
        own = sorted(one for one in asked if MEASURES.get(one.metric) in source.MEASURES)
        for part in source.divide(own):
            try:
                answers |= await source.read(conn, part, now)
            except psycopg.Error as error:
                if conn.broken or conn.closed:
                    raise
                reason = f"It could not be read: {type(error).__name__}."
                _logger.warning("%s could not be read", ", ".join(one.metric for one in part), exc_info=error)
                answers |= dict.fromkeys(part, Measured((), fault=reason))
    return answers
