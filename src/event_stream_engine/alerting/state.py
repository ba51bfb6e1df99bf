"""Where one subject of a rule stands, and where a reading brings it. Pure: everything that decides is an argument.

How long a condition has held is the sum of what was watched, tick by tick, and never a difference of clock times: a
clock that steps, or an evaluator that was away, adds at most `LONGEST_TICK`. So no step of a clock makes an alert fire
early or end one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

StateName = Literal["ok", "pending", "firing", "acknowledged", "resolved", "no_data"]
Comparison = Literal["above", "below"]
LONGEST_TICK = timedelta(seconds=30)
ALARMED: tuple[StateName, ...] = ("firing", "acknowledged")


@dataclass(frozen=True, slots=True)
class Condition:
    """What a rule asks of a value. A value between `threshold` and `clear_threshold` changes nothing that fires."""

    comparison: Comparison
    threshold: float
    clear_threshold: float
    minimum_sample: int = 0
    hold: timedelta = timedelta(0)  # over the threshold for so long before it fires
    keep: timedelta = timedelta(0)  # clear for so long before it is over

    def is_breached(self, value: float) -> bool:
        return value > self.threshold if self.comparison == "above" else value < self.threshold

    def is_clear(self, value: float) -> bool:
        if self.comparison == "above":
            return value <= self.clear_threshold
        return value >= self.clear_threshold

    def worse(self, one: float, other: float) -> float:
        return max(one, other) if self.comparison == "above" else min(one, other)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured of a subject. Without a value `reason` says why; `has_ended`: there will be no more of it."""

    subject: str
    value: float | None
    sample: int | None = None
    reason: str = ""
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """`held` counts towards the next state: time over the threshold, or, while it fires, time that was clear again."""

    name: StateName
    since: datetime
    seen_at: datetime
    held: timedelta = timedelta(0)
    silent_since: datetime | None = None
    value: float | None = None
    sample: int | None = None
    reason: str = ""

    @property
    def is_alarmed(self) -> bool:
        return self.name in ALARMED


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state that belongs to an episode, for those who tell and follow it.

    `opens_incident` is None while the alert is silenced or inhibited; one that is told late comes from firing to firing.
    """

    episode_id: UUID
    rule_id: UUID
    subject: str
    name: str
    severity: str
    labels: Mapping[str, str]
    before: StateName
    after: StateName
    reason: str
    value: float | None
    threshold: float
    at: datetime
    opens_incident: str | None


def begin(now: datetime) -> State:
    """Return the state of a subject that is seen for the first time."""
    return State("ok", now, now)


def follow(
    condition: Condition,
    before: State,
    reading: Reading,
    now: datetime,
    longest_tick: timedelta = LONGEST_TICK,
) -> State:
    """Return the state after a reading, with the reason."""
    if reading.has_ended:
        return _enter(before, "resolved" if before.is_alarmed else "ok", reading.reason, now)
    if reading.value is None:
        return _miss(before, reading.reason, now)
    if reading.sample is not None and reading.sample < condition.minimum_sample:
        return _miss(
            before, f"The sample is {reading.sample}, at least {condition.minimum_sample} is needed.", now
        )
    # Of the time before the first value after a gap nobody knows what it was like.
    watched = (
        timedelta(0) if before.silent_since else min(max(now - before.seen_at, timedelta(0)), longest_tick)
    )
    move = _follow_alarmed if before.is_alarmed else _follow_quiet
    after = move(condition, before, reading.value, watched, now)
    return replace(after, seen_at=now, silent_since=None, value=reading.value, sample=reading.sample)


def acknowledge(before: State, now: datetime) -> State:
    """Return the state after somebody has taken a firing alert in hand."""
    return replace(before, name="acknowledged", since=now) if before.name == "firing" else before


def _follow_quiet(
    condition: Condition, before: State, value: float, watched: timedelta, now: datetime
) -> State:
    if not condition.is_breached(value):
        name: StateName = "resolved" if before.name == "resolved" else "ok"
        return _enter(before, name, f"not {condition.comparison} {condition.threshold:g}", now)
    reason = f"{condition.comparison} {condition.threshold:g}"
    held = before.held + (watched if before.name == "pending" else timedelta(0))
    if held >= condition.hold:
        return _enter(before, "firing", reason, now)
    reason = f"{reason} for {_count(held)} of {_count(condition.hold)}"
    return replace(_enter(before, "pending", reason, now), held=held)


def _follow_alarmed(
    condition: Condition, before: State, value: float, watched: timedelta, now: datetime
) -> State:
    if not condition.is_clear(value):
        reason = (
            f"{condition.comparison} {condition.threshold:g}"
            if condition.is_breached(value)
            else f"not yet back to {condition.clear_threshold:g}"
        )
        return replace(before, held=timedelta(0), reason=reason)
    was_clear = before.value is not None and condition.is_clear(before.value)
    held = before.held + (watched if was_clear else timedelta(0))
    if held >= condition.keep:
        return _enter(before, "resolved", f"back to {condition.clear_threshold:g}", now)
    return replace(before, held=held, reason=f"clear for {_count(held)} of {_count(condition.keep)}")


def _miss(before: State, reason: str, now: datetime) -> State:
    """Go on without a value: what fires goes on firing, and what was about to keeps the time that was watched."""
    silent_since = before.silent_since or before.seen_at
    if before.is_alarmed:
        told = f"No data since {silent_since:%Y-%m-%d %H:%M} UTC. {reason}"
        return replace(before, seen_at=now, silent_since=silent_since, reason=told)
    held = before.held if before.name in ("pending", "no_data") else timedelta(0)
    return replace(
        _enter(before, "no_data", reason, now), held=held, silent_since=silent_since, value=None, sample=None
    )


def _enter(before: State, name: StateName, reason: str, now: datetime) -> State:
    since = before.since if name == before.name else now
    return replace(before, name=name, since=since, seen_at=now, held=timedelta(0), reason=reason)


def _count(length: timedelta) -> str:
    seconds = round(length.total_seconds())
    return f"{seconds // 60} min" if seconds >= 120 and seconds % 60 == 0 else f"{seconds} s"
