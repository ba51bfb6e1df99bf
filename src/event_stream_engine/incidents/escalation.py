"""When who is told, if nobody acknowledges. Pure: the policy's steps and the start of the clock are arguments."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from event_stream_engine.incidents.lifecycle import Standing
from event_stream_engine.incidents.policy import Step

RESPONSE = 0  # the position that is no step: the end of the response time
LATE_AFTER = timedelta(minutes=1)


def plan(
    standing: Standing, steps: Sequence[Step], open_positions: Collection[int] | None = None
) -> Mapping[int, datetime]:
    """Return when each position is due, in the order of time; none of them once somebody has acknowledged.

    With `open_positions` only those: the others have been told in this round.
    """
    if not standing.is_waiting:
        return {}
    due = {RESPONSE: standing.due_at} | {
        position: standing.clock_at + timedelta(seconds=step.after_seconds[standing.severity])
        for position, step in enumerate(steps, 1)
        if standing.severity in step.after_seconds
    }
    wanted = (
        due.items() if open_positions is None else [(p, at) for p, at in due.items() if p in open_positions]
    )
    return dict(sorted(wanted, key=lambda one: (one[1], one[0])))


def find_lateness(due_at: datetime, now: datetime) -> timedelta | None:
    """Return how much later than planned something happens, None when it is hardly worth a word."""
    return now - due_at if now - due_at >= LATE_AFTER else None
