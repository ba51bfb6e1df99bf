"""Running a person's SQL: one SELECT, read-only, by a role that can do nothing else, within limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.workbench.readers import Readers


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may take. `cost` is in the planner's units, `bytes` counts what is sent of the rows."""

    rows: int = 10_000
    bytes: int = 8 * 1024 * 1024
    seconds: float = 30.0
    cost: float = 10_000_000.0


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str  # as PostgreSQL names it: bigint, text, timestamp with time zone


@dataclass(frozen=True, slots=True)
class Result:
    """`truncated`: there are more rows, or a value was cut. `cost`: what the planner reckoned beforehand."""

    columns: tuple[Column, ...]
    rows: tuple[
        tuple[Any, ...], ...
    ]  # int, float, Decimal, bool, str, datetime, date, time, timedelta, UUID or None
    truncated: bool
    duration_ms: float
    cost: float


class Refused(Invalid):
    """This SQL is not run, or was stopped. `position` is the place in the text, from 0, when there is one."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message, "sql")
        self.position = position


async def run(
    readers: Readers,
    sql: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    sees_numbers: bool,
    limits: Limits = Limits(),
) -> Result:
    """Run one SELECT; `:name` in it stands for a parameter. When the caller is cancelled, so is the query.

    Errors: Refused with the reason and the place; Unavailable when there is no role, no server or no free place.
    """
    raise NotImplementedError
