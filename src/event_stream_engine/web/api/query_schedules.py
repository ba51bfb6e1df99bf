"""Schedules of saved queries, and what came of their runs."""

from datetime import time
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.infra.database import snapshot, transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.reporting import query_runs, query_schedules
from event_stream_engine.reporting.query_runs import Run
from event_stream_engine.reporting.query_schedules import Draft, Schedule
from event_stream_engine.web.api.saved_queries import MAY_SAVE, person_of
from event_stream_engine.web.resources import resources_of
from event_stream_engine.workbench.parameters import Value
from event_stream_engine.workbench.saved_queries import Person

router = APIRouter(prefix="/queries/schedules", tags=["queries"])


class ScheduleBody(BaseModel):
    """`weekday` 1 is Monday, null every day; `runs_at` in the zone of the workspace; `given`: values of parameters."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    runs_at: time
    channel_id: UUID
    weekday: int | None = None
    given: dict[str, Value | None] = {}
    is_enabled: bool = True

    @property
    def draft(self) -> Draft:
        return Draft(self.runs_at, self.channel_id, self.weekday, self.given, self.is_enabled)


class NewScheduleBody(ScheduleBody):
    query_id: UUID


@router.get("")
async def list_schedules(request: Request, query_id: UUID | None = None) -> dict[str, Any]:
    """Schedules of one query, or of all that you may see, with their last run."""
    person = person_of(request)
    async with resources_of(request).pool.connection() as conn:
        found = await query_schedules.list_schedules(conn, person, query_id)
    return {"schedules": [describe_schedule(one, person) for one in found]}


@router.post("", status_code=201, dependencies=MAY_SAVE)
async def create_schedule(request: Request, body: NewScheduleBody) -> dict[str, Any]:
    """Have a saved query run by itself; its result, with numbers masked, is told by a channel."""
    resources, person = resources_of(request), person_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        schedule = await query_schedules.create_schedule(
            conn,
            person,
            body.query_id,
            body.draft,
            zone=resources.settings.timezone,
            now=resources.clock.now(),
        )
    return describe_schedule(schedule, person)


@router.get("/{schedule_id}")
async def show_schedule(request: Request, schedule_id: UUID) -> dict[str, Any]:
    """One schedule with its last runs."""
    person = person_of(request)
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        schedule = await query_schedules.load_schedule(conn, schedule_id, person)
        runs = await query_runs.list_runs(conn, [schedule_id])
    return describe_schedule(schedule, person) | {"runs": [_describe_run(run) for run in runs]}


@router.put("/{schedule_id}", dependencies=MAY_SAVE)
async def change_schedule(request: Request, schedule_id: UUID, body: ScheduleBody) -> dict[str, Any]:
    """Change when a query runs and who is told."""
    resources, person = resources_of(request), person_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        schedule = await query_schedules.change_schedule(
            conn,
            person,
            schedule_id,
            body.draft,
            zone=resources.settings.timezone,
            now=resources.clock.now(),
        )
    return describe_schedule(schedule, person)


@router.delete("/{schedule_id}", status_code=204, dependencies=MAY_SAVE)
async def delete_schedule(request: Request, schedule_id: UUID) -> Response:
    """Let a query no longer run by itself; the results of its runs go, too."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await query_schedules.delete_schedule(conn, person_of(request), schedule_id, resources.clock.now())
    return Response(status_code=204)


@router.get("/{schedule_id}/runs/{due_at}/csv")
async def fetch_result(request: Request, schedule_id: UUID, due_at: AwareDatetime) -> Response:
    """The result of a run as CSV, with numbers masked."""
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        schedule = await query_schedules.load_schedule(conn, schedule_id, person_of(request))
        csv = await query_runs.load_csv(conn, schedule_id, due_at)
    name = f"query-{due_at.astimezone(resources_of(request).settings.timezone):%Y-%m-%d-%H%M}-{schedule.id.hex[:8]}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(csv, media_type="text/csv; charset=utf-8", headers=headers)


def describe_schedule(schedule: Schedule, person: Person) -> dict[str, Any]:
    return {
        "id": str(schedule.id),
        "query_id": str(schedule.query_id),
        "query_name": schedule.query_name,
        "weekday": schedule.weekday,
        "runs_at": schedule.runs_at.isoformat("minutes"),
        "given": dict(schedule.given),
        "channel_id": str(schedule.channel_id),
        "channel_name": schedule.channel_name,
        "is_enabled": schedule.is_enabled,
        "owner": schedule.owner_name,
        "may_change": schedule.may_change(person),
        "next_at": format_instant(schedule.due_at) if schedule.is_enabled else None,
        "last_run": None
        if schedule.ran_at is None
        else {
            "ran_at": format_instant(schedule.ran_at),
            "failed_because": schedule.reason or None,
            "rows": schedule.row_count,
        },
    }


def _describe_run(run: Run) -> dict[str, Any]:
    return {
        "due_at": format_instant(run.due_at),
        "ran_at": format_instant(run.ran_at),
        "query_version": run.query_version,
        "failed_because": run.reason or None,
        "rows": run.row_count,
        "truncated": run.is_truncated,
        "duration_ms": None if run.duration_ms is None else round(run.duration_ms, 1),
    }
