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

-- recommendations as they are followed
------------------------------------------------------------------------------------------------------------------

-- name: follow_found :exec
-- for: what a look has found
-- in: keys text[], kinds text[], contents text[] (JSON), gains float8[] of equal length; now
-- index: recommendations (key) of those followed
-- note: one that was decided keeps the words it was decided on; two looks at once end in the same rows
INSERT INTO recommendations AS r (key, kind, state, content, gain, opened_at, found_at)
SELECT f.key, f.kind, 'open', f.content::jsonb, f.gain, %(now)s, %(now)s
FROM unnest(%(keys)s::text[], %(kinds)s::text[], %(contents)s::text[], %(gains)s::float8[]) AS f (key, kind, content, gain)
ORDER BY f.key
ON CONFLICT (key) WHERE ended_at IS NULL DO UPDATE
SET found_at = excluded.found_at,
    content = CASE r.state WHEN 'open' THEN excluded.content ELSE r.content END,
    gain = CASE r.state WHEN 'open' THEN excluded.gain ELSE r.gain END;

-- name: end_past :many
-- for: advice that no longer holds, dismissals that have grown old, outcomes that are known
-- in: now; kinds text[] (those that were examined); unseen_since: of what differed by comparison; dismissed_before; taken_before
-- out: id, key, state
-- index: recommendations (key) of those followed
-- note: what rests on a comparison may miss its level by a hair for one look, and is given a day; a fact is over at once
UPDATE recommendations
SET ended_at = %(now)s, state = CASE state WHEN 'open' THEN 'gone' ELSE state END
WHERE ended_at IS NULL AND CASE state
    WHEN 'open' THEN kind = ANY (%(kinds)s) AND found_at < CASE WHEN content ->> 'corrected_p' IS NULL THEN %(now)s ELSE %(unseen_since)s END
    WHEN 'dismissed' THEN decided_at < %(dismissed_before)s
    ELSE decided_at < %(taken_before)s AND measured_at >= decided_at + (%(now)s - %(taken_before)s) END
RETURNING id, key, state;

-- name: forget_past :exec
-- for: the retention of recommendations
-- in: before
-- index: recommendations (ended_at)
-- note: what people decided stays in the audit trail
DELETE FROM recommendations WHERE ended_at < %(before)s;

-- name: note_looks :exec
-- for: what each kind looked at
-- in: kinds text[], took_ms float8[], compared integer[], found integer[], texts text[], failures boolean[] of equal length; now
-- index: recommendation_looks primary key
-- note: the last look alone; a kind that is no longer there goes
WITH gone AS (
    DELETE FROM recommendation_looks WHERE kind <> ALL (%(kinds)s::text[])
)
INSERT INTO recommendation_looks (kind, looked_at, took_ms, compared, found, text, failed)
SELECT l.kind, %(now)s, l.took_ms, l.compared, l.found, l.text, l.failed
FROM unnest(%(kinds)s::text[], %(took_ms)s::float8[], %(compared)s::integer[], %(found)s::integer[], %(texts)s::text[], %(failures)s::boolean[])
    AS l (kind, took_ms, compared, found, text, failed)
ORDER BY l.kind
ON CONFLICT (kind) DO UPDATE
SET looked_at = excluded.looked_at, took_ms = excluded.took_ms, compared = excluded.compared, found = excluded.found, text = excluded.text, failed = excluded.failed;

-- name: list_looks :many
-- for: what was looked at, and what was not recommended
-- out: kind, looked_at, took_ms, compared, found, text, failed
-- note: some ten rows
SELECT kind, looked_at, took_ms, compared, found, text, failed FROM recommendation_looks ORDER BY kind;

-- name: find_last_look :one
-- for: whether it is time to look again
-- out: an instant, NULL before the first look
-- note: some ten rows
SELECT max(looked_at) FROM recommendation_looks;

