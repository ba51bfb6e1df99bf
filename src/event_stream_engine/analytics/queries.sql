-- name: create_message_cells :exec
-- for: what a batch adds to the roll-ups, summed by minute and dimensions, once for each connection
-- note: three tables, because a prepared statement holds one command; emptied by each commit
CREATE TEMPORARY TABLE IF NOT EXISTS message_cells (
    at timestamptz, campaign_id uuid, channel text, country text, sender text, messages bigint, sent bigint, conflicts bigint, replied bigint, stopped bigint,
    now_accepted bigint, now_scheduled bigint, now_queued bigint, now_sending bigint, now_sent bigint, now_canceled bigint, now_failed bigint,
    now_undelivered bigint, now_delivered bigint, now_read bigint
) ON COMMIT DELETE ROWS;

-- name: create_failure_cells :exec
-- for: see create_message_cells
-- note: see create_message_cells
CREATE TEMPORARY TABLE IF NOT EXISTS failure_cells (
    at timestamptz, campaign_id uuid, channel text, country text, sender text, error_code integer, failed bigint, retried bigint, retried_sent bigint,
    retried_delivered bigint
) ON COMMIT DELETE ROWS;

-- name: create_duration_cells :exec
-- for: see create_message_cells
-- note: has_less: a time was taken back, so that fastest and slowest must be found again
CREATE TEMPORARY TABLE IF NOT EXISTS duration_cells (
    at timestamptz, measure text, campaign_id uuid, channel text, country text, sender text, messages bigint, microseconds bigint, fastest bigint,
    slowest bigint, sketch bigint[], has_less boolean
) ON COMMIT DELETE ROWS;

-- name: create_inbound_cells :exec
-- for: see create_message_cells
-- note: see create_message_cells
CREATE TEMPORARY TABLE IF NOT EXISTS inbound_cells (
    at timestamptz, channel text, intent text, messages bigint, immediate bigint, auto_replied bigint
) ON COMMIT DELETE ROWS;

-- name: create_consent_cells :exec
-- for: see create_message_cells
-- note: see create_message_cells
CREATE TEMPORARY TABLE IF NOT EXISTS consent_cells (
    at timestamptz, from_state text, to_state text, source text, transitions bigint
) ON COMMIT DELETE ROWS;

-- name: create_signup_cells :exec
-- for: see create_message_cells
-- note: see create_message_cells
CREATE TEMPORARY TABLE IF NOT EXISTS signup_cells (at timestamptz, users bigint) ON COMMIT DELETE ROWS;

-- name: sum_message_changes :exec
-- for: the batch's messages by minute and dimensions
-- in: rows of message_changes
-- out: rows of message_cells
-- note: what cancels out inside the batch is not written at all; what has not reached the provider has no cohort yet
INSERT INTO message_cells
SELECT * FROM (
    SELECT bucket_of('minute', cohort_at) AS at, campaign_id, channel, country, sender,
           sum(sign) AS messages, sum(sign * is_sent::int) AS sent, sum(sign * is_conflict::int) AS conflicts,
           sum(sign * is_replied::int) AS replied, sum(sign * is_stopped::int) AS stopped,
           sum(sign * (status = 'ACCEPTED')::int) AS now_accepted, sum(sign * (status = 'SCHEDULED')::int) AS now_scheduled,
           sum(sign * (status = 'QUEUED')::int) AS now_queued, sum(sign * (status = 'SENDING')::int) AS now_sending,
           sum(sign * (status = 'SENT')::int) AS now_sent, sum(sign * (status = 'CANCELED')::int) AS now_canceled,
           sum(sign * (status = 'FAILED')::int) AS now_failed, sum(sign * (status = 'UNDELIVERED')::int) AS now_undelivered,
           sum(sign * (status = 'DELIVERED')::int) AS now_delivered, sum(sign * (status = 'READ')::int) AS now_read
    FROM message_changes
    WHERE cohort_at IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5) AS summed
