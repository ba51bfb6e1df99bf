"""The period a page shows. It is always in the address: `?period=24h`, or `?since=…&until=…`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Query
from starlette.requests import Request

from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.formats import format_window
from event_stream_engine.web.resources import resources_of

PERIODS = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
LONGEST = timedelta(days=366)
MOST_POINTS = 60
_STEPS = (
    (timedelta(minutes=5), "5 minutes"),
    (timedelta(minutes=15), "15 minutes"),
    (timedelta(hours=1), "hour"),
    (timedelta(hours=6), "6 hours"),
    (timedelta(days=1), "day"),
    (timedelta(days=7), "week"),
)


@dataclass(frozen=True, slots=True)
class Period:
    """A window with its name for people and the step its charts are drawn in. `slug` is None for a chosen window."""

    slug: str | None
    label: str
    window: Window
    step: timedelta
    step_name: str


def read_period(
    request: Request,
    period: Annotated[str, Query()] = "24h",
    since: Annotated[str, Query()] = "",
    until: Annotated[str, Query()] = "",
) -> Period:
    """Read the period from the query, as a dependency of a page. Errors: Invalid naming the field."""
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    if since or until:
        window = Window(_instant(since, "since", zone), _instant(until, "until", zone) if until else now)
        return _make_period(None, format_window(window, zone), window)
    if period not in PERIODS:
        raise Invalid(f"Unknown period {period!r}. Use one of {', '.join(PERIODS)}.", "period")
    label, length = PERIODS[period]
    return _make_period(period, label, Window(now - length, now))


def _make_period(slug: str | None, label: str, window: Window) -> Period:
    if window.length <= timedelta(0):
        raise Invalid("The period ends before it begins. Exchange since and until.", "since")
    if window.length > LONGEST:
        raise Invalid(f"The period is longer than {LONGEST.days} days. Choose a shorter one.", "since")
    step, name = next(pair for pair in _STEPS if window.length / pair[0] <= MOST_POINTS)
    return Period(slug, label, window, step, name)


def _instant(text: str, field: str, zone: ZoneInfo) -> datetime:
    """Read ISO 8601; what carries no zone, as a browser's form sends it, is meant in the workspace's."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text!r} is no point in time. Write it like 2026-03-02T16:45.", field) from None
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(ZoneInfo("UTC"))
