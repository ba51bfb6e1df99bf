"""The policy of incidents: response times and the path of the escalation."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from event_stream_engine.access.roles import Role
from event_stream_engine.incidents.lifecycle import SEVERITIES
from event_stream_engine.incidents.policy import (
    Channel,
    Contact,
    Level,
    Policy,
    Step,
    change_policy,
    list_channels,
    load_policy,
    word_seconds,
)
from event_stream_engine.infra.database import snapshot, transaction
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.web.api.incidents import SeverityName
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/incidents/policy", tags=["incidents"])


class LevelBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    meaning: str
    response_seconds: int


class ContactBody(BaseModel):
    """`channel_ids`: notification channels."""

    model_config = ConfigDict(extra="forbid")

    name: str
    channel_ids: list[UUID]


class StepBody(BaseModel):
    """`after_seconds`: from the start of the clock, by severity; a severity left out never gets here."""

    model_config = ConfigDict(extra="forbid")

    name: str
    after_seconds: dict[SeverityName, int]
    contacts: list[ContactBody]


class PolicyBody(BaseModel):
    """`version`: that of the policy as it was read."""

    model_config = ConfigDict(extra="forbid")

    version: str
    levels: dict[SeverityName, LevelBody]
    steps: list[StepBody]

    @property
    def policy(self) -> Policy:
        missing = [severity for severity in SEVERITIES if severity not in self.levels]
        if missing:
            raise Invalid(f"The severities {', '.join(missing)} are missing.", "levels")
        steps = [
            Step(
                step.name.strip(),
                step.after_seconds,
                [Contact(one.name.strip(), one.channel_ids) for one in step.contacts],
            )
            for step in self.steps
        ]
        levels = {name: self.levels[name] for name in SEVERITIES}
        return Policy(
            {name: Level(one.meaning.strip(), one.response_seconds) for name, one in levels.items()}, steps
        )


@router.get("")
async def show_policy(request: Request) -> dict[str, Any]:
    """What each severity means, how soon somebody answers, and who is told when nobody does."""
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        return describe_policy(await load_policy(conn), await list_channels(conn))


@router.put("", dependencies=[Depends(require_role(Role.admin))])
async def put_policy(request: Request, body: PolicyBody) -> dict[str, Any]:
    """Put a policy in place of the present one. It holds for clocks that begin from now on, its contacts at once."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        changed = await change_policy(
            conn, actor_of(request), body.policy, body.version, resources.clock.now()
        )
        return describe_policy(changed, await list_channels(conn))


def describe_policy(policy: Policy, channels: Sequence[Channel]) -> dict[str, Any]:
    """Return the documented object, and beside it what can be changed."""
    levels = policy.levels
    return {
        "incident_management": {
            "severity_levels": {name: level.meaning for name, level in levels.items()},
            "response_times": {name: word_seconds(level.response_seconds) for name, level in levels.items()},
            "escalation_path": [step.name for step in policy.steps],
        },
        "version": policy.version,
        "levels": {
            name: {"meaning": level.meaning, "response_seconds": level.response_seconds}
            for name, level in levels.items()
        },
        "steps": [
            {
                "name": step.name,
                "after_seconds": dict(step.after_seconds),
                "contacts": [
                    {"name": one.name, "channel_ids": [str(channel) for channel in one.channel_ids]}
                    for one in step.contacts
                ],
            }
            for step in policy.steps
        ],
        "channels": [{"id": str(one.id), "name": one.name, "is_enabled": one.is_enabled} for one in channels],
    }