WHERE (messages, sent, conflicts, replied, stopped, now_accepted, now_scheduled, now_queued, now_sending, now_sent, now_canceled, now_failed,
       now_undelivered, now_delivered, now_read) <> (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

-- name: sum_failure_changes :exec
-- for: the batch's failed and retried messages by code, minute and dimensions
-- in: rows of message_changes
-- out: rows of failure_cells
-- note: few; a message can fail with one code after another made it wait
INSERT INTO failure_cells
SELECT bucket_of('minute', c.cohort_at), c.campaign_id, c.channel, c.country, c.sender, told.error_code,
       sum(sign * told.failed), sum(sign * told.retried), sum(sign * told.retried_sent), sum(sign * told.retried_delivered)
FROM message_changes c,
LATERAL (SELECT c.failure_code, 1, 0, 0, 0 WHERE c.status IN ('FAILED', 'UNDELIVERED')
         UNION ALL
         SELECT c.postponed_code, 0, 1, c.is_sent::int, (c.status IN ('DELIVERED', 'READ'))::int WHERE c.postponed_code IS NOT NULL)
    AS told (error_code, failed, retried, retried_sent, retried_delivered)
WHERE c.cohort_at IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6
HAVING (sum(sign * told.failed), sum(sign * told.retried), sum(sign * told.retried_sent), sum(sign * told.retried_delivered)) <> (0, 0, 0, 0);

-- name: sum_duration_changes :exec
-- for: the batch's durations by minute and dimensions, as sketches
-- in: rows of message_changes
-- out: rows of duration_cells
-- note: a time is taken back only when a callback with an earlier receive time comes late. The sentinels never survive:
--       a bucket without messages is not read
INSERT INTO duration_cells
SELECT at, measure, campaign_id, channel, country, sender, sum(n), sum(microseconds), min(fastest), max(slowest),
       coalesce(array_agg((place << 40) + n ORDER BY place) FILTER (WHERE n <> 0), '{}'), bool_or(has_less)
FROM (
    SELECT at, measure, campaign_id, channel, country, sender, sketch_index(us)::bigint AS place, sum(n) AS n, sum(n * us) AS microseconds,
           coalesce(min(us) FILTER (WHERE n > 0), 9223372036854775807) AS fastest, coalesce(max(us) FILTER (WHERE n > 0), -1) AS slowest, bool_or(n < 0) AS has_less
    FROM (SELECT bucket_of('minute', c.cohort_at) AS at, told.measure, c.campaign_id, c.channel, c.country, c.sender, told.us, sum(sign)::bigint AS n
          FROM message_changes c,
          LATERAL (VALUES ('delivery', c.delivery_us), ('queue', c.queue_us), ('carrier', c.carrier_us)) AS told (measure, us)
          WHERE c.cohort_at IS NOT NULL AND told.us IS NOT NULL
          GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(sign) <> 0) AS net
    GROUP BY 1, 2, 3, 4, 5, 6, 7) AS placed
GROUP BY 1, 2, 3, 4, 5, 6;

-- name: add_message_cells :exec
-- for: messages by cohort and present status, kept by differences
-- in: rows of message_cells; grains text[]
-- index: message_rollups primary key, local_days primary key
-- note: a row of zeros stays: the next messages of its bucket will want it
INSERT INTO message_rollups AS r (grain, slice, bucket, campaign_id, channel, country, sender, messages, sent, conflicts, replied, stopped,
    now_accepted, now_scheduled, now_queued, now_sending, now_sent, now_canceled, now_failed, now_undelivered, now_delivered, now_read)
SELECT t.grain, t.slice, t.bucket, t.campaign_id, t.channel, t.country, t.sender,
       sum(c.messages), sum(c.sent), sum(c.conflicts), sum(c.replied), sum(c.stopped),
       sum(c.now_accepted), sum(c.now_scheduled), sum(c.now_queued), sum(c.now_sending), sum(c.now_sent),
       sum(c.now_canceled), sum(c.now_failed), sum(c.now_undelivered), sum(c.now_delivered), sum(c.now_read)
FROM message_cells c, rollup_targets(c.at, c.campaign_id, c.channel, c.country, c.sender) AS t
WHERE t.grain = ANY (%(grains)s)
GROUP BY 1, 2, 3, 4, 5, 6, 7
ON CONFLICT (grain, slice, bucket, campaign_id, channel, country, sender) DO UPDATE
SET messages = r.messages + excluded.messages, sent = r.sent + excluded.sent, conflicts = r.conflicts + excluded.conflicts, replied = r.replied + excluded.replied, stopped = r.stopped + excluded.stopped,
    now_accepted = r.now_accepted + excluded.now_accepted, now_scheduled = r.now_scheduled + excluded.now_scheduled, now_queued = r.now_queued + excluded.now_queued, now_sending = r.now_sending + excluded.now_sending, now_sent = r.now_sent + excluded.now_sent,
    now_canceled = r.now_canceled + excluded.now_canceled, now_failed = r.now_failed + excluded.now_failed, now_undelivered = r.now_undelivered + excluded.now_undelivered, now_delivered = r.now_delivered + excluded.now_delivered, now_read = r.now_read + excluded.now_read;

-- name: add_failure_cells :exec
-- for: failed and retried messages by code, kept by differences
-- in: rows of failure_cells; grains text[]
-- index: failure_rollups primary key, local_days primary key
-- note: as add_message_cells
INSERT INTO failure_rollups AS r (grain, slice, bucket, campaign_id, channel, country, sender, error_code, failed, retried, retried_sent, retried_delivered)
SELECT t.grain, t.slice, t.bucket, t.campaign_id, t.channel, t.country, t.sender,
       c.error_code, sum(c.failed), sum(c.retried), sum(c.retried_sent), sum(c.retried_delivered)
FROM failure_cells c, rollup_targets(c.at, c.campaign_id, c.channel, c.country, c.sender) AS t
WHERE t.grain = ANY (%(grains)s)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ON CONFLICT (grain, slice, bucket, campaign_id, channel, country, sender, error_code) DO UPDATE
SET failed = r.failed + excluded.failed, retried = r.retried + excluded.retried, retried_sent = r.retried_sent + excluded.retried_sent,
    retried_delivered = r.retried_delivered + excluded.retried_delivered;

-- name: add_duration_cells :exec
-- for: durations as sketches with exact sum, fastest and slowest, kept by differences
-- in: rows of duration_cells; grains text[]
-- index: duration_rollups primary key, local_days primary key
-- note: sketches of the batch are added up first, so that each row's own is read and written once
INSERT INTO duration_rollups AS r (grain, slice, measure, bucket, campaign_id, channel, country, sender, messages, microseconds, fastest, slowest, sketch)
SELECT grain, slice, measure, bucket, campaign_id, channel, country, sender, sum(messages), sum(microseconds), min(fastest), max(slowest),
       coalesce(array_agg((place << 40) + n ORDER BY place) FILTER (WHERE n <> 0), '{}')
FROM (
    SELECT t.grain, t.slice, c.measure, t.bucket, t.campaign_id, t.channel, t.country, t.sender, sketch_place(e.element)::bigint AS place,
           sum(sketch_count(e.element))::bigint AS n,
           sum(c.messages) FILTER (WHERE coalesce(e.number, 1) = 1) AS messages, sum(c.microseconds) FILTER (WHERE coalesce(e.number, 1) = 1) AS microseconds,
           min(c.fastest) AS fastest, max(c.slowest) AS slowest
    FROM duration_cells c
    CROSS JOIN rollup_targets(c.at, c.campaign_id, c.channel, c.country, c.sender) AS t
    LEFT JOIN unnest(c.sketch) WITH ORDINALITY AS e (element, number) ON true -- a time in place of another of the same place leaves none
    WHERE t.grain = ANY (%(grains)s)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9) AS placed
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ON CONFLICT (grain, slice, measure, bucket, campaign_id, channel, country, sender) DO UPDATE
SET messages = r.messages + excluded.messages, microseconds = r.microseconds + excluded.microseconds,
    fastest = least(r.fastest, excluded.fastest), slowest = greatest(r.slowest, excluded.slowest), sketch = sketch_add(r.sketch, excluded.sketch);

-- name: has_less :one
-- for: whether the batch took a duration back
-- in: rows of duration_cells
-- out: has_less
-- note: mostly not; finding fastest and slowest again is then spared
SELECT coalesce(bool_or(has_less), false) AS has_less FROM duration_cells;

-- name: forget_message_days :exec
-- for: another calendar
-- index: message_rollups primary key
-- note: days are settled anew then, see settle_day
DELETE FROM message_rollups WHERE grain IN ('day', 'month');

-- name: fill_message_cells :exec
-- for: settling days from their quarter-hours
-- in: since, until
-- out: rows of message_cells; row count
-- index: message_rollups primary key
-- note: summed over the span, which has one day of messages; quarter-hours add up to days in every zone
INSERT INTO message_cells
SELECT min(bucket), campaign_id, channel, country, sender, sum(messages), sum(sent), sum(conflicts), sum(replied), sum(stopped),
       sum(now_accepted), sum(now_scheduled), sum(now_queued), sum(now_sending), sum(now_sent), sum(now_canceled), sum(now_failed), sum(now_undelivered),
       sum(now_delivered), sum(now_read)
FROM message_rollups
WHERE grain = 'quarter' AND slice = 15 AND bucket >= %(since)s AND bucket < %(until)s
GROUP BY campaign_id, channel, country, sender;

-- name: forget_failure_days :exec
-- for: another calendar
-- index: failure_rollups primary key
-- note: days are settled anew then, see settle_day
DELETE FROM failure_rollups WHERE grain IN ('day', 'month');

-- name: fill_failure_cells :exec
-- for: settling days from their quarter-hours
-- in: since, until
-- out: rows of failure_cells; row count
-- index: failure_rollups primary key
-- note: see fill_message_cells
INSERT INTO failure_cells
SELECT min(bucket), campaign_id, channel, country, sender, error_code, sum(failed), sum(retried), sum(retried_sent), sum(retried_delivered)
FROM failure_rollups
WHERE grain = 'quarter' AND slice = 15 AND bucket >= %(since)s AND bucket < %(until)s
GROUP BY campaign_id, channel, country, sender, error_code;

-- name: forget_duration_days :exec
-- for: another calendar
-- index: duration_rollups primary key
-- note: days are settled anew then, see settle_day
DELETE FROM duration_rollups WHERE grain IN ('day', 'month');

-- name: fill_duration_cells :exec
-- for: settling days from their quarter-hours
-- in: since, until
-- out: rows of duration_cells; row count
-- index: duration_rollups primary key
-- note: see fill_message_cells
WITH found AS MATERIALIZED (
    SELECT bucket, measure, campaign_id, channel, country, sender, messages, microseconds, fastest, slowest, sketch
    FROM duration_rollups
    WHERE grain = 'quarter' AND slice = 15 AND measure IN ('delivery', 'queue', 'carrier') AND bucket >= %(since)s AND bucket < %(until)s AND messages > 0
), placed AS (
    SELECT measure, campaign_id, channel, country, sender, sketch_place(element)::bigint AS place, sum(sketch_count(element))::bigint AS n
    FROM found, unnest(sketch) AS element
    GROUP BY 1, 2, 3, 4, 5, 6
), gathered AS (
    SELECT measure, campaign_id, channel, country, sender, array_agg((place << 40) + n ORDER BY place) AS sketch
    FROM placed
    GROUP BY 1, 2, 3, 4, 5
)
INSERT INTO duration_cells
SELECT f.at, f.measure, f.campaign_id, f.channel, f.country, f.sender, f.messages, f.microseconds, f.fastest, f.slowest, g.sketch, false
FROM (SELECT min(bucket) AS at, measure, campaign_id, channel, country, sender, sum(messages) AS messages, sum(microseconds) AS microseconds,
             min(fastest) AS fastest, max(slowest) AS slowest
      FROM found GROUP BY 2, 3, 4, 5, 6) AS f
JOIN gathered g USING (measure, campaign_id, channel, country, sender);

-- name: forget_inbound_days :exec
-- for: another calendar
-- index: inbound_rollups primary key
-- note: days are settled anew then, see settle_day
DELETE FROM inbound_rollups WHERE grain IN ('day', 'month');

-- name: forget_inbound_hours :exec
-- for: another calendar
-- note: days are settled anew then, see settle_day
DELETE FROM inbound_hour_rollups;

-- name: fill_inbound_cells :exec
-- for: settling days from their quarter-hours
-- in: since, until
-- out: rows of inbound_cells; row count
-- index: inbound_rollups primary key
-- note: not summed, because it is little; quarter-hours add up to hours and days in every zone
INSERT INTO inbound_cells SELECT bucket, channel, intent, messages, immediate, auto_replied FROM inbound_rollups
WHERE grain = 'quarter' AND bucket >= %(since)s AND bucket < %(until)s;

-- name: forget_consent_days :exec
-- for: another calendar
-- index: consent_rollups primary key
-- note: days are settled anew then, see settle_day
DELETE FROM consent_rollups WHERE grain IN ('day', 'month');

-- name: fill_consent_cells :exec
-- for: settling days from their quarter-hours
-- in: since, until
-- out: rows of consent_cells; row count
-- index: consent_rollups primary key
-- note: not summed, because it is little; quarter-hours add up to days in every zone
INSERT INTO consent_cells SELECT bucket, from_state, to_state, source, transitions FROM consent_rollups
WHERE grain = 'quarter' AND bucket >= %(since)s AND bucket < %(until)s;

-- name: forget_signup_days :exec
-- for: another calendar
-- index: signup_rollups primary key
-- note: days are settled anew then, see settle_day
DELETE FROM signup_rollups WHERE grain IN ('day', 'month');

-- name: fill_signup_cells :exec
-- for: settling days from their quarter-hours
-- in: since, until
-- out: rows of signup_cells; row count
-- index: signup_rollups primary key
-- note: not summed, because it is little; quarter-hours add up to days in every zone
INSERT INTO signup_cells SELECT bucket, users FROM signup_rollups
WHERE grain = 'quarter' AND bucket >= %(since)s AND bucket < %(until)s;

-- name: add_campaign_counts :exec
-- for: messages of campaigns by present status and, when skipped, reason
-- in: rows of message_changes
-- index: campaign_rollups primary key
-- note: PENDING rows are made by a campaign's filling and counted there, in campaigns.recipients
INSERT INTO campaign_rollups AS r (campaign_id, status, reason, messages)
SELECT campaign_id, status, CASE status WHEN 'SKIPPED' THEN coalesce(skip_reason, '') ELSE '' END, sum(sign)
FROM message_changes
WHERE campaign_id <> '00000000-0000-0000-0000-000000000000' AND status <> 'PENDING'
GROUP BY 1, 2, 3
HAVING sum(sign) <> 0
ON CONFLICT (campaign_id, status, reason) DO UPDATE SET messages = r.messages + excluded.messages;

-- name: correct_extremes :exec
-- for: fastest and slowest of minutes and quarter-hours from which a time was taken back
-- in: rows of duration_cells, after add_duration_cells
-- index: messages (cohort_at)
-- note: minimum and maximum cannot be subtracted; reads the raw rows of the few buckets concerned, mostly none
UPDATE duration_rollups r
SET fastest = found.fastest, slowest = found.slowest
FROM (
    SELECT DISTINCT t.grain, t.bucket, c.measure, t.campaign_id, t.channel, t.country, t.sender
    FROM duration_cells c, rollup_targets(c.at, c.campaign_id, c.channel, c.country, c.sender) AS t
    WHERE c.has_less AND t.grain IN ('minute', 'quarter')
) AS stale, LATERAL (
    SELECT coalesce(min(told.us), 9223372036854775807) AS fastest, coalesce(max(told.us), -1) AS slowest
    FROM messages m, LATERAL (VALUES ('delivery', m.delivery_us), ('queue', m.queue_us), ('carrier', m.carrier_us)) AS told (measure, us)
    WHERE m.cohort_at >= stale.bucket AND m.cohort_at < bucket_end(stale.grain, stale.bucket)
      AND coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000') = stale.campaign_id
      AND m.channel = stale.channel AND coalesce(m.country, '') = stale.country AND m.sender = stale.sender
      AND told.measure = stale.measure
) AS found
WHERE (r.grain, r.slice, r.measure, r.bucket, r.campaign_id, r.channel, r.country, r.sender)
    = (stale.grain, 15, stale.measure, stale.bucket, stale.campaign_id, stale.channel, stale.country, stale.sender);

-- name: correct_wider_extremes :exec
-- for: fastest and slowest of sums from which a time was taken back
-- in: rows of duration_cells; grain, finer: what it is made of (a quarter's slices and days of quarters, months of days)
-- index: duration_rollups primary key
-- note: from the finer rows, which are right by then; a day's slices from quarter-hours of all dimensions
UPDATE duration_rollups r
SET fastest = found.fastest, slowest = found.slowest
FROM (
    SELECT DISTINCT t.slice, t.bucket, c.measure, t.campaign_id, t.channel, t.country, t.sender
    FROM duration_cells c, rollup_targets(c.at, c.campaign_id, c.channel, c.country, c.sender) AS t
    WHERE c.has_less AND t.grain = %(grain)s
) AS stale, LATERAL (
    SELECT coalesce(min(f.fastest), 9223372036854775807) AS fastest, coalesce(max(f.slowest), -1) AS slowest
    FROM duration_rollups f
    WHERE f.grain = %(finer)s AND f.slice = CASE %(finer)s WHEN 'quarter' THEN 15 ELSE stale.slice END AND f.measure = stale.measure
      AND f.bucket >= stale.bucket AND f.bucket < bucket_end(%(grain)s, stale.bucket) AND f.messages > 0
      AND (stale.slice & 1 = 0 OR f.campaign_id = stale.campaign_id) AND (stale.slice & 2 = 0 OR f.channel = stale.channel)
      AND (stale.slice & 4 = 0 OR f.country = stale.country) AND (stale.slice & 8 = 0 OR f.sender = stale.sender)
) AS found
WHERE (r.grain, r.slice, r.measure, r.bucket, r.campaign_id, r.channel, r.country, r.sender)
    = (%(grain)s, stale.slice, stale.measure, stale.bucket, stale.campaign_id, stale.channel, stale.country, stale.sender);

-- name: sum_inbound_changes :exec
-- for: the batch's inbound messages by minute, channel and intent
-- in: rows of inbound_changes
-- out: rows of inbound_cells; row count
-- note: by differences, because a late word can turn a YES from general into start
INSERT INTO inbound_cells
SELECT bucket_of('minute', received_at), channel, intent, sum(sign), sum(sign * is_immediate::int), sum(sign * is_auto_replied::int)
FROM inbound_changes
GROUP BY 1, 2, 3
HAVING (sum(sign), sum(sign * is_immediate::int), sum(sign * is_auto_replied::int)) <> (0, 0, 0);

-- name: add_inbound_cells :exec
-- for: inbound messages by intent
-- in: rows of inbound_cells; grains text[]
-- index: inbound_rollups primary key, local_days primary key
-- note: few rows: no slices
INSERT INTO inbound_rollups AS r (grain, bucket, channel, intent, messages, immediate, auto_replied)
SELECT b.grain, b.bucket, c.channel, c.intent, sum(c.messages), sum(c.immediate), sum(c.auto_replied)
FROM inbound_cells c, buckets_of(c.at) AS b
WHERE b.grain = ANY (%(grains)s)
GROUP BY 1, 2, 3, 4
ON CONFLICT (grain, bucket, channel, intent) DO UPDATE
SET messages = r.messages + excluded.messages, immediate = r.immediate + excluded.immediate, auto_replied = r.auto_replied + excluded.auto_replied;

-- name: add_inbound_hours :exec
-- for: inbound messages by hour of the local week
-- in: rows of inbound_cells
-- index: inbound_hour_rollups primary key, local_days primary key
-- note: a month has 168 rows for each channel and for all, so that three years are some thousand; minutes of a cell lie
--       in one local hour in every zone
INSERT INTO inbound_hour_rollups AS r (grain, channel, bucket, weekday, hour, messages)
SELECT b.grain, k.channel, b.bucket, extract(isodow FROM c.at AT TIME ZONE s.timezone)::integer, extract(hour FROM c.at AT TIME ZONE s.timezone)::integer, sum(c.messages)
FROM inbound_cells c
CROSS JOIN rollup_settings s
CROSS JOIN buckets_of(c.at) AS b
CROSS JOIN (VALUES (true), (false)) AS slice (has_channel)
CROSS JOIN LATERAL (SELECT CASE WHEN slice.has_channel THEN c.channel ELSE '' END AS channel) AS k
WHERE b.grain IN ('day', 'month')
GROUP BY 1, 2, 3, 4, 5
HAVING sum(c.messages) <> 0
ON CONFLICT (grain, channel, bucket, weekday, hour) DO UPDATE SET messages = r.messages + excluded.messages;

-- name: sum_consent_changes :exec
-- for: the batch's consent transitions by minute
-- in: rows of consent_changes
-- out: rows of consent_cells; row count
-- note: by differences, because a late entry can take a transition back
INSERT INTO consent_cells
SELECT bucket_of('minute', occurred_at), from_state, to_state, source, sum(sign)
FROM consent_changes
GROUP BY 1, 2, 3, 4
HAVING sum(sign) <> 0;

-- name: add_consent_cells :exec
-- for: consent transitions
-- in: rows of consent_cells; grains text[]
-- index: consent_rollups primary key, local_days primary key
-- note: few rows: no slices
INSERT INTO consent_rollups AS r (grain, bucket, from_state, to_state, source, transitions)
SELECT b.grain, b.bucket, c.from_state, c.to_state, c.source, sum(c.transitions)
FROM consent_cells c, buckets_of(c.at) AS b
WHERE b.grain = ANY (%(grains)s)
GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (grain, bucket, from_state, to_state, source) DO UPDATE SET transitions = r.transitions + excluded.transitions;

-- name: sum_signup_changes :exec
-- for: users of the batch by the minute they came
-- in: rows of user_changes
-- out: rows of signup_cells; row count
-- note: a late STOP sets back when its person came, an erasure takes one away. Who has just been admitted, and has no
--       instant yet, cancels out before the value is read
INSERT INTO signup_cells
SELECT value::timestamptz, users
FROM (SELECT value, sum(sign) AS users FROM user_changes WHERE fact = 'signup' GROUP BY 1 HAVING sum(sign) <> 0 OFFSET 0) AS summed;

-- name: add_signup_cells :exec
-- for: users by when they came
-- in: rows of signup_cells; grains text[]
-- index: signup_rollups primary key, local_days primary key
-- note: few rows: no slices
INSERT INTO signup_rollups AS r (grain, bucket, users)
SELECT b.grain, b.bucket, sum(c.users)
FROM signup_cells c, buckets_of(c.at) AS b
WHERE b.grain = ANY (%(grains)s)
GROUP BY 1, 2
ON CONFLICT (grain, bucket) DO UPDATE SET users = r.users + excluded.users;

-- name: add_user_counts :exec
-- for: users by consent state
-- in: rows of user_changes
-- index: user_rollups primary key
-- note: four rows at the most
INSERT INTO user_rollups AS r (consent_state, users)
SELECT value, sum(sign) FROM user_changes WHERE fact = 'consent' GROUP BY 1 HAVING sum(sign) <> 0
ON CONFLICT (consent_state) DO UPDATE SET users = r.users + excluded.users;

-- name: add_attribute_counts :exec
-- for: users by attribute
-- in: rows of user_changes
-- out: row count
-- index: attribute_rollups primary key
-- note: what was noted before an attribute was taken off the list is left out
INSERT INTO attribute_rollups AS r (attribute, value, users)
SELECT name, c.value, sum(c.sign)
FROM rollup_settings s, unnest(s.attributes) AS name, user_changes c
WHERE c.fact = 'attributes.' || name
GROUP BY 1, 2 HAVING sum(sign) <> 0
ON CONFLICT (attribute, value) DO UPDATE SET users = r.users + excluded.users;

-- name: drop_values_of_nobody :exec
-- for: values that no user has any more
-- index: attribute_rollups (attribute, users)
-- note: unlike other roll-ups none stays with 0: the last user with a value may have been erased, and the value with them
DELETE FROM attribute_rollups r USING rollup_settings s WHERE r.attribute = ANY (s.attributes) AND r.users = 0;

-- name: count_messages :one
-- for: messages of a scope by present status
-- in: since, until; slice; campaign_ids, channel, country, sender or NULL for all
-- out: messages, sent, conflicts, replied, stopped, now_… (messages)
-- index: message_rollups primary key; messages (cohort_at) for less than a minute at each end
-- note: cost follows the number of buckets, not of messages
SELECT coalesce(sum(messages), 0)::bigint AS messages, coalesce(sum(sent), 0)::bigint AS sent, coalesce(sum(conflicts), 0)::bigint AS conflicts,
       coalesce(sum(replied), 0)::bigint AS replied, coalesce(sum(stopped), 0)::bigint AS stopped, coalesce(sum(now_accepted), 0)::bigint AS now_accepted,
       coalesce(sum(now_scheduled), 0)::bigint AS now_scheduled, coalesce(sum(now_queued), 0)::bigint AS now_queued, coalesce(sum(now_sending), 0)::bigint AS now_sending,
       coalesce(sum(now_sent), 0)::bigint AS now_sent, coalesce(sum(now_canceled), 0)::bigint AS now_canceled, coalesce(sum(now_failed), 0)::bigint AS now_failed,
       coalesce(sum(now_undelivered), 0)::bigint AS now_undelivered, coalesce(sum(now_delivered), 0)::bigint AS now_delivered, coalesce(sum(now_read), 0)::bigint AS now_read
FROM message_counts(%(since)s, %(until)s, %(slice)s, 'month')
WHERE (%(campaign_ids)s::uuid[] IS NULL OR campaign_id = ANY (%(campaign_ids)s))
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s)
  AND (%(sender)s::text IS NULL OR sender = %(sender)s);

-- name: count_messages_by :many
-- for: messages of a scope by one dimension
-- in: as count_messages; dimension: campaign, channel, country or sender, which the slice must have
-- out: name, and as count_messages
-- index: as count_messages
-- note: as count_messages
SELECT CASE %(dimension)s WHEN 'campaign' THEN campaign_id::text WHEN 'channel' THEN channel WHEN 'country' THEN country ELSE sender END AS name,
       coalesce(sum(messages), 0)::bigint AS messages, coalesce(sum(sent), 0)::bigint AS sent, coalesce(sum(conflicts), 0)::bigint AS conflicts,
       coalesce(sum(replied), 0)::bigint AS replied, coalesce(sum(stopped), 0)::bigint AS stopped, coalesce(sum(now_accepted), 0)::bigint AS now_accepted,
       coalesce(sum(now_scheduled), 0)::bigint AS now_scheduled, coalesce(sum(now_queued), 0)::bigint AS now_queued, coalesce(sum(now_sending), 0)::bigint AS now_sending,
       coalesce(sum(now_sent), 0)::bigint AS now_sent, coalesce(sum(now_canceled), 0)::bigint AS now_canceled, coalesce(sum(now_failed), 0)::bigint AS now_failed,
       coalesce(sum(now_undelivered), 0)::bigint AS now_undelivered, coalesce(sum(now_delivered), 0)::bigint AS now_delivered, coalesce(sum(now_read), 0)::bigint AS now_read
FROM message_counts(%(since)s, %(until)s, %(slice)s, 'month')
WHERE (%(campaign_ids)s::uuid[] IS NULL OR campaign_id = ANY (%(campaign_ids)s))
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s)
  AND (%(sender)s::text IS NULL OR sender = %(sender)s)
