"""What a figure is asked for: a window, and what part of the traffic."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from event_stream_engine.kernel.windows import Window


@dataclass(frozen=True, slots=True)
class Scope:
    window: Window
    campaign_id: UUID | None = None
    channel: str | None = None
    country: str | None = None

    def parameters(self) -> dict[str, Any]:
        return {
            "since": self.window.since,
            "until": self.window.until,
            "campaign_id": self.campaign_id,
            "channel": self.channel,
            "country": self.country,
        }


def local_midnight(at: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant at which the local day of `at` began."""
    return (
        at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(at.tzinfo)
    )


def list_bins(window: Window, step: timedelta, zone: ZoneInfo) -> list[datetime]:
    """Return the starts of the bins that cover a window, counted from local midnight.

    Days follow the calendar, so that one may last 23 or 25 hours; shorter steps are of equal length.
    """
    at = local_midnight(window.since, zone)
    if step >= timedelta(days=1):
        bins = []
        while at < window.until:
            bins.append(at)
            at = local_midnight(at + step + timedelta(hours=12), zone)
        return bins
    at += (window.since - at) // step * step
    return [at + number * step for number in range(-(-(window.until - at) // step))]
