"""Which channel is told what: routes, fallbacks, and who hears of the end."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from psycopg import Rollback

from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.notifications import outbox
from event_stream_engine.notifications.notice import Notice

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def make_notice(kind: str = "alert.fired", *, episode: UUID | None = None, **changes: Any) -> Notice:
    """Return a notice of a step of an episode."""
    episode = episode or uuid4()
    values: dict[str, Any] = {
        "key": uuid5(episode, kind),
        "kind": kind,
        "severity": "warning",
        "labels": {"rule": "delivery_rate", "campaign": "spring"},
        "group": "delivery_rate",
        "episode_id": episode,
        "title": "Campaign delivery rate below threshold",
        "text": "88.5 % of the last hour's messages arrived; the line is at 90 %.",
        "facts": (("Campaign", "Spring sale"), ("Value", "88.5 %")),
        "path": "/alerts/ALT001",
        "at": NOON,
    }
    return Notice(**values | changes)


@pytest.fixture
async def conn(database_url: str) -> Any:
    async with await connect(database_url, "test") as conn:
        yield conn


async def add_channel(conn: Connection, name: str, *, is_enabled: bool = True) -> UUID:
    id = uuid4()
    await conn.execute(
        "INSERT INTO notification_channels (id, name, kind, sealed_target, shown_target, is_enabled, created_at)"
        " VALUES (%s, %s, 'apprise', 'x', 'x', %s, now())",
        (id, name, is_enabled),
    )
    return id


async def add_route(
    conn: Connection,
    channel: UUID,
    *,
    position: int = 1,
    severities: list[str] | None = None,
    matchers: str = "[]",
    fallback: UUID | None = None,
    wait: int = 0,
) -> None:
    await conn.execute(
        "INSERT INTO notification_routes (id, position, severities, kinds, matchers, channel_id, fallback_id,"
        " fallback_after_seconds, group_wait_seconds, created_at)"
        " VALUES (gen_random_uuid(), %s, %s, '{}', %s, %s, %s, 300, %s, now())",
        (position, severities or [], matchers, channel, fallback, wait),
    )


async def told(conn: Connection) -> list[tuple[str, str]]:
    """Return kind and channel of what was queued, in order."""
    found = await conn.execute(
        "SELECT n.kind, c.name FROM notice_deliveries d JOIN notices n ON n.key = d.notice_key"
        " JOIN notification_channels c ON c.id = d.channel_id ORDER BY d.id, c.name"
    )
    return [(kind, name) for kind, name in await found.fetchall()]


async def test_without_routes_every_enabled_channel_is_told(conn: Connection) -> None:
    await add_channel(conn, "mail")
    await add_channel(conn, "off", is_enabled=False)
    assert await outbox.queue(conn, [make_notice()]) == 1
    assert await told(conn) == [("alert.fired", "mail")]


async def test_key_is_queued_once_for_a_channel_and_again_for_another(conn: Connection) -> None:
    mail, pager = await add_channel(conn, "mail"), await add_channel(conn, "pager")
    notice = make_notice()
    assert await outbox.queue(conn, [notice], [mail]) == 1
    assert await outbox.queue(conn, [notice], [mail]) == 0
    assert await outbox.queue(conn, [notice], [mail, pager]) == 1


async def test_notice_is_queued_with_the_transaction_that_tells_it_or_not_at_all(conn: Connection) -> None:
    await add_channel(conn, "mail")
    with suppress(Rollback):
        async with conn.transaction() as tick:
            await outbox.queue(conn, [make_notice()])
            raise Rollback(tick)
    assert await told(conn) == []


async def test_fire_and_end_of_one_call_are_both_told_in_their_order(conn: Connection) -> None:
    await add_channel(conn, "mail")
    episode = uuid4()
    notices = [make_notice(kind, episode=episode) for kind in ("alert.resolved", "alert.fired")]
    assert await outbox.queue(conn, notices) == 2
    assert await told(conn) == [("alert.fired", "mail"), ("alert.resolved", "mail")]


async def test_route_matches_by_severity_label_and_regular_expression(conn: Connection) -> None:
    pager, mail = await add_channel(conn, "pager"), await add_channel(conn, "mail")
    await add_route(conn, pager, position=1, severities=["critical"])
    await add_route(
        conn,
        mail,
        position=2,
        matchers='[{"label": "campaign", "value": "spr.*|fall", "is_regex": true}, {"label": "rule", "value": "delivery_rate", "is_regex": false}]',
    )
    await outbox.queue(conn, [make_notice()])
    await outbox.queue(conn, [make_notice("alert.repeated", severity="critical")])
    await outbox.queue(conn, [make_notice("incident.opened", labels={"campaign": "offspring"})])
    assert sorted(await told(conn)) == [
        ("alert.fired", "mail"),
        ("alert.repeated", "mail"),
        ("alert.repeated", "pager"),
    ]


async def test_first_route_that_names_a_channel_says_how_long_to_wait(conn: Connection) -> None:
    mail, pager = await add_channel(conn, "mail"), await add_channel(conn, "pager")
    await add_route(conn, mail, position=1, fallback=pager, wait=30)
    await add_route(conn, mail, position=2, wait=0)
    await outbox.queue(conn, [make_notice()])
    found = await conn.execute("SELECT due_at, fallback_id, fallback_at FROM notice_deliveries")
    assert await found.fetchall() == [
        (NOON + timedelta(seconds=30), pager, NOON + timedelta(seconds=300)),
    ]


async def test_route_to_a_channel_that_is_off_tells_its_fallback(conn: Connection) -> None:
    mail = await add_channel(conn, "mail", is_enabled=False)
    await add_route(conn, mail, fallback=await add_channel(conn, "pager"))
    await outbox.queue(conn, [make_notice()])
    assert await told(conn) == [("alert.fired", "pager")]


async def test_resolved_goes_to_whoever_was_told_whatever_the_routes_say_now(conn: Connection) -> None:
    mail, pager = await add_channel(conn, "mail"), await add_channel(conn, "pager")
    episode = uuid4()
    await outbox.queue(conn, [make_notice(episode=episode)], [mail])
    await add_route(conn, pager)
    await outbox.queue(conn, [make_notice("alert.resolved", episode=episode)])
    assert await told(conn) == [("alert.fired", "mail"), ("alert.resolved", "mail")]


async def test_resolved_of_which_nobody_heard_is_told_to_nobody(conn: Connection) -> None:
    await add_channel(conn, "mail")
    assert await outbox.queue(conn, [make_notice("alert.resolved")]) == 0


async def test_what_waits_for_one_episode_goes_out_in_one_group(conn: Connection) -> None:
    await add_channel(conn, "mail")
    episode = uuid4()
    await outbox.queue(conn, [make_notice(episode=episode, group="a")])
    await outbox.queue(conn, [make_notice("alert.resolved", episode=episode, group="b")])
    found = await conn.execute("SELECT DISTINCT group_key FROM notice_deliveries")
    assert await found.fetchall() == [("a",)]