GROUP BY 1
HAVING sum(messages) > 0;

-- name: list_durations :many
-- for: the sketches of durations of a scope
-- in: as count_messages; measures text[]
-- out: measure; messages, microseconds (sum), fastest, slowest (microseconds); places, counts: the sketch as two arrays
-- index: duration_rollups primary key
-- note: some hundred elements for each month, day or quarter-hour, whatever the number of messages
WITH found AS MATERIALIZED (
    SELECT measure, messages, microseconds, fastest, slowest, sketch
    FROM duration_counts(%(since)s, %(until)s, %(slice)s, 'month', %(measures)s)
    WHERE (%(campaign_ids)s::uuid[] IS NULL OR campaign_id = ANY (%(campaign_ids)s))
      AND (%(channel)s::text IS NULL OR channel = %(channel)s)
      AND (%(country)s::text IS NULL OR country = %(country)s)
      AND (%(sender)s::text IS NULL OR sender = %(sender)s)
), placed AS (
    SELECT measure, sketch_place(element) AS place, sum(sketch_count(element))::bigint AS n
    FROM found, unnest(sketch) AS element
    GROUP BY 1, 2
)
SELECT f.measure, sum(f.messages)::bigint AS messages, sum(f.microseconds)::bigint AS microseconds, min(f.fastest) AS fastest, max(f.slowest) AS slowest,
       (SELECT array_agg(p.place ORDER BY p.place) FROM placed p WHERE p.measure = f.measure AND p.n > 0) AS places,
       (SELECT array_agg(p.n ORDER BY p.place) FROM placed p WHERE p.measure = f.measure AND p.n > 0) AS counts
