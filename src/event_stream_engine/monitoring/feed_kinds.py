"""The vocabulary of the live feed: what of the log is shown, how it is called and marked, and what is told of it.

To show another event, add an entry to `KINDS`: page, stream, filter and documents take it from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event people see.

    `slug` is its `event_type` in answers; `sources` are the log's events it is made of, each an event type and, where
    one type holds several kinds, the variant that `list_feed_rows` finds; `mark` is its dot on the page; `fields` is
    what is told of it beside time, channel and campaign (`feed_events.FIELDS`); `is_frequent` ones are sampled when they
    come faster than people can read.
    """

    slug: str
    mark: str
    name: str
    fields: tuple[str, ...]
    sources: tuple[str, ...]
    is_frequent: bool = False


def _status(status: str, mark: str, *fields: str, also: tuple[str, ...] = ()) -> Kind:
    sources = (f"receipt.received {status}", *also)
    return Kind(f"message_{status}", mark, status, ("recipient", *fields), sources, is_frequent=True)


def _campaign(what: str, mark: str) -> Kind:
    return Kind(
        f"campaign_{what}", mark, f"campaign {what}", ("estimated_recipients",), (f"campaign.{what}",)
    )


def _consent(what: str, mark: str, name: str, *also: str) -> Kind:
    fields = ("from_phone", "message_body", "people", "source")
    return Kind(f"consent_{what}", mark, name, fields, (f"audience.changed {what}", *also))


# What the sender says of a message that was handed over (message.accepted) is told again, and better, by receipts.
KINDS = (
    _status("accepted", "in-flight"),
    _status("scheduled", "in-flight"),
    _status("queued", "in-flight"),
    _status("sending", "in-flight"),
    _status("sent", "in-flight"),
    _status("delivered", "delivered", "delivery_time_seconds"),
    _status("read", "delivered", "delivery_time_seconds"),
    _status("failed", "failed", "error_code", "description", also=("message.refused",)),
    _status("undelivered", "failed", "error_code", "description"),
    _status("canceled", "failed"),
    Kind(
        "message_skipped",
        "warning",
        "denied",
        ("recipient", "reason"),
        ("message.skipped",),
        is_frequent=True,
    ),
    Kind(
        "message_unsure", "warning", "outcome unknown", ("recipient",), ("message.unsure",), is_frequent=True
    ),
    Kind(
        "inbound_message",
        "in-flight",
        "inbound",
        ("from_phone", "message_body", "intent", "auto_response"),
        ("inbound.received",),
        is_frequent=True,
    ),
    _consent("stopped", "warning", "opted out", "inbound.received stopped"),
    _consent("started", "delivered", "opted in", "inbound.received started"),
    _consent("changed", "accent", "consent changed"),
    _campaign("scheduled", "accent"),
    _campaign("started", "accent"),
    _campaign("paused", "warning"),
    _campaign("resumed", "accent"),
    _campaign("completed", "delivered"),
    _campaign("cancelled", "warning"),
    Kind("alert_fired", "failed", "alert", ("severity", "message", "alert_id"), ("alert.fired",)),
    Kind(
        "alert_resolved",
        "delivered",
        "alert resolved",
        ("severity", "message", "alert_id"),
        ("alert.resolved",),
    ),
)

BY_SLUG: Mapping[str, Kind] = MappingProxyType({kind.slug: kind for kind in KINDS})
BY_SOURCE: Mapping[str, Kind] = MappingProxyType({source: kind for kind in KINDS for source in kind.sources})
