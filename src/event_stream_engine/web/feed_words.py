"""The live feed as it is sent: events in the document's keys with a few words about each, and the lines of the stream."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query
from starlette.requests import Request

from event_stream_engine.audience.references import make_reference, read_reference
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.formats import format_duration, format_number
from event_stream_engine.kernel.phone import is_e164
from event_stream_engine.monitoring.feed import Step
from event_stream_engine.monitoring.feed_events import FeedEvent, FeedFilter, describe_event
from event_stream_engine.monitoring.feed_kinds import BY_SLUG
from event_stream_engine.web.resources import resources_of
from event_stream_engine.web.wording import SOURCE_NAMES, word_reason

FILTERS = ("campaign_id", "kind", "error_code", "person")
# What a field of an event says in words; one that is not here says nothing.
_WORDS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "delivery_time_seconds": lambda seconds: f"in {format_duration(seconds)}",
        "estimated_recipients": lambda count: f"{format_number(count)} recipients",
        "message_body": lambda body: f"“{body}”",
        "error_code": str,
        "description": str,
        "reason": word_reason,
        "people": lambda count: f"{format_number(count)} people" if count > 1 else "",
        "source": lambda source: "" if source == "inbound" else f"by {SOURCE_NAMES.get(source, source)}",
        "severity": lambda severity: f"{severity}:",
        "message": str,
    }
)


def show_event(event: FeedEvent) -> dict[str, Any]:
    """Return an event as the API, the stream and the page show it.

    `detail` says in words what is particular about it, `page` is where the console tells more.
    """
    shown = describe_event(event)
    return shown | {"detail": describe_detail(shown), "page": find_page(shown)}


def find_page(shown: Mapping[str, Any]) -> str | None:
    rooms = (("message_id", "messages"), ("alert_id", "alerts"), ("campaign_id", "campaigns"))
    return next((f"/{room}/{shown[name]}" for name, room in rooms if shown.get(name)), None)


def describe_detail(shown: Mapping[str, Any]) -> str:
    words = (_WORDS[name](value) for name, value in shown.items() if name in _WORDS and value is not None)
    return " ".join(word for word in words if word)


def write_step(step: Step) -> bytes:
    """Write a step of a stream as a server-sent event. Without data it is no event for the browser, but moves its place."""
    place = b"id: %b\n" % str(step.place).encode()
    if step.event is not None:
        return place + b"event: feed\ndata: %b\n\n" % orjson.dumps(show_event(step.event))
    if step.left_out:
        return place + b'event: sampled\ndata: {"left_out":%d}\n\n' % step.left_out
    return place + b"\n"


def read_filter(
    request: Request,
    campaign_id: Annotated[UUID | None, Query(description="only what belongs to this campaign")] = None,
    kind: Annotated[
        str | None, Query(description=f"one or several, with commas between, of {', '.join(BY_SLUG)}")
    ] = None,
    error_code: Annotated[
        int | None, Query(ge=1, le=999_999_999, description="only failures with this code")
    ] = None,
    person: Annotated[
        str | None,
        Query(description="id of a person, which stands for the number in addresses; or the whole number"),
    ] = None,
) -> FeedFilter:
    """Read what a viewer wants to see of the feed. Errors: Invalid."""
    phone = None
    if person is not None:
        phone = (
            person if is_e164(person) else read_reference(resources_of(request).settings.secret_key, person)
        )
        if phone is None:
            raise Invalid(
                "This is no person's id. Give one as `/api/v1/users` does, or the whole number like +14155550100;"
                " a part of a number is not taken.",
                "person",
            )
    return FeedFilter(campaign_id, frozenset(kind.split(",") if kind else ()), error_code, phone)


def write_filter(wanted: FeedFilter, secret_key: str) -> dict[str, str]:
    """Return a filter as parameters of an address; the number is not among them, the person's id is."""
    parameters = {
        "campaign_id": str(wanted.campaign_id or ""),
        "kind": ",".join(sorted(wanted.kinds)),
        "error_code": str(wanted.error_code or ""),
        "person": make_reference(secret_key, wanted.phone) if wanted.phone else "",
    }
    return {name: value for name, value in parameters.items() if value}