FROM found f
GROUP BY f.measure
HAVING sum(f.messages) > 0;

-- name: list_durations_by :many
-- for: the sketches of delivery times by one dimension
-- in: as count_messages_by; measures text[]
-- out: name, and as list_durations
-- index: duration_rollups primary key
-- note: as list_durations
WITH found AS MATERIALIZED (
    SELECT CASE %(dimension)s WHEN 'campaign' THEN campaign_id::text WHEN 'channel' THEN channel WHEN 'country' THEN country ELSE sender END AS name, messages, microseconds, fastest, slowest, sketch
    FROM duration_counts(%(since)s, %(until)s, %(slice)s, 'month', %(measures)s)
    WHERE (%(campaign_ids)s::uuid[] IS NULL OR campaign_id = ANY (%(campaign_ids)s))
      AND (%(channel)s::text IS NULL OR channel = %(channel)s)
      AND (%(country)s::text IS NULL OR country = %(country)s)
      AND (%(sender)s::text IS NULL OR sender = %(sender)s)
), placed AS (
    SELECT name, sketch_place(element) AS place, sum(sketch_count(element))::bigint AS n
    FROM found, unnest(sketch) AS element
    GROUP BY 1, 2
), gathered AS (
    SELECT name, array_agg(place ORDER BY place) AS places, array_agg(n ORDER BY place) AS counts FROM placed WHERE n > 0 GROUP BY 1
)
SELECT f.name, sum(f.messages)::bigint AS messages, sum(f.microseconds)::bigint AS microseconds, min(f.fastest) AS fastest, max(f.slowest) AS slowest,
       g.places, g.counts
