"""The past of what rules measure, by quarter-hour, from the roll-ups: what a rule is tried on before it is saved."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from operator import add
from statistics import mean
from typing import Any

from event_stream_engine.alerting import machine_measures, message_measures, violation_measures
from event_stream_engine.alerting.measure import ALL, Question
from event_stream_engine.alerting.message_measures import CAMPAIGN_FOLLOWED, Counts, weigh
from event_stream_engine.alerting.state import Reading
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
STEP = timedelta(minutes=15)
MOST_SUBJECTS = 100
_NOTHING = (0,) * 7
_FOLLOWED = CAMPAIGN_FOLLOWED // STEP


@dataclass(frozen=True, slots=True)
class _MessageBin(Counts):
    bin: datetime
    subject: str


@dataclass(frozen=True, slots=True)
class _ViolationBin:
    bin: datetime
    subject: str
    violations: int


@dataclass(frozen=True, slots=True)
class _WebhookBin:
    bin: datetime
    slowest: int


@dataclass(frozen=True, slots=True)
class _RequestBin(machine_measures.Requests):
    bin: datetime


@dataclass(frozen=True, slots=True)
class _HostBin:
    bin: datetime
    subject: str
    mean: float


@dataclass(frozen=True, slots=True)
class _PoolBin:
    bin: datetime
    failed: int


Timeline = Sequence[tuple[datetime, Reading]]


async def load_history(
    conn: Connection, question: Question, since: datetime, until: datetime
) -> dict[str, Timeline]:
    """Return what a question would have been answered at the end of each quarter-hour, by subject.

    The subjects with the most of it, MOST_SUBJECTS at most. Of the whole campaign those that began since then are told.
    """
    window = max(STEP, timedelta(seconds=question.window_seconds))
    width = -(-window // STEP)
    bins = [since + number * STEP for number in range(-width + 1, (until - since) // STEP)]
    load = _LOADERS.get(question.metric, _load_messages)
    return await load(conn, question, bins, width)


async def _load_messages(
    conn: Connection, question: Question, bins: Sequence[datetime], width: int
) -> dict[str, Timeline]:
    asked = message_measures.list_parameters(question, bins[-1] + STEP) | _span(bins)
    by_subject: dict[str, dict[datetime, _MessageBin]] = {}
    for row in await SQL.list_message_bins.many(conn, _MessageBin, asked):
        by_subject.setdefault(row.subject, {})[row.bin] = row
    if question.scope == ALL:
        by_subject.setdefault(ALL, {})
    busiest = sorted(by_subject, key=lambda one: -sum(row.messages for row in by_subject[one].values()))
    return {
        subject: _weigh_bins(question, by_subject[subject], bins, width, subject)
        for subject in busiest[:MOST_SUBJECTS]
    }


def _weigh_bins(
    question: Question,
    rows: Mapping[datetime, _MessageBin],
    bins: Sequence[datetime],
    width: int,
    subject: str,
) -> Timeline:
    counted = [_as_tuple(rows[at]) if at in rows else _NOTHING for at in bins]
    begins, ends = width - 1, len(bins)
    if question.window_seconds == 0:  # the whole campaign, from its first message until 72 h after its last
        present = [place for place, at in enumerate(bins) if at in rows]
        begins, ends, width = present[0], min(ends, present[-1] + _FOLLOWED), len(bins)
    sums = [_NOTHING, *accumulate(counted, lambda one, other: tuple(map(add, one, other)))]
    timeline = []
    for place in range(begins, ends):
        before, after = sums[max(0, place + 1 - width)], sums[place + 1]
        value, sample = weigh(question.metric, Counts(*(b - a for a, b in zip(before, after, strict=True))))
        reason = "" if value is not None else "There was no message."
        timeline.append((bins[place] + STEP, Reading(subject, value, sample, reason)))
    return timeline


def _as_tuple(row: Counts) -> tuple[int, ...]:
    return (row.messages, row.sent, row.delivered, row.failed, row.stopped, row.young, row.coded)


async def _load_violations(
    conn: Connection, question: Question, bins: Sequence[datetime], width: int
) -> dict[str, Timeline]:
    asked = violation_measures.list_parameters(question, bins[-1] + STEP) | _span(bins)
    counted: dict[str, dict[datetime, int]] = {ALL: {}} if question.scope == ALL else {}
    for row in await SQL.list_violation_bins.many(conn, _ViolationBin, asked):
        counted.setdefault(row.subject, {})[row.bin] = row.violations
    return {
        subject: _roll(subject, [found.get(at, 0) for at in bins], bins, width, sum)
        for subject, found in list(counted.items())[:MOST_SUBJECTS]
    }


async def _load_webhooks(
    conn: Connection, _question: Question, bins: Sequence[datetime], width: int
) -> dict[str, Timeline]:
    rows = {row.bin: row for row in await SQL.list_webhook_bins.many(conn, _WebhookBin, _span(bins))}
    slowest = [rows[at].slowest / 1e6 if at in rows else None for at in bins]
    return {ALL: _roll(ALL, slowest, bins, width, max)}


async def _load_requests(
    conn: Connection, _question: Question, bins: Sequence[datetime], width: int
) -> dict[str, Timeline]:
    rows = {row.bin: row for row in await SQL.list_request_bins.many(conn, _RequestBin, _span(bins))}
    timeline = []
    for place in range(width - 1, len(bins)):
        known = [rows[at] for at in bins[place + 1 - width : place + 1] if at in rows]
        found = machine_measures.Requests(
            sum(row.requests for row in known), sum(row.microseconds for row in known)
        )
        reading = Reading(ALL, found.mean_ms, found.requests, "" if known else "There was no request.")
        timeline.append((bins[place] + STEP, reading))
    return {ALL: timeline}


async def _load_hosts(
    conn: Connection, question: Question, bins: Sequence[datetime], width: int
) -> dict[str, Timeline]:
    asked = _span(bins) | {"metric": machine_measures.host_metric_of(question)}
    means: dict[str, dict[datetime, float]] = {}
    for row in await SQL.list_host_bins.many(conn, _HostBin, asked):
        means.setdefault(row.subject, {})[row.bin] = row.mean
    return {
        subject: _roll(subject, [found.get(at) for at in bins], bins, width, mean)
        for subject, found in list(means.items())[:MOST_SUBJECTS]
    }


async def _load_pools(
    conn: Connection, _question: Question, bins: Sequence[datetime], width: int
) -> dict[str, Timeline]:
    failed = {row.bin: row.failed for row in await SQL.list_pool_bins.many(conn, _PoolBin, _span(bins))}
    return {ALL: _roll(ALL, [failed.get(at, 0) for at in bins], bins, width, sum)}


def _roll(
    subject: str,
    values: Sequence[float | None],
    bins: Sequence[datetime],
    width: int,
    merge: Callable[[Iterable[float]], float],
) -> Timeline:
    timeline = []
    for place in range(width - 1, len(bins)):
        known = [value for value in values[place + 1 - width : place + 1] if value is not None]
        reading = Reading(
            subject, merge(known) if known else None, reason="" if known else "There was nothing."
        )
        timeline.append((bins[place] + STEP, reading))
    return timeline


def _span(bins: Sequence[datetime]) -> dict[str, Any]:
    return {"since": bins[0], "until": bins[-1] + STEP}


_LOADERS: Mapping[
    str, Callable[[Connection, Question, Sequence[datetime], int], Awaitable[dict[str, Timeline]]]
] = {
    **{measure.slug: _load_violations for measure in violation_measures.MEASURES},
    "webhook_processing_seconds": _load_webhooks,
    "average_response_time": _load_requests,
    "host_cpu_percent": _load_hosts,
    "host_memory_percent": _load_hosts,
    "disk_usage_percent": _load_hosts,
    "pool_timeouts": _load_pools,
}
