"""Rules of alerts: made, changed, removed, and tried on the past before any of it."""

from dataclasses import asdict
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.alerting import backtest, rules
from event_stream_engine.alerting.backtest import Backtest
from event_stream_engine.alerting.rules import Draft, Rule
from event_stream_engine.infra.database import snapshot, transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/alerts/rules", tags=["alerts"])
_MAY_CHANGE = [Depends(require_role(Role.admin))]


class RuleBody(BaseModel):
    """`window_seconds` null: the metric has none, or the whole campaign. `scope_filter` empty: each of them."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    metric: str
    scope: str
    comparison: Literal["above", "below"]
    threshold: float
    clear_threshold: float | None = None
    severity: str
    scope_filter: str = ""
    window_seconds: int | None = None
    minimum_sample: int = 0
    for_seconds: int = 0
    keep_seconds: int = 0
    labels: dict[str, str] = {}
    inhibits: dict[str, str] = {}
    runbook_url: str = ""
    opens_incident: str | None = None
    action: str | None = None
    action_percent: int | None = None
    is_enabled: bool = True

    @property
    def draft(self) -> Draft:
        given = self.model_dump()
        if self.clear_threshold is None:
            given["clear_threshold"] = self.threshold
        return Draft(**given)


@router.get("")
async def list_rules(request: Request) -> dict[str, Any]:
    """All rules, by name."""
    async with resources_of(request).pool.connection() as conn:
        return {"rules": [_describe(rule) for rule in await rules.list_rules(conn)]}


@router.post("", status_code=201, dependencies=_MAY_CHANGE)
async def create_rule(request: Request, body: RuleBody) -> dict[str, Any]:
    """Make a rule; it is evaluated from the next tick on."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        rule = await rules.create_rule(conn, actor_of(request), body.draft, resources.clock.now())
    return _describe(rule)


@router.post("/backtest")
async def try_rule(request: Request, body: RuleBody) -> dict[str, Any]:
    """When a rule would have fired in the last 14 days; nothing is saved."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        await rules.check_draft(conn, body.draft, await rules.find_rule_id(conn, body.name))
        found = await backtest.try_rule(conn, body.draft, resources.clock.now())
    return describe_backtest(found)


@router.get("/{rule_id}")
async def show_rule(request: Request, rule_id: UUID) -> dict[str, Any]:
    """One rule."""
    async with resources_of(request).pool.connection() as conn:
        return _describe(await rules.load_rule(conn, rule_id))


@router.get("/{rule_id}/backtest")
async def try_saved_rule(request: Request, rule_id: UUID) -> dict[str, Any]:
    """When a rule as it is now would have fired in the last 14 days."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        rule = await rules.load_rule(conn, rule_id)
        found = await backtest.try_rule(conn, rule.draft, resources.clock.now())
    return describe_backtest(found)


@router.put("/{rule_id}", dependencies=_MAY_CHANGE)
async def change_rule(request: Request, rule_id: UUID, body: RuleBody) -> dict[str, Any]:
    """Change a rule. What it measures (metric, scope, filter) stays."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        rule = await rules.change_rule(conn, actor_of(request), rule_id, body.draft, resources.clock.now())
    return _describe(rule)


@router.delete("/{rule_id}", status_code=204, dependencies=_MAY_CHANGE)
async def delete_rule(request: Request, rule_id: UUID) -> Response:
    """Remove a rule; what fires by it is over at the next tick. A rule of the configuration can only be switched off."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await rules.delete_rule(conn, actor_of(request), rule_id, resources.clock.now())
    return Response(status_code=204)


def _describe(rule: Rule) -> dict[str, Any]:
    return asdict(rule.draft) | {
        "id": str(rule.id),
        "configuration": rule.configuration,
        "created_at": format_instant(rule.created_at),
        "changed_at": format_instant(rule.changed_at),
    }


def describe_backtest(found: Backtest) -> dict[str, Any]:
    """Return how often and when a rule would have fired; without a history null and the reason."""
    known = found.reason is None
    return {
        "window": {"since": format_instant(found.since), "until": format_instant(found.until)},
        "would_have_fired": len(found.periods) if known else None,
        "subjects": found.subjects if known else None,
        "periods": [
            {
                "subject": period.subject,
                "subject_name": period.subject_name,
                "fired_at": format_instant(period.fired_at),
                "resolved_at": None if period.resolved_at is None else format_instant(period.resolved_at),
                "worst_value": round(period.peak, 2),
            }
            for period in found.periods
        ],
        "series": {
            "subject": found.shown,
            "subject_name": found.shown_name,
            "points": [
                {
                    "at": format_instant(point.at),
                    "value": None if point.value is None else round(point.value, 2),
                }
                for point in found.points
            ],
        },
        "notes": list(found.notes),
        "unknown": {}
        if found.reason is None
        else {"would_have_fired": found.reason, "subjects": found.reason},
    }
