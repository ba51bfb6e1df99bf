"""`/alerts/rules`: what is watched; a rule is tried on the past while it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.alerting import backtest, rules, standings
from event_stream_engine.alerting.backtest import Backtest
from event_stream_engine.alerting.measures import MEASURES
from event_stream_engine.alerting.rules import Draft, Rule
from event_stream_engine.alerting.standings import Standing
from event_stream_engine.alerting.subjects import name_subjects
from event_stream_engine.alerting.telling import format_value
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.formats import format_duration
from event_stream_engine.web.alert_charts import chart_backtest, count_fires, list_first
from event_stream_engine.web.api.alert_rules import RuleBody
from event_stream_engine.web.api.saved_queries import person_of
from event_stream_engine.web.auth import require_role
from event_stream_engine.web.render import may_change, render
from event_stream_engine.web.resources import resources_of
from event_stream_engine.workbench import saved_queries

router = APIRouter(prefix="/alerts/rules", include_in_schema=False)
_ADMIN = Depends(require_role(Role.admin))
_WORST = ("firing", "acknowledged", "pending", "no_data", "resolved", "ok")
_ORDER = (*_WORST, "off")
WINDOWS = (60, 300, 900, 3600, 21_600, 86_400, 604_800)
EXAMPLE = Draft(
    "", "delivery_rate", "campaign", "below", 90.0, 91.0, "warning", minimum_sample=50, keep_seconds=60
)
WATCHED_QUERY = Draft("", "query_value", "query", "above", 0.0, 0.0, "warning")


@dataclass(frozen=True, slots=True)
class RuleRow:
    """`state` is that of its worst subject, `subjects` how many there are, `fired` how often it did in 14 days."""

    rule: Rule
    asks: str
    measures: str
    state: str
    shown: Standing | None
    subjects: int
    fired: int


@router.get("")
async def show_rules(request: Request) -> Response:
    resources = resources_of(request)
    now = resources.clock.now()
    async with resources.pool.connection() as conn, snapshot(conn):
        known = await rules.list_rules(conn)
        stood = await standings.list_standings(conn)
        fired = await standings.count_fired(conn, now)
        names = await name_subjects(conn, {_subject(rule) for rule in known if rule.scope_filter})
    by_rule: dict[UUID, list[Standing]] = {}
    for standing in stood:
        by_rule.setdefault(standing.rule_id, []).append(standing)
    rows = [_describe(rule, by_rule.get(rule.id, []), fired.get(rule.id, 0), names) for rule in known]
    rows.sort(key=lambda row: _ORDER.index(row.state))
    return render(
        request,
        "alert_rules.html",
        room="alerts",
        tab="/alerts/rules",
        modules=["alert-rules.js"],
        as_of=now,
        zone=resources.settings.timezone,
        rows=rows,
        histories={slug for slug, one in MEASURES.items() if one.has_history},
        may_change=may_change(request),
    )


@router.get("/new", dependencies=[_ADMIN])
async def show_new_rule(request: Request, query: UUID | None = None) -> Response:
    return await _show_form(request, None, query)


@router.get("/{rule_id:uuid}", dependencies=[_ADMIN])
async def show_rule(request: Request, rule_id: UUID) -> Response:
    return await _show_form(request, rule_id)


@router.post("/tried")
async def show_tried(request: Request, body: RuleBody) -> Response:
    """Show what a rule that is being written would have done; the page takes it in."""
    resources = resources_of(request)
    draft = body.draft
    async with resources.pool.connection() as conn, snapshot(conn):
        await rules.check_draft(conn, draft, await rules.find_rule_id(conn, draft.name))
        found = await backtest.try_rule(conn, draft, resources.clock.now())
    return render(request, "alert_tried.html", **_list_tried(request, draft, found))


def describe_condition(rule: Draft) -> str:
    """Say in a few words when a rule fires."""
    text = f"{rule.comparison} {format_value(rule.threshold, rule.metric)}"
    if rule.for_seconds:
        text += f" for {format_duration(rule.for_seconds)}"
    if rule.minimum_sample:
        text += f", of {rule.minimum_sample:,} or more"
    return text


def describe_measured(rule: Draft, names: Mapping[str, str]) -> str:
    """Say in a few words what a rule measures of whom; `names` has those of subjects."""
    measure = MEASURES.get(rule.metric)
    name = measure.name if measure else rule.metric
    whom = {
        "all": "",
        "campaign": " of each campaign",
        "channel": " by channel",
        "country": " by country",
        "host": " of each host",
        "query": "",
    }[rule.scope]
    if rule.scope_filter:
        whom = (
            f" of {rule.scope} {names[_subject(rule)]}"
            if rule.scope != "query"
            else f": {names[_subject(rule)]}"
        )
    if rule.window_seconds:
        when = f", last {format_duration(rule.window_seconds)}"
    else:
        when = ", the whole campaign" if measure is not None and measure.has_window else ""
    return f"{name}{whom}{when}"


async def _show_form(request: Request, rule_id: UUID | None, query_id: UUID | None = None) -> Response:
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        rule = None if rule_id is None else await rules.load_rule(conn, rule_id)
        draft = rule.draft if rule else EXAMPLE
        queries = [one for one in await saved_queries.list_queries(conn, person_of(request)) if one.is_shared]
        if query_id is not None:
            query = await saved_queries.load_query(conn, query_id, person_of(request))
            draft = replace(WATCHED_QUERY, name=query.name, scope_filter=str(query.id))
        names = await name_subjects(conn, [_subject(draft)] if draft.scope_filter else [])
        found = await backtest.try_rule(conn, draft, resources.clock.now())
    windows = sorted({*WINDOWS, *([draft.window_seconds] if draft.window_seconds else [])})
    return render(
        request,
        "alert_rule_form.html",
        room="alerts",
        tab="/alerts/rules",
        modules=["alert-rules.js"],
        rule=rule,
        draft=draft,
        measures=MEASURES,
        kinds=_list_kinds(),
        windows=[("", "none, or the whole campaign"), *((one, format_duration(one)) for one in windows)],
        severities=[(one, one) for one in rules.SEVERITIES],
        incidents=[("", "none"), *((one, one) for one in rules.INCIDENT_SEVERITIES)],
        measured=describe_measured(draft, names),
        queries=queries,
        **_list_tried(request, draft, found),
    )


def _list_kinds() -> dict[str, dict[str, Any]]:
    """Return what the form needs to know of each metric."""
    return {
        slug: {
            "scopes": list(one.scopes),
            "hasWindow": one.has_window,
            "hasSample": bool(one.sample),
            "unit": one.unit,
            "formula": one.formula,
        }
        for slug, one in MEASURES.items()
    }


def _list_tried(request: Request, draft: Draft, found: Backtest) -> dict[str, Any]:
    zone = resources_of(request).settings.timezone
    return {
        "found": found,
        "tried": draft,
        "zone": zone,
        "chart": chart_backtest(draft, found, zone),
        "verdict": found.reason or count_fires(len(found.periods)),
        "periods": list_first(found.periods),
    }


def _subject(rule: Draft) -> str:
    return f"{rule.scope}:{rule.scope_filter}"


def _describe(rule: Rule, stood: list[Standing], fired: int, names: Mapping[str, str]) -> RuleRow:
    worst = min(stood, key=lambda one: _WORST.index(one.state), default=None)
    state = "off" if not rule.is_enabled else (worst.state if worst else "ok")
    return RuleRow(
        rule, describe_condition(rule), describe_measured(rule, names), state, worst, len(stood), fired
    )
