"""Filling: the people of a running campaign's segment become messages, a stretch of numbers at a time.

Everybody of the segment becomes a recipient; whether a message may go is decided, and recorded, when it is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import sql

from event_stream_engine.audience.segments import compile_filter
from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict
from event_stream_engine.messaging import deliveries, outcomes
from event_stream_engine.stream.log import append_own_events

SQL = load_queries(__package__)
STRETCH = 5000  # people looked at in one transaction: about 0.2 s when all of them match
CANCELLED = "campaign_cancelled"


@dataclass(frozen=True, slots=True)
class _Removed:
    message_id: UUID


async def list_unfilled_ids(conn: Connection) -> list[UUID]:
    """Return the running campaigns that have yet to get all their recipients."""
    return [row.id for row in await SQL.list_unfilled_campaigns.many(conn, _Id)]


async def list_drained_ids(conn: Connection) -> list[UUID]:
    """Return the cancelled campaigns that still have messages waiting."""
    return [row.id for row in await SQL.list_undrained_campaigns.many(conn, _Id)]


@dataclass(frozen=True, slots=True)
class _Id:
    id: UUID


async def fill_campaign(conn: Connection, campaign: Campaign, now: datetime) -> int:
    """Make messages for the next stretch of numbers and return how many. Needs `deliveries.prepare_queueing`.

    Errors: Conflict when the campaign was stopped or filled by somebody else meanwhile; then roll back.
    """
    until = await SQL.find_stretch_end.value(conn, {"after": campaign.filled_to or "", "people": STRETCH})
    condition, parameters = compile_filter(campaign.filter, campaign.started_at or now)
    staging = sql.SQL(SQL.stage_recipients.sql).format(condition=condition)
    await conn.execute(
        staging,
        parameters | {"id": campaign.id, "after": campaign.filled_to or "", "until": until, "now": now},
    )
    await SQL.queue_recipients.execute(conn, {"now": now})
    made = await deliveries.queue_messages(conn)
    # Last, because from here on claims of the campaign wait for this transaction.
    moved = await SQL.move_filling.execute(
        conn,
        {
            "id": campaign.id,
            "filled_from": campaign.filled_to,
            "filled_to": until or campaign.filled_to,
            "filled_at": now if until is None else None,
            "made": made,
        },
    )
    if not moved:
        raise Conflict(f"Campaign {campaign.name} was stopped or filled by another process meanwhile.")
    return made


async def drain_campaign(conn: Connection, campaign_id: UUID, now: datetime, most: int = STRETCH) -> int:
    """Skip messages of a cancelled campaign that still wait, and return how many.

    What is being handed over, or may have been, ends by itself.
    """
    removed = await SQL.remove_waiting.many(conn, _Removed, {"id": campaign_id, "most": most})
    await skip_messages(conn, [row.message_id for row in removed], CANCELLED, now)
    return len(removed)


async def skip_messages(conn: Connection, message_ids: Sequence[UUID], reason: str, now: datetime) -> None:
    """Tell the log that messages will not be handed over."""
    if message_ids:
        await append_own_events(conn, [outcomes.skipped(one, now, reason) for one in message_ids])
