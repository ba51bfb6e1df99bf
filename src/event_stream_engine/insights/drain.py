"""How long a campaign takes: our own pace, the quiet hours of its recipients, and the queue of the provider behind it.

A fluid model: messages are handed over at the pace while anybody's window is open, those that were due first before others; the
provider sends what it has at its own rate. What would wait there longer than it keeps messages, or into the recipient's quiet
hours, expires unsent (30036), and beyond the queue's ten hours the provider refuses (30001). Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil, inf
from zoneinfo import ZoneInfo

from event_stream_engine.campaigns.compliance import LONGEST_VALIDITY, SPREAD
from event_stream_engine.campaigns.quiet_hours import QuietHours, find_allowed_at, find_quiet_at

LONGEST = timedelta(days=30)  # what is not done then needs another pace, not a later date
_FINEST_STEPS = 50  # of a stretch of equal pace, in which the provider's queue is followed
_LONGEST_STEP_SECONDS = 60.0
_NEARLY_NONE = 1e-6  # of a message


@dataclass(frozen=True, slots=True)
class Audience:
    """Recipients who have their quiet hours at the same times. `zones`: all that they may be in; all must allow it."""

    recipients: float
    zones: tuple[ZoneInfo, ...]
    hours: tuple[QuietHours, ...]


@dataclass(frozen=True, slots=True)
class Speed:
    """`rate_per_second`: messages we hand over. `sender_rate`: segments a second that the provider sends from each sender; None:
    not known, then its queue is left out."""

    rate_per_second: float
    senders: int = 1
    sender_rate: float | None = None
    segments: int = 1

    @property
    def provider_rate(self) -> float | None:
        """Return the messages a second that the provider sends."""
        return None if self.sender_rate is None else self.senders * self.sender_rate / self.segments


@dataclass(frozen=True, slots=True)
class DrainPoint:
    """How many messages are not handed over yet, and how many wait in the provider's queue."""

    at: datetime
    waiting: float
    queued: float


@dataclass(frozen=True, slots=True)
class Drain:
    """`handed_over_at`, `sent_at`: the last message; None: not within LONGEST, or nobody ever may be written to.

    `expiring`: messages that the provider's queue would keep too long. `always_quiet`: recipients whose zones leave no common
    minute. `idle_seconds`: time in which messages waited and all windows were closed.
    """

    starts_at: datetime
    recipients: float
    handed_over_at: datetime | None
    sent_at: datetime | None
    longest_wait_seconds: float | None
    expiring: float | None
    always_quiet: float
    idle_seconds: float
    points: list[DrainPoint]


@dataclass(slots=True)
class _Group:
    """`most_per_second`: how fast its messages become due; those that quiet hours held back do so over a quarter of an hour."""

    audience: Audience
    left: float
    due_at: datetime
    most_per_second: float = inf
    opens_at: datetime = field(init=False)
    closes_at: datetime | None = field(init=False)

    def move(self, now: datetime) -> bool:
        """Find the window that holds or comes next; False when there is none."""
        opens_at = find_allowed_at(now, self.audience.zones, self.audience.hours)
        if opens_at is None:
            return False
        self.opens_at = opens_at
        self.closes_at = find_quiet_at(opens_at, self.audience.zones, self.audience.hours)
        if opens_at > now:
            self.due_at = opens_at
            length = LONGEST_VALIDITY if self.closes_at is None else self.closes_at - opens_at
            self.most_per_second = self.left / min(SPREAD, length / 2).total_seconds()
        return True


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A time of equal pace. `parts`: messages a second, with the moment each must have left the provider's queue."""

    since: datetime
    until: datetime
    parts: tuple[tuple[float, datetime | None], ...]
    waiting: float  # at its end


def reckon_drain(audiences: Sequence[Audience], speed: Speed, starts_at: datetime) -> Drain:
    """Return how a campaign that starts at a moment would go."""
    stretches, idle, always_quiet = _hand_over(audiences, speed.rate_per_second, starts_at)
    recipients = sum(one.recipients for one in audiences)
    left = stretches[-1].waiting if stretches else 0.0
    is_done = left <= _NEARLY_NONE
    handed_over_at = stretches[-1].until if stretches and is_done else None
    rate = speed.provider_rate
    points = [DrainPoint(starts_at, recipients - always_quiet, 0.0)]
    if rate is None:
        points += [DrainPoint(one.until, one.waiting, 0.0) for one in stretches]
        return Drain(starts_at, recipients, handed_over_at, None, None, None, always_quiet, idle, points)
    queued, longest, expiring = 0.0, 0.0, 0.0
    at = starts_at
    for one in stretches:
        if one.since > at:
            queued = max(0.0, queued - rate * (one.since - at).total_seconds())
            points.append(DrainPoint(one.since, points[-1].waiting, queued))
        queued, wait, late = _queue(one, queued, rate)
        longest, expiring, at = max(longest, wait), expiring + late, one.until
        points.append(DrainPoint(at, one.waiting, queued))
    sent_at = None
    if handed_over_at is not None:
        sent_at = handed_over_at + timedelta(seconds=queued / rate)
        points.append(DrainPoint(sent_at, 0.0, 0.0))
    return Drain(
        starts_at, recipients, handed_over_at, sent_at, longest, expiring, always_quiet, idle, points
    )


