"""Subscriptions: who gets the reports of days or weeks, and by which channel."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound
from event_stream_engine.notifications import outbox
from event_stream_engine.notifications.channels import list_channels
from event_stream_engine.notifications.notice import Notice
from event_stream_engine.notifications.targets import ALERTMANAGER
from event_stream_engine.reporting.documents import write_document
from event_stream_engine.reporting.mail import write_mail, write_summary
from event_stream_engine.reporting.report import KINDS
from event_stream_engine.reporting.versions import Report

SQL = load_queries(__package__)
_KEYS = UUID("2b0f3a52-6d0e-4f51-9a53-6b1f5f0f7c1d")  # of notices of reports; never to be changed


@dataclass(frozen=True, slots=True)
class Subscription:
    """`stopped`: why nothing is told at present; `last_…`: of the last report that went to the channel."""

    id: UUID
    kind: str
    operator_id: UUID
    operator_name: str
    channel_id: UUID
    channel_name: str
    with_restated: bool
    created_at: datetime
    stopped: str | None
    last_at: datetime | None
    last_state: str | None


@dataclass(frozen=True, slots=True)
class Subscriber:
    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class _Channel:
    channel_id: UUID


async def list_subscriptions(conn: Connection) -> list[Subscription]:
    """Return all subscriptions by person."""
    return await SQL.list_subscriptions.many(conn, Subscription, {"id": None})


async def load_subscription(conn: Connection, subscription_id: UUID) -> Subscription:
    """Return one subscription. Errors: NotFound."""
    found = await SQL.list_subscriptions.maybe(conn, Subscription, {"id": subscription_id})
    if found is None:
        raise NotFound("There is no such subscription.")
    return found


async def list_subscribers(conn: Connection) -> list[Subscriber]:
    """Return whom a subscription may belong to."""
    return await SQL.list_subscribers.many(conn, Subscriber)


async def subscribe(
    conn: Connection,
    actor: Actor,
    now: datetime,
    *,
    kind: str,
    operator_id: UUID,
    channel_id: UUID,
    with_restated: bool,
) -> Subscription:
    """Let a person have the reports of a kind by a channel; restated ones only if asked for. Errors: Invalid, Conflict."""
    if kind not in KINDS:
        raise Invalid(f"{kind!r} is no kind of report; use {' or '.join(KINDS)}.", "kind")
    if operator_id not in {one.id for one in await list_subscribers(conn)}:
        raise Invalid("There is no such person who may sign in.", "operator_id")
    channel = next((one for one in await list_channels(conn) if one.id == channel_id), None)
    if channel is None:
        raise Invalid(
            "There is no such channel. GET /api/v1/notifications/channels lists them.", "channel_id"
        )
    if channel.kind == ALERTMANAGER:
        raise Invalid(
            "An Alertmanager takes alerts and no reports. Choose mail, chat or a webhook.", "channel_id"
        )
    values = {
        "kind": kind,
        "operator_id": operator_id,
        "channel_id": channel_id,
        "with_restated": with_restated,
    }
    subscription_id = uuid4()
    if not await SQL.add_subscription.execute(conn, values | {"id": subscription_id, "now": now}):
        raise Conflict(f"The {kind} report goes to this person by {channel.name} already.")
    made = await load_subscription(conn, subscription_id)
    entry = Entry(now, "report_subscription.created", _subject(made), after=_describe(made))
    await record(conn, actor, entry)
    return made


async def unsubscribe(conn: Connection, actor: Actor, now: datetime, subscription_id: UUID) -> None:
    """Remove a subscription. Errors: NotFound."""
    before = await load_subscription(conn, subscription_id)
    if not await SQL.remove_subscription.execute(conn, {"id": subscription_id}):
        raise NotFound("There is no such subscription.")  # somebody was faster
    entry = Entry(now, "report_subscription.removed", _subject(before), before=_describe(before))
    await record(conn, actor, entry)


async def queue_report(conn: Connection, report: Report, now: datetime) -> int:
    """Queue a version of a report for its subscribers, in the transaction that keeps it; return the deliveries queued.

    The same version never goes to a channel twice, however many people have it by that channel.
    """
    frame = report.frame
    asked = {"kind": frame.kind, "ended_at": frame.window.until, "is_restated": frame.restated is not None}
    channels = await SQL.list_subscribed_channels.many(conn, _Channel, asked)
    if not channels:
        return 0
    document = write_document(report)
    name = f"{frame.kind} {frame.last.isoformat()} {frame.version}"
    summary = write_summary(document)
    notice = Notice(
        key=uuid5(_KEYS, name),
        kind=f"report.{frame.kind}",
        severity="info",
        labels={"report": frame.kind},
        group=f"report {name}",
        episode_id=None,
        title=f"{document.title}, {document.subtitle}{', restated' if document.restated else ''}",
        text=summary,
        facts=(),
        path=document.path,
        at=now,
        html=write_mail(document),
    )
    return await outbox.queue(conn, [notice], [one.channel_id for one in channels])


def _subject(subscription: Subscription) -> str:
    return f"report_subscription:{subscription.id}"


def _describe(subscription: Subscription) -> dict[str, Any]:
    return {
        "kind": subscription.kind,
        "operator_id": str(subscription.operator_id),
        "channel": subscription.channel_name,
        "with_restated": subscription.with_restated,
    }
