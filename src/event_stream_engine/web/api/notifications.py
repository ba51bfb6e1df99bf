"""Channels, routes and the history of notifications."""

from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.notifications import channels, deliveries, routes
from event_stream_engine.notifications.channels import Channel
from event_stream_engine.notifications.deliveries import Attempt, Delivery
from event_stream_engine.notifications.routes import Matcher, Route, describe_route
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/notifications", tags=["notifications"])
_MAY_WRITE = [Depends(require_role(Role.admin))]


class ChannelBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    kind: str = "apprise"
    target: str
    is_enabled: bool = True


class ChannelChange(BaseModel):
    """Without a target the address stays."""

    model_config = ConfigDict(extra="forbid")

    name: str
    target: str | None = None
    is_enabled: bool = True


class MatcherBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    label: str
    value: str
    is_regex: bool = False


class RouteBody(BaseModel):
    """Empty lists match everything."""

    model_config = ConfigDict(extra="forbid")

    severities: list[str] = []
    kinds: list[str] = []
    matchers: list[MatcherBody] = []
    channel_id: UUID
    fallback_id: UUID | None = None
    fallback_after_seconds: int = 300
    group_wait_seconds: int = 0

    def as_route(self, route_id: UUID | None = None) -> Route:
        values = self.model_dump(exclude={"matchers", "position"})
        matchers = [Matcher(**matcher.model_dump()) for matcher in self.matchers]
        return Route(**values, matchers=matchers, id=route_id or uuid4())


class PlacedRouteBody(RouteBody):
    """`position`: 1 is the first; without it a new route is the last, and an old one stays where it is."""

    position: int | None = None


class RoutesBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    routes: list[RouteBody]


@router.get("/channels")
async def list_channels(request: Request) -> dict[str, Any]:
    """The channels with how they are doing. Of an address only what is no secret."""
    async with resources_of(request).pool.connection() as conn:
        found = await channels.list_channels(conn)
    return {"items": [describe_channel(channel) for channel in found], "next_cursor": None}


@router.post("/channels", status_code=201, dependencies=_MAY_WRITE)
async def create_channel(request: Request, body: ChannelBody) -> dict[str, Any]:
    """Make a channel."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        made = await channels.create_channel(
            conn, actor_of(request), resources.clock.now(), resources.settings, **body.model_dump()
        )
    return describe_channel(made)


@router.put("/channels/{channel_id}", dependencies=_MAY_WRITE)
async def change_channel(request: Request, channel_id: UUID, body: ChannelChange) -> dict[str, Any]:
    """Put a channel's new content in place of the old."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        changed = await channels.change_channel(
            conn,
            actor_of(request),
            resources.clock.now(),
            resources.settings,
            channel_id,
            **body.model_dump(),
        )
    return describe_channel(changed)


@router.delete("/channels/{channel_id}", status_code=204, dependencies=_MAY_WRITE)
async def remove_channel(request: Request, channel_id: UUID) -> Response:
    """Remove a channel that no route leads to. Its history stays."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await channels.remove_channel(conn, actor_of(request), resources.clock.now(), channel_id)
    return Response(status_code=204)


@router.post("/channels/{channel_id}/test", status_code=202, dependencies=_MAY_WRITE)
async def test_channel(request: Request, channel_id: UUID) -> dict[str, Any]:
    """Send a test by one channel. What becomes of it: `GET /notifications/deliveries?key=…`."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        notice = await channels.queue_test(conn, actor_of(request), resources.clock.now(), channel_id)
    return {"key": str(notice.key)}


@router.get("/routes")
async def list_routes(request: Request) -> dict[str, Any]:
    """The routes in order. None: every notice goes to every enabled channel."""
    async with resources_of(request).pool.connection() as conn:
        return {"routes": [describe_route(route) for route in await routes.list_routes(conn)]}


@router.put("/routes", dependencies=_MAY_WRITE)
async def replace_routes(request: Request, body: RoutesBody) -> dict[str, Any]:
    """Put a list of routes in place of all there are."""
    resources = resources_of(request)
    given = [route.as_route() for route in body.routes]
    async with resources.pool.connection() as conn, transaction(conn):
        made = await routes.replace_routes(conn, actor_of(request), resources.clock.now(), given)
    return {"routes": [describe_route(route) for route in made]}


