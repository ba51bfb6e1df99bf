"""Where an incident stands, and what may follow. Pure: the response times and the present are arguments.

The response clock runs from the opening to the acknowledgement. It begins anew when the incident is reopened or gets
more severe; when it gets less severe it goes on, with the longer time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from event_stream_engine.kernel.errors import Conflict

Severity = Literal["critical", "high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
State = Literal["open", "acknowledged", "mitigated", "resolved"]
STATES: tuple[State, ...] = ("open", "acknowledged", "mitigated", "resolved")
Response = Literal["running", "met", "missed", "not_needed"]
# What may be asked for in which state. Notes, an assignee and the report are always possible.
_POSSIBLE: Mapping[State, Sequence[str]] = {
    "open": ("acknowledge", "mitigate", "resolve", "change_severity"),
    "acknowledged": ("mitigate", "resolve", "change_severity"),
    "mitigated": ("resolve", "reopen", "change_severity"),
    "resolved": ("reopen",),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """`round`: how often the escalation has begun. `responded_at`: the first acknowledgement of all rounds."""

    state: State
    severity: Severity
    round: int
    clock_at: datetime
    due_at: datetime
    responded_at: datetime | None = None
    acknowledged_at: datetime | None = None
    mitigated_at: datetime | None = None
    resolved_at: datetime | None = None

    @property
    def possible(self) -> Sequence[str]:
        """What may be asked for now."""
        return _POSSIBLE[self.state]

    @property
    def is_waiting(self) -> bool:
        """Whether somebody still has to acknowledge."""
        return self.state == "open"

    def judge_response(self, now: datetime) -> Response:
        """Say whether somebody answered in time. Over before anybody had to: not_needed."""
        if self.acknowledged_at is not None:
            return "met" if self.acknowledged_at <= self.due_at else "missed"
        if self.resolved_at is not None:
            return "not_needed" if self.resolved_at <= self.due_at else "missed"
        return "running" if now <= self.due_at else "missed"


def begin(severity: Severity, response: timedelta, now: datetime) -> Standing:
    """Return the standing of an incident that opens."""
    return Standing("open", severity, 1, now, now + response)


def acknowledge(before: Standing, now: datetime) -> Standing:
    """Return the standing once somebody has it in hand. Errors: Conflict."""
    _require(before, "acknowledge")
    return replace(_answer(before, now), state="acknowledged")


def mitigate(before: Standing, now: datetime) -> Standing:
    """Return the standing once it does no more harm. Errors: Conflict."""
    _require(before, "mitigate")
    return replace(_answer(before, now), state="mitigated", mitigated_at=now)


def resolve(before: Standing, now: datetime, *, by_itself: bool = False) -> Standing:
    """Return the standing once it is over. Whoever resolves it has also answered; the engine has not. Errors: Conflict."""
    _require(before, "resolve")
    answered = before if by_itself else _answer(before, now)
    return replace(answered, state="resolved", resolved_at=now)


def reopen(before: Standing, response: timedelta, now: datetime) -> Standing:
    """Return the standing once it has come back: everything but the first answer begins anew. Errors: Conflict."""
    _require(before, "reopen")
    return Standing(
        "open", before.severity, before.round + 1, now, now + response, responded_at=before.responded_at
    )


def change_severity(before: Standing, severity: Severity, response: timedelta, now: datetime) -> Standing:
    """Return the standing under another severity; the clock changes only while it runs. Errors: Conflict."""
    _require(before, "change_severity")
    if not before.is_waiting:
        return replace(before, severity=severity)
    if is_more_severe(severity, before.severity):
        return replace(before, severity=severity, round=before.round + 1, clock_at=now, due_at=now + response)
    return replace(before, severity=severity, due_at=before.clock_at + response)


def is_more_severe(one: Severity, other: Severity) -> bool:
    return SEVERITIES.index(one) < SEVERITIES.index(other)


def _answer(before: Standing, now: datetime) -> Standing:
    return replace(
        before,
        responded_at=before.responded_at or now,
        acknowledged_at=before.acknowledged_at or now,
    )


def _require(standing: Standing, wanted: str) -> None:
    if wanted not in standing.possible:
        possible = " or ".join(one.replace("_", " ") for one in standing.possible)
        raise Conflict(
            f"The incident is {standing.state}, so nobody can {wanted.replace('_', ' ')} it; what is possible: {possible}."
        )