FROM found f JOIN gathered g USING (name)
GROUP BY f.name, g.places, g.counts;

-- name: list_bin_counts :many
-- for: the series of messages by state
-- in: as count_messages; bins timestamptz[], ascending starts that cover the window; coarsest: grain that no bin cuts
-- out: bin (start), sent, delivered, failed, in_flight (messages)
-- index: as count_messages
-- note: the bins come from outside, because local days are not of equal length
SELECT (%(bins)s::timestamptz[])[width_bucket(at, %(bins)s::timestamptz[])] AS bin,
       sum(sent)::bigint AS sent,
       sum(now_delivered + now_read)::bigint AS delivered,
       sum(now_failed + now_undelivered)::bigint AS failed,
       sum(now_accepted + now_scheduled + now_queued + now_sending + now_sent)::bigint AS in_flight
FROM message_counts(%(since)s, %(until)s, %(slice)s, %(coarsest)s)
WHERE (%(campaign_ids)s::uuid[] IS NULL OR campaign_id = ANY (%(campaign_ids)s))
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s)
  AND (%(sender)s::text IS NULL OR sender = %(sender)s)
GROUP BY bin;

-- name: list_bin_times :many
-- for: the series of delivery-time sketches
-- in: as list_bin_counts
-- out: bin (start), places, counts
-- index: duration_rollups primary key
-- note: percentiles are taken from the sketch of each bin
SELECT bin, array_agg(place ORDER BY place) AS places, array_agg(n ORDER BY place) AS counts
FROM (
    SELECT (%(bins)s::timestamptz[])[width_bucket(at, %(bins)s::timestamptz[])] AS bin, sketch_place(element) AS place, sum(sketch_count(element))::bigint AS n
    FROM duration_counts(%(since)s, %(until)s, %(slice)s, %(coarsest)s, ARRAY['delivery']), unnest(sketch) AS element
    WHERE (%(campaign_ids)s::uuid[] IS NULL OR campaign_id = ANY (%(campaign_ids)s))
      AND (%(channel)s::text IS NULL OR channel = %(channel)s)
      AND (%(country)s::text IS NULL OR country = %(country)s)
      AND (%(sender)s::text IS NULL OR sender = %(sender)s)
    GROUP BY 1, 2) AS placed
WHERE n > 0
GROUP BY bin;

-- name: count_failures :many
-- for: failed and retried messages of a scope by error code
-- in: as count_messages
-- out: error_code (0: none named), failed, retried, retried_sent, retried_delivered (messages)
-- index: failure_rollups primary key
-- note: as count_messages
SELECT error_code, sum(failed)::bigint AS failed, sum(retried)::bigint AS retried, sum(retried_sent)::bigint AS retried_sent,
       sum(retried_delivered)::bigint AS retried_delivered
FROM failure_counts(%(since)s, %(until)s, %(slice)s, 'month')
WHERE (%(campaign_ids)s::uuid[] IS NULL OR campaign_id = ANY (%(campaign_ids)s))
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s)
  AND (%(sender)s::text IS NULL OR sender = %(sender)s)
GROUP BY error_code
HAVING sum(failed) > 0 OR sum(retried) > 0;

-- name: list_intents :many
-- for: inbound messages by intent
-- in: since, until; channel or NULL for all
-- out: intent, messages, immediate, auto_replied
-- index: inbound_rollups primary key; inbound_events (received_at) for less than a minute at each end
-- note: cost follows the number of buckets, not of messages
SELECT intent, sum(messages)::bigint AS messages, sum(immediate)::bigint AS immediate, sum(auto_replied)::bigint AS auto_replied
FROM inbound_counts(%(since)s, %(until)s, 'month')
WHERE %(channel)s::text IS NULL OR channel = %(channel)s
GROUP BY intent
HAVING sum(messages) > 0;

