"""Who the users are: by the configured attributes, and how many came when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.consent import count_users
from event_stream_engine.analytics.scope import coarsest_grain, list_bins
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import change_percent
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
MOST_VALUES = 20
OTHER, UNKNOWN = "other", "unknown"


@dataclass(frozen=True, slots=True)
class Signups:
    """Users who came in the step that begins at `at`."""

    at: datetime
    users: int


@dataclass(frozen=True, slots=True)
class Demographics:
    """`by_attribute`: users by value, the most frequent first, then `other` and `unknown`; each sums to `total`."""

    total: int
    by_attribute: dict[str, dict[str, int]]
    signups: int
    signups_before: int
    points: list[Signups]

    @property
    def growth_percent(self) -> float | None:
        """Return how many more signups there were than in the window before, None when there were none then."""
        return change_percent(self.signups, self.signups_before)


@dataclass(frozen=True, slots=True)
class _ValueCount:
    attribute: str
    value: str
    users: int


@dataclass(frozen=True, slots=True)
class _BinCount:
    bin: datetime
    users: int


async def load_demographics(
    conn: Connection, window: Window, step: timedelta, zone: ZoneInfo
) -> Demographics:
    """Count users by attribute as of now, and signups of a window in steps and of the window before."""
    total = sum((await count_users(conn)).values())
    found = await SQL.list_attribute_values.many(conn, _ValueCount, {"most": MOST_VALUES})
    points = await list_signups(conn, window, step, zone)
    return Demographics(
        total=total,
        by_attribute={name: _gather(found, name, total) for name in await find_attributes(conn)},
        signups=sum(point.users for point in points),
        signups_before=await count_signups(conn, window.before()),
        points=points,
    )


async def list_signups(conn: Connection, window: Window, step: timedelta, zone: ZoneInfo) -> list[Signups]:
    """Count the users who came in each step of a window and are still there."""
    bins = list_bins(window, step, zone)
    asked = {
        "since": window.since,
        "until": window.until,
        "bins": bins,
        "coarsest": coarsest_grain(step),
    }
    came = {row.bin: row.users for row in await SQL.list_signup_bins.many(conn, _BinCount, asked)}
    return [Signups(at, came.get(at, 0)) for at in bins]


async def find_attributes(conn: Connection) -> tuple[str, ...]:
    """Return the attributes users are counted by."""
    return tuple(await SQL.find_attributes.value(conn))


async def choose_attributes(conn: Connection, attributes: Sequence[str]) -> None:
    """Count users by these attributes from now on; what was counted is forgotten."""
    await SQL.name_attributes.execute(conn, {"attributes": list(attributes)})
    await SQL.forget_attributes.execute(conn)


async def count_signups(conn: Connection, window: Window) -> int:
    """Count the users who came in a window."""
    users: int = await SQL.count_signups.value(conn, {"since": window.since, "until": window.until})
    return users


def _gather(found: Sequence[_ValueCount], attribute: str, total: int) -> dict[str, int]:
    values = {row.value: row.users for row in found if row.attribute == attribute}
    unknown = values.pop(UNKNOWN, 0)
    return values | {OTHER: total - sum(values.values()) - unknown, UNKNOWN: unknown}
