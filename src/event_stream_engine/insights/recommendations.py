"""All kinds of recommendations, and one run of them.

Each kind is examined in a snapshot of its own, so that one that takes too long or fails keeps no other from its advice.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from event_stream_engine.infra.database import Connection, snapshot
from event_stream_engine.insights import (
    indexes,
    opt_outs,
    registration,
    segment_sizes,
    send_hours,
    send_rates,
    senders,
    templates,
    unreachable,
    wide_texts,
)
from event_stream_engine.insights.look import Kind, Look
from event_stream_engine.insights.recommendation import Advice, Examination, choose

KINDS: tuple[Kind, ...] = (
    Kind("unreachable", "Numbers that cannot be reached", unreachable.examine, "unreachable_share"),
    Kind("registration", "Refused by country", registration.examine, "refused_share"),
    Kind("sender", "Senders that fade", senders.examine, "delivery_rate"),
    Kind("template", "Templates", templates.examine, "{}_rate"),
    Kind("send_hour", "Best hours to send", send_hours.examine, "{}_rate"),
    Kind("segment_size", "Sizes of segments", segment_sizes.examine, "delivery_rate"),
    Kind("opt_out", "What makes people opt out", opt_outs.examine, "opt_out_rate"),
    Kind("send_rate", "Send rates", send_rates.examine, "overload_share"),
    Kind("wide_text", "Texts that cost double", wide_texts.examine, "wide_share"),
    Kind("index", "Indexes of the database", indexes.examine),
)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Examined:
    """One kind in a run. `failure`: why it could not be examined."""

    kind: Kind
    took_ms: float
    examination: Examination | None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    advice: Advice
    examined: Sequence[Examined]


async def run_all(conn: Connection, look: Look, kinds: Sequence[Kind] = KINDS) -> Run:
    """Examine all kinds and choose what is recommended."""
    examined = [await _examine(conn, look, kind) for kind in kinds]
    return Run(choose([one.examination for one in examined if one.examination is not None]), examined)


async def _examine(conn: Connection, look: Look, kind: Kind) -> Examined:
    began = time.perf_counter()
    examination = failure = None
    try:
        async with snapshot(conn):
            examination = await kind.examine(conn, look)
    except psycopg.errors.QueryCanceled:
        failure = "Counting took too long this time."
        _logger.warning("recommendations of the kind %s took too long", kind.slug)
    return Examined(kind, (time.perf_counter() - began) * 1000, examination, failure)
