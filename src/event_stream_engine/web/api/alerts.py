"""Alerts: what fires, the thresholds of the configuration, the history of each, taking one in hand."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from event_stream_engine.access.roles import Role
from event_stream_engine.alerting import episodes, rules
from event_stream_engine.alerting.episodes import Episode, Step
from event_stream_engine.alerting.measures import MEASURES
from event_stream_engine.infra.database import snapshot, transaction
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/alerts", tags=["alerts"])


class ConfigurationBody(BaseModel):
    """What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    error_rate_threshold: float | None = None
    response_time_threshold_ms: float | None = None
    delivery_rate_threshold: float | None = None
    disk_usage_threshold: float | None = None


@router.get("")
async def list_alerts(request: Request) -> dict[str, Any]:
    """What fires now, and the thresholds of the configuration."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        configuration = await rules.load_configuration(conn)
        firing = await episodes.list_open(conn)
    return {
        "as_of": format_instant(resources.clock.now()),
        "alert_configuration": configuration,
        "active_alerts": [describe_alert(episode) for episode in firing],
    }


@router.get("/metrics")
async def list_metrics() -> dict[str, Any]:
    """What rules can measure."""
    return {
        "metrics": [
            {
                "slug": measure.slug,
                "name": measure.name,
                "unit": measure.unit,
                "formula": measure.formula,
                "scopes": list(measure.scopes),
                "has_window": measure.has_window,
                "sample": measure.sample or None,
                "has_history": measure.has_history,
            }
            for measure in MEASURES.values()
        ]
    }


@router.get("/resolved")
async def list_resolved(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the answer before")] = None,
) -> dict[str, Any]:
    """Alerts that are over, the last to end first."""
    before = read_cursor(cursor, parse_instant, UUID) if cursor else None
    async with resources_of(request).pool.connection() as conn:
        found = await episodes.list_resolved(
            conn, most=limit + 1, before=(before[0], before[1]) if before else None
        )
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    return {
        "items": [describe_alert(episode) for episode in shown],
        "next_cursor": write_cursor(format_instant(last.resolved_at), last.id)
        if last is not None and last.resolved_at is not None
        else None,
    }


@router.put("/configuration", dependencies=[Depends(require_role(Role.admin))])
async def change_configuration(request: Request, body: ConfigurationBody) -> dict[str, Any]:
    """Change thresholds; they hold from the next tick on."""
    resources = resources_of(request)
    changes = {key: value for key, value in body.model_dump().items() if value is not None}
    async with resources.pool.connection() as conn, transaction(conn):
        changed = await rules.change_configuration(conn, actor_of(request), changes, resources.clock.now())
    return {"alert_configuration": changed}


@router.get("/{alert_id}")
async def show_alert(request: Request, alert_id: str) -> dict[str, Any]:
    """One alert with its history."""
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        episode = await episodes.load_episode(conn, alert_id)
        steps = await episodes.list_steps(conn, episode.id)
    return describe_alert(episode) | {"history": [_describe_step(step) for step in steps]}


@router.post("/{alert_id}/acknowledge", dependencies=[Depends(require_role(Role.operator))])
async def acknowledge(request: Request, alert_id: str) -> dict[str, Any]:
    """Take an alert in hand: it is not told again until it is over. Doing so again changes nothing."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        episode = await episodes.acknowledge(conn, actor_of(request), alert_id, resources.clock.now())
    resources.firing.forget()
    return describe_alert(episode)


def describe_alert(episode: Episode) -> dict[str, Any]:
    """Return an alert with the document's keys, and more beside them."""
    measure = MEASURES.get(episode.metric)
    return {
        "alert_id": episode.alert_id,
        "severity": episode.severity,
        "message": episode.name,
        "current_value": None if episode.value is None else round(episode.value, 2),
        "threshold": episode.threshold,
        "triggered_at": format_instant(episode.fired_at),
        "id": str(episode.id),
        "state": episode.state,
        "rule_id": str(episode.rule_id),
        "metric": episode.metric,
        "unit": measure.unit if measure else None,
        "comparison": episode.comparison,
        "worst_value": round(episode.peak, 2),
        "subject": episode.subject,
        "subject_name": episode.subject_name,
        "labels": dict(episode.labels),
        "reason": episode.reason,
        "runbook_url": episode.runbook_url or None,
        "acknowledged_at": None
        if episode.acknowledged_at is None
        else format_instant(episode.acknowledged_at),
        "acknowledged_by": episode.acknowledged_by,
        "resolved_at": None if episode.resolved_at is None else format_instant(episode.resolved_at),
        "told_at": None if episode.told_at is None else format_instant(episode.told_at),
        "held_back": episode.held_back,
    }


def _describe_step(step: Step) -> dict[str, Any]:
    return {"at": format_instant(step.at), "kind": step.kind, "actor": step.actor, "text": step.text}
