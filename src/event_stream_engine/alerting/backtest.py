"""Trying a rule on the past: the same state machine over the history of its metric, before the rule is saved."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from event_stream_engine.alerting.history import STEP, Timeline, load_history
from event_stream_engine.alerting.measure import ALL
from event_stream_engine.alerting.measures import find_measure
from event_stream_engine.alerting.rules import Draft
from event_stream_engine.alerting.state import begin, follow
from event_stream_engine.alerting.subjects import name_subjects
from event_stream_engine.infra.database import Connection

SPAN = timedelta(days=14)
_POINT = timedelta(hours=1)


@dataclass(slots=True)
class Period:
    """A time in which the rule would have fired. `resolved_at` None: it still would."""

    subject: str
    subject_name: str
    fired_at: datetime
    peak: float
    resolved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Point:
    at: datetime
    value: float | None


@dataclass(frozen=True, slots=True)
class Backtest:
    """`points`: the worst value of each hour of `shown`, the subject that would have fired the longest. Without a history
    `reason` says why."""

    since: datetime
    until: datetime
    periods: Sequence[Period] = ()
    shown: str = ALL
    shown_name: str = ""
    points: Sequence[Point] = ()
    subjects: int = 0
    reason: str | None = None
    notes: Sequence[str] = field(default_factory=list)


async def try_rule(conn: Connection, draft: Draft, now: datetime) -> Backtest:
    """Find when a rule would have fired in the last 14 days. The rule must have been checked."""
    until = datetime.fromtimestamp(now.timestamp() // STEP.total_seconds() * STEP.total_seconds(), UTC)
    since = until - SPAN
    measure = find_measure(draft.metric)
    if not measure.has_history:
        return Backtest(since, until, reason=f"No history is kept of this metric: {measure.name}.")
    history = await load_history(conn, draft.question, since, until)
    history = {subject: timeline for subject, timeline in history.items() if draft.covers(subject)}
    # Some hundred thousand steps of arithmetic at worst, which other requests must not wait for.
    periods = await asyncio.to_thread(list_periods, draft, history, until)
    shown = _choose_shown(periods, history, until)
    wanted = [*{period.subject for period in periods}, shown]
    names = await name_subjects(conn, wanted)
    for period in periods:
        period.subject_name = names[period.subject]
    return Backtest(
        since,
        until,
        sorted(periods, key=lambda one: one.fired_at),
        shown,
        names[shown],
        _thin(draft, history.get(shown, ())),
        len(history),
        notes=_list_notes(draft),
    )


def list_periods(draft: Draft, history: Mapping[str, Timeline], until: datetime) -> list[Period]:
    """Run the state machine over the past of each subject. What is shorter than a step counts as no time."""
    condition = draft.condition
    condition = replace(
        condition,
        hold=timedelta(0) if condition.hold < STEP else condition.hold,
        keep=timedelta(0) if condition.keep < STEP else condition.keep,
    )
    periods = []
    for subject, timeline in history.items():
        state, period = None, None
        for at, reading in timeline:
            state = follow(condition, state or begin(at), reading, at, STEP)
            if state.is_alarmed and state.value is not None:
                if period is None:
                    period = Period(subject, subject, at, state.value)
                    periods.append(period)
                period.peak = condition.worse(period.peak, state.value)
            elif period is not None and not state.is_alarmed:
                period.resolved_at, period = at, None
        if period is not None and timeline[-1][0] < until:  # a campaign that was followed no longer
            period.resolved_at = timeline[-1][0]
    return periods


def _choose_shown(periods: Sequence[Period], history: Mapping[str, Timeline], until: datetime) -> str:
    lasted: dict[str, timedelta] = {}
    for period in periods:
        length = (period.resolved_at or until) - period.fired_at
        lasted[period.subject] = lasted.get(period.subject, timedelta(0)) + length
    return max(lasted, key=lasted.__getitem__) if lasted else next(iter(history), ALL)


def _thin(draft: Draft, timeline: Timeline) -> list[Point]:
    worst: dict[datetime, float | None] = {}
    for at, reading in timeline:
        hour = at - (at - datetime(2000, 1, 1, tzinfo=UTC)) % _POINT
        enough = reading.sample is None or reading.sample >= draft.minimum_sample
        value, before = reading.value if enough else None, worst.get(hour)
        worst[hour] = (
            draft.condition.worse(before, value)
            if before is not None and value is not None
            else (before if value is None else value)
        )
    return [Point(at, value) for at, value in worst.items()]


def _list_notes(draft: Draft) -> list[str]:
    notes = ["Tried in steps of 15 minutes: what lasts less counts as no time."]
    if find_measure(draft.metric).sample:
        notes.append("Messages count with what has become of them since.")
    if draft.scope == "campaign" and draft.window_seconds is None:
        notes.append("Only campaigns that began in these 14 days.")
    return notes