-- name: list_inbound_channels :many
-- for: the channels people wrote on, for the page's choice
-- in: since, until
-- out: name, messages
-- index: inbound_rollups primary key
-- note: as list_intents
SELECT channel AS name, sum(messages)::bigint AS messages
FROM inbound_counts(%(since)s, %(until)s, 'month')
GROUP BY channel
HAVING sum(messages) > 0
ORDER BY messages DESC, name;

-- name: list_inbound_days :one
-- for: inbound messages by local day and intent
-- in: since, until; zone (tz database name); channel or NULL for all
-- out: days: JSON, {day: {intent: messages}}, NULL without any
-- index: inbound_rollups primary key
-- note: as one value: three years are five thousand numbers, which as rows would cost more to read than to count
SELECT jsonb_object_agg(day, intents) AS days
FROM (SELECT day, jsonb_object_agg(intent, n) AS intents
      FROM (SELECT (at AT TIME ZONE %(zone)s)::date AS day, intent, sum(messages)::bigint AS n
            FROM inbound_counts(%(since)s, %(until)s, 'day')
            WHERE %(channel)s::text IS NULL OR channel = %(channel)s
            GROUP BY 1, 2 HAVING sum(messages) > 0) AS counted
      GROUP BY day) AS gathered;

-- name: list_inbound_hours :many
-- for: inbound messages by hour of the local week
-- in: since, until; channel or NULL for all
-- out: weekday (1: Monday), hour (0..23), messages
-- index: inbound_hour_rollups and inbound_rollups primary keys
-- note: 168 rows for each month and 24 for each day, quarter-hours at the ends
SELECT weekday, hour, sum(messages)::bigint AS messages
FROM inbound_hours(%(since)s, %(until)s, %(channel)s::text)
GROUP BY weekday, hour
HAVING sum(messages) > 0;

-- name: list_inbound_bins :many
-- for: the series of inbound messages
-- in: since, until; channel or NULL for all; bins timestamptz[], ascending starts that cover the window; coarsest: grain that no bin cuts
-- out: bin (start), intent, messages
-- index: inbound_rollups primary key
-- note: the bins come from outside, because local days are not of equal length
SELECT (%(bins)s::timestamptz[])[width_bucket(at, %(bins)s::timestamptz[])] AS bin, intent, sum(messages)::bigint AS messages
FROM inbound_counts(%(since)s, %(until)s, %(coarsest)s)
WHERE %(channel)s::text IS NULL OR channel = %(channel)s
GROUP BY 1, 2
HAVING sum(messages) > 0;

-- name: list_recent_inbound :many
-- for: what people wrote last
-- in: since, until; channel, intent or NULL for all; most
-- out: received_at, phone, channel, body, intent, is_auto_replied, written_at: when we first wrote to the sender after it, NULL when we did not
-- index: inbound_events (received_at) or (intent, received_at); messages (recipient_phone, cohort_at)
-- note: a channel that nobody uses reads on to the begin of the window, bounded by the caller's timeout
SELECT i.received_at, i.from_phone AS phone, i.channel, i.body, i.intent, i.is_auto_replied,
       (SELECT min(m.cohort_at) FROM messages m WHERE m.recipient_phone = i.from_phone AND m.cohort_at > i.received_at AND m.is_sent) AS written_at
FROM inbound_events i
WHERE i.received_at >= %(since)s AND i.received_at < %(until)s
  AND (%(channel)s::text IS NULL OR i.channel = %(channel)s)
  AND (%(intent)s::text IS NULL OR i.intent = %(intent)s)
ORDER BY i.received_at DESC, i.id DESC
LIMIT %(most)s;

-- name: list_unanswered_help :many
-- for: requests for help that no reply of ours answered, newest first
-- in: since, until; channel or NULL for all; most
-- out: as list_recent_inbound
-- index: inbound_events (intent, received_at); messages (recipient_phone, cohort_at)
-- note: reads on over the answered ones, bounded by the caller's timeout
SELECT i.received_at, i.from_phone AS phone, i.channel, i.body, i.intent, i.is_auto_replied,
       (SELECT min(m.cohort_at) FROM messages m WHERE m.recipient_phone = i.from_phone AND m.cohort_at > i.received_at AND m.is_sent) AS written_at
FROM inbound_events i
WHERE i.intent = 'help' AND i.received_at >= %(since)s AND i.received_at < %(until)s AND NOT i.is_auto_replied
  AND (%(channel)s::text IS NULL OR i.channel = %(channel)s)
ORDER BY i.received_at DESC, i.id DESC
LIMIT %(most)s;

-- name: count_intent :one
-- for: inbound messages with one intent
-- in: since, until; intent
-- out: messages
-- index: inbound_rollups primary key
-- note: exact for any instants
SELECT coalesce(sum(messages), 0)::bigint AS messages FROM inbound_counts(%(since)s, %(until)s, 'month') WHERE intent = %(intent)s;

-- name: count_senders :one
-- for: people who wrote in a window of a day or less
-- in: since, until; channel or NULL for all
-- out: senders
-- index: inbound_events (received_at)
-- note: exact; longer windows take sketches for their whole days
SELECT count(DISTINCT from_phone) AS senders FROM inbound_events
WHERE received_at >= %(since)s AND received_at < %(until)s AND (%(channel)s::text IS NULL OR channel = %(channel)s);

-- name: list_senders :one
-- for: who wrote at the ends of a window
-- in: since, until, first, last: [first, last) is left out; channel or NULL for all
-- out: an array of numbers
-- index: inbound_events (received_at)
-- note: less than a day at each end
SELECT coalesce(array_agg(DISTINCT from_phone), '{}') AS phones FROM inbound_events
WHERE (received_at >= %(since)s AND received_at < %(first)s OR received_at >= %(last)s AND received_at < %(until)s)
  AND (%(channel)s::text IS NULL OR channel = %(channel)s);

-- name: list_senders_by_day :many
-- for: who wrote, by UTC day and channel: counting sketches anew
-- in: since, until
-- out: starts_on, channel, phones text[]
-- index: inbound_events (received_at)
-- note: called for a month at a time
SELECT (received_at AT TIME ZONE 'UTC')::date AS starts_on, channel, array_agg(DISTINCT from_phone) AS phones
FROM inbound_events WHERE received_at >= %(since)s AND received_at < %(until)s
GROUP BY 1, 2;

-- name: list_new_senders :many
-- for: who wrote the batch's new inbound messages, by UTC day and channel
-- in: rows of inbound_touched
-- out: starts_on, channel, phones text[]
-- index: inbound_events (message_sid)
-- note: inbound messages never go and never move, so a sketch only grows
SELECT (i.received_at AT TIME ZONE 'UTC')::date AS starts_on, i.channel, array_agg(DISTINCT i.from_phone) AS phones
FROM inbound_touched t JOIN inbound_events i USING (message_sid)
WHERE t.is_new
GROUP BY 1, 2;

-- name: list_known_sketches :many
-- for: the sketches that a batch adds to
-- in: grain text[], channel text[], starts_on date[] of equal length
-- out: grain, channel, starts_on, sketch
-- index: sender_sketches primary key
-- note: the projector's place is the lock: nobody else writes them
SELECT grain, channel, starts_on, k.sketch
FROM unnest(%(grain)s::text[], %(channel)s::text[], %(starts_on)s::date[]) AS wanted (grain, channel, starts_on)
JOIN sender_sketches k USING (grain, channel, starts_on);

-- name: store_sketches :exec
-- for: see list_known_sketches
-- in: grain text[], channel text[], starts_on date[], sketch bytea[] of equal length
-- index: sender_sketches primary key
-- note: whole sketches: SQL cannot add to one
INSERT INTO sender_sketches (grain, channel, starts_on, sketch)
SELECT * FROM unnest(%(grain)s::text[], %(channel)s::text[], %(starts_on)s::date[], %(sketch)s::bytea[])
ON CONFLICT (grain, channel, starts_on) DO UPDATE SET sketch = excluded.sketch;

