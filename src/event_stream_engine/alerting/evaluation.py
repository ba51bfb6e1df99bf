"""A tick: every rule held against what was measured, and everything that follows from it, in one transaction.

The row of `evaluator_ticks` is locked first, so that of two ticks at once the second finds what the first has done.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from event_stream_engine.alerting import actions, episodes, silences
from event_stream_engine.alerting.episodes import Episode, Step
from event_stream_engine.alerting.measure import ALL, Measured, Question
from event_stream_engine.alerting.measures import measure
from event_stream_engine.alerting.rules import Rule, list_rules
from event_stream_engine.alerting.silences import Silence, has_labels, list_silences
from event_stream_engine.alerting.state import (
    ALARMED,
    Condition,
    Reading,
    State,
    StateName,
    Transition,
    begin,
    follow,
)
from event_stream_engine.alerting.subjects import name_subjects
from event_stream_engine.alerting.telling import (
    describe_fire,
    episode_id_of,
    label_episode,
    make_event,
    make_notice,
)
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.notifications import outbox
from event_stream_engine.notifications.notice import Notice
from event_stream_engine.stream.log import Event, append_own_events

SQL = load_queries(__package__)
REPEAT = timedelta(hours=4)
ANY = Condition("above", 0, 0)
_GONE = Reading("", None, reason="the rule was switched off or removed", has_ended=True)

Key = tuple[UUID, str]


@dataclass(slots=True)
class _Outcome:
    """What a tick has to write and to tell."""

    transitions: list[Transition] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _StateRow:
    rule_id: UUID
    subject: str
    state: StateName
    since: datetime
    seen_at: datetime
    held_seconds: float
    silent_since: datetime | None
    value: float | None
    sample: int | None
    reason: str

    @property
    def content(self) -> State:
        return State(
            self.state,
            self.since,
            self.seen_at,
            timedelta(seconds=self.held_seconds),
            self.silent_since,
            self.value,
            self.sample,
            self.reason,
        )


async def measure_rules(conn: Connection, now: datetime) -> dict[Question, Measured]:
    """Measure what the rules ask for, before the transaction of the tick."""
    return await measure(conn, {rule.question for rule in await list_rules(conn) if rule.is_enabled}, now)


async def evaluate(
    conn: Connection, readings: Mapping[Question, Measured], now: datetime
) -> list[Transition]:
    """Bring states and episodes up to date, queue what is to be told, and return what changed in episodes."""
    await SQL.lock_tick.execute(conn)
    rules = {rule.id: rule for rule in await list_rules(conn) if rule.is_enabled}
    opened = {(one.rule_id, one.subject): one for one in await episodes.list_open(conn)}
    # What fires without a state, which went with its rule or was never restored, is gone on with all the same.
    before = {key: State(one.state, one.fired_at, now) for key, one in opened.items()}
    before |= {(row.rule_id, row.subject): row.content for row in await SQL.list_states.many(conn, _StateRow)}
    after = dict(_follow_all(rules.values(), before, readings, now))
    after |= {key: follow(ANY, before[key], _GONE, now) for key in opened if key[0] not in rules}

    outcome = _Outcome()
    fired = [key for key, state in after.items() if state.is_alarmed and key not in opened]
    for episode in await _open_episodes(conn, fired, rules, after, now):
        opened[episode.rule_id, episode.subject] = episode
        await _begin(conn, episode, rules[episode.rule_id], now, outcome)
    current = {key: _update(episode, after[key], now, outcome) for key, episode in opened.items()}
    held = _hold_back(current.values(), rules, await list_silences(conn, now), now)
    for key, episode in current.items():
        was: StateName = before[key].name if key in before else "ok"
        current[key] = _tell(
            episode, was, held.get(episode.id), rules.get(episode.rule_id), now=now, outcome=outcome
        )
    kept = {key: state for key, state in after.items() if key[0] in rules}
    await _write_states(conn, kept, before.keys() - kept.keys())
    await _write_episodes(conn, list(current.values()))
    await episodes.add_steps(conn, outcome.steps)
    if outcome.events:
        await append_own_events(conn, outcome.events)
    await outbox.queue(conn, outcome.notices)
    return outcome.transitions


async def note_tick(conn: Connection, now: datetime, took_ms: float) -> None:
    """Note that a tick has come to its end, in its transaction: the dead man's switch asks for it."""
    await SQL.note_tick.execute(conn, {"now": now, "took_ms": took_ms})