def _hand_over(
    audiences: Sequence[Audience], rate: float, starts_at: datetime
) -> tuple[list[_Stretch], float, float]:
    """Return the stretches in which messages are handed over, the seconds in between, and whom nobody may ever write to."""
    groups = [_Group(one, one.recipients, starts_at) for one in audiences if one.recipients > 0]
    reachable = [group for group in groups if group.move(starts_at)]
    always_quiet = sum(group.left for group in groups) - sum(group.left for group in reachable)
    stretches: list[_Stretch] = []
    now, end, idle = starts_at, starts_at + LONGEST, 0.0
    while reachable and now < end:
        for group in reachable:
            if group.closes_at is not None and group.closes_at <= now:
                group.move(now)
        is_open = [group for group in reachable if group.opens_at <= now]
        if not is_open:
            opens_at = min(group.opens_at for group in reachable)
            idle += (min(opens_at, end) - now).total_seconds()
            now = opens_at
            continue
        paces, spare = _share_pace(is_open, rate)
        edges = [group.closes_at for group, _ in paces if group.closes_at is not None]
        edges += [group.opens_at for group in reachable if spare and group.opens_at > now]
        ends = [now + timedelta(seconds=group.left / pace) for group, pace in paces]
        until = min([*edges, *ends, end])
        seconds = (until - now).total_seconds()
        for (group, pace), ends_at in zip(paces, ends, strict=True):
            group.left = 0.0 if ends_at == until else group.left - pace * seconds
        reachable = [group for group in reachable if group.left > _NEARLY_NONE]
        parts = tuple((pace, group.closes_at) for group, pace in paces)
        stretches.append(_Stretch(now, until, parts, sum(group.left for group in reachable)))
        now = until
    return stretches, idle, always_quiet


def _share_pace(groups: Sequence[_Group], rate: float) -> tuple[list[tuple[_Group, float]], float]:
    """Give the pace to those that were due first, in proportion where several were; return also what nobody can take."""
    paces: list[tuple[_Group, float]] = []
    for due_at in sorted({group.due_at for group in groups}):
        equals = [group for group in groups if group.due_at == due_at]
        left, wanted = sum(group.left for group in equals), sum(group.most_per_second for group in equals)
        given = min(rate, wanted)
        paces += [(group, given * group.left / left) for group in equals]
        rate -= given
        if not rate:
            break
    return paces, rate


def _queue(stretch: _Stretch, queued: float, rate: float) -> tuple[float, float, float]:
    """Return the provider's queue at the end of a stretch, the longest wait in it, and what waits too long."""
    seconds = (stretch.until - stretch.since).total_seconds()
    if not queued and sum(part for part, _ in stretch.parts) <= rate:
        return 0.0, 0.0, 0.0
    length = min(_LONGEST_STEP_SECONDS, seconds / _FINEST_STEPS)
    count = max(1, round(seconds / length)) if length else 1
    step = seconds / count
    longest, late = 0.0, 0.0
    for number in range(count):
        at = stretch.since + timedelta(seconds=number * step)
        for part, quiet_at in stretch.parts:
            # What comes last in the step waits behind all of it that is still there then.
            allowed = LONGEST_VALIDITY.total_seconds() + step
            if quiet_at is not None:
                allowed = min(allowed, (quiet_at - at).total_seconds())
            taken = min(part * step, max(0.0, rate * allowed - queued))
            late += part * step - taken
            queued += taken
        queued = max(0.0, queued - rate * step)
        longest = max(longest, queued / rate)
    return queued, longest, late


def advise(drain: Drain, speed: Speed) -> list[str]:
    """Say what would make it better, each with the figure that says so."""
    pace, rate = speed.rate_per_second, speed.provider_rate
    advice = []
    if rate is not None and pace > rate and drain.longest_wait_seconds:
        needed = ceil(pace * speed.segments / (speed.sender_rate or 1))
        advice.append(
            f"The provider sends {rate:.3g} messages a second from {_say_count(speed.senders, 'sender')}, fewer than the pace of"
            f" {pace:.3g}: what is faster only waits in its queue. Keep to {rate:.3g} a second, or send from {needed} senders."
        )
    if drain.expiring is not None and drain.expiring >= 1:
        advice.append(
            f"{drain.expiring:,.0f} messages would wait in the provider's queue for longer than ten hours or into quiet hours, and"
            " be lost (30001, 30036). A pace that the provider keeps up with loses none."
        )
    if drain.handed_over_at is None and drain.recipients > drain.always_quiet:
        left = drain.points[-1].waiting
        advice.append(
            f"After {LONGEST.days} days {left:,.0f} messages would still wait. Raise the pace, or choose fewer recipients."
        )
    if drain.always_quiet >= 1:
        advice.append(
            f"{drain.always_quiet:,.0f} recipients may be in zones that leave no minute outside quiet hours; give them a time zone,"
            " or the campaign shorter quiet hours."
        )
    return advice


def _say_count(count: int, thing: str) -> str:
    return f"one {thing}" if count == 1 else f"{count} {thing}s"