-- name: list_sketches :one
-- for: the sketches of whole months and, beside them, of whole days
-- in: channel ('': any); first, last: days; first_month, last_month: the whole months among them, NULL without one
-- out: an array
-- index: sender_sketches primary key
-- note: three years are some forty months and sixty days
SELECT coalesce(array_agg(sketch), '{}') AS sketches
FROM sender_sketches
WHERE channel = %(channel)s
  AND (grain = 'month' AND starts_on >= %(first_month)s::date AND starts_on < %(last_month)s::date
       OR grain = 'day' AND starts_on >= %(first)s::date AND starts_on < %(last)s::date
          AND (%(first_month)s::date IS NULL OR starts_on < %(first_month)s::date OR starts_on >= %(last_month)s::date));

-- name: find_first_inbound :one
-- for: where counting sketches anew begins and ends
-- out: an array of the first and the last received_at
-- index: inbound_events (received_at)
-- note: two looks at the ends of an index
SELECT ARRAY[min(received_at), max(received_at)] AS ends FROM inbound_events;

-- name: count_users :many
-- for: users by consent state
-- out: consent_state, users
-- index: user_rollups primary key
-- note: four rows
SELECT consent_state, users FROM user_rollups WHERE users > 0;

-- name: list_attribute_values :many
-- for: users by the configured attributes
-- in: most (values of each attribute)
-- out: attribute, value ('unknown': without it), users; the most frequent first
-- index: attribute_rollups (attribute, users) and primary key
-- note: by the index, so that an attribute with a value for each user costs no more
SELECT a.name AS attribute, found.value, found.users
FROM rollup_settings s, unnest(s.attributes) WITH ORDINALITY AS a (name, place),
LATERAL ((SELECT r.value, r.users FROM attribute_rollups r
          WHERE r.attribute = a.name AND r.value NOT IN ('unknown', 'other')
          ORDER BY r.users DESC LIMIT %(most)s)
         UNION ALL
         (SELECT r.value, r.users FROM attribute_rollups r WHERE r.attribute = a.name AND r.value = 'unknown')) AS found
ORDER BY a.place, found.users DESC, found.value;

-- name: count_signups :one
-- for: users who came in a window
-- in: since, until
-- out: users
-- index: signup_rollups primary key; users (created_at) for less than a minute at each end
-- note: who has been erased since is not among them
SELECT coalesce(sum(users), 0)::bigint AS users FROM signup_counts(%(since)s, %(until)s, 'month');

-- name: list_signup_bins :many
-- for: the series of signups
-- in: since, until; bins, coarsest: as list_inbound_bins
-- out: bin (start), users
-- index: signup_rollups primary key
-- note: as count_signups
SELECT (%(bins)s::timestamptz[])[width_bucket(at, %(bins)s::timestamptz[])] AS bin, sum(users)::bigint AS users
FROM signup_counts(%(since)s, %(until)s, %(coarsest)s)
GROUP BY bin
HAVING sum(users) > 0;

-- name: count_opt_outs :one
-- for: transitions into OPT_OUT or STOP
-- in: since, until
-- out: opt_outs
-- index: consent_rollups primary key
-- note: a second STOP of the same person is no transition; from OPT_OUT to STOP is one
SELECT coalesce(sum(transitions), 0)::bigint AS opt_outs
FROM consent_counts(%(since)s, %(until)s, 'month')
WHERE to_state IN ('OPT_OUT', 'STOP');

-- name: list_consent_sources :many
-- for: transitions by what they led to and where they came from
-- in: since, until
-- out: source, to_state, transitions
-- index: consent_rollups primary key
-- note: as count_opt_outs
SELECT source, to_state, sum(transitions)::bigint AS transitions
FROM consent_counts(%(since)s, %(until)s, 'month')
GROUP BY source, to_state
HAVING sum(transitions) > 0;

-- name: list_consent_bins :many
-- for: the series of transitions
-- in: since, until; bins, coarsest: as list_inbound_bins
-- out: bin (start), to_state, transitions
-- index: consent_rollups primary key
-- note: as count_opt_outs
SELECT (%(bins)s::timestamptz[])[width_bucket(at, %(bins)s::timestamptz[])] AS bin, to_state, sum(transitions)::bigint AS transitions
FROM consent_counts(%(since)s, %(until)s, %(coarsest)s)
GROUP BY bin, to_state
HAVING sum(transitions) > 0;

-- name: list_campaign_counts :many
-- for: campaigns' messages by present status, and skipped ones by reason
-- in: campaign_ids
-- out: campaign_id, status, reason ('' but for SKIPPED), messages
-- index: campaign_rollups primary key
-- note: some tens of rows for each campaign, whatever its size
SELECT campaign_id, status, reason, messages
FROM campaign_rollups
WHERE campaign_id = ANY (%(campaign_ids)s) AND messages <> 0;

