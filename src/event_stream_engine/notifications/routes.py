"""Routes: which notices go to which channel, and which one is told when that stays down."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from psycopg.errors import InvalidRegularExpression

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Invalid, NotFound
from event_stream_engine.notifications.channels import list_channels
from event_stream_engine.notifications.notice import KINDS, SEVERITIES

SQL = load_queries(__package__)
MOST_ROUTES = 50
MOST_MATCHERS = 10
LONGEST_PATTERN = 200
LONGEST_FALLBACK_SECONDS = 24 * 3600
LONGEST_WAIT_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label: equal to a value, or matched from end to end by a regular expression."""

    label: str
    value: str
    is_regex: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """Leads notices to a channel; empty sets match all. The fallback hears of what has failed for so long."""

    channel_id: UUID
    severities: Sequence[str] = ()
    kinds: Sequence[str] = ()
    matchers: Sequence[Matcher] = ()
    fallback_id: UUID | None = None
    fallback_after_seconds: int = 300
    group_wait_seconds: int = 0
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, slots=True)
class _Row:
    id: UUID
    severities: list[str]
    kinds: list[str]
    matchers: list[Mapping[str, Any]]
    channel_id: UUID
    fallback_id: UUID | None
    fallback_after_seconds: int
    group_wait_seconds: int


async def list_routes(conn: Connection) -> list[Route]:
    """Return the routes in order. None: every notice goes to every enabled channel."""
    return [
        Route(**{**_columns(row), "matchers": [Matcher(**matcher) for matcher in row.matchers]})
        for row in await SQL.list_routes.many(conn, _Row)
    ]


def _columns(row: _Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _Row.__slots__}


async def replace_routes(
    conn: Connection, actor: Actor, now: datetime, routes: Sequence[Route]
) -> list[Route]:
    """Put a list of routes in place of all there are. Errors: Invalid (`routes.<place>.<field>`)."""
    if len(routes) > MOST_ROUTES:
        raise Invalid(f"At most {MOST_ROUTES} routes are possible.", "routes")
    await SQL.lock_routes.execute(conn)
    known = {channel.id for channel in await list_channels(conn)}
    for place, route in enumerate(routes):
        try:
            await _check(conn, route, known)
        except Invalid as fault:
            raise Invalid(f"Route {place + 1}: {fault}", f"routes.{place}.{fault.field}") from None
    before = await list_routes(conn)
    await SQL.delete_routes.execute(conn)
    await SQL.add_routes.execute(
        conn,
        {
            "now": now,
            "id": [route.id for route in routes],
            "severities": [_dump(list(route.severities)) for route in routes],
            "kinds": [_dump(list(route.kinds)) for route in routes],
            "matchers": [_dump([asdict(matcher) for matcher in route.matchers]) for route in routes],
            "channel_id": [route.channel_id for route in routes],
            "fallback_id": [route.fallback_id for route in routes],
            "fallback_after_seconds": [route.fallback_after_seconds for route in routes],
            "group_wait_seconds": [route.group_wait_seconds for route in routes],
        },
    )
    entry = Entry(
        now,
        "notification_routes.changed",
        "notification_routes",
        {"routes": [describe_route(route) for route in before]},
        {"routes": [describe_route(route) for route in routes]},
    )
    await record(conn, actor, entry)
    return list(routes)


async def save_route(
    conn: Connection, actor: Actor, now: datetime, route: Route, position: int | None = None
) -> Route:
    """Put a route at a position (1 is the first; without one where it is, a new one last), in place of itself.

    Errors: Invalid.
    """
    await _check(conn, route, {channel.id for channel in await list_channels(conn)})
    await SQL.lock_routes.execute(conn)
    before = await list_routes(conn)
    old = [place for place, one in enumerate(before) if one.id == route.id]
    others = [one for one in before if one.id != route.id]
    place = position - 1 if position is not None else (old[0] if old else len(others))
    place = min(max(place, 0), len(others))
    await replace_routes(conn, actor, now, [*others[:place], route, *others[place:]])
    return route


async def load_route(conn: Connection, route_id: UUID) -> Route:
    """Return one route. Errors: NotFound."""
    for route in await list_routes(conn):
        if route.id == route_id:
            return route
    raise NotFound("There is no such route.")


async def delete_route(conn: Connection, actor: Actor, now: datetime, route_id: UUID) -> None:
    """Remove a route. Errors: NotFound."""
    await SQL.lock_routes.execute(conn)
    await load_route(conn, route_id)
    await replace_routes(conn, actor, now, [one for one in await list_routes(conn) if one.id != route_id])


async def _check(conn: Connection, route: Route, channels: set[UUID]) -> None:
    for name, given, allowed in (("severities", route.severities, SEVERITIES), ("kinds", route.kinds, KINDS)):
        for value in given:
            if value not in allowed:
                raise Invalid(f"{value!r} is none of {', '.join(allowed)}.", name)
    if route.channel_id not in channels:
        raise Invalid("there is no such channel.", "channel_id")
    if route.fallback_id is not None and route.fallback_id not in channels:
        raise Invalid("there is no such channel to fall back on.", "fallback_id")
    if route.fallback_id == route.channel_id:
        raise Invalid("a channel cannot be its own fallback.", "fallback_id")
    if not 0 <= route.fallback_after_seconds <= LONGEST_FALLBACK_SECONDS:
        raise Invalid(f"0 to {LONGEST_FALLBACK_SECONDS} seconds are possible.", "fallback_after_seconds")
    if not 0 <= route.group_wait_seconds <= LONGEST_WAIT_SECONDS:
        raise Invalid(f"0 to {LONGEST_WAIT_SECONDS} seconds are possible.", "group_wait_seconds")
    if len(route.matchers) > MOST_MATCHERS:
        raise Invalid(f"at most {MOST_MATCHERS} labels can be matched.", "matchers")
    for matcher in route.matchers:
        await _check_matcher(conn, matcher)


async def _check_matcher(conn: Connection, matcher: Matcher) -> None:
    if not 1 <= len(matcher.label) <= 100 or len(matcher.value) > LONGEST_PATTERN:
        raise Invalid(f"a label and a value of at most {LONGEST_PATTERN} characters are needed.", "matchers")
    if "\0" in matcher.label + matcher.value:
        raise Invalid("a label or value holds a NUL.", "matchers")
    if not matcher.is_regex:
        return
    if any(f"\\{digit}" in matcher.value for digit in range(1, 10)):
        raise Invalid("a regular expression without references back (\\1) is needed.", "matchers")
    try:
        async with transaction(conn):
            await SQL.try_pattern.execute(conn, {"pattern": matcher.value})
    except InvalidRegularExpression as error:
        raise Invalid(f"{matcher.value!r}: {error.diag.message_primary}.", "matchers") from None


def describe_route(route: Route) -> dict[str, Any]:
    """Return a route as the API and the audit trail show it."""
    return {
        "id": str(route.id),
        "severities": list(route.severities),
        "kinds": list(route.kinds),
        "matchers": [asdict(matcher) for matcher in route.matchers],
        "channel_id": str(route.channel_id),
        "fallback_id": None if route.fallback_id is None else str(route.fallback_id),
        "fallback_after_seconds": route.fallback_after_seconds,
        "group_wait_seconds": route.group_wait_seconds,
    }


def _dump(value: object) -> str:
    return orjson.dumps(value).decode()
