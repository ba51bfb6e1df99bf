------------------------------------------------------------------------------------------------------------------
-- people and content: what became of the messages of campaigns
------------------------------------------------------------------------------------------------------------------

-- name: list_campaign_parts :many
-- for: what became of the messages of campaigns, by country
-- in: since, until
-- out: campaign_id, region (country), sent, delivered, replied, stopped (messages)
-- index: message_rollups primary key
-- note: by days, so that its cost follows campaigns and days and not messages
SELECT r.campaign_id, r.country AS region, sum(r.sent)::bigint AS sent, sum(r.now_delivered + r.now_read)::bigint AS delivered,
       sum(r.replied)::bigint AS replied, sum(r.stopped)::bigint AS stopped
FROM message_counts(%(since)s, %(until)s, 5, 'month') AS r
JOIN campaigns c ON c.id = r.campaign_id
GROUP BY r.campaign_id, r.country
HAVING sum(r.sent) > 0;

-- name: list_sampled_parts :many
-- for: the same of some messages of each campaign that started in a window, by local hour and by messages of the days before
-- in: since, until; most_campaigns, most_messages (of each); earlier_days, most_earlier
-- out: campaign_id, hour (0 to 23 on the person's clock, NULL: it may show one or another), region (a time zone, where it does
--      the country), earlier (messages in those days, at most most_earlier); sent, delivered, replied, stopped (messages)
-- index: messages primary key and (recipient_phone, cohort_at), users and phone_zones primary keys
-- note: the ids of a campaign share their time and end in a hash of campaign and number, so the first of them are people
--       drawn at random, and the cost does not grow with the campaigns. Largest campaigns first
WITH chosen AS (
    SELECT c.id, overlay(time_ordered_uuid(c.started_at, '')::text PLACING '8000-a000-000000000000' FROM 15)::uuid AS first_id,
           overlay(time_ordered_uuid(c.started_at, '')::text PLACING '8fff-afff-ffffffffffff' FROM 15)::uuid AS last_id
    FROM campaigns c
    WHERE c.started_at >= %(since)s AND c.started_at < %(until)s AND c.recipients > 0
    ORDER BY c.recipients DESC, c.id
    LIMIT %(most_campaigns)s
), sampled AS MATERIALIZED (
    SELECT c.id AS campaign_id, m.*
    FROM chosen c
    CROSS JOIN LATERAL (
        SELECT m.recipient_phone, coalesce(m.country, '') AS country, m.cohort_at, m.is_sent, m.status IN ('DELIVERED', 'READ') AS is_delivered, m.is_replied, m.is_stopped
        FROM messages m
        WHERE m.id BETWEEN c.first_id AND c.last_id AND m.campaign_id = c.id
        ORDER BY m.id
        LIMIT %(most_messages)s) AS m
    WHERE m.cohort_at >= %(since)s AND m.cohort_at < %(until)s
)
SELECT s.campaign_id, w.hour, CASE WHEN w.hour IS NULL THEN s.country ELSE w.zone END AS region, e.earlier,
       count(*) FILTER (WHERE s.is_sent) AS sent, count(*) FILTER (WHERE s.is_delivered) AS delivered,
       count(*) FILTER (WHERE s.is_replied) AS replied, count(*) FILTER (WHERE s.is_stopped) AS stopped
FROM sampled s
LEFT JOIN users u ON u.phone_e164 = s.recipient_phone
LEFT JOIN LATERAL zones_of_phone(s.recipient_phone) AS z ON u.timezone IS NULL
CROSS JOIN LATERAL (
    SELECT CASE WHEN min(extract(hour FROM c.clock)) = max(extract(hour FROM c.clock)) THEN min(extract(hour FROM c.clock))::integer END AS hour, min(c.zone) AS zone
    FROM (SELECT zone, wall_clock(s.cohort_at, zone) AS clock
          FROM unnest(CASE WHEN u.timezone IS NULL THEN z.zones ELSE ARRAY[u.timezone] END) AS zone) AS c) AS w
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS earlier
    FROM (SELECT FROM messages b
          WHERE b.recipient_phone = s.recipient_phone AND b.cohort_at >= s.cohort_at - %(earlier_days)s * interval '1 day' AND b.cohort_at < s.cohort_at
          LIMIT %(most_earlier)s) AS before) AS e
GROUP BY 1, 2, 3, 4;

-- name: bound_sample :exec
-- for: a question whose cost is bounded by rows and not by roll-ups, until the end of the transaction
-- in: milliseconds (text)
-- note: rows that are not in memory may take long; advice can wait for the next run
SELECT set_config('statement_timeout', %(milliseconds)s, true);

-- name: list_described_campaigns :many
-- for: what campaigns have in common
-- in: ids uuid[]
-- out: id, name, segment_id, segment, template_id, template, is_template_archived, channel, started_at, recipients
-- index: campaigns primary key
-- note: the channel as it was at the start
SELECT c.id, c.name, c.segment_id, s.name AS segment, c.template_id, t.name AS template, t.archived_at IS NOT NULL AS is_template_archived,
       coalesce(c.template ->> 'channel', t.channel) AS channel, coalesce(c.started_at, c.created_at) AS started_at, c.recipients
FROM campaigns c
JOIN segments s ON s.id = c.segment_id
JOIN templates t ON t.id = c.template_id
WHERE c.id = ANY (%(ids)s);

-- name: count_reachable :one
-- for: the people who may be written to
-- out: users
-- index: user_rollups primary key
-- note: NULL before the first of them
SELECT users FROM user_rollups WHERE consent_state = 'OPT_IN';
