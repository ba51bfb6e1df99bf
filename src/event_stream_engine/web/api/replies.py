"""Rules for answers sent by themselves."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.campaigns import replies
from event_stream_engine.campaigns.replies import ReplyRule
from event_stream_engine.infra.database import transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/reply-rules", tags=["campaigns"])
_MAY_WRITE = [Depends(require_role(Role.operator))]


class RuleBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    intent: str
    words: list[str] = []
    body: str
    per_person_minutes: int = 60
    is_enabled: bool = True


@router.get("")
async def list_rules(request: Request) -> dict[str, Any]:
    """All reply rules, in the order they are tried."""
    async with resources_of(request).pool.connection() as conn:
        rules = await replies.list_rules(conn)
    return {"items": [describe_rule(rule) for rule in rules], "next_cursor": None}


@router.post("", status_code=201, dependencies=_MAY_WRITE)
async def create_rule(request: Request, body: RuleBody) -> dict[str, Any]:
    """Make a reply rule."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        rule = await replies.create_rule(conn, actor_of(request), resources.clock.now(), **body.model_dump())
    return describe_rule(rule)


@router.put("/{rule_id}", dependencies=_MAY_WRITE)
async def change_rule(request: Request, rule_id: UUID, body: RuleBody) -> dict[str, Any]:
    """Put a rule's new content in place of the old."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        rule = await replies.change_rule(
            conn, actor_of(request), resources.clock.now(), rule_id, **body.model_dump()
        )
    return describe_rule(rule)


@router.delete("/{rule_id}", status_code=204, dependencies=_MAY_WRITE)
async def delete_rule(request: Request, rule_id: UUID) -> Response:
    """Remove a reply rule."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await replies.delete_rule(conn, actor_of(request), resources.clock.now(), rule_id)
    return Response(status_code=204)


def describe_rule(rule: ReplyRule) -> dict[str, Any]:
    return {
        "id": str(rule.id),
        "intent": rule.intent,
        "words": list(rule.words),
        "body": rule.body,
        "per_person_minutes": rule.per_person_minutes,
        "is_enabled": rule.is_enabled,
        "created_at": format_instant(rule.created_at),
    }
