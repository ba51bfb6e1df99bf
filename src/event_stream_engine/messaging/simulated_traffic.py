"""Traffic of messages made elsewhere: a stable crowd is written to and answers, with a daily rhythm and mild incidents.

Live for a demo, or as lines of a past in the import format. Everything follows from seed and start.
"""

import asyncio
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from random import Random
from typing import Any

import phonenumbers

from event_stream_engine.kernel.clock import Clock, format_instant
from event_stream_engine.messaging.simulated_behaviour import Behaviour, draw_course, draw_failure
from event_stream_engine.messaging.simulated_callbacks import (
    CallbackPoster,
    DueCallback,
    Envelope,
    Record,
    list_callbacks,
)

PATHS = {"status": "/webhooks/status", "inbound": "/webhooks/inbound"}
# Messages by hour of the day in UTC, relative to the mean: a business day, with a night that is not empty.
HOUR_WEIGHTS = (
    *(0.33, 0.33, 0.32, 0.32, 0.34, 0.41, 0.52, 0.89, 1.32, 1.74, 1.94, 1.80),
    *(1.59, 1.67, 1.95, 1.93, 1.57, 1.31, 1.01, 0.84, 0.65, 0.48, 0.40, 0.34),
)
# Weight, region, calling code, the beginnings of its mobile numbers and how many digits follow.
COUNTRIES = (
    (50, "US", "+1", ("206", "212", "305", "415", "512"), 7),
    (13, "GB", "+44", ("74", "75", "77", "78", "79"), 8),
    (12, "CA", "+1", ("416", "514", "604", "647"), 7),
    (8, "LK", "+94", ("71", "76", "77", "78"), 7),
    (8, "IN", "+91", ("70", "90", "98", "99"), 8),
    (6, "DE", "+49", ("151", "176"), 8),
    (3, "BR", "+55", ("119", "219"), 8),
)


@dataclass(frozen=True, slots=True)
class ExternalMessage:
    accepted_at: datetime
    callbacks: list[DueCallback]


async def run_demo_traffic(
    target_url: str,
    token: str,
    account_sid: str,
    behaviour: Behaviour,
    messages_per_minute: float,
    *,
    stop: asyncio.Event,
    clock: Clock,
    record: Record | None = None,
) -> None:
    """Post the callbacks of external messages to an engine until told to stop; then what is due later is dropped.

    Units: messages_per_minute is the mean of a day. The behaviour's speed shortens deliveries, not the rate.
    """
    async with CallbackPoster(token, clock, record) as poster:
        for message in iterate_messages(behaviour, account_sid, clock.now(), messages_per_minute):
            if await _is_set_within(stop, (message.accepted_at - clock.now()).total_seconds()):
                return
            for due in message.callbacks:
                url = target_url.rstrip("/") + PATHS[due.kind]
                poster.post_later(due.after_seconds / behaviour.speed, url, due.form)


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    if seconds <= 0 or event.is_set():  # wait_for with no time left never looks at the event
        await asyncio.sleep(0)
        return event.is_set()
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def make_history(
    behaviour: Behaviour, account_sid: str, since: datetime, until: datetime, messages_per_day: float
) -> Iterator[dict[str, Any]]:
    """Return a past of the same traffic as lines of the import format, in the order of `received_at`.

    Shape: `received_at` in [since, until), `path`, `form`. What would come after `until` is left out.
    """
    waiting: list[tuple[datetime, int, DueCallback]] = []
    order = 0
    behaviour = replace(behaviour, speed=1.0)
    for message in iterate_messages(behaviour, account_sid, since, messages_per_day / (24 * 60)):
        horizon = min(message.accepted_at, until)
        while waiting and waiting[0][0] < horizon:
            received_at, _, due = heapq.heappop(waiting)
            yield {"received_at": format_instant(received_at), "path": PATHS[due.kind], "form": due.form}
        if message.accepted_at >= until:
            return
        for due in message.callbacks:
            order += 1
            received_at = message.accepted_at + timedelta(seconds=due.after_seconds)
            heapq.heappush(waiting, (received_at, order, due))


def iterate_messages(
    behaviour: Behaviour, account_sid: str, since: datetime, messages_per_minute: float
) -> Iterator[ExternalMessage]:
    """Return external messages for ever, in the order of their acceptance."""
    rng = Random(f"{behaviour.seed}:{since.isoformat()}")  # noqa: S311
    crowd = draw_crowd(behaviour.seed, behaviour.people_count, behaviour.whatsapp_share)
    at = since
    while True:
        per_second = messages_per_minute * HOUR_WEIGHTS[at.astimezone(UTC).hour] / 60
        at += timedelta(seconds=rng.expovariate(per_second))
        # The square: few people hear often, many now and then.
        recipient = crowd[int(len(crowd) * rng.random() ** 2)]
        prefix = "whatsapp:" if recipient.startswith("whatsapp:") else ""
        envelope = Envelope(account_sid, _draw_sid(rng), prefix + rng.choice(behaviour.senders), recipient)
        if envelope.channel == "whatsapp" and rng.random() < behaviour.window_closed_share:
            course = draw_failure(rng, behaviour, 63016)
        else:
            filtered_share = behaviour.incident_filtered_share if _is_incident(behaviour, at) else 0.0
            course = draw_course(rng, behaviour, envelope.channel, filtered_share)
        yield ExternalMessage(at, list_callbacks(envelope, course, at, behaviour.speed, _draw_sid(rng)))


@lru_cache(maxsize=4)
def draw_crowd(seed: int, people_count: int, whatsapp_share: float) -> tuple[str, ...]:
    """Draw the addresses of people; each has one channel and keeps it."""
    rng = Random(f"{seed}:crowd")  # noqa: S311
    weights = [weight for weight, *_ in COUNTRIES]
    numbers: dict[str, str] = {}
    while len(numbers) < people_count:
        _, region, calling_code, beginnings, digit_count = rng.choices(COUNTRIES, weights)[0]
        digits = "".join(rng.choices("0123456789", k=digit_count))
        number = calling_code + rng.choice(beginnings) + digits
        # A region is known for valid numbers only.
        if phonenumbers.region_code_for_number(phonenumbers.parse(number)) == region:
            numbers[number] = ("whatsapp:" if rng.random() < whatsapp_share else "") + number
    return tuple(numbers.values())


def _is_incident(behaviour: Behaviour, at: datetime) -> bool:
    length = timedelta(minutes=behaviour.incident_minutes)
    return any(
        start <= at < start + length
        for start in _draw_incidents(behaviour.seed, at.astimezone(UTC).date(), behaviour.incidents_per_day)
    )


@lru_cache(maxsize=16)
def _draw_incidents(seed: int, day: date, incidents_per_day: float) -> tuple[datetime, ...]:
    rng = Random(f"{seed}:incidents:{day}")  # noqa: S311
    count = int(incidents_per_day + rng.random())  # 2.5 a day: two or three
    midnight = datetime.combine(day, time(), UTC)
    return tuple(midnight + timedelta(days=rng.random()) for _ in range(count))


def _draw_sid(rng: Random) -> str:
    return f"SM{rng.getrandbits(128):032x}"
