"""Silences: which alerts nobody is told of, and until when."""

from collections.abc import Sequence
from datetime import datetime, time
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.alerting import silences
from event_stream_engine.alerting.silences import Schedule, Silence
from event_stream_engine.infra.database import transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/silences", tags=["alerts"])
_MAY_WRITE = [Depends(require_role(Role.operator))]


class ScheduleBody(BaseModel):
    """Hours on days of the week, 0 is Monday; when they end before they start, they go over midnight."""

    model_config = ConfigDict(extra="forbid")

    weekdays: list[int]
    starts: time
    ends: time
    timezone: str


class SilenceBody(BaseModel):
    """Without `begins_at` it begins now. With a `schedule` it holds only within its hours."""

    model_config = ConfigDict(extra="forbid")

    matchers: dict[str, str]
    ends_at: AwareDatetime
    begins_at: AwareDatetime | None = None
    comment: str
    schedule: ScheduleBody | None = None


@router.get("")
async def list_silences(request: Request) -> dict[str, Any]:
    """Silences that have not ended, the next to end first."""
    resources = resources_of(request)
    now = resources.clock.now()
    async with resources.pool.connection() as conn:
        found = await silences.list_silences(conn, now)
    return {"silences": [_describe(silence, now) for silence in found]}


@router.post("", status_code=201, dependencies=_MAY_WRITE)
async def add_silence(request: Request, body: SilenceBody) -> dict[str, Any]:
    """Be silent about the alerts that have all of some labels."""
    resources = resources_of(request)
    now = resources.clock.now()
    schedule = None
    if body.schedule is not None:
        weekdays: Sequence[int] = tuple(body.schedule.weekdays)
        schedule = Schedule(weekdays, body.schedule.starts, body.schedule.ends, body.schedule.timezone)
    async with resources.pool.connection() as conn, transaction(conn):
        silence_id = await silences.add_silence(
            conn,
            actor_of(request),
            body.matchers,
            begins_at=body.begins_at or now,
            ends_at=body.ends_at,
            comment=body.comment,
            now=now,
            schedule=schedule,
        )
        [made] = [one for one in await silences.list_silences(conn, now) if one.id == silence_id]
    return _describe(made, now)


@router.delete("/{silence_id}", status_code=204, dependencies=_MAY_WRITE)
async def end_silence(request: Request, silence_id: UUID) -> Response:
    """End a silence now; alerts that still fire are told at the next tick."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await silences.end_silence(conn, actor_of(request), silence_id, resources.clock.now())
    return Response(status_code=204)


def _describe(silence: Silence, now: datetime) -> dict[str, Any]:
    schedule = silence.schedule
    return {
        "id": str(silence.id),
        "matchers": dict(silence.matchers),
        "begins_at": format_instant(silence.begins_at),
        "ends_at": format_instant(silence.ends_at),
        "schedule": None if schedule is None else silences.describe_schedule(schedule),
        "holds_now": silence.holds_at(now),
        "comment": silence.comment,
        "author": silence.author,
        "created_at": format_instant(silence.created_at),
    }
