"""Rules over all campaigns: words that none may send, and the quiet hours of places."""

from datetime import time
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.campaigns import prohibited, quiet_rules
from event_stream_engine.campaigns.quiet_rules import QuietRule
from event_stream_engine.infra.database import transaction
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.resources import resources_of

router = APIRouter(tags=["campaigns"])
_MAY_WRITE = [Depends(require_role(Role.operator))]


class WordsBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    words: list[str]


class RuleBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prefix: str
    starts: time
    ends: time
    reason: str


@router.get("/prohibited-words")
async def list_words(request: Request) -> dict[str, Any]:
    """Words that no campaign may send."""
    async with resources_of(request).pool.connection() as conn:
        return {"words": await prohibited.list_words(conn)}


@router.put("/prohibited-words", dependencies=_MAY_WRITE)
async def replace_words(request: Request, body: WordsBody) -> dict[str, Any]:
    """Put a list of words in place of the present one."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        words = await prohibited.replace_words(conn, actor_of(request), resources.clock.now(), body.words)
    return {"words": words}


@router.get("/quiet-hours-rules")
async def list_rules(request: Request) -> dict[str, Any]:
    """Quiet hours by calling code or area code, beside each campaign's own."""
    async with resources_of(request).pool.connection() as conn:
        return {"rules": [_describe(rule) for rule in await quiet_rules.list_rules(conn)]}


@router.post("/quiet-hours-rules", dependencies=_MAY_WRITE)
async def put_rule(request: Request, body: RuleBody) -> dict[str, Any]:
    """Make or change the rule of a prefix; messages that wait are judged by it."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        rule = await quiet_rules.put_rule(
            conn, actor_of(request), resources.clock.now(), QuietRule(**body.model_dump())
        )
    return _describe(rule)


@router.delete("/quiet-hours-rules/{prefix}", status_code=204, dependencies=_MAY_WRITE)
async def delete_rule(request: Request, prefix: str) -> Response:
    """Remove the rule of a prefix; a shorter one may hold then."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await quiet_rules.delete_rule(conn, actor_of(request), resources.clock.now(), prefix)
    return Response(status_code=204)


def _describe(rule: QuietRule) -> dict[str, str]:
    return {
        "prefix": rule.prefix,
        "starts": rule.starts.isoformat("minutes"),
        "ends": rule.ends.isoformat("minutes"),
        "reason": rule.reason,
    }
