"""The canary: one event a minute that goes the whole way of a webhook, so that a silence somewhere on it is noticed."""

from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from event_stream_engine.stream.log import Event

CANARY = "canary.sent"  # no "….received": it came from nobody, and counts in no figure
PERIOD_SECONDS = 60


def make_canary(now: datetime) -> Event:
    """Make the canary of a minute; those of several web processes are one."""
    minute = now.replace(second=0, microsecond=0)
    return Event(now, CANARY, uuid5(NAMESPACE_URL, f"{CANARY} {minute.isoformat()}"), "{}")


def seconds_to_next(now: datetime) -> float:
    """Return how long it is until the next minute begins."""
    return PERIOD_SECONDS - now.second - now.microsecond / 1_000_000
