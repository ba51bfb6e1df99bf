------------------------------------------------------------------------------------------------------------------
-- capacity
------------------------------------------------------------------------------------------------------------------

-- name: list_size_days :many
-- for: how large the database was at the end of each day
-- in: since, until (midnights of UTC)
-- out: day, bytes
-- index: database_rollups primary key
-- note: at most half a year of rows; a day on which nobody looked has none
SELECT bucket AS day, bytes FROM database_rollups
WHERE grain = 'day' AND bucket >= %(since)s AND bucket < %(until)s ORDER BY bucket;

-- name: load_pool_waits :one
-- for: requests for a connection of a window
-- in: since, until
-- out: requests, waited, failed; busiest_wait_ms (mean of the busiest quarter-hour; NULL: nobody asked)
-- index: pool_rollups primary key
-- note: a row for each web process and minute, ten thousand a week; a mean over the week would hide the hour that hurts
WITH quarters AS (
    SELECT date_bin('15 minutes', minute, 'epoch') AS quarter, sum(requests) AS requests, sum(waited) AS waited, sum(wait_ms) AS wait_ms, sum(failed) AS failed
    FROM pool_rollups WHERE minute >= %(since)s AND minute < %(until)s GROUP BY 1
)
SELECT coalesce(sum(requests), 0)::bigint AS requests, coalesce(sum(waited), 0)::bigint AS waited, coalesce(sum(failed), 0)::bigint AS failed,
       max(wait_ms::float8 / requests) FILTER (WHERE requests >= 100) AS busiest_wait_ms
FROM quarters;

-- name: list_host_loads :many
-- for: how busy and how full each host was in a window
-- in: since, until, least (quarter-hours, below which a host has no figure)
-- out: host, metric (cpu_percent, memory_percent), busy (95th percentile of the means of quarter-hours), busiest (the highest of them), busiest_at
-- index: resource_rollups primary key
-- note: a peak of ten seconds is no reason to buy a host; a quarter-hour is
SELECT host, metric, percentile_cont(0.95) WITHIN GROUP (ORDER BY sum / count) AS busy, max(sum / count) AS busiest,
       (array_agg(bucket ORDER BY sum / count DESC))[1] AS busiest_at
FROM resource_rollups
WHERE grain = 'quarter' AND bucket >= %(since)s AND bucket < %(until)s AND kind = 'host' AND metric IN ('cpu_percent', 'memory_percent')
GROUP BY host, metric HAVING count(*) >= %(least)s ORDER BY host, metric;

-- name: find_other_queries :maybe
-- for: what statements of other roles than our own cost, like those of people's queries
-- out: seconds (in statements), began_at (of the counting)
-- index: database_marks primary key
-- note: as of the last look, a few thousand rows; roles whose statements we may not see are not in it
SELECT (SELECT coalesce(sum(m.counters[2]), 0) FROM database_marks m WHERE m.kind = 'statement' AND m.owner <> current_user::regrole)::float8 / 1000000000 AS seconds,
       s.began_at
FROM database_marks s WHERE s.kind = 'statements' AND s.began_at IS NOT NULL;

-- name: find_redis :maybe
-- for: what was last found of Redis
-- in: since (when it was measured)
-- out: latency_ms, fault (NULL: it answered), changed_at (when it last came or went)
-- index: redis_state has one row
-- note: an old row is of a Redis that is no longer configured
SELECT latency_ms, fault, since AS changed_at FROM redis_state WHERE measured_at >= %(since)s;

-- name: load_log_size :one
-- for: what the log takes, and what of it is of days before one
-- in: until (a day)
-- out: bytes, older_bytes
-- index: database_marks primary key
-- note: sizes of the last look, so that no partition is locked; partitions are named after their day
SELECT coalesce(sum(m.sizes[1]), 0)::bigint AS bytes,
       coalesce(sum(m.sizes[1]) FILTER (WHERE to_date(right(c.relname, 8), 'YYYYMMDD') < %(until)s), 0)::bigint AS older_bytes
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
JOIN database_marks m ON (m.kind, m.id, m.owner) = ('table', c.oid::bigint, 0)
WHERE i.inhparent = 'events'::regclass;

