"""Channels: the ways by which people are told. Whoever changes one is in the audit trail; its address is not."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.errors import UniqueViolation

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound
from event_stream_engine.notifications import outbox
from event_stream_engine.notifications.notice import TEST, Notice
from event_stream_engine.notifications.targets import Target, check_target, seal_target

SQL = load_queries(__package__)
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel and how it is doing. `failing_since`: nothing has got through since; `last_…`: its last attempt."""

    id: UUID
    name: str
    kind: str
    shown_target: str
    is_enabled: bool
    created_at: datetime
    failing_since: datetime | None
    waiting: int
    last_at: datetime | None
    last_result: str | None
    last_answer: str | None


@dataclass(frozen=True, slots=True)
class _Position:
    position: int


async def list_channels(conn: Connection) -> list[Channel]:
    """Return the channels by name."""
    return await SQL.list_channels.many(conn, Channel)


async def load_channel(conn: Connection, channel_id: UUID) -> Channel:
    """Return one channel. Errors: NotFound."""
    for channel in await list_channels(conn):
        if channel.id == channel_id:
            return channel
    raise NotFound("There is no such channel.")


async def create_channel(
    conn: Connection,
    actor: Actor,
    now: datetime,
    settings: Settings,
    *,
    name: str,
    kind: str,
    target: str,
    is_enabled: bool,
) -> Channel:
    """Make a channel. Errors: Invalid, Conflict."""
    checked = await check_target(kind, target, settings.private_targets)
    channel_id = uuid4()
    values = {"id": channel_id, "name": _check_name(name), "kind": kind, "is_enabled": is_enabled, "now": now}
    try:
        async with transaction(conn):
            await SQL.create_channel.execute(conn, values | _seal(settings, checked))
    except UniqueViolation:
        raise _name_is_taken(name) from None
    channel = await load_channel(conn, channel_id)
    await record(
        conn, actor, Entry(now, "notification_channel.created", _subject(channel), after=_describe(channel))
    )
    return channel


async def change_channel(
    conn: Connection,
    actor: Actor,
    now: datetime,
    settings: Settings,
    channel_id: UUID,
    *,
    name: str,
    target: str | None,
    is_enabled: bool,
) -> Channel:
    """Put new content in place of the old; without a target the address stays. Errors: Invalid, NotFound, Conflict."""
    before = await load_channel(conn, channel_id)
    checked = None if target is None else await check_target(before.kind, target, settings.private_targets)
    values = {"id": channel_id, "name": _check_name(name), "is_enabled": is_enabled}
    try:
        async with transaction(conn):
            await SQL.change_channel.execute(conn, values | _seal(settings, checked))
    except UniqueViolation:
        raise _name_is_taken(name) from None
    channel = await load_channel(conn, channel_id)
    after = _describe(channel) | {"is_target_new": checked is not None}
    await record(
        conn, actor, Entry(now, "notification_channel.changed", _subject(channel), _describe(before), after)
    )
    return channel


async def remove_channel(conn: Connection, actor: Actor, now: datetime, channel_id: UUID) -> None:
    """Remove a channel; its history stays. Errors: NotFound; Conflict while a route leads to it."""
    before = await load_channel(conn, channel_id)
    routes = await SQL.list_routes_of_channel.many(conn, _Position, {"id": channel_id})
    if routes:
        named = ", ".join(str(route.position) for route in routes)
        raise Conflict(
            f"{before.name} is used by route {named}. Lead the route elsewhere or remove it first."
        )
    await SQL.remove_channel.execute(conn, {"id": channel_id, "now": now})
    await record(
        conn, actor, Entry(now, "notification_channel.removed", _subject(before), before=_describe(before))
    )


async def queue_test(conn: Connection, actor: Actor, now: datetime, channel_id: UUID) -> Notice:
    """Queue a test for one channel; it goes the way of every notice. Errors: NotFound; Conflict for one switched off."""
    channel = await load_channel(conn, channel_id)
    if not channel.is_enabled:
        raise Conflict(f"{channel.name} is switched off. Switch it on to test it.")
    notice = Notice(
        key=uuid4(),
        kind=TEST,
        severity="info",
        labels={"alertname": "Test"},
        group=f"test:{uuid4()}",
        episode_id=None,
        title=f"Test of the channel {channel.name}",
        text="Somebody asked for this message to see that it arrives. Nothing is wrong.",
        facts=(),
        path="/settings/notifications",
        at=now,
    )
    await outbox.queue(conn, [notice], [channel_id])
    await record(conn, actor, Entry(now, "notification_channel.tested", _subject(channel)))
    return notice


def _seal(settings: Settings, target: Target | None) -> dict[str, Any]:
    if target is None:
        return {"sealed_target": None, "shown_target": None}
    return {"sealed_target": seal_target(settings.secret_key, target.url), "shown_target": target.shown}


def _check_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise Invalid(f"A name of 1 to {LONGEST_NAME} characters is needed.", "name")
    return name


def _name_is_taken(name: str) -> Invalid:
    return Invalid(f"There is a channel {name.strip()!r} already. Choose another name.", "name")


def _subject(channel: Channel) -> str:
    return f"notification_channel:{channel.id}"


def _describe(channel: Channel) -> dict[str, Any]:
    return {
        "name": channel.name,
        "kind": channel.kind,
        "target": channel.shown_target,
        "is_enabled": channel.is_enabled,
    }
