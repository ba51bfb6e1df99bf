"""`/reports/exports`: take rows away as files, and see how far each is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from event_stream_engine.access.roles import Principal, Role
from event_stream_engine.analytics.inbound import INTENTS
from event_stream_engine.audit.trails import list_actor_names
from event_stream_engine.campaigns.campaigns import list_campaigns
from event_stream_engine.exports import jobs
from event_stream_engine.exports.formats import FORMATS
from event_stream_engine.exports.jobs import Export
from event_stream_engine.exports.orders import least_role
from event_stream_engine.exports.sets import MESSAGES, SAVED_QUERY, SETS, load_set
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.formats import format_duration, format_window
from event_stream_engine.kernel.phone import REGIONS
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.api.exports import list_parameters, may_see_query, rate, say_error, with_query
from event_stream_engine.web.auth import actor_of
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.periods import PERIODS, read_period
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of
from event_stream_engine.web.wording import CONSENT_STATES, INTENT_NAMES, MESSAGE_STATUSES, word_reason

router = APIRouter(prefix="/reports/exports", include_in_schema=False)
PAGE_LENGTH = 25
CAMPAIGNS_OFFERED = 200
_OPEN = frozenset({"waiting", "running"})
_PLAIN = ("channel", "country", "sender")


@dataclass(frozen=True, slots=True)
class ExportRow:
    """`narrowed`: its filters in words; `outlook`: how fast it is, and how long it still takes."""

    export: Export
    name: str
    narrowed: str
    error: str | None
    who: str
    outlook: str
    share_percent: float
    may_have: bool
    may_end: bool


@router.get("")
async def show_exports(
    request: Request,
    before: str | None = None,
    chosen: Annotated[str, Query(alias="set")] = MESSAGES.slug,
) -> Response:
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    principal: Principal = request.state.principal
    wanted = load_set(chosen)
    if wanted is SAVED_QUERY:
        return RedirectResponse("/reports/queries", 303)
    place = read_cursor(before, parse_instant, UUID) if before else None
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await jobs.list_exports(conn, PAGE_LENGTH + 1, place)
        actors = await list_actor_names(conn, [one.actor for one in found])
        campaigns = await list_campaigns(conn, limit=CAMPAIGNS_OFFERED)
    shown = found[:PAGE_LENGTH]
    names = {str(one.id): one.name for one in campaigns}
    more = len(found) > PAGE_LENGTH
    given = {name: value for name, value in request.query_params.items() if value}
    return render(
        request,
        "exports.html",
        room="reports",
        tab="/reports/exports",
        modules=["exports.js"],
        sets=[one for one in SETS.values() if principal.role >= one.needs],
        wanted=wanted,
        may_have_wanted=principal.role >= wanted.needs,
        parameters=list_parameters(wanted.filters),
        given=given,
        period_words=_word_period(request, given),
        choices=_offer(names),
        formats=[(one.slug, one.name) for one in FORMATS.values()],
        rows=[
            _describe(
                request,
                one,
                _word_filters(one.filters, names, zone),
                actors.get(one.actor, one.actor.removeprefix("engine:")),
                now,
            )
            for one in shown
        ],
        is_running=any(one.state in _OPEN for one in shown),
        next_href=f"/reports/exports?before={write_cursor(format_instant(shown[-1].created_at), shown[-1].id)}"
        if more
        else None,
        first_href="/reports/exports" if before else None,
        may_write=may_write(request),
        kept=jobs.KEPT,
        as_of=now,
        zone=zone,
    )


def link_export(set_name: str, asked: Mapping[str, object]) -> str:
    """Return where the rows that a page shows are exported, with its filters."""
    given = {name: value for name, value in asked.items() if value}
    return f"/reports/exports?{urlencode({'set': set_name, **given})}"


def _word_period(request: Request, given: dict[str, str]) -> str:
    """Name a period that another page has chosen, '' when there is none and one may be chosen here. Errors: Invalid."""
    ends: dict[str, str] = {name: given[name] for name in ("since", "until") if name in given}
    return read_period(with_query(request, ends)).label if ends else ""


def _offer(names: dict[str, str]) -> dict[str, tuple[str, str, Sequence[tuple[str, str]]]]:
    """Return label, hint and options of each filter that is chosen from a list."""
    return {
        "period": ("Period", "", [(slug, label) for slug, (label, _) in PERIODS.items()]),
        "campaign_id": ("Campaign", "", list(names.items())),
        "channel": ("Channel", "", [("sms", "SMS"), ("whatsapp", "WhatsApp")]),
        "country": ("Country", "", [(code, code) for code in REGIONS]),
        "intent": ("Intent", "", [(one, INTENT_NAMES[one]) for one in INTENTS]),
        "status": ("Status", "", [(one, pair[1]) for one, pair in MESSAGE_STATUSES.items()]),
        "consent": ("Consent", "", [(one, pair[1]) for one, pair in CONSENT_STATES.items()]),
    }


def _describe(request: Request, one: Export, narrowed: str, who: str, now: datetime) -> ExportRow:
    principal: Principal = request.state.principal
    is_own = one.actor == actor_of(request).name
    expected = max(one.estimated_rows or 0, one.rows, 1)
    name = load_set(one.set_name).name
    if one.set_name == SAVED_QUERY.slug:
        name, narrowed = (
            one.filters["name"] if may_see_query(request, one) else name,
            _word_values(one.filters["parameters"]) if is_own else "",
        )
    return ExportRow(
        one,
        name,
        narrowed,
        say_error(request, one),
        who,
        _word_outlook(one, now),
        100 if one.state == "completed" else min(99.0, one.rows * 100 / expected),
        principal.role >= least_role(one.order) and may_see_query(request, one),
        principal.role >= Role.operator or is_own,
    )


def _word_values(parameters: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['name']} = {one['default']}" for one in parameters)


def _word_outlook(one: Export, now: datetime) -> str:
    if one.state != "running":
        return ""
    per_second = rate(one, now)
    if not per_second or one.estimated_rows is None:
        return "beginning"
    left = max(0, one.estimated_rows - one.rows) / per_second
    return f"{per_second:,.0f} a second, about {format_duration(left)} left"


def _word_filters(filters: dict[str, Any], campaigns: dict[str, str], zone: ZoneInfo) -> str:
    words = []
    if "since" in filters and "until" in filters:
        window = Window(parse_instant(filters["since"]), parse_instant(filters["until"]))
        words.append(format_window(window, zone))
    ids = filters.get("campaign_ids", [filters["campaign_id"]] if "campaign_id" in filters else [])
    words += [campaigns.get(one, "a campaign") for one in ids]
    words += [str(filters[name]) for name in _PLAIN if name in filters]
    if "intent" in filters:
        words.append(INTENT_NAMES[filters["intent"]])
    if "status" in filters:
        words.append(MESSAGE_STATUSES[filters["status"]][1])
    if "reason" in filters:
        words.append(word_reason(filters["reason"]))
    if "consent" in filters:
        words.append(CONSENT_STATES[filters["consent"]][1])
    if {"phone", "number", "text"} & filters.keys():
        words.append("a search")
    return ", ".join(words) or "all"
