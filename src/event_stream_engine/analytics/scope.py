"""What a figure is asked for: a window, and what part of the traffic."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from event_stream_engine.campaigns.campaigns import load_campaign
from event_stream_engine.campaigns.templates import load_template
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)

# The dimensions of message roll-ups as bits of a slice, and the slices that days and months have, least rows first; see
# `rollup_targets` in the migrations.
DIMENSIONS = {"campaign": 1, "channel": 2, "country": 4, "sender": 8}
MONTH = timedelta(days=30)  # as a step it stands for a month of the calendar, and its multiples for several
SLICES = (0, 2, 8, 4, 6, 1, 5, 15)


@dataclass(frozen=True, slots=True)
class Scope:
    """`campaign_ids`: None for all traffic; an empty list for none of it, like a template nobody used."""

    window: Window
    campaign_ids: Sequence[UUID] | None = None
    channel: str | None = None
    country: str | None = None
    sender: str | None = None

    def parameters(self, *grouped_by: str) -> dict[str, Any]:
        """Return the parameters of a query, with the slice that has what is filtered and grouped by."""
        return {
            "since": self.window.since,
            "until": self.window.until,
            "slice": self._choose_slice(grouped_by),
            "campaign_ids": None if self.campaign_ids is None else list(self.campaign_ids),
            "channel": self.channel,
            "country": self.country,
            "sender": self.sender,
        }

    def _choose_slice(self, grouped_by: Sequence[str]) -> int:
        filters = {
            "campaign": self.campaign_ids,
            "channel": self.channel,
            "country": self.country,
            "sender": self.sender,
        }
        named = {name for name, value in filters.items() if value is not None} | set(grouped_by)
        needed = sum(DIMENSIONS[name] for name in named)
        return next(kept for kept in SLICES if kept & needed == needed)


async def find_campaign_ids(
    conn: Connection, campaign_id: UUID | None, template_id: UUID | None
) -> list[UUID] | None:
    """Return the campaigns that filters mean, None when they mean all traffic. Errors: NotFound."""
    if campaign_id is None and template_id is None:
        return None
    if campaign_id is not None:
        campaign = await load_campaign(conn, campaign_id)
        return [campaign.id] if template_id in (None, campaign.template_id) else []
    assert template_id is not None  # noqa: S101 - narrows the type
    await load_template(conn, template_id)
    ids: list[UUID] = await SQL.list_campaign_ids.value(conn, {"template_id": template_id})
    return ids


def local_midnight(at: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant at which the local day of `at` began."""
    return (
        at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(at.tzinfo)
    )


def list_bins(window: Window, step: timedelta, zone: ZoneInfo) -> list[datetime]:
    """Return the starts of the bins that cover a window, counted from local midnight.

    Days and months follow the calendar, so that a day may last 23 or 25 hours; shorter steps are of equal length.
    """
    at = local_midnight(window.since, zone)
    if step >= MONTH:
        local = at.astimezone(zone)
        number = local.year * 12 + local.month - 1
        bins = []
        while (at := datetime(number // 12, number % 12 + 1, 1, tzinfo=zone).astimezone(UTC)) < window.until:
            bins.append(at)
            number += step // MONTH
        return bins
    if step >= timedelta(days=1):
        bins = []
        while at < window.until:
            bins.append(at)
            at = local_midnight(at + step + timedelta(hours=12), zone)
        return bins
    at += (window.since - at) // step * step
    return [at + number * step for number in range(-(-(window.until - at) // step))]


def coarsest_grain(step: timedelta) -> str:
    """Return the widest bucket that no bin of a step cuts."""
    if step >= MONTH:
        return "month"
    if step >= timedelta(days=1):
        return "day"
    return "quarter" if step % timedelta(minutes=15) == timedelta(0) else "minute"
