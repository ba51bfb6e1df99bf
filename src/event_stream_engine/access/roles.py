"""Who is asking and what a role may do."""

from dataclasses import dataclass
from enum import Enum
from functools import total_ordering
from typing import Literal
from uuid import UUID

from event_stream_engine.kernel.errors import Denied


@total_ordering
class Role(Enum):
    """Each role may do all that the ones above it may. `metrics`: read /metrics and nothing else, for API keys alone."""

    metrics = "metrics"
    viewer = "viewer"
    operator = "operator"
    admin = "admin"

    def __lt__(self, other: "Role") -> bool:
        order = list(Role)
        return order.index(self) < order.index(other)


@dataclass(frozen=True, slots=True)
class Principal:
    kind: Literal["operator", "api_key"]
    id: UUID
    name: str
    role: Role


def require(role: Role, needed: Role) -> None:
    """Let a role pass that is at least the needed one. Errors: Denied naming the needed role."""
    if role < needed:
        raise Denied(
            f"This needs the role {needed.value}, yours is {role.value}. Ask an admin to do it or for the role."
        )
