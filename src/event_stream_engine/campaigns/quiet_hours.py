"""Stand-in until the content branch lands."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class QuietHours:
    starts: time
    ends: time

    @property
    def is_empty(self) -> bool:
        return self.starts == self.ends

    def holds(self, at: time) -> bool:
        if self.starts <= self.ends:
            return self.starts <= at < self.ends
        return at >= self.starts or at < self.ends


def _quiet(at, zones, hours) -> bool:
    return any(h.holds(at.astimezone(z).time()) for z in zones for h in hours)


def find_allowed_at(now: datetime, zones: list[ZoneInfo], hours: list[QuietHours]) -> datetime:
    at = now
    while _quiet(at, zones, hours):
        at = at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return at


def find_quiet_at(now: datetime, zones: list[ZoneInfo], hours: list[QuietHours]) -> datetime | None:
    at = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
    for n in range(1, 41):
        if _quiet(at + timedelta(minutes=15 * n), zones, hours):
            return at + timedelta(minutes=15 * n)
    return None
