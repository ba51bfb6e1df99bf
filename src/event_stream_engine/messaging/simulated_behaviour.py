"""What the simulated provider does with a message: drawn by seed, before anything happens.

Defaults are the shares of a week of real-looking traffic.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import TypeVar

T = TypeVar("T")

# (value, weight)
FAILED_CODES = ((21211, 47), (21614, 43), (30001, 30))
UNDELIVERED_CODES = ((30003, 93), (30005, 67), (30007, 52), (30006, 42), (30008, 37), (30004, 23))
STOP_BODIES = (
    "STOP",
    "stop",
    " Stop ",
    "StopAll",
    "UNSUBSCRIBE",
    "cancel",
    "END",
    "quit",
    "REVOKE",
    "OptOut",
)
START_BODIES = ("START", "unstop")
HELP_BODIES = ("HELP", "help", "info", " INFO ")
ORDER_BODIES = (
    "Where is my order?",
    "order 4411 status please",
    "tracking number?",
    "I want a refund",
    "Has it shipped yet?",
    "When will my delivery arrive",
    "reorder? no",
)
GENERAL_BODIES = (
    "Thank you for the update!",
    "ok",
    "Yes",
    "👍",
    "Great offer",
    "who is this",
    "please call me",
    "can you help me",
    "see you tomorrow",
    "Merci beaucoup",
    "don't stop the music",
    "stop sending on Sundays please",
)


class Fault(StrEnum):
    """What can befall a request to create a message, other than a refusal of the message itself."""

    throttled = "throttled"  # 429 with Retry-After
    error = "error"  # 500, and nothing was made
    error_after = "error_after"  # 500, and the message was made all the same; so in the next two
    cut_after = "cut_after"  # the connection ends within the answer
    hang_after = "hang_after"  # the answer takes very long


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The simulated provider's habits. Shares are 0..1 of messages, or of what the comment says."""

    seed: int = 1
    speed: float = 1.0  # simulated seconds in a real one
    senders: tuple[str, ...] = ("+14155238886",)  # the account's numbers, on both channels
    requests_per_second_limit: int | None = None  # above it 429
    retry_after_seconds: int = 1  # real ones, told with 429
    fault_shares: tuple[tuple[Fault, float], ...] = ()  # of requests to create a message
    first_faults: tuple[Fault | None, ...] = ()  # of the first such requests, in order
    hang_seconds: float = 60.0  # real ones

    failed_share: float = 0.018
    undelivered_share: float = 0.038
    unknown_share: float = 0.03  # sent, and never heard of again
    conflict_share: float = 0.018  # delivered, then undelivered
    read_share: float = 0.5  # of delivered WhatsApp messages
    sent_median_seconds: float = 1.2
    delivery_median_seconds: float = 40.0  # from sent to delivered
    delivery_p95_seconds: float = 200.0
    long_tail_share: float = 0.002
    long_tail_seconds: float = 1800.0
    read_median_seconds: float = 120.0  # from delivered

    reply_share: float = 0.15  # of delivered messages
    reply_median_seconds: float = 400.0  # from delivered
    stop_share: float = 0.032  # of replies, as the next three
    start_share: float = 0.009
    help_share: float = 0.10
    order_share: float = 0.21

    duplicate_share: float = 0.055  # of callbacks, as the next three
    lost_share: float = 0.002
    late_share: float = 0.003
    late_seconds: float = 3600.0  # at most
    reorder_share: float = 0.03  # of delivered messages: sent is posted after delivered

    whatsapp_share: float = 0.41  # this and the rest: of traffic made elsewhere
    window_closed_share: float = 0.008  # of WhatsApp messages: 63016
    people_count: int = 4000
    incidents_per_day: float = 3.0  # a carrier filters more than usual
    incident_minutes: float = 6.0
    incident_filtered_share: float = 0.2


@dataclass(frozen=True, slots=True)
class Step:
    """A status a message reaches. Times are simulated seconds after acceptance; no post means a lost callback."""

    status: str
    at_seconds: float
    posted_seconds: tuple[float, ...]
    error_code: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    body: str
    at_seconds: float
    posted_seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """All that will happen to one message, steps in the order of their happening."""

    steps: tuple[Step, ...]
    reply: Reply | None = None


def draw_fault(behaviour: Behaviour, request_number: int) -> Fault | None:
    """Draw what befalls the n-th request to create a message, counted from 0."""
    if request_number < len(behaviour.first_faults):
        return behaviour.first_faults[request_number]
    if not behaviour.fault_shares:
        return None
    luck = Random(f"{behaviour.seed}:fault:{request_number}").random()  # noqa: S311
    for fault, share in behaviour.fault_shares:
        if luck < share:
            return fault
        luck -= share
    return None