@router.post("/routes", status_code=201, dependencies=_MAY_WRITE)
async def create_route(request: Request, body: PlacedRouteBody) -> dict[str, Any]:
    """Make a route."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        made = await routes.save_route(
            conn, actor_of(request), resources.clock.now(), body.as_route(), body.position
        )
    return describe_route(made)


@router.put("/routes/{route_id}", dependencies=_MAY_WRITE)
async def change_route(request: Request, route_id: UUID, body: PlacedRouteBody) -> dict[str, Any]:
    """Put a route's new content in place of the old."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await routes.load_route(conn, route_id)
        changed = await routes.save_route(
            conn, actor_of(request), resources.clock.now(), body.as_route(route_id), body.position
        )
    return describe_route(changed)


@router.delete("/routes/{route_id}", status_code=204, dependencies=_MAY_WRITE)
async def delete_route(request: Request, route_id: UUID) -> Response:
    """Remove a route."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await routes.delete_route(conn, actor_of(request), resources.clock.now(), route_id)
    return Response(status_code=204)


@router.get("/deliveries")
async def list_deliveries(
    request: Request,
    *,
    channel_id: UUID | None = None,
    state: Literal["waiting", "delivered", "failed"] | None = None,
    key: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The history of the last 90 days and what waits, newest first."""
    before = read_cursor(cursor, int)[0] if cursor else None
    async with resources_of(request).pool.connection() as conn:
        found = await deliveries.list_deliveries(
            conn, most=limit + 1, before_id=before, channel_id=channel_id, state=state, key=key
        )
    shown = found[:limit]
    return {
        "items": [describe_delivery(delivery) for delivery in shown],
        "next_cursor": write_cursor(shown[-1].id) if len(found) > limit else None,
    }


@router.get("/deliveries/{delivery_id}/attempts")
async def list_attempts(request: Request, delivery_id: int) -> dict[str, Any]:
    """Every attempt of a delivery, in order."""
    async with resources_of(request).pool.connection() as conn:
        found = await deliveries.list_attempts(conn, delivery_id)
    return {"items": [_describe_attempt(attempt) for attempt in found], "next_cursor": None}


@router.post("/deliveries/{delivery_id}/retry", status_code=202, dependencies=_MAY_WRITE)
async def retry_delivery(request: Request, delivery_id: int) -> Response:
    """Try a delivery once more now, and for a day from now."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await deliveries.retry_delivery(conn, actor_of(request), resources.clock.now(), delivery_id)
    return Response(status_code=202)


def describe_channel(channel: Channel) -> dict[str, Any]:
    last = None
    if channel.last_at is not None:
        last = {
            "at": format_instant(channel.last_at),
            "result": channel.last_result,
            "answer": channel.last_answer,
        }
    return {
        "id": str(channel.id),
        "name": channel.name,
        "kind": channel.kind,
        "target": channel.shown_target,
        "is_enabled": channel.is_enabled,
        "created_at": format_instant(channel.created_at),
        "failing_since": None if channel.failing_since is None else format_instant(channel.failing_since),
        "waiting": channel.waiting,
        "last_attempt": last,
    }


def describe_delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "key": str(delivery.key),
        "kind": delivery.kind,
        "severity": delivery.severity,
        "title": delivery.title,
        "path": delivery.path,
        "channel_id": str(delivery.channel_id),
        "channel_name": delivery.channel_name,
        "state": delivery.state,
        "queued_at": format_instant(delivery.queued_at),
        "due_at": format_instant(delivery.due_at) if delivery.state == "waiting" else None,
        "ended_at": None if delivery.ended_at is None else format_instant(delivery.ended_at),
        "passed_to_fallback_at": None if delivery.passed_at is None else format_instant(delivery.passed_at),
        "attempts": delivery.attempts,
        "last_answer": delivery.last_answer,
    }


def _describe_attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "at": format_instant(attempt.at),
        "took_ms": attempt.took_ms,
        "result": attempt.result,
        "answer": attempt.answer,
    }
