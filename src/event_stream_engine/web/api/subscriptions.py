"""Subscriptions: who gets the reports of days or weeks, and by which channel."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Principal, Role
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Denied, Invalid
from event_stream_engine.reporting import subscriptions
from event_stream_engine.reporting.subscriptions import Subscription
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/reports/subscriptions", tags=["reports"])
_MAY_WRITE = [Depends(require_role(Role.operator))]


class SubscriptionBody(BaseModel):
    """`operator_id`: whose it is, oneself when left out; of others an admin's business. `with_restated`: also later versions."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    channel_id: UUID
    operator_id: UUID | None = None
    with_restated: bool = False


@router.get("")
async def list_subscriptions(request: Request) -> dict[str, Any]:
    """All subscriptions by person, with what came of the last report."""
    async with resources_of(request).pool.connection() as conn:
        found = await subscriptions.list_subscriptions(conn)
    return {"items": [_describe(one) for one in found], "next_cursor": None}


@router.post("", status_code=201, dependencies=_MAY_WRITE)
async def create_subscription(request: Request, body: SubscriptionBody) -> dict[str, Any]:
    """Let a person have the report of each day or week by a channel, from the next one on."""
    resources = resources_of(request)
    operator_id = _find_person(request.state.principal, body.operator_id)
    async with resources.pool.connection() as conn, transaction(conn):
        made = await subscriptions.subscribe(
            conn,
            actor_of(request),
            resources.clock.now(),
            kind=body.kind,
            operator_id=operator_id,
            channel_id=body.channel_id,
            with_restated=body.with_restated,
        )
    return _describe(made)


@router.delete("/{subscription_id}", status_code=204, dependencies=_MAY_WRITE)
async def remove_subscription(request: Request, subscription_id: UUID) -> Response:
    """Send no more reports by it; one's own, or as an admin anybody's."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await _require_own(conn, request.state.principal, subscription_id)
        await subscriptions.unsubscribe(conn, actor_of(request), resources.clock.now(), subscription_id)
    return Response(status_code=204)


def _find_person(principal: Principal, wanted: UUID | None) -> UUID:
    if wanted is None:
        if principal.kind == "api_key":
            raise Invalid("A program is no person. Name the person whose subscription it is.", "operator_id")
        return principal.id
    if wanted != principal.id and principal.role < Role.admin:
        raise Denied("Only an admin subscribes others. Leave operator_id out to subscribe yourself.")
    return wanted


async def _require_own(conn: Connection, principal: Principal, subscription_id: UUID) -> None:
    found = await subscriptions.load_subscription(conn, subscription_id)
    if found.operator_id != principal.id and principal.role < Role.admin:
        raise Denied(f"It is {found.operator_name}'s subscription. They or an admin can remove it.")


def _describe(one: Subscription) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "kind": one.kind,
        "operator_id": str(one.operator_id),
        "operator_name": one.operator_name,
        "channel_id": str(one.channel_id),
        "channel_name": one.channel_name,
        "with_restated": one.with_restated,
        "created_at": format_instant(one.created_at),
        "stopped": one.stopped,
        "last_report": None
        if one.last_at is None
        else {"at": format_instant(one.last_at), "state": one.last_state},
    }
