"""Messages that were sent long ago, put into the tables as the projector would have left them, and counted from there."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from event_stream_engine.analytics import rollups
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.messaging import deliveries
from event_stream_engine.worker.compactor import compact_once
from tests.sending import SENDER, add_campaign


@dataclass(frozen=True, slots=True)
class Sent:
    """So many messages to people number `first` and following; of 100 each so many arrive, the others fail with `code`.

    `queue_seconds`: how long each waited at the provider. Without a campaign they are somebody else's.
    """

    at: datetime
    count: int
    campaign_id: UUID | None = None
    first: int = 0
    arrive_percent: int = 100
    code: int = 30003
    sender: str = SENDER
    channel: str = "sms"
    country: str = "US"
    queue_seconds: int = 1


async def add_started(conn: Connection, at: datetime, **campaign: object) -> UUID:
    """Add a campaign that was started and completed at an instant."""
    campaign_id = await add_campaign(conn, at, **campaign)  # type: ignore[arg-type]
    await conn.execute(
        "UPDATE campaigns c SET state = 'completed', started_at = %(at)s, finished_at = %(at)s, filled_at = %(at)s, filter = '{\"and\": []}',"
        " template = (SELECT jsonb_build_object('channel', t.channel, 'body', t.body, 'content_sid', null, 'content_variables', '{}'::jsonb)"
        " FROM templates t WHERE t.id = c.template_id) WHERE id = %(id)s",
        {"at": at, "id": campaign_id},
    )
    return campaign_id


async def add_sent(conn: Connection, *histories: Sent) -> None:
    """Put messages into the table, spread over the seconds after their instant; nothing is counted yet."""
    for sent in histories:
        await conn.execute(
            """
            INSERT INTO messages (id, campaign_id, recipient_phone, channel, sender, country, queued_at, provider_sid, answered_at,
                                  first_seen_at, first_status, last_status, last_seen_at, sent_at, delivered_at, failed_at, failed_status, error_code)
            SELECT time_ordered_uuid(%(at)s, %(name)s::text || n), %(campaign_id)s::uuid, '+1415' || 2000000 + n, %(channel)s, %(sender)s, %(country)s,
                   %(at)s, 'SM' || md5(%(name)s::text || n), at, at, 2, CASE WHEN arrives THEN 8 ELSE 7 END, done, sent, CASE WHEN arrives THEN done END,
                   CASE WHEN NOT arrives THEN done END, CASE WHEN NOT arrives THEN 7 END, CASE WHEN NOT arrives THEN %(code)s::int END
            FROM (SELECT n, n %% 100 < %(arrive_percent)s::int AS arrives, %(at)s + interval '1 second' * ((n - %(first)s::int) / 20) AS at FROM generate_series(%(first)s::int, %(last)s::int) AS n) AS m,
                 LATERAL (SELECT m.at + interval '1 second' * %(queue_seconds)s::int AS sent, m.at + interval '1 second' * (%(queue_seconds)s::int + 5) AS done) AS later
            """,
            {
                "name": uuid4().hex,
                "at": sent.at,
                "campaign_id": sent.campaign_id,
                "first": sent.first,
                "last": sent.first + sent.count - 1,
                "arrive_percent": sent.arrive_percent,
                "code": sent.code,
                "sender": sent.sender,
                "channel": sent.channel,
                "country": sent.country,
                "queue_seconds": sent.queue_seconds,
            },
        )
        await conn.execute(
            "UPDATE campaigns SET recipients = recipients + %s WHERE id = %s", (sent.count, sent.campaign_id)
        )


async def add_pace(conn: Connection, campaign_id: UUID, at: datetime, handed_over: int, seconds: int) -> None:
    """Put the pace of a quarter-hour into the figures."""
    await conn.execute(
        "INSERT INTO compliance_rollups (grain, bucket, campaign_id, handed_over, seconds, peak, rescheduled, logged)"
        " VALUES ('quarter', bucket_of('quarter', %s), %s, %s, %s, %s, 0, 0)",
        (at, campaign_id, handed_over, seconds, handed_over // seconds),
    )


async def count_all(url: str, now: datetime) -> None:
    """Count every message anew, and settle the days that are over."""
    async with await connect(url, "test") as conn:
        await deliveries.prepare_connection(conn)
        await rollups.prepare_connection(conn)
        async with transaction(conn):
            await conn.execute("TRUNCATE message_rollups, failure_rollups, duration_rollups")
            await conn.execute("UPDATE rollup_settings SET days_until = '-infinity'")
            await deliveries.note_all(conn)
            await rollups.add_message_changes(conn)
        clock = SettableClock(now)
        while await compact_once(conn, clock):
            pass


def days_before(now: datetime, days: float) -> datetime:
    return now - timedelta(days=days)
