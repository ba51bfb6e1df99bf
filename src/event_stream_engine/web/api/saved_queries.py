"""Saved queries: kept, shared, changed with their past versions."""

from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Principal, Role
from event_stream_engine.infra.database import snapshot, transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.web.api.queries import answer_result, may_see_numbers, while_connected
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.resources import resources_of
from event_stream_engine.workbench import saved_queries
from event_stream_engine.workbench.asking import ask
from event_stream_engine.workbench.parameters import Parameter, Value, read_values
from event_stream_engine.workbench.saved_queries import ChartChoice, Draft, Person, SavedQuery, Version

router = APIRouter(prefix="/queries", tags=["queries"])
MAY_SAVE = [Depends(require_role(Role.operator))]


class ParameterBody(BaseModel):
    """`:name` in the text stands for it. `type` is text, integer, number, date, timestamp or boolean."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    type: str = "text"
    default: Value | None = None


class ChartBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["bar", "line"]
    x: str
    y: list[str]


class QueryBody(BaseModel):
    """`is_shared`: everybody may see and run it; else only who has saved it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    sql: str
    description: str = ""
    parameters: list[ParameterBody] = []
    chart: ChartBody | None = None
    is_shared: bool = False

    @property
    def draft(self) -> Draft:
        return Draft(
            self.name,
            self.sql,
            self.description,
            [Parameter(one.name, one.type, one.default) for one in self.parameters],
            None if self.chart is None else ChartChoice(self.chart.kind, self.chart.x, self.chart.y),
            self.is_shared,
        )


class QueryChange(QueryBody):
    """`version`: of the query as it was read."""

    version: int


class ValuesBody(BaseModel):
    """Values of parameters by name; what is left out or null has its default."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    parameters: dict[str, Value | None] = {}


@router.get("")
async def list_queries(request: Request) -> dict[str, Any]:
    """Queries that are shipped, shared, or your own, by name."""
    person = person_of(request)
    async with resources_of(request).pool.connection() as conn:
        found = await saved_queries.list_queries(conn, person)
    return {"queries": [describe_query(query, person) for query in found]}


@router.post("", status_code=201, dependencies=MAY_SAVE)
async def create_query(request: Request, body: QueryBody) -> dict[str, Any]:
    """Save a query."""
    resources, person = resources_of(request), person_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        query = await saved_queries.create_query(conn, person, body.draft, resources.clock.now())
    return describe_query(query, person)


@router.get("/{query_id}")
async def show_query(request: Request, query_id: UUID) -> dict[str, Any]:
    """One saved query, with what it said before."""
    person = person_of(request)
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        query = await saved_queries.load_query(conn, query_id, person)
        versions = await saved_queries.list_versions(conn, query_id)
    return describe_query(query, person) | {"versions": [_describe_version(one) for one in versions]}


@router.put("/{query_id}", dependencies=MAY_SAVE)
async def change_query(request: Request, query_id: UUID, body: QueryChange) -> dict[str, Any]:
    """Change a query; the text before stays among its versions. Shipped ones never change: save a copy."""
    resources, person = resources_of(request), person_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        query = await saved_queries.change_query(
            conn, person, query_id, body.draft, seen=body.version, now=resources.clock.now()
        )
    return describe_query(query, person)


@router.delete("/{query_id}", status_code=204, dependencies=MAY_SAVE)
async def delete_query(request: Request, query_id: UUID) -> Response:
    """Remove a query with its versions, its schedules and their results."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await saved_queries.delete_query(conn, person_of(request), query_id, resources.clock.now())
    return Response(status_code=204)


@router.post("/{query_id}/run", response_class=Response)
async def run_saved_query(request: Request, query_id: UUID, body: ValuesBody) -> Response:
    """Run a saved query, within the limits of all queries. Viewers see numbers masked. Each run is recorded in the audit trail."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        query = await saved_queries.load_query(conn, query_id, person_of(request))
    asking = ask(
        resources.readers,
        resources.pool,
        resources.clock,
        actor_of(request),
        query.sql,
        parameters=read_values(query.parameters, body.parameters),
        sees_numbers=may_see_numbers(request),
        subject=f"query:{query_id}",
    )
    return await answer_result(await while_connected(request, asking))


def person_of(request: Request) -> Person:
    """Return who sends this request as saved queries know them."""
    principal: Principal = request.state.principal
    return Person(actor_of(request), principal.name, principal.role >= Role.admin)


def describe_query(query: SavedQuery, person: Person) -> dict[str, Any]:
    """Return a query as the API and the page have it."""
    chart = query.chart
    return {
        "id": str(query.id),
        "name": query.name,
        "description": query.description,
        "sql": query.sql,
        "parameters": [one.described for one in query.parameters],
        "chart": None if chart is None else {"kind": chart.kind, "x": chart.x, "y": list(chart.y)},
        "is_shared": query.is_shared,
        "is_shipped": query.is_shipped,
        "owner": query.owner_name,
        "may_change": query.may_change(person),
        "version": query.version,
        "created_at": format_instant(query.created_at),
        "changed_at": format_instant(query.changed_at),
    }


def _describe_version(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "sql": version.sql,
        "parameters": [one.described for one in version.parameters],
        "changed_by": version.changed_by_name,
        "changed_at": format_instant(version.changed_at),
    }
