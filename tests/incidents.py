"""What tests of incidents share: channels to tell people by, transitions of alerts, and what was told."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid4

from event_stream_engine.alerting.state import Transition
from event_stream_engine.audit.entries import Actor
from event_stream_engine.incidents.policy import Contact, change_policy, load_policy
from event_stream_engine.infra.database import Connection

ADMIN = Actor("engine:cli")
RULE = uuid4()
PEOPLE = ("Ada", "Ben", "Cleo", "Dora")


@dataclass(frozen=True, slots=True)
class Told:
    channel: str
    kind: str
    title: str
    text: str


async def add_channel(conn: Connection, name: str, now: datetime) -> UUID:
    channel_id = uuid4()
    await conn.execute(
        "INSERT INTO notification_channels (id, name, kind, sealed_target, shown_target, is_enabled, created_at)"
        " VALUES (%s, %s, 'apprise', '', 'json://127.0.0.1', true, %s)",
        (channel_id, name, now),
    )
    return channel_id


async def add_contacts(conn: Connection, now: datetime) -> dict[str, UUID]:
    """Give each of the document's four steps one contact with a channel of the same name."""
    channels = {name: await add_channel(conn, name, now) for name in PEOPLE}
    policy = await load_policy(conn)
    steps = [
        replace(step, contacts=[Contact(name, [channels[name]])])
        for step, name in zip(policy.steps, PEOPLE, strict=True)
    ]
    await change_policy(conn, ADMIN, replace(policy, steps=steps), policy.version, now)
    # Otherwise everybody is told of everything, and nobody sees who was told by the path.
    await conn.execute(
        "INSERT INTO notification_routes (id, position, severities, kinds, matchers, channel_id, fallback_after_seconds,"
        " group_wait_seconds, created_at) VALUES (gen_random_uuid(), 1, '{}', '{test}', '[]', %s, 0, 0, %s)",
        (channels["Ada"], now),
    )
    return channels


async def list_told(conn: Connection) -> list[Told]:
    """Return what was queued, in order."""
    cursor = await conn.execute(
        "SELECT c.name, n.kind, n.title, n.body FROM notice_deliveries d JOIN notices n ON n.key = d.notice_key"
        " JOIN notification_channels c ON c.id = d.channel_id ORDER BY d.id"
    )
    return [Told(*row) for row in await cursor.fetchall()]


def fire(now: datetime, **changes: object) -> Transition:
    """Return a transition to firing of the document's example alert."""
    values: dict[str, object] = {
        "episode_id": uuid4(),
        "rule_id": RULE,
        "subject": "all",
        "name": "Campaign delivery rate below threshold",
        "severity": "warning",
        "labels": {"team": "messaging"},
        "before": "pending",
        "after": "firing",
        "reason": "below 90",
        "value": 88.5,
        "threshold": 90.0,
        "at": now,
        "opens_incident": "critical",
    }
    return Transition(**(values | changes))  # type: ignore[arg-type]


def end(transition: Transition, now: datetime) -> Transition:
    return replace(transition, before="firing", after="resolved", value=93.0, reason="back to 90", at=now)