-- name: list_campaign_sent :many
-- for: how many messages of campaigns the provider took; the status alone does not tell it of failed ones
-- in: campaign_ids uuid[], since timestamptz[], until timestamptz[] (within which all answers came), of equal length
-- out: campaign_id, sent
-- index: message_rollups primary key
-- note: quarter-hours of each campaign's own time only, one row for each campaign in them
SELECT c.campaign_id, coalesce(sum(r.sent), 0)::bigint AS sent
FROM unnest(%(campaign_ids)s::uuid[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS c (campaign_id, since, until)
LEFT JOIN message_rollups r
    ON r.grain = 'quarter' AND r.slice = 1 AND r.bucket >= bucket_of('quarter', c.since) AND r.bucket < c.until AND r.campaign_id = c.campaign_id
GROUP BY c.campaign_id;

-- name: list_campaign_deferred :many
-- for: what of campaigns is put off until later, and why
-- in: campaign_ids, now
-- out: campaign_id, reason, messages, next_at: when the first of them is due
-- index: outbox (campaign_id, defer_reason, due_at) of those deferred
-- note: what only waits its turn is not counted but reckoned: a look at a page must not read a queue of a million
SELECT campaign_id, defer_reason AS reason, count(*) AS messages, min(due_at) AS next_at
FROM outbox
WHERE campaign_id = ANY (%(campaign_ids)s) AND defer_reason IS NOT NULL AND due_at > %(now)s
GROUP BY campaign_id, defer_reason;

-- name: list_campaign_pace :many
-- for: messages handed over in each second
-- in: campaign_ids, since
-- out: campaign_id, second, taken
-- index: pace primary key
-- note: pace forgets a second after some minutes; older history is in the roll-ups
SELECT campaign_id, second, taken FROM pace
WHERE campaign_id = ANY (%(campaign_ids)s) AND second >= %(since)s
ORDER BY campaign_id, second;

-- name: plan_for_values :exec
-- for: queries whose best plan depends on what is asked for, until the end of the transaction
-- note: a statement that is prepared gets a plan for any values after a while
SELECT set_config('plan_cache_mode', 'force_custom_plan', true);

-- name: list_campaign_messages :many
-- for: a campaign's messages, by pages
-- in: campaign_id; first, last: the range of its message ids; after (id); status, reason (NULL: any); most
-- out: the message with its queue entry
-- index: messages primary key; of failed, skipped and unsure ones the partial indexes; outbox primary key
-- note: all ids of a campaign share their first 48 bits, so its messages are a range of the primary key. The rare kinds
--       have small indexes of their own, on columns that are set once: one on the status, which changes three times,
--       would cost every message its cheap updates. After plan_for_values
SELECT m.id, m.recipient_phone, m.country, m.status, m.skip_reason, m.failure_code, m.answered_at, m.delivered_at, m.read_at, m.last_seen_at,
       m.skipped_at, m.delivery_us / 1e6::double precision AS delivery_seconds, o.defer_reason, o.due_at, o.attempts::integer
FROM messages m
LEFT JOIN outbox o ON o.message_id = m.id
WHERE m.id BETWEEN %(first)s AND %(last)s AND m.campaign_id = %(campaign_id)s
  AND (%(after)s::uuid IS NULL OR m.id > %(after)s)
  AND (%(status)s::text IS NULL OR m.status = %(status)s)
  AND (%(status)s::text IS NULL OR %(status)s NOT IN ('FAILED', 'UNDELIVERED') OR m.failed_at IS NOT NULL)
  AND (%(status)s::text IS DISTINCT FROM 'SKIPPED' OR m.skipped_at IS NOT NULL)
  AND (%(status)s::text IS DISTINCT FROM 'UNKNOWN' OR m.unsure_at IS NOT NULL)
  AND (%(reason)s::text IS NULL OR coalesce(m.skip_reason, o.defer_reason) = %(reason)s)
ORDER BY m.id
LIMIT %(most)s;

-- name: count_campaigns :many
-- for: the filters of the campaigns' list
-- out: state, campaigns
-- note: campaigns are made by hand: there are thousands at the most
SELECT state, count(*) AS campaigns FROM campaigns GROUP BY state;

-- name: list_campaign_names :many
-- for: what campaigns' segments and templates are called
-- in: campaign_ids
-- out: campaign_id, segment, template
-- index: primary keys of all three
-- note: the present names; a campaign's content is frozen, its names are not
SELECT c.id AS campaign_id, s.name AS segment, t.name AS template
FROM campaigns c JOIN segments s ON s.id = c.segment_id JOIN templates t ON t.id = c.template_id
WHERE c.id = ANY (%(campaign_ids)s);

-- name: count_unstarted_campaigns :one
-- for: what archiving a segment would leave without one
-- in: segment_id
-- out: campaigns
-- note: campaigns are made by hand: there are thousands at the most
SELECT count(*) AS campaigns FROM campaigns WHERE segment_id = %(segment_id)s AND state IN ('draft', 'scheduled');

------------------------------------------------------------------------------------------------------------------
-- the calendar
------------------------------------------------------------------------------------------------------------------

-- name: find_timezone :one
-- for: the zone that days are counted in
-- out: timezone, '' before the first calendar
-- note: one row
SELECT timezone FROM rollup_settings;

-- name: is_calendar :one
-- for: whether the calendar is the present one
-- in: calendar (hash)
-- out: is_calendar
-- note: a hash of all its days, so that new rules of a zone are noticed too
SELECT calendar = %(calendar)s AS is_calendar FROM rollup_settings;

-- name: lock_calendar :exec
-- for: one calendar at a time, and nobody who reads it meanwhile
-- note: waits for the projector's batch; the next one waits for the new calendar
LOCK TABLE local_days, rollup_settings IN ACCESS EXCLUSIVE MODE;

-- name: empty_calendar :exec
-- for: see refresh_calendar
-- note: DELETE and not TRUNCATE: a reader of an older snapshot still sees its calendar
DELETE FROM local_days;

-- name: fill_calendar :exec
-- for: see refresh_calendar
-- in: starts_at, month_starts_at: timestamptz[] of equal length
-- note: a century of days
INSERT INTO local_days (starts_at, month_starts_at)
SELECT * FROM unnest(%(starts_at)s::timestamptz[], %(month_starts_at)s::timestamptz[]);

-- name: name_calendar :exec
-- for: see refresh_calendar
-- in: timezone, calendar (hash)
-- note: one row; no day of it is settled yet
UPDATE rollup_settings SET timezone = %(timezone)s, calendar = %(calendar)s, days_until = '-infinity';

-- name: find_unsettled :maybe
-- for: the next day to be settled
-- in: horizon: what lies after it is not settled yet
-- out: since, until: local midnights, with at most one day of messages between them
-- index: message_rollups and local_days primary keys
-- note: goes over days without messages at once
SELECT greatest(s.days_until, '1970-01-01 00:00+00') AS since, least(
           coalesce((SELECT min(l.starts_at) FROM local_days l
                     WHERE l.starts_at > (SELECT min(r.bucket) FROM message_rollups r WHERE r.grain = 'quarter' AND r.slice = 0 AND r.bucket >= s.days_until)),
                    'infinity'),
           (SELECT max(l.starts_at) FROM local_days l WHERE l.starts_at <= %(horizon)s)) AS until
FROM rollup_settings s
WHERE s.days_until < (SELECT max(l.starts_at) FROM local_days l WHERE l.starts_at <= %(horizon)s);

-- name: move_days_until :exec
-- for: a day that is being settled
-- in: until
-- note: from here on the projector adds to its day and month what comes late
UPDATE rollup_settings SET days_until = %(until)s;

-- name: list_campaign_ids :one
-- for: the campaigns that were made with a template
-- in: template_id
-- out: an array of ids
-- note: campaigns are made by hand: there are thousands at the most
SELECT coalesce(array_agg(id), '{}') FROM campaigns WHERE template_id = %(template_id)s;

-- name: move_minutes_since :one
-- for: minutes that are old enough to be dropped
-- in: since
-- out: has_moved
-- note: by whole quarter-hours, so that a quarter-hour has all of its minutes or none; the row's lock is the retention's
UPDATE rollup_settings SET minutes_since = bucket_of('quarter', %(since)s)
WHERE minutes_since < bucket_of('quarter', %(since)s)
RETURNING true AS has_moved;

-- name: drop_message_minutes :exec
-- for: see move_minutes_since
-- index: message_rollups primary key
-- note: called every few minutes, so few rows each time
DELETE FROM message_rollups WHERE grain = 'minute' AND slice = 15 AND bucket < (SELECT minutes_since FROM rollup_settings);

-- name: drop_failure_minutes :exec
-- for: see move_minutes_since
-- index: failure_rollups primary key
-- note: see drop_message_minutes
DELETE FROM failure_rollups WHERE grain = 'minute' AND slice = 15 AND bucket < (SELECT minutes_since FROM rollup_settings);

-- name: drop_duration_minutes :exec
-- for: see move_minutes_since
-- index: duration_rollups primary key
-- note: see drop_message_minutes
DELETE FROM duration_rollups WHERE grain = 'minute' AND slice = 15 AND bucket < (SELECT minutes_since FROM rollup_settings);

-- name: drop_inbound_minutes :exec
-- for: see move_minutes_since
-- index: inbound_rollups primary key
-- note: see drop_message_minutes
DELETE FROM inbound_rollups WHERE grain = 'minute' AND bucket < (SELECT minutes_since FROM rollup_settings);

-- name: drop_consent_minutes :exec
-- for: see move_minutes_since
-- index: consent_rollups primary key
-- note: see drop_message_minutes
DELETE FROM consent_rollups WHERE grain = 'minute' AND bucket < (SELECT minutes_since FROM rollup_settings);

-- name: drop_signup_minutes :exec
-- for: see move_minutes_since
-- index: signup_rollups primary key
-- note: see drop_message_minutes
DELETE FROM signup_rollups WHERE grain = 'minute' AND bucket < (SELECT minutes_since FROM rollup_settings);

-- name: find_attributes :one
-- for: the attributes that users are counted by
-- out: attributes text[]
-- note: one row
SELECT attributes FROM rollup_settings;

-- name: name_attributes :exec
-- for: other attributes to count users by
-- in: attributes text[]
-- note: one row
UPDATE rollup_settings SET attributes = %(attributes)s;

-- name: forget_attributes :exec
-- for: counting users by attribute anew
-- note: followed by add_attribute_counts in the same transaction
DELETE FROM attribute_rollups;
