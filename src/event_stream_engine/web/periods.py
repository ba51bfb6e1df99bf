"""The window and filters a request asks for, out of its query string."""

import re
from datetime import datetime, timedelta
from uuid import UUID

from starlette.requests import Request

from event_stream_engine.analytics.scope import Scope
from event_stream_engine.kernel.clock import parse_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.resources import resources_of

PERIODS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
_FILTERS = ("campaign_id", "channel", "country")
_LONGEST = timedelta(days=3660)


def asked_window(request: Request, also: tuple[str, ...] = ()) -> Window:
    """Read `since` and `until`, or `period`; without any of them the last 24 hours.

    Errors: Invalid naming the parameter; also for one that is not known, because a filter that is silently ignored
    gives a wrong figure.
    """
    asked = request.query_params
    for name in asked:
        if name not in ("since", "until", "period", *also):
            raise Invalid(
                f"The parameter {name} is not known here; use {', '.join(('since', 'until', 'period', *also))}.",
                name,
            )
    now = resources_of(request).clock.now()
    period = asked.get("period", "24h")
    if period not in PERIODS:
        raise Invalid(
            f"{period!r} is no period; use one of {', '.join(PERIODS)}, or since and until.", "period"
        )
    until = _instant(asked["until"], "until") if "until" in asked else now
    since = _instant(asked["since"], "since") if "since" in asked else until - PERIODS[period]
    if since >= until:
        raise Invalid("since must lie before until.", "since")
    if until - since > _LONGEST:
        raise Invalid("A window may be ten years long at the most.", "since")
    return Window(since, until)


def asked_scope(request: Request) -> Scope:
    """Read window, `campaign_id`, `channel` and `country`. Errors: Invalid naming the parameter."""
    window = asked_window(request, also=_FILTERS)
    asked = request.query_params
    campaign_id, channel, country = (asked.get(name) for name in _FILTERS)
    try:
        campaign = UUID(campaign_id) if campaign_id is not None else None
    except ValueError:
        raise Invalid(f"{campaign_id!r} is no campaign id.", "campaign_id") from None
    if channel is not None and not re.fullmatch(r"[a-z]{1,20}", channel):
        raise Invalid(f"{channel!r} is no channel; use sms or whatsapp.", "channel")
    if country is not None and not re.fullmatch(r"[A-Z]{2}", country):
        raise Invalid(f"{country!r} is no country; use two capital letters like US.", "country")
    return Scope(window, campaign, channel, country)


def _instant(text: str, name: str) -> datetime:
    try:
        # A plus sign that was not escaped arrives as a space.
        return parse_instant(text.replace(" ", "+"))
    except (ValueError, OverflowError):
        raise Invalid(f"{text!r} is no instant; write it like 2026-03-02T00:00:00Z.", name) from None
