"""Three years of messages, made inside the database, day by day, and counted by the same roll-up code as live ones.

Six tenths of the messages are external, spread over the day; the rest are those of a campaign every few days, sent within
some hours. Two in a hundred are answered, some with STOP. There is one person for fifty messages.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from event_stream_engine.analytics import rollups
from event_stream_engine.audience.consent import SQL as CONSENT
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest import projection
from event_stream_engine.messaging.deliveries import SQL as DELIVERIES

DAYS = 3 * 365
CAMPAIGNS = 300
# Made again after loading: keeping them meanwhile takes longer than everything else.
_INDEXES = (
    "messages_cohort ON messages (cohort_at)",
    "messages_recipient ON messages (recipient_phone, cohort_at)",
    "messages_failed ON messages (id) WHERE failed_at IS NOT NULL AND campaign_id IS NOT NULL",
    "messages_skipped ON messages (id) WHERE skipped_at IS NOT NULL AND campaign_id IS NOT NULL",
    "messages_unsure ON messages (id) WHERE unsure_at IS NOT NULL AND campaign_id IS NOT NULL",
)

_PEOPLE = """
INSERT INTO users (phone_e164, attributes, consent_state, created_at, updated_at, country, consent_entry)
SELECT '+1415' || lpad(n::text, 7, '0'),
       jsonb_build_object('city', (ARRAY['San Francisco', 'New York', 'Austin', 'Seattle', 'Boston', 'Denver'])[1 + n %% 6],
                          'tier', (ARRAY['standard', 'premium', 'trial'])[1 + n %% 3]),
       CASE WHEN n %% 20 = 0 THEN 'STOP' WHEN n %% 11 = 0 THEN 'UNKNOWN' ELSE 'OPT_IN' END,
       %(until)s - random() * interval '1095 days', %(until)s, 'US', gen_random_uuid()
FROM generate_series(1, %(people)s) AS n
"""
_CAMPAIGNS = """
WITH segment AS (
    INSERT INTO segments (id, name, filter, created_at, updated_at) SELECT gen_random_uuid(), 'Segment ' || n, '{"and": []}', %(since)s, %(since)s
    FROM generate_series(1, 20) AS n RETURNING id, name
), template AS (
    INSERT INTO templates (id, name, channel, locale, body, created_at, updated_at)
    SELECT gen_random_uuid(), 'Template ' || n, CASE n %% 3 WHEN 0 THEN 'whatsapp' ELSE 'sms' END, 'en', 'Hello', %(since)s, %(since)s
    FROM generate_series(1, 20) AS n RETURNING id, name, channel
)
INSERT INTO campaigns (id, name, segment_id, template_id, sender, rate_per_second, state, template, filter, created_by, created_at, updated_at,
    started_at, finished_at, filled_at, recipients)
SELECT gen_random_uuid(), 'Campaign ' || n, s.id, t.id, '+14155238886', 100, 'completed', jsonb_build_object('channel', t.channel), '{"and": []}', 'engine:benchmark',
       at, at, at, at + interval '6 hours', at + interval '1 minute', 0
FROM generate_series(1, %(campaigns)s) AS n
CROSS JOIN LATERAL (SELECT %(since)s + n * interval '1095 days' / %(campaigns)s AS at) AS begun
JOIN segment s ON s.name = 'Segment ' || 1 + n %% 20 JOIN template t ON t.name = 'Template ' || 1 + n %% 20
"""
# A day's messages: their instants first, then what became of each. `chance` values are drawn once for each message.
_MESSAGES = """
WITH campaign AS (
    SELECT id, started_at, sender, template ->> 'channel' AS channel FROM campaigns
    WHERE started_at >= %(day)s AND started_at < %(day)s + interval '1 day' ORDER BY started_at LIMIT 1
), drawn AS (
    SELECT n, random() AS which, random() AS fate, random() AS code, random() AS speed, random() AS at, random() AS land, random() AS person
    FROM generate_series(1, %(messages)s) AS n
), placed AS (
    SELECT d.*, c.id AS campaign_id,
           CASE WHEN c.id IS NULL THEN %(day)s + d.at * interval '24 hours' ELSE c.started_at + d.at * interval '6 hours' END AS began,
           coalesce(c.channel, CASE WHEN d.which < 0.2 THEN 'whatsapp' ELSE 'sms' END) AS channel,
           coalesce(c.sender, (ARRAY['+14155238886', '+14155238887', '+447700900123'])[1 + floor(d.land * 3)::int]) AS sender,
           (ARRAY['US', 'US', 'US', 'US', 'GB', 'CA', 'DE', 'IN', 'BR', 'LK', 'FR', 'ES', 'IT', 'MX'])[1 + floor(d.land * 14)::int] AS country,
           exp(3.3 + 1.2 * sqrt(-2 * ln(greatest(d.speed, 1e-9))) * cos(2 * pi() * d.code)) AS seconds
    FROM drawn d LEFT JOIN campaign c ON d.n > %(external)s
), told AS (
    SELECT p.*, time_ordered_uuid(began, 'benchmark ' || %(day)s::text || n) AS id, 'SM' || md5(%(day)s::text || n) AS sid,
           began + interval '1 second' AS sent,
           CASE WHEN fate < 0.88 THEN began + interval '1 second' + seconds * interval '1 second' END AS delivered,
           CASE WHEN fate >= 0.93 THEN began + interval '2 seconds' + seconds * interval '0.2 seconds' END AS failed
    FROM placed p
)
INSERT INTO messages (id, campaign_id, recipient_phone, channel, sender, country, provider_sid, error_code, queued_at, answered_at, first_seen_at, first_status,
    last_status, last_seen_at, early_status, sent_at, delivered_at, read_at, failed_at, failed_status, replied_at, stopped_at)