async def clear_away(conn: Connection, now: datetime) -> None:
    """Forget what is over for long."""
    await episodes.forget_episodes(conn, now)
    await silences.forget_silences(conn, now)


def _follow_all(
    rules: Iterable[Rule],
    before: Mapping[Key, State],
    readings: Mapping[Question, Measured],
    now: datetime,
) -> Iterable[tuple[Key, State]]:
    known: dict[UUID, set[str]] = {}
    for rule_id, subject in before:
        known.setdefault(rule_id, set()).add(subject)
    for rule in rules:
        measured = readings.get(rule.question)
        of_rule = known.get(rule.id, set())
        if measured is None:  # changed since it was measured: at the next tick
            yield from (((rule.id, subject), before[rule.id, subject]) for subject in of_rule)
            continue
        found = {subject: one for subject, one in measured.by_subject.items() if rule.covers(subject)}
        subjects = of_rule | found.keys() | ({ALL} if rule.scope == ALL else set())
        for subject in sorted(subjects):
            state = before.get((rule.id, subject), begin(now))
            reading = found.get(subject) or _describe_absence(subject, rule, measured)
            if subject in found or measured.fault or state.is_alarmed or rule.scope == ALL:
                yield (rule.id, subject), follow(rule.condition, state, reading, now)


def _describe_absence(subject: str, rule: Rule, measured: Measured) -> Reading:
    if measured.fault:
        return Reading(subject, None, reason=measured.fault)
    if rule.scope == "campaign":
        return Reading(subject, None, reason="the campaign ended more than 72 h ago", has_ended=True)
    return Reading(subject, None, reason="There was nothing to measure in the window.")


async def _open_episodes(
    conn: Connection,
    fired: Sequence[Key],
    rules: Mapping[UUID, Rule],
    after: Mapping[Key, State],
    now: datetime,
) -> list[Episode]:
    if not fired:
        return []
    names = await name_subjects(conn, [subject for _, subject in fired])
    rows = []
    for rule_id, subject in fired:
        rule, state = rules[rule_id], after[rule_id, subject]
        shown = names[subject]
        rows.append(
            {
                "id": episode_id_of(rule_id, subject, now),
                "rule_id": rule_id,
                "subject": subject,
                "subject_name": shown,
                "name": rule.name,
                "metric": rule.metric,
                "severity": rule.severity,
                "labels": episodes.dump_labels(label_episode(rule, subject, shown)),
                "comparison": rule.comparison,
                "threshold": rule.threshold,
                "value": state.value,
                "reason": state.reason,
                "runbook_url": rule.runbook_url,
            }
        )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return await SQL.add_episodes.many(conn, Episode, columns | {"now": now})


async def _begin(conn: Connection, episode: Episode, rule: Rule, now: datetime, outcome: _Outcome) -> None:
    outcome.steps.append(Step(episode.id, now, "fired", None, describe_fire(episode)))
    outcome.events.append(make_event(episode, "alert.fired", now))
    if rule.action is not None:
        done = await actions.act(conn, rule.action, rule.action_percent, episode, now)
        outcome.steps.append(Step(episode.id, now, "action", None, done))


def _update(episode: Episode, state: State, now: datetime, outcome: _Outcome) -> Episode:
    """Bring an open episode up to its state."""
    if not state.is_alarmed:
        resolved = replace(
            episode,
            value=episode.value if state.value is None else state.value,
            reason=state.reason,
            resolved_at=now,
            held_back=None,
        )
        outcome.steps.append(Step(episode.id, now, "resolved", None, f"Resolved: {state.reason}."))
        outcome.events.append(make_event(resolved, "alert.resolved", now))
        return resolved
    if state.silent_since is not None and not episode.reason.startswith("No data"):
        outcome.steps.append(Step(episode.id, now, "no_data", None, state.reason))
    return replace(episode, value=state.value, reason=state.reason, peak=episode.worse(state.value))


