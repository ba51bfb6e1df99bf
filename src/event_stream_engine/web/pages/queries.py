"""`/reports/queries`: SQL of one's own: written, run, drawn, saved, shared, and run by itself."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.exports.formats import FORMATS
from event_stream_engine.infra.database import Connection, snapshot
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.notifications.channels import Channel, list_channels
from event_stream_engine.notifications.targets import ALERTMANAGER
from event_stream_engine.reporting import query_runs, query_schedules
from event_stream_engine.reporting.query_runs import Run
from event_stream_engine.reporting.query_schedules import WEEKDAYS, Schedule
from event_stream_engine.web.api.query_schedules import describe_schedule
from event_stream_engine.web.api.saved_queries import describe_query, person_of
from event_stream_engine.web.query_charts import MOST_POINTS, Drawn, chart_result, name_colours
from event_stream_engine.web.render import may_change, may_write, render
from event_stream_engine.web.resources import resources_of
from event_stream_engine.workbench import saved_queries
from event_stream_engine.workbench.parameters import TYPES
from event_stream_engine.workbench.saved_queries import (
    MOST_LINES,
    Person,
    SavedQuery,
    Version,
)
from event_stream_engine.workbench.statement import LONGEST_LETTERS
from event_stream_engine.workbench.whole_results import IN_A_FILE

router = APIRouter(prefix="/reports/queries", include_in_schema=False)
TAB = "/reports/queries"
_Cell = str | float | bool | None


@dataclass(frozen=True, slots=True)
class QueryRow:
    query: SavedQuery
    schedules: list[Schedule]


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """`when` and `values`, those of its parameters that are not the default, in words; `described` as the API has it."""

    schedule: Schedule
    when: str
    values: str
    described: dict[str, Any]
    may_change: bool
    runs: list[Run]


class ColumnBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    values: list[_Cell] = Field(max_length=MOST_POINTS)


class ChartBody(BaseModel):
    """The columns of a result that are to be drawn."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["bar", "line"]
    x: ColumnBody
    y: Annotated[list[ColumnBody], Field(min_length=1, max_length=MOST_LINES)]


@router.get("")
async def show_queries(request: Request) -> Response:
    resources, person = resources_of(request), person_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await saved_queries.list_queries(conn, person)
        schedules = await query_schedules.list_schedules(conn, person)
    by_query: dict[UUID, list[Schedule]] = {}
    for schedule in schedules:
        if schedule.is_enabled:
            by_query.setdefault(schedule.query_id, []).append(schedule)
    rows = [QueryRow(query, by_query.get(query.id, [])) for query in found]
    groups = (
        ("Yours", [row for row in rows if row.query.owner == person.actor.name]),
        ("Shared by others", [row for row in rows if row.query.owner not in (None, person.actor.name)]),
        ("Shipped", [row for row in rows if row.query.is_shipped]),
    )
    return render(
        request,
        "queries.html",
        room="reports",
        tab=TAB,
        groups=[(name, members) for name, members in groups if members or name == "Yours"],
        may_save=may_write(request),
        describe_when=describe_when,
        zone=resources.settings.timezone,
    )


@router.get("/new")
async def show_new_query(request: Request) -> Response:
    return await _show_editor(request, None)


@router.get("/{query_id:uuid}")
async def show_query(request: Request, query_id: UUID) -> Response:
    return await _show_editor(request, query_id)


@router.post("/chart")
async def draw_chart(request: Request, body: ChartBody) -> dict[str, Any]:
    """Draw columns of a result; nothing is asked of the database."""
    if any(len(one.values) != len(body.x.values) for one in body.y):
        raise Invalid("All columns of a chart have as many values.", "y")
    numbers = [Drawn(one.name, one.values) for one in body.y]
    zone = resources_of(request).settings.timezone
    chart = chart_result(body.kind, Drawn(body.x.name, body.x.values), numbers, zone)
    return {
        "spec": chart.spec,
        "rows": chart.rows,
        "summary": chart.summary,
        "nothing": chart.nothing,
        "colours": name_colours([one.name for one in numbers]),
    }


def describe_when(schedule: Schedule) -> str:
    """Say when a query runs: `every day at 08:30`, `Mondays at 08:30`."""
    day = "every day" if schedule.weekday is None else f"{WEEKDAYS[schedule.weekday - 1]}s"
    return f"{day} at {schedule.runs_at:%H:%M}"


async def _show_editor(request: Request, query_id: UUID | None) -> Response:
    resources, person = resources_of(request), person_of(request)
    query: SavedQuery | None = None
    versions: list[Version] = []
    rows: list[ScheduleRow] = []
    channels: list[Channel] = []
    async with resources.pool.connection() as conn, snapshot(conn):
        if query_id is not None:
            query = await saved_queries.load_query(conn, query_id, person)
            versions = await saved_queries.list_versions(conn, query_id)
            rows = await _list_schedules(conn, person, query)
            channels = [one for one in await list_channels(conn) if one.kind != ALERTMANAGER]
    return render(
        request,
        "query.html",
        room="reports",
        tab=TAB,
        modules=["queries.js"],
        query=query,
        described=None if query is None else describe_query(query, person),
        may_save=may_write(request),
        may_save_this=may_write(request) and (query is None or query.may_change(person)),
        may_watch=may_change(request) and query is not None and query.is_shared,
        past=[one for one in versions if query is not None and one.version != query.version],
        schedules=rows,
        channels=channels,
        channel_choices=[
            (str(one.id), one.name if one.is_enabled else f"{one.name} (switched off)") for one in channels
        ],
        weekdays=WEEKDAYS,
        types=list(TYPES),
        longest=LONGEST_LETTERS,
        formats=[(one.slug, one.name) for one in FORMATS.values()],
        limits=IN_A_FILE,
        zone=resources.settings.timezone,
    )


async def _list_schedules(conn: Connection, person: Person, query: SavedQuery) -> list[ScheduleRow]:
    found = await query_schedules.list_schedules(conn, person, query.id)
    runs = await query_runs.list_runs(conn, [one.id for one in found])
    return [
        ScheduleRow(
            one,
            describe_when(one),
            ", ".join(f"{name} = {value}" for name, value in one.given.items() if value is not None),
            describe_schedule(one, person),
            one.may_change(person),
            [run for run in runs if run.schedule_id == one.id],
        )
        for one in found
    ]
