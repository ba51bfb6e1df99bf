"""The window and the filters a request asks for. They are always in the address: `?period=24h`, or `?since=…&until=…`."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from starlette.requests import Request

from event_stream_engine.analytics.inbound import INTENTS
from event_stream_engine.analytics.scope import MONTH, Scope, find_campaign_ids
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.formats import format_window
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.resources import resources_of

PERIODS = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
    "90d": ("Last 90 days", timedelta(days=90)),
}
LONGEST = timedelta(days=3660)
_WINDOW_PARAMETERS = ("period", "since", "until")
_FILTERS = ("campaign_id", "template_id", "channel", "country", "sender")
# Each step with the longest window it is used for: at most about sixty points. Half a year of weeks reads every day's
# sketch, a year of months only those of the months.
_STEPS = (
    (timedelta(minutes=5), "5 minutes", timedelta(hours=5)),
    (timedelta(minutes=15), "15 minutes", timedelta(hours=15)),
    (timedelta(hours=1), "hour", timedelta(hours=60)),
    (timedelta(hours=6), "6 hours", timedelta(days=15)),
    (timedelta(days=1), "day", timedelta(days=60)),
    (timedelta(days=7), "week", timedelta(days=190)),
    (MONTH, "month", timedelta(days=5 * 366)),
    (4 * MONTH, "4 months", LONGEST),
)


def _describe_parameters(*described: tuple[str, str]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in described
    ]
    return {"parameters": parameters}


def describe_window(default: str) -> dict[str, Any]:
    """Return `openapi_extra` of a route that calls a reader of windows below, because FastAPI cannot see into these."""
    return _describe_parameters(*_explain_window(default))


def _explain_window(default: str) -> tuple[tuple[str, str], ...]:
    return (
        ("period", f"One of {', '.join(PERIODS)}, ending now; {default} when nothing is asked for."),
        ("since", "Begin of the window, ISO 8601; without a zone in ESE_TIMEZONE."),
        ("until", "End of the window, not part of it; now when left out."),
    )


_CAMPAIGN_MEANING = ("campaign_id", "Only the messages of this campaign.")
_CHANNEL_MEANING = ("channel", "Only this channel, like sms or whatsapp.")
PERIOD_PARAMETERS = describe_window("24h")
CHANNEL_PARAMETERS = _describe_parameters(*_explain_window("24h"), _CHANNEL_MEANING)
CAMPAIGN_PERIOD_PARAMETERS = _describe_parameters(*_explain_window("24h"), _CAMPAIGN_MEANING)
SCOPE_PARAMETERS = _describe_parameters(
    *_explain_window("24h"),
    _CAMPAIGN_MEANING,
    ("template_id", "Only the messages of campaigns with this template."),
    _CHANNEL_MEANING,
    ("country", "Only recipients of this country, two capital letters like US."),
    ("sender", "Only messages from this number, or messaging service's SID."),
)


@dataclass(frozen=True, slots=True)
class Period:
    """A window with its name for people and the step its series have. `slug` is None for a chosen window."""

    slug: str | None
    label: str
    window: Window
    step: timedelta
    step_name: str


def read_period(request: Request) -> Period:
    """Read the period of a page, or of an answer without filters; the last 24 hours when none is asked for.

    Errors: Invalid naming the parameter.
    """
    return read_period_with(request)


def read_period_with(request: Request, *filters: str, default: str = "24h") -> Period:
    """Read the period where there are filters too, which the caller reads, or where another one is the default.

    Errors: Invalid naming the parameter.
    """
    refuse_unknown(request, (*_WINDOW_PARAMETERS, *filters))
    return _read_period(request, default)


def read_channel(request: Request) -> str | None:
    """Read the channel that is asked for. Errors: Invalid."""
    channel = request.query_params.get("channel")
    if channel is not None and not re.fullmatch(r"[a-z]{1,20}", channel):
        raise Invalid(f"{channel!r} is no channel; use sms or whatsapp.", "channel")
    return channel


def read_intent(request: Request) -> str | None:
    """Read what inbound messages are to mean. Errors: Invalid."""
    intent = request.query_params.get("intent")
    if intent is not None and intent not in INTENTS:
        raise Invalid(f"{intent!r} is no intent; use one of {', '.join(INTENTS)}.", "intent")
    return intent


def read_campaign_period(request: Request, *more: str) -> tuple[Period, UUID | None]:
    """Read the period and the one filter `campaign_id`; `more` are the route's own parameters.

    Errors: Invalid naming the parameter.
    """
    refuse_unknown(request, (*_WINDOW_PARAMETERS, "campaign_id", *more))
    return _read_period(request), _read_id(request, "campaign_id")


async def load_scope(conn: Connection, request: Request) -> Scope:
    """Read the period and the filters of a figure of messages, which all hold at once.

    Errors: Invalid naming the parameter; NotFound when there is no such campaign or template.
    """
    refuse_unknown(request, (*_WINDOW_PARAMETERS, *_FILTERS))
    channel = read_channel(request)
    country, sender = (request.query_params.get(name) for name in ("country", "sender"))
    if country is not None and not re.fullmatch(r"[A-Z]{2}", country):
        raise Invalid(f"{country!r} is no country; use two capital letters like US.", "country")
    if sender is not None:
        sender = re.sub(r"^ (?=\d)", "+", sender)  # a plus sign that was not escaped arrives as a space
        if not re.fullmatch(r"\+?[A-Za-z0-9]{1,40}", sender):
            raise Invalid(f"{sender!r} is no sender; use a number like +14155238886.", "sender")
    window = _read_period(request).window
    ids = (_read_id(request, "campaign_id"), _read_id(request, "template_id"))
    return Scope(window, await find_campaign_ids(conn, *ids), channel, country, sender)


def _read_id(request: Request, name: str) -> UUID | None:
    text = request.query_params.get(name)
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise Invalid(f"{text!r} is no id.", name) from None


def refuse_unknown(request: Request, known: tuple[str, ...]) -> None:
    """Refuse parameters that an answer does not know: a filter that is silently ignored would give a wrong figure."""
    for name in request.query_params:
        if name not in known:
            remedy = f"use {', '.join(known)}" if known else "leave it out, this address takes none"
            raise Invalid(f"The parameter {name!r} is not known here; {remedy}.", name)


def _read_period(request: Request, default: str = "24h") -> Period:
    resources, asked = resources_of(request), request.query_params
    zone, now = resources.settings.timezone, resources.clock.now()
    slug = asked.get("period", default)
    if slug not in PERIODS:
        raise Invalid(
            f"{slug!r} is no period; use one of {', '.join(PERIODS)}, or since and until.", "period"
        )
    label, length = PERIODS[slug]
    if not (asked.get("since") or asked.get("until")):
        return _make_period(slug, label, Window(now - length, now))
    until = _read_instant(asked["until"], "until", zone) if asked.get("until") else now
    since = _read_instant(asked["since"], "since", zone) if asked.get("since") else until - length
    window = Window(since, until)
    return _make_period(None, format_window(window, zone), window)


def _make_period(slug: str | None, label: str, window: Window) -> Period:
    if window.length <= timedelta(0):
        raise Invalid("The period ends before it begins. Exchange since and until.", "since")
    if window.length > LONGEST:
        raise Invalid(f"The period is longer than {LONGEST.days} days. Choose a shorter one.", "since")
    step, name = next((step, name) for step, name, longest in _STEPS if window.length <= longest)
    return Period(slug, label, window, step, name)


def _read_instant(text: str, field: str, zone: ZoneInfo) -> datetime:
    """Read ISO 8601; what carries no zone, as a browser's form sends it, is meant in the workspace's."""
    try:
        # A plus sign that was not escaped arrives as a space.
        at = datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)$", r"+\1", text))
        at = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"{text!r} is no point in time. Write it like 2026-03-02T16:45:00Z.", field) from None
    if not 1970 <= at.year <= 2200:
        raise Invalid(f"{text!r} is too far away. Use a year from 1970 to 2200.", field)
    return at