-- name: list_waiting_audiences :many
-- for: the recipients of a campaign that still wait, by when they may be written to
-- in: campaign_id, most (looked at)
-- out: zones (NULL: not known), rule_starts, rule_ends (NULL: no rule), people (reckoned up to all that wait)
-- index: outbox (campaign_id, …), users, phone_zones and quiet_hours_rules primary keys
-- note: the end of a message's id is a hash of campaign and number, so the first by id are a fair sample; counting those of
--       a campaign reads its part of the index
WITH sample AS MATERIALIZED (
    SELECT recipient_phone AS phone FROM outbox WHERE campaign_id = %(campaign_id)s ORDER BY message_id LIMIT %(most)s
), whole AS (
    SELECT count(*)::float8 / greatest(1, (SELECT count(*) FROM sample)) AS factor FROM outbox WHERE campaign_id = %(campaign_id)s
)
SELECT CASE WHEN u.timezone IS NULL THEN z.zones ELSE ARRAY[u.timezone] END AS zones, r.starts AS rule_starts, r.ends AS rule_ends, count(*) * max(w.factor) AS people
FROM whole w, sample s
LEFT JOIN users u ON u.phone_e164 = s.phone
LEFT JOIN LATERAL zones_of_phone(s.phone) AS z ON u.timezone IS NULL
LEFT JOIN LATERAL (
    SELECT q.starts, q.ends FROM quiet_hours_rules q
    WHERE q.prefix IN (substr(s.phone, 2, 1), substr(s.phone, 2, 2), substr(s.phone, 2, 3), substr(s.phone, 2, 4), substr(s.phone, 2, 5), substr(s.phone, 2, 6), substr(s.phone, 2, 7))
    ORDER BY length(q.prefix) DESC LIMIT 1) AS r ON true
GROUP BY 1, 2, 3 ORDER BY people DESC, 1, 2, 3;

-- name: list_people_audiences :many
-- for: the people that a filter finds and who opted in, by when they may be written to
-- in: share_percent (of the table that is looked at), people (in all of it); the filter's own parameters
-- out: as list_waiting_audiences
-- index: phone_zones and quiet_hours_rules primary keys
-- note: {condition} is put in by audiences.py, as segments.py compiled it. A part of the pages, the same each time, so that
--       millions of people take no longer than thousands; how many each of its rows stands for follows from how many there are
WITH sample AS MATERIALIZED (
    SELECT phone_e164, attributes, consent_state, consent_entry, country, timezone, created_at, updated_at
    FROM users TABLESAMPLE SYSTEM (%(share_percent)s) REPEATABLE (1)
), whole AS (
    SELECT greatest(%(people)s, count(*))::float8 / greatest(1, count(*)) AS factor FROM sample
)
SELECT CASE WHEN u.timezone IS NULL THEN z.zones ELSE ARRAY[u.timezone] END AS zones, r.starts AS rule_starts, r.ends AS rule_ends,
       count(*) * max(w.factor) AS people
FROM whole w, sample u
LEFT JOIN LATERAL zones_of_phone(u.phone_e164) AS z ON u.timezone IS NULL
LEFT JOIN LATERAL (
    SELECT q.starts, q.ends FROM quiet_hours_rules q
    WHERE q.prefix IN (substr(u.phone_e164, 2, 1), substr(u.phone_e164, 2, 2), substr(u.phone_e164, 2, 3), substr(u.phone_e164, 2, 4), substr(u.phone_e164, 2, 5), substr(u.phone_e164, 2, 6), substr(u.phone_e164, 2, 7))
    ORDER BY length(q.prefix) DESC LIMIT 1) AS r ON true
WHERE u.consent_state = 'OPT_IN' AND {condition}
GROUP BY 1, 2, 3 ORDER BY people DESC, 1, 2, 3;