def _hold_back(
    current: Iterable[Episode], rules: Mapping[UUID, Rule], quiet: Sequence[Silence], now: datetime
) -> dict[UUID, str]:
    """Return why an open alert is not told: somebody asked for silence, or it follows from another alert."""
    going_on = [episode for episode in current if episode.resolved_at is None]
    inhibitors = [
        (episode, rules[episode.rule_id].inhibits)
        for episode in going_on
        if episode.rule_id in rules and rules[episode.rule_id].inhibits
    ]
    in_force = [silence for silence in quiet if silence.holds_at(now)]
    held = {}
    for episode in going_on:
        silence = next((one for one in in_force if one.matches(episode.labels)), None)
        if silence is not None:
            held[episode.id] = f"Silenced: {silence.comment}"
            continue
        for cause, wanted in inhibitors:
            if cause.rule_id != episode.rule_id and has_labels(episode.labels, wanted):
                held[episode.id] = f"Follows from {cause.alert_id}: {cause.name}"
                break
    return held


def _tell(
    episode: Episode,
    before: StateName,
    why_not: str | None,
    rule: Rule | None,
    *,
    now: datetime,
    outcome: _Outcome,
) -> Episode:
    """Tell what is new of an episode, or note why nobody is told."""
    if episode.resolved_at is not None:
        if (
            episode.told_at is not None
        ):  # whoever was told of the fire is told of its end, whatever is silent now
            outcome.notices.append(make_notice(episode, "alert.resolved", "resolved", now))
        outcome.transitions.append(_move(episode, before, "resolved", None, now))
        return episode
    is_new = before not in ALARMED
    opens_incident = rule.opens_incident if rule and why_not is None else None
    if is_new:
        outcome.transitions.append(_move(episode, before, "firing", opens_incident, now))
    if why_not is not None:
        if why_not != episode.held_back:
            outcome.steps.append(Step(episode.id, now, "held_back", None, why_not))
        return replace(episode, held_back=why_not)
    released = replace(episode, held_back=None)
    if episode.state == "acknowledged":
        return released
    if episode.told_at is None:
        outcome.notices.append(make_notice(episode, "alert.fired", "fired", now))
        outcome.steps.append(Step(episode.id, now, "told", None, "To whomever the routes name."))
        if not is_new:
            outcome.transitions.append(_move(episode, "firing", "firing", opens_incident, now))
    elif now - episode.told_at >= REPEAT:
        outcome.notices.append(make_notice(episode, "alert.repeated", f"repeated {episode.told_count}", now))
        outcome.steps.append(Step(episode.id, now, "told", None, "Once more, because it still fires."))
    else:
        return released
    return replace(released, told_at=now, told_count=episode.told_count + 1)


def _move(
    episode: Episode, before: StateName, after: StateName, opens_incident: str | None, now: datetime
) -> Transition:
    return Transition(
        episode.id,
        episode.rule_id,
        episode.subject,
        episode.name,
        episode.severity,
        episode.labels,
        before,
        after,
        episode.reason,
        episode.value,
        episode.threshold,
        now,
        opens_incident,
    )


async def _write_states(conn: Connection, kept: Mapping[Key, State], gone: Collection[Key]) -> None:
    await SQL.put_states.execute(
        conn,
        {
            "rule_id": [rule_id for rule_id, _ in kept],
            "subject": [subject for _, subject in kept],
            "state": [state.name for state in kept.values()],
            "since": [state.since for state in kept.values()],
            "seen_at": [state.seen_at for state in kept.values()],
            "held_seconds": [state.held.total_seconds() for state in kept.values()],
            "silent_since": [state.silent_since for state in kept.values()],
            "value": [state.value for state in kept.values()],
            "sample": [state.sample for state in kept.values()],
            "reason": [state.reason for state in kept.values()],
        },
    )
    if gone:
        rule_ids, subjects = zip(*gone, strict=True)
        await SQL.forget_states.execute(conn, {"rule_id": list(rule_ids), "subject": list(subjects)})


async def _write_episodes(conn: Connection, current: Sequence[Episode]) -> None:
    if current:
        names = ("id", "value", "peak", "reason", "resolved_at", "told_at", "told_count", "held_back")
        columns = {name: [getattr(one, name) for one in current] for name in names}
        await SQL.update_episodes.execute(conn, columns)