-- name: list_recommendations :many
-- for: recommendations in some states, those that promise most first, and of equal ones the newest
-- in: states text[], most; kind (NULL: any)
-- out: rows of recommendations
-- note: some hundreds, and of those over what is kept for 400 days
SELECT id, key, kind, state, content, gain, opened_at, found_at, seen_at, seen_by, decided_at, decided_by, reason, done, measured_at, outcome, ended_at
FROM recommendations
WHERE state = ANY (%(states)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
ORDER BY ended_at IS NULL DESC, gain DESC NULLS LAST, coalesce(decided_at, opened_at) DESC, key
LIMIT %(most)s;

-- name: find_recommendation :maybe
-- for: one recommendation
-- in: id
-- out: a row of recommendations
-- index: recommendations primary key
-- note: also one that is over
SELECT id, key, kind, state, content, gain, opened_at, found_at, seen_at, seen_by, decided_at, decided_by, reason, done, measured_at, outcome, ended_at
FROM recommendations WHERE id = %(id)s;

-- name: lock_recommendation :maybe
-- for: deciding on a recommendation
-- in: id
-- out: a row of recommendations
-- index: recommendations primary key
-- note: two people who take the same one must not both do it
SELECT id, key, kind, state, content, gain, opened_at, found_at, seen_at, seen_by, decided_at, decided_by, reason, done, measured_at, outcome, ended_at
FROM recommendations WHERE id = %(id)s FOR UPDATE;

-- name: note_seen :exec
-- for: who opened it first
-- in: id, actor, now
-- index: recommendations primary key
-- note: touches nothing the second time
UPDATE recommendations SET seen_at = %(now)s, seen_by = %(actor)s WHERE id = %(id)s AND seen_at IS NULL;

-- name: decide :exec
-- for: a recommendation dismissed, taken, or open again
-- in: id, state, at and actor (NULL: open again), reason, done
-- index: recommendations primary key
-- note: under the lock of lock_recommendation; what was measured belonged to the decision before
UPDATE recommendations
SET state = %(state)s, decided_at = %(at)s, decided_by = %(actor)s, reason = %(reason)s, done = %(done)s, measured_at = NULL, outcome = NULL
WHERE id = %(id)s;

-- name: note_outcome :exec
-- for: what came of a recommendation so far
-- in: id, outcome (JSON), now
-- index: recommendations primary key
-- note: measured anew at each look until it is over
UPDATE recommendations SET outcome = %(outcome)s::jsonb, measured_at = %(now)s WHERE id = %(id)s AND state = 'taken' AND ended_at IS NULL;

------------------------------------------------------------------------------------------------------------------
-- sending
------------------------------------------------------------------------------------------------------------------

-- name: list_unreachable :many
-- for: people we may write to whose messages failed for good, or again and again, on a channel
-- in: since, recent_since; codes integer[]; final integer[] (of these: once is enough), repeated (times);
--     channel (NULL: any); inner, outer (the pads of the HMAC); most
-- out: phone, channel, error_code (of the last failure), failures (messages), recent (of these: since recent_since), last_failed_at, last_message_id
-- index: messages (cohort_at) of those that failed; messages (recipient_phone, cohort_at); inbound_events (from_phone,
--      received_at); suppressions primary key
-- note: only messages of campaigns: others are not sent by us. Who got a message or wrote after the first failure can be reached
WITH failed AS MATERIALIZED (
    SELECT m.recipient_phone AS phone, m.channel, count(*) AS failures, count(*) FILTER (WHERE m.cohort_at >= %(recent_since)s) AS recent,
           min(m.failed_at) AS first_failed_at, max(m.failed_at) AS last_failed_at,
           (array_agg(m.failure_code ORDER BY m.failed_at DESC))[1] AS error_code, (array_agg(m.id ORDER BY m.failed_at DESC))[1] AS last_message_id
    FROM messages m
    WHERE m.cohort_at >= %(since)s AND m.failed_at IS NOT NULL AND m.campaign_id IS NOT NULL
      AND m.failure_code = ANY (%(codes)s) AND (%(channel)s::text IS NULL OR m.channel = %(channel)s)
    GROUP BY 1, 2
    HAVING count(*) FILTER (WHERE m.failure_code = ANY (%(final)s)) > 0 OR count(*) >= %(repeated)s
)
SELECT f.phone, f.channel, f.error_code, f.failures, f.recent, f.last_failed_at, f.last_message_id
FROM failed f
JOIN users u ON u.phone_e164 = f.phone AND u.consent_state = 'OPT_IN'
WHERE NOT EXISTS (
        SELECT FROM messages d
        WHERE d.recipient_phone = f.phone AND d.cohort_at >= %(since)s AND d.channel = f.channel AND coalesce(d.read_at, d.delivered_at) > f.first_failed_at)
  AND NOT EXISTS (
        SELECT FROM inbound_events i WHERE i.from_phone = f.phone AND i.received_at > f.first_failed_at AND i.channel = f.channel)
  AND NOT EXISTS (
        SELECT FROM suppressions s
        WHERE s.phone_hash = sha256(%(outer)s::bytea || sha256(%(inner)s::bytea || convert_to('person:' || f.phone, 'UTF8'))) AND s.channel IN ('', f.channel))
ORDER BY f.failures DESC, f.last_failed_at DESC, f.phone
LIMIT %(most)s;

-- name: bound_statement :exec
-- for: what somebody has decided to do, until the end of the transaction
-- in: milliseconds (text)
-- note: longer than a page may take
SELECT set_config('statement_timeout', %(milliseconds)s, true);

-- name: list_paces :many
-- for: how fast each sender's campaigns were handed over, and what was refused for want of room, by quarter-hour
-- in: since, until; codes integer[]
-- out: sender, bucket, handed_over, seconds (in which anything was), refused (messages that failed
--      or were put off with one of the codes), lost (of these: failed)
-- index: compliance_rollups, failure_rollups primary keys
-- note: a message belongs to the quarter-hour of its call there and of the provider's answer here, which are the same but for
--       the last second. Some thousand rows
WITH paced AS (
    SELECT c.sender, r.bucket, sum(r.handed_over)::bigint AS handed_over, max(r.seconds) AS seconds
    FROM compliance_rollups r JOIN campaigns c ON c.id = r.campaign_id
    WHERE r.grain = 'quarter' AND r.bucket >= %(since)s AND r.bucket < %(until)s
    GROUP BY 1, 2
), refused AS (
    SELECT f.sender, f.bucket, sum(f.failed + f.retried)::bigint AS refused, sum(f.failed)::bigint AS lost
    FROM failure_rollups f
    WHERE f.grain = 'quarter' AND f.slice = 8 AND f.bucket >= %(since)s AND f.bucket < %(until)s AND f.error_code = ANY (%(codes)s)
    GROUP BY 1, 2
)
SELECT p.sender, p.bucket, p.handed_over, p.seconds, coalesce(r.refused, 0) AS refused, coalesce(r.lost, 0) AS lost
FROM paced p LEFT JOIN refused r USING (sender, bucket)
WHERE p.handed_over > 0
ORDER BY p.sender, p.bucket;

-- name: list_open_rates :many
-- for: campaigns of a sender that are or will be sent, and how fast
-- in: sender, rate_per_second: only faster ones
-- out: id, name, state, rate_per_second
-- index: campaigns (state) of those open
-- note: a draft has no index and needs none: campaigns are made by hand
SELECT id, name, state, rate_per_second FROM campaigns
WHERE sender = %(sender)s AND state IN ('draft', 'scheduled', 'running') AND rate_per_second > %(rate_per_second)s
ORDER BY created_at, id;

-- name: list_sender_days :many
-- for: how the messages of each sender fared, by day and country
-- in: since, until
-- out: day (when it began), sender, country, sent, delivered (messages)
-- index: message_rollups primary key
-- note: whole settled days, of which the widest slice is kept. The day as local_days has it
SELECT c.at AS day, c.sender, c.country, sum(c.sent)::bigint AS sent, sum(c.now_delivered + c.now_read)::bigint AS delivered
FROM message_counts(%(since)s, %(until)s, 15, 'day') AS c
GROUP BY 1, 2, 3
HAVING sum(c.sent) > 0;

-- name: list_faults :many
-- for: messages that failed with some codes, by country and sender, beside all that were handed over there
-- in: since, until; codes integer[]
-- out: country, sender, error_code, failed, attempted (by that sender in that country)
-- index: failure_rollups and message_rollups primary keys
-- note: of the widest slice: days, and quarter-hours at the ends
WITH failed AS (
    SELECT country, sender, error_code, sum(failed)::bigint AS failed
    FROM failure_counts(%(since)s, %(until)s, 15, 'day') WHERE error_code = ANY (%(codes)s)
    GROUP BY 1, 2, 3 HAVING sum(failed) > 0
), attempted AS (
    SELECT country, sender, sum(messages)::bigint AS attempted FROM message_counts(%(since)s, %(until)s, 15, 'day') GROUP BY 1, 2
)
SELECT f.country, f.sender, f.error_code, f.failed, a.attempted
FROM failed f JOIN attempted a USING (country, sender)
ORDER BY f.country, f.error_code, f.failed DESC, f.sender;

-- name: list_template_uses :many
-- for: SMS templates in use, and how many messages were made from them
-- in: since
-- out: id, name, body, campaigns (uuid[]), messages
-- index: campaigns (created_at) is of no use here; campaigns are made by hand
-- note: by the text the template has now: that is what the next campaign sends
SELECT t.id, t.name, t.body, array_agg(c.id ORDER BY c.started_at DESC) AS campaigns, sum(c.recipients)::bigint AS messages
FROM templates t JOIN campaigns c ON c.template_id = t.id
WHERE t.archived_at IS NULL AND t.channel = 'sms' AND c.started_at >= %(since)s AND c.recipients > 0
GROUP BY t.id
ORDER BY messages DESC, t.name;

-- name: list_sampled_attributes :many
-- for: the texts that some of a campaign's people got
-- in: campaign_id; first, last: the range of its message ids; most
-- out: attributes, body (of the template as the campaign froze it)
-- index: messages and users primary keys
-- note: the ids of a campaign end in a hash of the number, so the first ones are people drawn at random
SELECT u.attributes, c.template ->> 'body' AS body
FROM (SELECT m.recipient_phone FROM messages m
      WHERE m.id BETWEEN %(first)s AND %(last)s AND m.campaign_id = %(campaign_id)s ORDER BY m.id LIMIT %(most)s) AS m
JOIN users u ON u.phone_e164 = m.recipient_phone
CROSS JOIN (SELECT template FROM campaigns WHERE id = %(campaign_id)s) AS c;

-- name: list_started :many
-- for: campaigns of a template that started in a window
-- in: template_id, since, until
-- out: id, started_at
-- note: campaigns are made by hand: there are thousands at the most
SELECT id, started_at FROM campaigns
WHERE template_id = %(template_id)s AND started_at >= %(since)s AND started_at < %(until)s
ORDER BY started_at DESC;

-- name: list_campaigns_of_segment :one
-- for: the campaigns that were made for a segment
-- in: segment_id
-- out: an array of ids
-- note: campaigns are made by hand: there are thousands at the most
SELECT coalesce(array_agg(id), '{}') FROM campaigns WHERE segment_id = %(segment_id)s;

-- name: list_days :many
-- for: a rate by local days, for what came of a recommendation
-- in: since, until; slice; campaign_ids, channel, country, sender or NULL for all; zone; codes integer[]; hits and trials: which of the counts
-- out: on (local day), hits, trials (messages); days without trials are left out
-- index: message_rollups and failure_rollups primary keys; messages (cohort_at) for less than a minute at each end
-- note: `met` are messages that failed with one of the codes or were put off with it, at most all there are
WITH counted AS (
    SELECT (c.at AT TIME ZONE %(zone)s)::date AS "on", sum(c.messages) AS messages, sum(c.sent) AS sent, sum(c.now_delivered + c.now_read) AS delivered,
           sum(c.replied) AS replied, sum(c.stopped) AS stopped
    FROM message_counts(%(since)s, %(until)s, %(slice)s, 'day') AS c
    WHERE (%(campaign_ids)s::uuid[] IS NULL OR c.campaign_id = ANY (%(campaign_ids)s)) AND (%(channel)s::text IS NULL OR c.channel = %(channel)s)
      AND (%(country)s::text IS NULL OR c.country = %(country)s) AND (%(sender)s::text IS NULL OR c.sender = %(sender)s)
    GROUP BY 1
), met AS (
    SELECT (f.at AT TIME ZONE %(zone)s)::date AS "on", sum(f.failed + f.retried) AS met
    FROM failure_counts(%(since)s, %(until)s, %(slice)s, 'day') AS f
    WHERE f.error_code = ANY (%(codes)s)
      AND (%(campaign_ids)s::uuid[] IS NULL OR f.campaign_id = ANY (%(campaign_ids)s)) AND (%(channel)s::text IS NULL OR f.channel = %(channel)s)
      AND (%(country)s::text IS NULL OR f.country = %(country)s) AND (%(sender)s::text IS NULL OR f.sender = %(sender)s)
    GROUP BY 1
), chosen AS (
    SELECT c."on", CASE %(hits)s WHEN 'delivered' THEN c.delivered WHEN 'replied' THEN c.replied WHEN 'stopped' THEN c.stopped
                   ELSE least(coalesce(m.met, 0), c.messages) END AS hits,
           CASE %(trials)s WHEN 'sent' THEN c.sent WHEN 'delivered' THEN c.delivered ELSE c.messages END AS trials
    FROM counted c LEFT JOIN met m USING ("on")
)
SELECT "on", least(hits, trials)::bigint AS hits, trials::bigint AS trials FROM chosen WHERE trials > 0 ORDER BY "on";

-- name: plan_for_values :exec
-- for: queries whose best plan depends on what is asked for, until the end of the transaction
-- note: a statement that is prepared gets a plan for any values after a while
SELECT set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: list_failed_messages :many
-- for: the messages behind a recommendation, the last that failed first
-- in: since, until; codes integer[]; sender, country, channel (NULL: any); before_at, before_id (NULL: from the newest on); most
-- out: id, campaign_id, recipient_phone, channel, sender, country, error_code, failed_at, cohort_at
-- index: messages (cohort_at) of those that failed, backwards, until there are enough
-- note: after plan_for_values. Where such failures are rare among all it reads all failed ones of the window
SELECT m.id, m.campaign_id, m.recipient_phone, m.channel, m.sender, m.country, m.failure_code AS error_code, m.failed_at, m.cohort_at
FROM messages m
WHERE m.cohort_at >= %(since)s AND m.cohort_at < %(until)s AND m.failed_at IS NOT NULL AND m.failure_code = ANY (%(codes)s)
  AND (%(sender)s::text IS NULL OR m.sender = %(sender)s) AND (%(country)s::text IS NULL OR coalesce(m.country, '') = %(country)s)
  AND (%(channel)s::text IS NULL OR m.channel = %(channel)s)
  AND (%(before_at)s::timestamptz IS NULL OR (m.cohort_at, m.id) < (%(before_at)s, %(before_id)s))
ORDER BY m.cohort_at DESC, m.id DESC
LIMIT %(most)s;

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
--       drawn at random, and the cost does not grow with the campaigns. Largest campaigns first. Whose they are is asked
--       outside the LIMIT, as two campaigns may have begun in one millisecond: inside, the planner expects too few and may read
--       all. 130,000 people of 1.2 million messages took 5.6 s on two busy cores, a third of it for their zones (measured)
WITH chosen AS (
    SELECT c.id, overlay(time_ordered_uuid(c.started_at, '')::text PLACING '8000-a000-000000000000' FROM 15)::uuid AS first_id,
           overlay(time_ordered_uuid(c.started_at, '')::text PLACING '8fff-afff-ffffffffffff' FROM 15)::uuid AS last_id
    FROM campaigns c
    WHERE c.started_at >= %(since)s AND c.started_at < %(until)s AND c.recipients > 0
    ORDER BY c.recipients DESC, c.id
    LIMIT %(most_campaigns)s
), sampled AS MATERIALIZED (
    SELECT c.id AS campaign_id, m.recipient_phone, m.country, m.cohort_at, m.is_sent, m.is_delivered, m.is_replied, m.is_stopped
    FROM chosen c
    CROSS JOIN LATERAL (
        SELECT m.campaign_id AS of_campaign, m.recipient_phone, coalesce(m.country, '') AS country, m.cohort_at, m.is_sent, m.status IN ('DELIVERED', 'READ') AS is_delivered, m.is_replied, m.is_stopped
        FROM messages m
        WHERE m.id BETWEEN c.first_id AND c.last_id
        ORDER BY m.id
        LIMIT %(most_messages)s) AS m
    WHERE m.of_campaign = c.id AND m.cohort_at >= %(since)s AND m.cohort_at < %(until)s
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
