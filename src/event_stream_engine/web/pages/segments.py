"""`/audience/segments`: named filters over the people, and the form that builds them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.analytics.campaign_progress import count_unstarted
from event_stream_engine.audience import people, segments
from event_stream_engine.audience.conditions import OPERATORS
from event_stream_engine.audience.segments import Segment
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.phone import REGIONS
from event_stream_engine.web.auth import require_role
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of
from event_stream_engine.web.wording import CONSENT_STATES

router = APIRouter(prefix="/audience/segments", include_in_schema=False)
PAGE_LENGTH = 25
FIELDS = (
    ("consent", "Consent"),
    ("country", "Country"),
    ("attributes", "Attribute"),
    ("channel", "Channel used"),
    ("created", "Known since"),
    ("last_message", "Last message to them"),
    ("last_reply", "Last reply"),
)
_CATALOGUE = {
    "operators": OPERATORS,
    "states": [(state, pair[1]) for state, pair in CONSENT_STATES.items()],
    "channels": [("sms", "SMS"), ("whatsapp", "WhatsApp")],
}
_WORDS = {
    "equals": "is",
    "not_equals": "is not",
    "in": "is one of",
    "contains": "contains",
    "starts_with": "starts with",
    "less": "is less than",
    "greater": "is greater than",
    "before": "is before",
    "after": "is after",
}
_FIRST_FILTER = {"and": [{"field": "consent", "operator": "equals", "value": "OPT_IN"}]}


@dataclass(frozen=True, slots=True)
class SegmentRow:
    segment: Segment
    words: str


@router.get("")
async def show_segments(request: Request, after: str | None = None) -> Response:
    resources = resources_of(request)
    place = read_cursor(after, str, UUID) if after else None
    async with resources.pool.connection() as conn:
        found = await segments.list_segments(conn, PAGE_LENGTH + 1, place)
    shown = found[:PAGE_LENGTH]
    more = len(found) > PAGE_LENGTH
    return render(
        request,
        "segments.html",
        room="audience",
        tab="/audience/segments",
        modules=["counts.js"],
        rows=[SegmentRow(one, describe_filter(one.filter)) for one in shown],
        next_href=f"/audience/segments?after={write_cursor(shown[-1].name, shown[-1].id)}" if more else None,
        first_href="/audience/segments" if after else None,
        may_write=may_write(request),
        zone=resources.settings.timezone,
    )


@router.get("/new", dependencies=[Depends(require_role(Role.operator))])
async def show_new_segment(request: Request) -> Response:
    return await _show_form(request, None)


@router.get("/{segment_id:uuid}")
async def show_segment(request: Request, segment_id: UUID) -> Response:
    return await _show_form(request, segment_id)


async def _show_form(request: Request, segment_id: UUID | None) -> Response:
    resources = resources_of(request)
    segment, waiting = None, 0
    async with resources.pool.connection() as conn, snapshot(conn):
        attributes = await people.list_attribute_names(conn)
        if segment_id is not None:
            segment = await segments.load_segment(conn, segment_id)
            waiting = await count_unstarted(conn, segment_id)
    tree = segment.filter if segment else _FIRST_FILTER
    return render(
        request,
        "segment.html",
        room="audience",
        tab="/audience/segments",
        modules=["segments.js"],
        segment=segment,
        waiting=waiting,
        filter_json=orjson.dumps(tree, option=orjson.OPT_INDENT_2).decode(),
        attributes=attributes,
        countries=REGIONS,
        catalogue=_CATALOGUE,
        fields=FIELDS,
        may_write=may_write(request),
        zone=resources.settings.timezone,
    )


def describe_filter(tree: Any, depth: int = 0) -> str:
    """Say a filter in words: `Consent is opted in, and Country is US`."""
    match tree:
        case {"and": []}:
            return "Everybody"
        case {"and": list(parts)}:
            words = " and ".join(describe_filter(part, depth + 1) for part in parts)
        case {"or": list(parts)}:
            words = " or ".join(describe_filter(part, depth + 1) for part in parts)
        case {"not": part}:
            return f"not ({describe_filter(part)})"
        case _:
            return _describe_condition(tree)
    return f"({words})" if depth and len(parts) > 1 else words


def _describe_condition(leaf: dict[str, Any]) -> str:
    field, operator, value = leaf.get("field", ""), leaf.get("operator", ""), leaf.get("value", True)
    name = dict(FIELDS).get(field, field.removeprefix("attributes."))
    if operator == "exists":
        return f"{name} is {'known' if value else 'not known'}"
    return f"{name} {_WORDS.get(operator, operator)} {_describe_value(field, value)}"


def _describe_value(field: str, value: Any) -> str:
    match value:
        case {"days_ago": days}:
            return f"{days} days ago"
        case {"hours_ago": hours}:
            return f"{hours} hours ago"
        case list():
            return ", ".join(_describe_value(field, one) for one in value)
        case str() if field == "consent" and value in CONSENT_STATES:
            return CONSENT_STATES[value][1]
        case _:
            return str(value)