def draw_course(rng: Random, behaviour: Behaviour, channel: str, filtered_share: float = 0.0) -> Course:
    """Draw what happens to a message; `filtered_share` is the extra share that carriers filter (30007) just now."""
    sent_at = rng.lognormvariate(math.log(behaviour.sent_median_seconds), 0.5)
    end_at = sent_at + _draw_delivery_seconds(rng, behaviour)
    luck = rng.random()
    if luck < behaviour.failed_share:
        return draw_failure(rng, behaviour, _pick(rng, FAILED_CODES))
    sent = _draw_step(rng, behaviour, "sent", sent_at)
    luck -= behaviour.failed_share
    if luck < behaviour.undelivered_share:
        return Course(
            (sent, _draw_step(rng, behaviour, "undelivered", end_at, _pick(rng, UNDELIVERED_CODES)))
        )
    luck -= behaviour.undelivered_share
    if luck < behaviour.unknown_share:
        return Course((sent,))
    if rng.random() < filtered_share:
        return Course((sent, _draw_step(rng, behaviour, "undelivered", end_at, 30007)))
    if sent.posted_seconds and rng.random() < behaviour.reorder_share:
        sent = replace(sent, posted_seconds=(end_at + rng.uniform(0.5, 3.0),))
    steps = [sent, _draw_step(rng, behaviour, "delivered", end_at)]
    if rng.random() < behaviour.conflict_share:
        steps.append(_draw_step(rng, behaviour, "undelivered", end_at + rng.uniform(1, 60), 30008))
    elif channel == "whatsapp" and rng.random() < behaviour.read_share:
        read_at = end_at + rng.lognormvariate(math.log(behaviour.read_median_seconds), 1.0)
        steps.append(_draw_step(rng, behaviour, "read", read_at))
    reply = _draw_reply(rng, behaviour, end_at) if rng.random() < behaviour.reply_share else None
    return Course(tuple(steps), reply)


def draw_failure(rng: Random, behaviour: Behaviour, error_code: int) -> Course:
    """Draw the short course of a message that never leaves the provider."""
    at = rng.lognormvariate(math.log(behaviour.sent_median_seconds), 0.5)
    return Course((_draw_step(rng, behaviour, "failed", at, error_code),))


def _draw_delivery_seconds(rng: Random, behaviour: Behaviour) -> float:
    if rng.random() < behaviour.long_tail_share:
        return rng.uniform(behaviour.delivery_p95_seconds, behaviour.long_tail_seconds)
    sigma = math.log(behaviour.delivery_p95_seconds / behaviour.delivery_median_seconds) / 1.645
    seconds = rng.lognormvariate(math.log(behaviour.delivery_median_seconds), sigma)
    return min(seconds, behaviour.long_tail_seconds)


def _draw_step(
    rng: Random, behaviour: Behaviour, status: str, at_seconds: float, error_code: int | None = None
) -> Step:
    return Step(status, at_seconds, _draw_posts(rng, behaviour, at_seconds), error_code)


def _draw_reply(rng: Random, behaviour: Behaviour, delivered_at: float) -> Reply:
    at = delivered_at + rng.lognormvariate(math.log(behaviour.reply_median_seconds), 1.2)
    bodies = (
        (STOP_BODIES, behaviour.stop_share),
        (START_BODIES, behaviour.start_share),
        (HELP_BODIES, behaviour.help_share),
        (ORDER_BODIES, behaviour.order_share),
        (
            GENERAL_BODIES,
            1 - behaviour.stop_share - behaviour.start_share - behaviour.help_share - behaviour.order_share,
        ),
    )
    return Reply(rng.choice(_pick(rng, bodies)), at, _draw_posts(rng, behaviour, at))


def _draw_posts(rng: Random, behaviour: Behaviour, at_seconds: float) -> tuple[float, ...]:
    luck = rng.random()
    if luck < behaviour.lost_share:
        return ()
    first = at_seconds + rng.uniform(0.05, 0.4)
    if luck < behaviour.lost_share + behaviour.late_share:
        first += rng.uniform(min(60.0, behaviour.late_seconds), behaviour.late_seconds)
    if rng.random() < behaviour.duplicate_share:
        return (first, first + rng.uniform(0.05, 20.0))
    return (first,)


def _pick(rng: Random, weighted: Sequence[tuple[T, float]]) -> T:
    return rng.choices([value for value, _ in weighted], [weight for _, weight in weighted])[0]