SELECT id, campaign_id, '+1415' || lpad((1 + floor(person * %(people)s))::int::text, 7, '0'), channel, sender, country, sid,
       CASE WHEN failed IS NOT NULL THEN (ARRAY[30003, 30005, 30007, 21211, 21614, 30006, 30008, 30001, 63016, 30004])[1 + floor(code * 10)::int] END,
       CASE WHEN campaign_id IS NOT NULL THEN began END, CASE WHEN campaign_id IS NOT NULL THEN began END,
       began, 2, CASE WHEN failed IS NOT NULL THEN 7 WHEN delivered IS NULL THEN 4 WHEN fate < 0.25 THEN 9 ELSE 8 END,
       coalesce(failed, delivered, sent), 2, sent, delivered, CASE WHEN fate < 0.25 THEN delivered + interval '5 minutes' END, failed,
       CASE WHEN failed IS NOT NULL THEN CASE WHEN code < 0.4 THEN 6 ELSE 7 END END,
       CASE WHEN fate < 0.02 THEN delivered + interval '10 minutes' END, CASE WHEN fate < 0.002 THEN delivered + interval '10 minutes' END
FROM told
"""
_INBOUND = """
INSERT INTO inbound_events (id, message_sid, from_phone, to_phone, channel, body, received_at, keyword, intent, is_immediate, replies_to)
SELECT gen_random_uuid(), 'IN' || substr(provider_sid, 3), recipient_phone, sender, channel, intent, replied_at, intent, intent, delivery_us > 60000000, provider_sid
FROM (SELECT m.*, CASE WHEN stopped_at IS NOT NULL THEN 'stop' ELSE (ARRAY['help', 'order', 'order', 'general', 'general', 'general'])[1 + floor(random() * 6)::int] END AS intent
      FROM messages m WHERE m.cohort_at >= %(day)s AND m.cohort_at < %(day)s + interval '1 day' AND replied_at IS NOT NULL) AS answered
ON CONFLICT DO NOTHING
"""


async def build_history(url: str, messages: int, until: datetime, on_progress: Callable[[int], None]) -> None:
    """Fill a migrated, empty database with messages of the three years before `until`, a midnight."""
    since, people = until - timedelta(days=DAYS), max(1000, messages // 50)
    async with await connect(url, "benchmark") as conn:
        await projection.prepare_connection(conn)
        await rollups.prepare_connection(conn)
        await conn.execute("SET synchronous_commit = off")
        await conn.execute("SET jit = off")
        async with transaction(conn):
            await conn.execute("SELECT setseed(0.5)")
            values = {"since": since, "until": until, "people": people, "campaigns": CAMPAIGNS}
            await conn.execute(_PEOPLE, values)
            await conn.execute(_CAMPAIGNS, values)
            await CONSENT.note_all_users.execute(conn)
            await rollups.add_changes(conn)
            await rollups.drop_old_minutes(conn, until)
            for index in _INDEXES:
                await conn.execute(f"DROP INDEX {index.split()[0]}")
            await conn.execute(f"CREATE INDEX {_INDEXES[0]}")
        for number in range(DAYS):
            day = since + timedelta(days=number)
            count = messages * (number + 1) // DAYS - messages * number // DAYS
            await _add_day(conn, day, count, people)
            on_progress(count)
        for index in _INDEXES[1:]:
            await conn.execute(f"CREATE INDEX {index}")
        await conn.execute(
            "UPDATE campaigns c SET recipients = (SELECT coalesce(sum(messages), 0) FROM campaign_rollups r WHERE r.campaign_id = c.id)"
        )
        await conn.execute("VACUUM ANALYZE")


async def _add_day(conn: Connection, day: datetime, count: int, people: int) -> None:
    """Add a day's messages and answers, and count what is over."""
    async with transaction(conn):
        row = await (
            await conn.execute(
                "SELECT EXISTS (SELECT FROM campaigns WHERE started_at >= %s AND started_at < %s)",
                (day, day + timedelta(days=1)),
            )
        ).fetchone()
        external = int(count * 0.4) if row and row[0] else count
        values = {"day": day, "messages": count, "external": external, "people": people}
        await conn.execute(_MESSAGES, values)
        await conn.execute(_INBOUND, values)
        span = {"day": day, "end": day + timedelta(days=1)}
        await conn.execute(_narrow(DELIVERIES.note_all_messages.sql, "cohort_at"), span)
        await conn.execute(_narrow(DELIVERIES.note_all_inbound.sql, "received_at"), span)
        await rollups.add_changes(conn)
    async with transaction(conn):
        await rollups.settle_day(conn, day + timedelta(days=1) + rollups.SETTLED_AFTER)


def _narrow(statement: str, column: str) -> str:
    return statement.rstrip(";") + f" WHERE {column} >= %(day)s AND {column} < %(end)s"
