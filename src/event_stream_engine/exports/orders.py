"""What somebody asks for: a set, narrowed, as a kind of file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from event_stream_engine.access.roles import Role, require
from event_stream_engine.analytics.campaign_progress import range_of_messages
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.audience.people import Wanted
from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.exports.formats import FORMATS
from event_stream_engine.exports.sets import load_set
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Conflict, Invalid
from event_stream_engine.kernel.windows import Window
from event_stream_engine.workbench.parameters import Value, read_values
from event_stream_engine.workbench.saved_queries import SavedQuery


@dataclass(frozen=True, slots=True)
class Order:
    """`filters`: parameters of the set's query as JSON has them; those left out do not narrow it."""

    set_name: str
    format: str
    filters: Mapping[str, Any] = field(default_factory=dict)
    shows_numbers: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file is. `as_of` is the instant of all its rows."""

    as_of: datetime
    estimated_rows: int
    rows: int = 0


def check_order(order: Order, role: Role) -> None:
    """Errors: Invalid when there is no such set, format or filter; Denied when the role may not have these rows."""
    asked = load_set(order.set_name)
    if order.format not in FORMATS:
        raise Invalid(f"{order.format!r} is no format; use one of {', '.join(FORMATS)}.", "format")
    if strange := sorted(order.filters.keys() - set(asked.filters)):
        raise Invalid(f"{asked.name} cannot be narrowed by {', '.join(strange)}.", strange[0])
    require(role, least_role(order))


def least_role(order: Order) -> Role:
    """Return the least role that may have the rows of an order."""
    needed = load_set(order.set_name).needs
    return max(needed, Role.operator) if order.shows_numbers else needed


def narrow_to_window(window: Window, **more: str | None) -> dict[str, Any]:
    """Return the filters of a set that has a window and perhaps more."""
    filters = {"since": format_instant(window.since), "until": format_instant(window.until), **more}
    return {name: value for name, value in filters.items() if value is not None}


def narrow_to_scope(scope: Scope) -> dict[str, Any]:
    """Return the filters of a set of messages."""
    filters = narrow_to_window(
        scope.window, channel=scope.channel, country=scope.country, sender=scope.sender
    )
    if scope.campaign_ids is not None:
        filters["campaign_ids"] = [str(one) for one in scope.campaign_ids]
    return filters


def narrow_to_campaign(campaign: Campaign, status: str | None, reason: str | None) -> dict[str, Any]:
    """Return the filters of a campaign's recipients. Errors: Conflict when it has none yet."""
    if campaign.started_at is None:
        raise Conflict("This campaign has no recipients yet. They come with its start.")
    first, last = range_of_messages(campaign.started_at)
    filters = {
        "campaign_id": str(campaign.id),
        "first": str(first),
        "last": str(last),
        "status": status,
        "reason": reason,
    }
    return {name: value for name, value in filters.items() if value is not None}


def narrow_to_query(query: SavedQuery, given: Mapping[str, Value | None]) -> dict[str, Any]:
    """Return a query as it is now, with the values that are asked for as the defaults of its parameters. Errors: Invalid."""
    read_values(query.parameters, given)
    values = {name: value for name, value in given.items() if value is not None}
    return {
        "query_id": str(query.id),
        "name": query.name,
        "version": query.version,
        "is_shared": query.is_shared,
        "sql": query.sql,
        "parameters": [
            replace(one, default=values.get(one.name, one.default)).described for one in query.parameters
        ],
    }


def narrow_to_people(wanted: Wanted) -> dict[str, Any]:
    """Return the filters of a search for people. Errors: Invalid."""
    return {name: value for name, value in wanted.parameters().items() if value is not None}
