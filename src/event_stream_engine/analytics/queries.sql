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

-- name: add_totals :exec
-- for: the counters that never fall, see analytics/totals.py
-- in: rows of message_cells, failure_cells, duration_cells, inbound_cells, consent_cells
-- index: projected_totals primary key
-- note: what a batch takes back is left out, for each label by itself; it reads what is already summed, some hundred rows
INSERT INTO projected_totals AS t (name, label, total)
SELECT name, label, n::bigint
FROM (
    SELECT told.name, '' AS label, sum(told.n) AS n
    FROM message_cells c, LATERAL (VALUES ('sent', c.sent), ('delivered', c.now_delivered + c.now_read), ('read', c.now_read)) AS told (name, n)
    GROUP BY 1
    UNION ALL
    SELECT 'failed', error_code::text, sum(failed) FROM failure_cells GROUP BY 2
    UNION ALL
    SELECT 'delivery_sketch', sketch_place(element)::text, sum(sketch_count(element)) FROM duration_cells, unnest(sketch) AS element WHERE measure = 'delivery' GROUP BY 2
    UNION ALL
    SELECT 'delivery_microseconds', '', sum(microseconds) FROM duration_cells WHERE measure = 'delivery'
    UNION ALL
    SELECT 'inbound', intent, sum(messages) FROM inbound_cells GROUP BY 2
    UNION ALL
    SELECT 'consent', from_state || '>' || to_state, sum(transitions) FROM consent_cells GROUP BY 2
) AS added
WHERE n > 0
ON CONFLICT (name, label) DO UPDATE SET total = t.total + excluded.total;

-- name: list_totals :many
-- for: all counters, for a scrape
-- out: name, label, total
-- note: the whole table: a few hundred rows, most of them places of sketches
SELECT name, label, total FROM projected_totals;

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
-- out: name (measure); messages, microseconds (sum), fastest, slowest (microseconds); places, counts: the sketch as two arrays, in
--      no order
-- index: duration_rollups primary key
-- note: some hundred elements for each month, day or quarter-hour, whatever the number of messages. They are summed under
--       one number, measure * 2^20 + place: under two columns it takes twice as long
WITH found AS MATERIALIZED (
    SELECT array_position(%(measures)s::text[], measure)::bigint AS number, measure, messages, microseconds, fastest, slowest, sketch
    FROM duration_counts(%(since)s, %(until)s, %(slice)s, 'month', %(measures)s)
    WHERE (%(campaign_ids)s::uuid[] IS NULL OR campaign_id = ANY (%(campaign_ids)s))
      AND (%(channel)s::text IS NULL OR channel = %(channel)s)
      AND (%(country)s::text IS NULL OR country = %(country)s)
      AND (%(sender)s::text IS NULL OR sender = %(sender)s)
), placed AS (
    SELECT (number << 20) + (element >> 40) AS key, sum(element & 1099511627775)::bigint AS n
    FROM found, unnest(sketch) AS element
    GROUP BY 1
), gathered AS (
    SELECT (key + 524288) >> 20 AS number, array_agg((key - (((key + 524288) >> 20) << 20))::integer) AS places, array_agg(n) AS counts
    FROM placed
    GROUP BY 1
)
SELECT f.name, f.messages, f.microseconds, f.fastest, f.slowest, g.places, g.counts
FROM (SELECT number, min(measure) AS name, sum(messages)::bigint AS messages, sum(microseconds)::bigint AS microseconds, min(fastest) AS fastest,
             max(slowest) AS slowest
      FROM found GROUP BY number) AS f
JOIN gathered g USING (number);

-- name: list_durations_by :many
-- for: the sketches of delivery times by one dimension
-- in: as count_messages_by; measures text[]
-- out: name, and as list_durations
-- index: duration_rollups primary key
-- note: as list_durations
WITH found AS MATERIALIZED (
    SELECT dense_rank() OVER (ORDER BY name) AS number, name, messages, microseconds, fastest, slowest, sketch
    FROM (SELECT CASE %(dimension)s WHEN 'campaign' THEN campaign_id::text WHEN 'channel' THEN channel WHEN 'country' THEN country ELSE sender END AS name, messages, microseconds, fastest, slowest, sketch
          FROM duration_counts(%(since)s, %(until)s, %(slice)s, 'month', %(measures)s)
          WHERE (%(campaign_ids)s::uuid[] IS NULL OR campaign_id = ANY (%(campaign_ids)s))
            AND (%(channel)s::text IS NULL OR channel = %(channel)s)
            AND (%(country)s::text IS NULL OR country = %(country)s)
            AND (%(sender)s::text IS NULL OR sender = %(sender)s)) AS named
), placed AS (
    SELECT (number << 20) + (element >> 40) AS key, sum(element & 1099511627775)::bigint AS n
    FROM found, unnest(sketch) AS element
    GROUP BY 1
), gathered AS (
    SELECT (key + 524288) >> 20 AS number, array_agg((key - (((key + 524288) >> 20) << 20))::integer) AS places, array_agg(n) AS counts
    FROM placed
    GROUP BY 1
)
SELECT f.name, f.messages, f.microseconds, f.fastest, f.slowest, g.places, g.counts
FROM (SELECT number, min(name) AS name, sum(messages)::bigint AS messages, sum(microseconds)::bigint AS microseconds, min(fastest) AS fastest,
             max(slowest) AS slowest
      FROM found GROUP BY number) AS f
JOIN gathered g USING (number);

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
-- out: bin (start), places, counts: the sketch as two arrays, in no order
-- index: duration_rollups primary key
-- note: percentiles are taken from the sketch of each bin; summed as in list_durations
WITH found AS MATERIALIZED (
    SELECT width_bucket(at, %(bins)s::timestamptz[])::bigint AS number, sketch
    FROM duration_counts(%(since)s, %(until)s, %(slice)s, %(coarsest)s, ARRAY['delivery'])
    WHERE (%(campaign_ids)s::uuid[] IS NULL OR campaign_id = ANY (%(campaign_ids)s))
      AND (%(channel)s::text IS NULL OR channel = %(channel)s)
      AND (%(country)s::text IS NULL OR country = %(country)s)
      AND (%(sender)s::text IS NULL OR sender = %(sender)s)
), placed AS (
    SELECT (number << 20) + (element >> 40) AS key, sum(element & 1099511627775)::bigint AS n
    FROM found, unnest(sketch) AS element
    GROUP BY 1
), gathered AS (
    SELECT (key + 524288) >> 20 AS number, array_agg((key - (((key + 524288) >> 20) << 20))::integer) AS places, array_agg(n) AS counts
    FROM placed
    GROUP BY 1
)
SELECT (%(bins)s::timestamptz[])[number] AS bin, places, counts FROM gathered;

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

-- name: list_inbound_days :many
-- for: inbound messages by local day and intent
-- in: since, until; zone (tz database name); channel or NULL for all
-- out: day, intents and counts: arrays of equal length, in which an intent may come again
-- index: inbound_rollups primary key
-- note: a row for each day and not for each intent of it: of three years to read five thousand rows takes longer than
--       to count them
SELECT (at AT TIME ZONE %(zone)s)::date AS day, array_agg(intent) AS intents, array_agg(n) AS counts
FROM (SELECT at, intent, sum(messages)::bigint AS n
      FROM inbound_counts(%(since)s, %(until)s, 'day')
      WHERE %(channel)s::text IS NULL OR channel = %(channel)s
      GROUP BY at, intent HAVING sum(messages) > 0) AS counted
GROUP BY day
ORDER BY day;

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

-- name: has_sketches :one
-- for: a database whose messages have no sketches yet
-- out: has_sketches
-- note: one look
SELECT EXISTS (SELECT FROM sender_sketches) AS has_sketches;

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
-- for: what campaigns, their segments and their templates are called
-- in: campaign_ids
-- out: campaign_id, campaign, segment, template_id, template
-- index: primary keys of all three
-- note: the present names; a campaign's content is frozen, its names are not
SELECT c.id AS campaign_id, c.name AS campaign, s.name AS segment, t.id AS template_id, t.name AS template
FROM campaigns c JOIN segments s ON s.id = c.segment_id JOIN templates t ON t.id = c.template_id
WHERE c.id = ANY (%(campaign_ids)s);

-- name: count_unstarted_campaigns :one
-- for: what archiving a segment would leave without one
-- in: segment_id
-- out: campaigns
-- note: campaigns are made by hand: there are thousands at the most
SELECT count(*) AS campaigns FROM campaigns WHERE segment_id = %(segment_id)s AND state IN ('draft', 'scheduled');

-- name: find_last_settled :one
-- for: when a campaign's last recipient was handed over, skipped or denied
-- in: campaign_id; since, until: within which all of it happened
-- out: settled_at, NULL without recipients
-- index: messages (campaign_id, skipped_at), message_rollups primary key, messages (cohort_at)
-- note: the roll-ups tell the quarter-hour, so that only its messages are looked at, from its end backwards
SELECT greatest(
    (SELECT max(skipped_at) FROM messages WHERE campaign_id = %(campaign_id)s AND skipped_at IS NOT NULL),
    (SELECT max(m.cohort_at)
     FROM (SELECT bucket FROM message_rollups
           WHERE grain = 'quarter' AND slice = 1 AND bucket >= %(since)s AND bucket < %(until)s AND campaign_id = %(campaign_id)s AND messages > 0
           ORDER BY bucket DESC LIMIT 1) AS last
     JOIN messages m ON m.cohort_at >= last.bucket AND m.cohort_at < last.bucket + interval '15 minutes' AND m.campaign_id = %(campaign_id)s)
) AS settled_at;

-- name: list_effectiveness :many
-- for: campaigns by delivery rate, and the same by segment and by template
-- in: since, until: when the campaigns were made
-- out: kind (campaign, segment, template), id, name, segment and template (of a campaign), campaigns, messages_sent
--      (message rows), delivered, delivery_rate (percent)
-- index: campaigns (created_at), campaign_rollups primary key
-- note: the figures of the document's "Campaign ROI Analysis", which counts all message rows of a campaign; rounded here,
--       because SQL rounds halves up and Python to even
WITH counted AS (
    SELECT c.id, c.name, c.segment_id, s.name AS segment, c.template_id, t.name AS template, c.recipients,
           coalesce((SELECT sum(r.messages) FROM campaign_rollups r WHERE r.campaign_id = c.id AND r.status IN ('DELIVERED', 'READ')), 0) AS delivered
    FROM campaigns c JOIN segments s ON s.id = c.segment_id JOIN templates t ON t.id = c.template_id
    WHERE c.created_at >= %(since)s AND c.created_at < %(until)s AND c.recipients > 0
)
SELECT CASE WHEN GROUPING(id) = 0 THEN 'campaign' WHEN GROUPING(segment_id) = 0 THEN 'segment' ELSE 'template' END AS kind,
       coalesce(id, segment_id, template_id) AS id,
       CASE WHEN GROUPING(id) = 0 THEN min(name) WHEN GROUPING(segment_id) = 0 THEN min(segment) ELSE min(template) END AS name,
       CASE WHEN GROUPING(id) = 0 THEN min(segment) END AS segment,
       CASE WHEN GROUPING(id) = 0 THEN min(template) END AS template,
       count(*) AS campaigns, sum(recipients)::bigint AS messages_sent, sum(delivered)::bigint AS delivered,
       round(sum(delivered) * 100.0 / sum(recipients), 2)::double precision AS delivery_rate
FROM counted
GROUP BY GROUPING SETS ((id), (segment_id), (template_id))
ORDER BY delivery_rate DESC, messages_sent DESC, name, id;

-- name: list_funnel :many
-- for: what became of the people who were made users in a window
-- in: since, until
-- out: consent_state, users; avg_messages_received (message rows of a person), avg_responses, engagement_rate (percent);
--      messaged, delivered, read, replied (users)
-- index: users (created_at), messages (recipient_phone, cohort_at), inbound_events (from_phone, received_at)
-- note: each side is counted per person before joining, so that messages are not multiplied by answers. Laterals, so that
--       the cost follows the people of the window and not the messages of all time. After bound_statement
SELECT u.consent_state, count(*) AS users,
       avg(m.messages)::double precision AS avg_messages_received, avg(i.responses)::double precision AS avg_responses,
       round(avg(i.responses) / nullif(avg(m.messages), 0) * 100, 2)::double precision AS engagement_rate,
       count(*) FILTER (WHERE m.is_messaged) AS messaged, count(*) FILTER (WHERE m.is_delivered) AS delivered,
       count(*) FILTER (WHERE m.is_read) AS read, count(*) FILTER (WHERE m.is_replied) AS replied
FROM users u
CROSS JOIN LATERAL (
    SELECT count(*) AS messages, bool_or(cohort_at IS NOT NULL) AS is_messaged, bool_or(status IN ('DELIVERED', 'READ')) AS is_delivered,
           bool_or(status = 'READ') AS is_read, bool_or(is_replied) AS is_replied
    FROM messages WHERE recipient_phone = u.phone_e164) AS m
CROSS JOIN LATERAL (SELECT count(*) AS responses FROM inbound_events WHERE from_phone = u.phone_e164) AS i
WHERE u.created_at >= %(since)s AND u.created_at < %(until)s
GROUP BY u.consent_state;

-- name: bound_statement :exec
-- for: a question whose cost is not bounded by roll-ups, until the end of the transaction
-- in: milliseconds (text)
-- note: a query that is given up must not have held a connection of the pages for long
SELECT set_config('statement_timeout', %(milliseconds)s, true);

-- name: count_stops :one
-- for: transitions into STOP
-- in: since, until
-- out: stops
-- index: consent_rollups primary key
-- note: a second STOP of the same person is no transition
SELECT coalesce(sum(transitions), 0)::bigint AS stops FROM consent_counts(%(since)s, %(until)s, 'month') WHERE to_state = 'STOP';

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

------------------------------------------------------------------------------------------------------------------
-- compliance, checked anew: what the checker does
------------------------------------------------------------------------------------------------------------------

-- name: create_hand_overs :exec
-- for: the working tables of one check, once for each connection
-- note: hand_overs: is_new: to be counted; else only to be judged anew. audit_id NULL: no decision tells of it.
--       needs_event: the outcome event its decision must have. Temporary, emptied by each commit
CREATE TEMPORARY TABLE IF NOT EXISTS hand_overs (
    audit_id bigint, message_id uuid, campaign_id uuid, recipient_phone text, in_reply_to text, handed_at timestamptz,
    noted_at timestamptz, needs_event text, has_event boolean, is_new boolean
) ON COMMIT DELETE ROWS;

-- name: create_outcomes :exec
-- for: see create_hand_overs
-- note: the outcome events of the span, so that decisions find theirs without a probe of every day's partition
CREATE TEMPORARY TABLE IF NOT EXISTS outcomes (event_type text, message_id uuid, received_at timestamptz) ON COMMIT DELETE ROWS;

-- name: create_touched :exec
-- for: see create_hand_overs
-- note: seconds whose row changes
CREATE TEMPORARY TABLE IF NOT EXISTS touched_seconds (second timestamptz, campaign_id uuid) ON COMMIT DELETE ROWS;

-- name: hold_compliance :exec
-- for: one check or recheck at a time
-- note: a statement of its own, so that those after it see what the one before has counted
SELECT FROM compliance_place FOR UPDATE;

-- name: find_span :maybe
-- for: which transactions are checked next
-- in: most (rows of each kind)
-- out: after_xid, to_xid (as text), floor_id, is_full (more may follow); no row: nothing new
-- index: audit_log_commit_order, events (xid, id) of each partition, consent_ledger_commit_order
-- note: whole transactions, below the oldest running one, as the log is read. What belongs together is written in one
--       transaction, so that nothing is missed for being half visible
WITH span AS (
    SELECT p.xid AS after_xid, p.floor_id,
           least((SELECT a.xid FROM audit_log a WHERE a.xid > p.xid AND a.xid < h.xid AND a.id > p.floor_id ORDER BY a.xid, a.id OFFSET %(most)s - 1 LIMIT 1),
                 (SELECT e.xid FROM events e WHERE e.xid > p.xid AND e.xid < h.xid ORDER BY e.xid, e.id OFFSET %(most)s - 1 LIMIT 1),
                 (SELECT l.xid FROM consent_ledger l WHERE l.xid > p.xid AND l.xid < h.xid ORDER BY l.xid OFFSET %(most)s - 1 LIMIT 1)) AS full_to,
           greatest((SELECT a.xid FROM audit_log a WHERE a.xid > p.xid AND a.xid < h.xid AND a.id > p.floor_id ORDER BY a.xid DESC, a.id DESC LIMIT 1),
                    (SELECT e.xid FROM events e WHERE e.xid > p.xid AND e.xid < h.xid ORDER BY e.xid DESC, e.id DESC LIMIT 1),
                    (SELECT l.xid FROM consent_ledger l WHERE l.xid > p.xid AND l.xid < h.xid ORDER BY l.xid DESC LIMIT 1)) AS last
    FROM compliance_place p, (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xid) AS h
)
SELECT after_xid::text, coalesce(full_to, last)::text AS to_xid, floor_id, full_to IS NOT NULL AS is_full FROM span WHERE last IS NOT NULL;

-- name: move_compliance_place :exec
-- for: the span is checked
-- in: to_xid
-- note: in the transaction of the check, so that a kill counts nothing twice
UPDATE compliance_place SET xid = %(to_xid)s::xid8;

-- name: stage_outcomes :exec
-- for: what the span's events say of hand-overs
-- in: after_xid, to_xid
-- index: events (xid, id) of each partition
-- note: one pass over the span
INSERT INTO outcomes (event_type, message_id, received_at)
SELECT event_type, (payload ->> 'MessageId')::uuid, received_at
FROM events
WHERE xid > %(after_xid)s::xid8 AND xid <= %(to_xid)s::xid8 AND event_type IN ('message.accepted', 'message.refused');

-- name: stage_decisions :exec
-- for: the span's decisions to hand over
-- in: after_xid, to_xid, floor_id
-- index: audit_log_commit_order, messages primary key
-- note: a call is a hand-over however it ended, unless the provider turned out not to have the message. Whom it went to
--       says the message's row; without that nothing can be proven
INSERT INTO hand_overs (audit_id, message_id, campaign_id, recipient_phone, in_reply_to, handed_at, noted_at, needs_event, has_event, is_new)
SELECT a.id, named.message_id, coalesce(m.campaign_id, (a.after ->> 'campaign_id')::uuid, '00000000-0000-0000-0000-000000000000'), m.recipient_phone, m.in_reply_to,
       d.handed_at, a.at, needed.event, EXISTS (SELECT FROM outcomes o WHERE o.message_id = named.message_id AND o.event_type = needed.event), true
FROM audit_log a
CROSS JOIN LATERAL (SELECT substr(a.subject, 9)::uuid AS message_id) AS named
CROSS JOIN LATERAL delivery_of(a.after, a.at) AS d
CROSS JOIN LATERAL (SELECT CASE WHEN d.outcome IN ('accepted', 'found') THEN 'message.accepted' WHEN d.outcome = 'refused' THEN 'message.refused' END AS event) AS needed
LEFT JOIN messages m ON m.id = named.message_id
WHERE a.xid > %(after_xid)s::xid8 AND a.xid <= %(to_xid)s::xid8 AND a.id > %(floor_id)s
  AND a.action = 'compliance.allowed' AND d.outcome NOT IN ('absent', 'given_up');

-- name: stage_undecided :exec
-- for: hand-overs that the log tells of and no decision
-- in: rows of outcomes
-- index: audit_log (subject, id), messages primary key
-- note: an outcome may come twice for one decision, when a call that was given up for lost ended after all. When the
--       call began nobody noted: the moment it ended stands for it
INSERT INTO hand_overs (message_id, campaign_id, recipient_phone, in_reply_to, handed_at, noted_at, has_event, is_new)
SELECT DISTINCT ON (o.message_id)
       o.message_id, coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000'), m.recipient_phone, m.in_reply_to, o.received_at, o.received_at, true, true
FROM outcomes o LEFT JOIN messages m ON m.id = o.message_id
WHERE NOT EXISTS (SELECT FROM hand_overs h WHERE h.message_id = o.message_id)
  AND NOT EXISTS (SELECT FROM audit_log a WHERE a.subject = 'message:' || o.message_id AND a.action = 'compliance.allowed')
  AND NOT EXISTS (SELECT FROM compliance_violations v WHERE v.message_id = o.message_id AND v.kind = 'decision_missing')
ORDER BY o.message_id, o.received_at;

-- name: stage_reconsidered :exec
-- for: hand-overs checked before that lie behind what the ledger learned since
-- in: after_xid, to_xid, floor_id
-- index: consent_ledger_commit_order, messages (recipient_phone, cohort_at), audit_log (subject, id), compliance_violations (message_id)
-- note: a STOP that waited in a spool, or history that was imported. Mostly nobody was written to between what was said
--       and its entry. A minute of slack, because the answer of a call that was found out about is put at its claim
INSERT INTO hand_overs (audit_id, message_id, campaign_id, recipient_phone, in_reply_to, handed_at, is_new)
SELECT DISTINCT checked.audit_id, m.id, coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000'), m.recipient_phone, m.in_reply_to, checked.handed_at, false
FROM consent_ledger l
JOIN messages m ON m.recipient_phone = l.phone_e164 AND m.queued_at IS NOT NULL AND (m.cohort_at IS NULL OR m.cohort_at >= l.occurred_at - interval '1 minute')
CROSS JOIN LATERAL (
    SELECT a.id AS audit_id, d.handed_at
    FROM audit_log a CROSS JOIN LATERAL delivery_of(a.after, a.at) AS d
    WHERE a.subject = 'message:' || m.id AND a.action = 'compliance.allowed' AND d.outcome NOT IN ('absent', 'given_up')
      AND (a.xid <= %(after_xid)s::xid8 OR a.id <= %(floor_id)s)
    UNION ALL
    SELECT NULL, v.at FROM compliance_violations v WHERE v.message_id = m.id AND v.kind = 'decision_missing'
) AS checked
WHERE l.xid > %(after_xid)s::xid8 AND l.xid <= %(to_xid)s::xid8 AND checked.handed_at >= l.occurred_at;

-- name: stage_past :exec
-- for: rechecking what was handed over in a window
-- in: since, until; most
-- out: row count
-- index: audit_log_at (BRIN), messages (cohort_at), audit_log (subject, id)
-- note: a decision is written within minutes of its call; one that is gone is missed beside its message. Only what the
--       check has passed: what it has yet to come to is counted there
INSERT INTO hand_overs (audit_id, message_id, campaign_id, recipient_phone, in_reply_to, handed_at, noted_at, needs_event, has_event, is_new)
SELECT a.id, named.message_id, coalesce(m.campaign_id, (a.after ->> 'campaign_id')::uuid, '00000000-0000-0000-0000-000000000000'), m.recipient_phone, m.in_reply_to,
       d.handed_at, a.at, CASE WHEN d.outcome IN ('accepted', 'found') THEN 'message.accepted' WHEN d.outcome = 'refused' THEN 'message.refused' END, false, false
FROM compliance_place p
CROSS JOIN audit_log a
CROSS JOIN LATERAL (SELECT substr(a.subject, 9)::uuid AS message_id) AS named
CROSS JOIN LATERAL delivery_of(a.after, a.at) AS d
LEFT JOIN messages m ON m.id = named.message_id
WHERE a.at >= %(since)s AND a.at < %(until)s::timestamptz + interval '1 hour' AND (a.xid <= p.xid OR a.id <= p.floor_id)
  AND a.action = 'compliance.allowed' AND d.outcome NOT IN ('absent', 'given_up') AND d.handed_at >= %(since)s AND d.handed_at < %(until)s
UNION ALL
SELECT NULL, m.id, coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000'), m.recipient_phone, m.in_reply_to, m.answered_at, m.answered_at, NULL, true, false
FROM messages m
WHERE m.cohort_at >= %(since)s AND m.cohort_at < %(until)s AND m.queued_at IS NOT NULL AND m.answered_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM audit_log a WHERE a.subject = 'message:' || m.id AND a.action = 'compliance.allowed')
  AND m.answered_at < (SELECT coalesce(min(w.at), 'infinity') FROM compliance_place p JOIN audit_log w ON w.xid > p.xid AND w.id > p.floor_id AND w.action = 'compliance.allowed')
LIMIT %(most)s;

-- name: list_eventless :many
-- for: decisions whose outcome event is not in their span
-- in: rows of hand_overs
-- out: audit_id, message_id, needs_event, noted_at, handed_at
-- note: none, or something is wrong; but a repeated outcome was logged with the first
SELECT audit_id, message_id, needs_event, noted_at, handed_at FROM hand_overs WHERE needs_event IS NOT NULL AND NOT has_event;

-- name: list_logged_keys :many
-- for: which of these events are in the log
-- in: days date[], keys uuid[] of equal length
-- out: dedupe_key
-- index: events primary key
-- note: by day and key, as the log itself finds duplicates
SELECT e.dedupe_key FROM unnest(%(days)s::date[], %(keys)s::uuid[]) AS k (day, key) JOIN events e ON e.received_on = k.day AND e.dedupe_key = k.key;

-- name: note_events :exec
-- for: decisions whose event was found after all
-- in: audit_ids bigint[]
-- note: see list_eventless
UPDATE hand_overs SET has_event = true WHERE audit_id = ANY (%(audit_ids)s::bigint[]);

-- name: judge_history :exec
-- for: hand-overs without a decision, and decisions without their event
-- in: now; rows of hand_overs
-- index: compliance_violations primary key
-- note: what is missing says the kind
INSERT INTO compliance_violations (id, kind, at, campaign_id, message_id, evidence, found_at)
SELECT gen_random_uuid(), CASE WHEN audit_id IS NULL THEN 'decision_missing' ELSE 'event_missing' END, handed_at, campaign_id, message_id,
       jsonb_strip_nulls(jsonb_build_object('audit_id', audit_id, 'event', needs_event)), %(now)s
FROM hand_overs
WHERE audit_id IS NULL OR needs_event IS NOT NULL AND NOT has_event
ON CONFLICT DO NOTHING;

-- name: judge_consent :exec
-- for: hand-overs at whose moment the ledger does not say OPT_IN
-- in: now; rows of hand_overs
-- index: consent_ledger (phone_e164, occurred_at, id), inbound_events (message_sid), compliance_violations primary key
-- note: the fold of what the ledger says now of that moment, from the entries themselves. Answers to STOP, HELP and START
--       go to anybody, other answers to whoever has not closed. `known_at` after the hand-over: the sender could not know
WITH judged AS (
    SELECT h.message_id, h.campaign_id, h.handed_at, said.state, last.id AS entry, last.action, last.occurred_at, last.recorded_at,
           CASE WHEN h.in_reply_to IS NULL THEN said.state = 'OPT_IN'
                ELSE said.state NOT IN ('STOP', 'OPT_OUT') OR coalesce(asked.intent IN ('stop', 'help', 'start'), false) END AS is_verified
    FROM hand_overs h
    CROSS JOIN LATERAL (SELECT consent_fold(l.action ORDER BY l.occurred_at, l.id) AS state
                        FROM consent_ledger l WHERE l.phone_e164 = h.recipient_phone AND l.occurred_at <= h.handed_at) AS said
    LEFT JOIN LATERAL (SELECT l.id, l.action, l.occurred_at, l.recorded_at FROM consent_ledger l
                       WHERE l.phone_e164 = h.recipient_phone AND l.occurred_at <= h.handed_at
                       ORDER BY l.occurred_at DESC, l.id DESC LIMIT 1) AS last ON said.state <> 'OPT_IN'
    LEFT JOIN inbound_events asked ON asked.message_sid = h.in_reply_to
), withdrawn AS (
    DELETE FROM compliance_violations v USING judged j
    WHERE j.is_verified AND v.kind = 'consent' AND (v.campaign_id, v.message_id, v.at) = (j.campaign_id, j.message_id, j.handed_at)
)
INSERT INTO compliance_violations (id, kind, at, campaign_id, message_id, evidence, found_at)
SELECT gen_random_uuid(), 'consent', handed_at, campaign_id, message_id,
       jsonb_strip_nulls(jsonb_build_object('state', state, 'entry', entry, 'action', action, 'said_at', occurred_at, 'known_at', recorded_at)), %(now)s
FROM judged WHERE NOT is_verified
ON CONFLICT DO NOTHING;

-- name: judge_quiet_hours :exec
-- for: campaigns' hand-overs inside quiet hours of the recipient
-- in: now; rows of hand_overs
-- index: users, campaigns and phone_zones primary keys, quiet_hours_rules primary key, audit_log_quiet_rules
-- note: in any zone the recipient may be in, by this database's clock. The place's rule is that of the moment: of a rule
--       changed since, what it was before the first change after the hand-over
WITH changed AS MATERIALIZED (
    SELECT substr(a.subject, 18) AS prefix, a.at, a.before
    FROM audit_log a
    WHERE a.action IN ('quiet_hours_rule.created', 'quiet_hours_rule.changed', 'quiet_hours_rule.deleted')
      AND a.at > (SELECT min(handed_at) FROM hand_overs WHERE is_new)
), judged AS (
    SELECT h.message_id, h.campaign_id, h.handed_at, z.zone, wall_clock(h.handed_at, z.zone) AS clock, hours.starts, hours.ends
    FROM hand_overs h
    JOIN campaigns c ON c.id = h.campaign_id
    LEFT JOIN users u ON u.phone_e164 = h.recipient_phone
    LEFT JOIN LATERAL (
        SELECT r.starts, r.ends
        FROM (SELECT q.prefix, q.starts, q.ends FROM quiet_hours_rules q
              WHERE NOT EXISTS (SELECT FROM changed g WHERE g.prefix = q.prefix AND g.at > h.handed_at)
              UNION ALL
              (SELECT DISTINCT ON (g.prefix) g.prefix, (g.before ->> 'starts')::time, (g.before ->> 'ends')::time FROM changed g
               WHERE g.at > h.handed_at ORDER BY g.prefix, g.at)) AS r
        WHERE r.starts IS NOT NULL
          AND r.prefix IN (substr(h.recipient_phone, 2, 1), substr(h.recipient_phone, 2, 2), substr(h.recipient_phone, 2, 3), substr(h.recipient_phone, 2, 4),
                           substr(h.recipient_phone, 2, 5), substr(h.recipient_phone, 2, 6), substr(h.recipient_phone, 2, 7))
        ORDER BY length(r.prefix) DESC LIMIT 1) AS place ON true
    CROSS JOIN LATERAL (VALUES (c.quiet_starts, c.quiet_ends), (place.starts, place.ends)) AS hours (starts, ends)
    LEFT JOIN LATERAL zones_of_phone(h.recipient_phone) AS p ON u.timezone IS NULL
    LEFT JOIN LATERAL unnest(CASE WHEN u.timezone IS NULL THEN p.zones ELSE ARRAY[u.timezone] END) AS z (zone) ON true
    WHERE h.is_new AND hours.starts <> hours.ends
), worst AS (
    SELECT DISTINCT ON (message_id, handed_at) message_id, campaign_id, handed_at, zone, clock, starts, ends
    FROM judged
    WHERE clock IS NULL OR is_within_hours(clock, starts, ends)
    ORDER BY message_id, handed_at, clock NULLS LAST
)
INSERT INTO compliance_violations (id, kind, at, campaign_id, message_id, evidence, found_at)
SELECT gen_random_uuid(), CASE WHEN clock IS NULL THEN 'zone_unknown' ELSE 'quiet_hours' END, handed_at, campaign_id, message_id,
       jsonb_strip_nulls(jsonb_build_object('zone', zone, 'clock', to_char(clock, 'HH24:MI:SS'), 'starts', to_char(starts, 'HH24:MI'), 'ends', to_char(ends, 'HH24:MI'))), %(now)s
FROM worst
ON CONFLICT DO NOTHING;

-- name: count_hand_overs :exec
-- for: the new hand-overs by second
-- in: rows of hand_overs
-- out: rows of touched_seconds
-- index: compliance_rollups primary key
-- note: seconds of what is only judged anew are touched too, and have a row
WITH counted AS (
    INSERT INTO compliance_rollups AS r (grain, bucket, campaign_id, handed_over, seconds, peak, rescheduled, logged)
    SELECT 'second', date_trunc('second', handed_at), campaign_id, count(*) FILTER (WHERE is_new), bool_or(is_new)::integer, count(*) FILTER (WHERE is_new), 0,
           coalesce(sum((audit_id IS NOT NULL)::integer + has_event::integer) FILTER (WHERE is_new), 0)
    FROM hand_overs
    GROUP BY 2, 3
    ON CONFLICT (grain, bucket, campaign_id) DO UPDATE
    SET handed_over = r.handed_over + excluded.handed_over, seconds = greatest(r.seconds, excluded.seconds),
        peak = r.handed_over + excluded.handed_over, logged = r.logged + excluded.logged
)
INSERT INTO touched_seconds (second, campaign_id)
SELECT DISTINCT date_trunc('second', handed_at), campaign_id FROM hand_overs;

-- name: count_rescheduled :exec
-- for: messages that quiet hours put off for the first time
-- in: after_xid, to_xid, floor_id
-- out: rows of touched_seconds
-- index: audit_log_commit_order, audit_log (subject, id), compliance_rollups primary key
-- note: put off again it is still one message. By the moment it was put off
WITH counted AS (
    INSERT INTO compliance_rollups AS r (grain, bucket, campaign_id, handed_over, seconds, peak, rescheduled, logged)
    SELECT 'second', date_trunc('second', a.at), coalesce((a.after ->> 'campaign_id')::uuid, '00000000-0000-0000-0000-000000000000'), 0, 0, 0, count(*), 0
    FROM audit_log a
    WHERE a.xid > %(after_xid)s::xid8 AND a.xid <= %(to_xid)s::xid8 AND a.id > %(floor_id)s
      AND a.action = 'compliance.deferred' AND a.after ->> 'reason' = 'quiet_hours'
      AND NOT EXISTS (SELECT FROM audit_log b WHERE b.subject = a.subject AND b.id < a.id AND b.action = a.action AND b.after ->> 'reason' = 'quiet_hours')
    GROUP BY 2, 3
    ON CONFLICT (grain, bucket, campaign_id) DO UPDATE SET rescheduled = r.rescheduled + excluded.rescheduled
    RETURNING bucket, campaign_id
)
INSERT INTO touched_seconds (second, campaign_id) SELECT bucket, campaign_id FROM counted;

-- name: judge_rate :exec
-- for: seconds in which a campaign handed over more than its limit
-- in: now; rows of touched_seconds
-- index: compliance_rollups and compliance_violations primary keys; audit_log (subject, id)
-- note: a call found out about later may make it more; a rate that was lowered since did not hold in that second, and the trail
--       knows what did
INSERT INTO compliance_violations AS v (id, kind, at, campaign_id, message_id, evidence, found_at)
SELECT gen_random_uuid(), 'rate', r.bucket, r.campaign_id, '00000000-0000-0000-0000-000000000000',
       jsonb_build_object('handed_over', r.handed_over, 'limit', held.rate_per_second), %(now)s
FROM (SELECT DISTINCT second, campaign_id FROM touched_seconds) AS t
JOIN compliance_rollups r ON r.grain = 'second' AND r.bucket = t.second AND r.campaign_id = t.campaign_id
JOIN campaigns c ON c.id = r.campaign_id AND r.handed_over > c.rate_per_second
CROSS JOIN LATERAL (
    SELECT coalesce((SELECT (a.before ->> 'rate_per_second')::integer FROM audit_log a
                     WHERE a.subject = 'campaign:' || c.id AND a.action = 'campaign.rate_lowered' AND a.at >= t.second ORDER BY a.id LIMIT 1), c.rate_per_second) AS rate_per_second
) AS held
WHERE r.handed_over > held.rate_per_second
ON CONFLICT (kind, campaign_id, message_id, at) DO UPDATE SET evidence = excluded.evidence;

-- name: count_violations :exec
-- for: what was found in the touched seconds
-- in: rows of touched_seconds
-- index: compliance_rollups primary key, compliance_violations (at, id)
-- note: counted from the rows each time, and so never out of step with them
UPDATE compliance_rollups r
SET unconsented = v.unconsented, quiet = v.quiet, zone_unknown = v.zone_unknown, over_limit = v.over_limit, missing = v.missing
FROM (SELECT DISTINCT second, campaign_id FROM touched_seconds) AS t
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE kind = 'consent') AS unconsented, count(*) FILTER (WHERE kind = 'quiet_hours') AS quiet,
           count(*) FILTER (WHERE kind = 'zone_unknown') AS zone_unknown, count(*) FILTER (WHERE kind = 'rate') AS over_limit,
           count(*) FILTER (WHERE kind IN ('decision_missing', 'event_missing')) AS missing
    FROM compliance_violations
    WHERE at >= t.second AND at < t.second + interval '1 second' AND campaign_id = t.campaign_id
) AS v
WHERE r.grain = 'second' AND r.bucket = t.second AND r.campaign_id = t.campaign_id;

-- name: add_up_seconds :exec
-- for: the quarter-hours, or the days, of the touched seconds
-- in: from_grain, to_grain; width of to_grain (interval); rows of touched_seconds
-- index: compliance_rollups primary key
-- note: quarters from their seconds, then days from their quarters; anew from at most 900 rows for each campaign, so that
--       what is added up cannot drift. Days of UTC, because a window is cut by instants and not by a calendar
INSERT INTO compliance_rollups (grain, bucket, campaign_id, handed_over, seconds, peak, rescheduled, logged, unconsented, quiet, zone_unknown, over_limit, missing)
SELECT %(to_grain)s, t.bucket, t.campaign_id, sum(s.handed_over), sum(s.seconds), max(s.peak), sum(s.rescheduled), sum(s.logged),
       sum(s.unconsented), sum(s.quiet), sum(s.zone_unknown), sum(s.over_limit), sum(s.missing)
FROM (SELECT DISTINCT date_bin(%(width)s::interval, second, timestamptz '2000-01-01 00:00+00') AS bucket, campaign_id FROM touched_seconds) AS t
JOIN compliance_rollups s ON s.grain = %(from_grain)s AND s.bucket >= t.bucket AND s.bucket < t.bucket + %(width)s::interval AND s.campaign_id = t.campaign_id
GROUP BY t.bucket, t.campaign_id
ON CONFLICT (grain, bucket, campaign_id) DO UPDATE
SET handed_over = excluded.handed_over, seconds = excluded.seconds, peak = excluded.peak, rescheduled = excluded.rescheduled, logged = excluded.logged,
    unconsented = excluded.unconsented, quiet = excluded.quiet, zone_unknown = excluded.zone_unknown, over_limit = excluded.over_limit, missing = excluded.missing;

------------------------------------------------------------------------------------------------------------------
-- compliance: what is asked of it
------------------------------------------------------------------------------------------------------------------

-- name: count_compliance :one
-- for: the figures of a window
-- in: grains text[], since timestamptz[], until timestamptz[] (the pieces of the window) of equal length; campaign_id
--     (NULL: all campaigns; zeros: auto-replies)
-- out: the columns of compliance_rollups
-- index: compliance_rollups primary key
-- note: whole days, quarter-hours beside them, seconds beside those: some thousand rows for a campaign, whatever the window
SELECT coalesce(sum(r.handed_over), 0)::bigint AS handed_over, coalesce(sum(r.seconds), 0)::bigint AS seconds, coalesce(max(r.peak), 0)::bigint AS peak,
       coalesce(sum(r.rescheduled), 0)::bigint AS rescheduled, coalesce(sum(r.logged), 0)::bigint AS logged,
       coalesce(sum(r.unconsented), 0)::bigint AS unconsented, coalesce(sum(r.quiet), 0)::bigint AS quiet,
       coalesce(sum(r.zone_unknown), 0)::bigint AS zone_unknown, coalesce(sum(r.over_limit), 0)::bigint AS over_limit, coalesce(sum(r.missing), 0)::bigint AS missing
FROM unnest(%(grains)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS piece (grain, since, until)
JOIN compliance_rollups r ON r.grain = piece.grain AND r.bucket >= piece.since AND r.bucket < piece.until
WHERE CASE WHEN %(campaign_id)s::uuid IS NULL THEN r.campaign_id <> '00000000-0000-0000-0000-000000000000' ELSE r.campaign_id = %(campaign_id)s END;

-- name: list_violations :many
-- for: the rows behind the figures, newest first
-- in: since, until (whole seconds); campaign_id (NULL: any); kind (NULL: any); before_at, before_id (the place to go on from, or NULL); most
-- out: the violation with its campaign's name and its recipient
-- index: compliance_violations (at, id), messages and campaigns primary keys
-- note: the number is the message's, so that an erasure reaches it
SELECT v.id, v.kind, v.at, v.campaign_id, c.name AS campaign_name, v.message_id, m.recipient_phone, v.evidence, v.found_at
FROM compliance_violations v
LEFT JOIN campaigns c ON c.id = v.campaign_id
LEFT JOIN messages m ON m.id = v.message_id
WHERE v.at >= %(since)s AND v.at < %(until)s
  AND (%(campaign_id)s::uuid IS NULL OR v.campaign_id = %(campaign_id)s) AND (%(kind)s::text IS NULL OR v.kind = %(kind)s)
  AND (%(before_at)s::timestamptz IS NULL OR (v.at, v.id) < (%(before_at)s, %(before_id)s::uuid))
ORDER BY v.at DESC, v.id DESC
LIMIT %(most)s;

-- name: find_oldest_unchecked :maybe
-- for: how far the check is behind
-- out: at: of the oldest decision that is not checked; no row: all are
-- index: audit_log_commit_order
-- note: also what a running transaction holds up
SELECT a.at
FROM compliance_place p
CROSS JOIN LATERAL (SELECT l.at FROM audit_log l WHERE l.xid > p.xid AND l.id > p.floor_id AND l.action LIKE 'compliance.%%' ORDER BY l.xid, l.id LIMIT 1) AS a;

------------------------------------------------------------------------------------------------------------------
-- the self-check
------------------------------------------------------------------------------------------------------------------

-- name: find_counted :maybe
-- for: a minute or quarter-hour with messages, at or after an instant
-- in: since; grain; slice, one that the grain has
-- out: bucket
-- index: message_rollups primary key
-- note: a random instant gives a random bucket; none after the last
SELECT bucket FROM message_rollups WHERE grain = %(grain)s AND slice = %(slice)s AND bucket >= %(since)s AND messages > 0 ORDER BY bucket LIMIT 1;

-- name: list_days :one
-- for: the days of a month
-- in: since, until
-- out: an array of their starts
-- index: local_days primary key
-- note: days follow the calendar
SELECT array_agg(starts_at ORDER BY starts_at) FROM local_days WHERE starts_at >= %(since)s AND starts_at < %(until)s;

-- name: load_span :maybe
-- for: the instants from which one is drawn
-- out: since, until: first and last quarter-hour
-- index: message_rollups primary key
-- note: both ends of the index
SELECT min(bucket) AS since, max(bucket) AS until FROM message_rollups WHERE grain = 'quarter' AND slice = 0 HAVING min(bucket) IS NOT NULL;

-- name: find_bucket :maybe
-- for: the bucket of a grain that an instant lies in
-- in: grain, at
-- out: since, until; none where that grain is not kept
-- index: local_days primary key
-- note: months only when all of their days are settled
SELECT b.since, bucket_end(%(grain)s, b.since) AS until
FROM (SELECT CASE %(grain)s WHEN 'day' THEN d.starts_at WHEN 'month' THEN d.month_starts_at ELSE bucket_of(%(grain)s, %(at)s) END AS since
      FROM (SELECT starts_at, month_starts_at FROM local_days WHERE starts_at <= %(at)s ORDER BY starts_at DESC LIMIT 1) AS d) AS b, rollup_settings s
WHERE CASE %(grain)s WHEN 'minute' THEN b.since >= s.minutes_since WHEN 'quarter' THEN true ELSE bucket_end(%(grain)s, b.since) <= s.days_until END;

-- name: compare_messages :one
-- for: a bucket of a roll-up against what it is made of
-- in: since, until: the bucket; slice; grain, finer: what it is made of (raw, quarter or day)
-- out: differing (rows)
-- index: message_rollups primary key, messages (cohort_at)
-- note: the readers of figures themselves, told how coarse their pieces may be
WITH kept AS (
    SELECT CASE WHEN %(slice)s & 1 <> 0 THEN campaign_id ELSE '00000000-0000-0000-0000-000000000000' END AS campaign_id,
           CASE WHEN %(slice)s & 2 <> 0 THEN channel ELSE '' END AS channel, CASE WHEN %(slice)s & 4 <> 0 THEN country ELSE '' END AS country,
           CASE WHEN %(slice)s & 8 <> 0 THEN sender ELSE '' END AS sender,
           sum(messages), sum(sent), sum(conflicts), sum(replied), sum(stopped), sum(now_accepted), sum(now_scheduled), sum(now_queued),
           sum(now_sending), sum(now_sent), sum(now_canceled), sum(now_failed), sum(now_undelivered), sum(now_delivered), sum(now_read)
    FROM message_counts(%(since)s, %(until)s, %(slice)s, %(grain)s)
    WHERE messages <> 0
    GROUP BY 1, 2, 3, 4
), counted AS (
    SELECT CASE WHEN %(slice)s & 1 <> 0 THEN campaign_id ELSE '00000000-0000-0000-0000-000000000000' END AS campaign_id,
           CASE WHEN %(slice)s & 2 <> 0 THEN channel ELSE '' END AS channel, CASE WHEN %(slice)s & 4 <> 0 THEN country ELSE '' END AS country,
           CASE WHEN %(slice)s & 8 <> 0 THEN sender ELSE '' END AS sender,
           sum(messages), sum(sent), sum(conflicts), sum(replied), sum(stopped), sum(now_accepted), sum(now_scheduled), sum(now_queued),
           sum(now_sending), sum(now_sent), sum(now_canceled), sum(now_failed), sum(now_undelivered), sum(now_delivered), sum(now_read)
    FROM message_counts(%(since)s, %(until)s, 15, %(finer)s)
    WHERE messages <> 0
    GROUP BY 1, 2, 3, 4
)
SELECT count(*) AS differing FROM ((TABLE kept EXCEPT TABLE counted) UNION ALL (TABLE counted EXCEPT TABLE kept)) AS different;

-- name: compare_failures :one
-- for: a bucket of a roll-up against what it is made of
-- in: since, until: the bucket; slice; grain, finer: what it is made of (raw, quarter or day)
-- out: differing (rows)
-- index: failure_rollups primary key, messages (cohort_at)
-- note: as compare_messages
WITH kept AS (
    SELECT CASE WHEN %(slice)s & 1 <> 0 THEN campaign_id ELSE '00000000-0000-0000-0000-000000000000' END AS campaign_id,
           CASE WHEN %(slice)s & 2 <> 0 THEN channel ELSE '' END AS channel, CASE WHEN %(slice)s & 4 <> 0 THEN country ELSE '' END AS country,
           CASE WHEN %(slice)s & 8 <> 0 THEN sender ELSE '' END AS sender, error_code,
           sum(failed), sum(retried), sum(retried_sent), sum(retried_delivered)
    FROM failure_counts(%(since)s, %(until)s, %(slice)s, %(grain)s)
    WHERE failed <> 0 OR retried <> 0
    GROUP BY 1, 2, 3, 4, 5
), counted AS (
    SELECT CASE WHEN %(slice)s & 1 <> 0 THEN campaign_id ELSE '00000000-0000-0000-0000-000000000000' END AS campaign_id,
           CASE WHEN %(slice)s & 2 <> 0 THEN channel ELSE '' END AS channel, CASE WHEN %(slice)s & 4 <> 0 THEN country ELSE '' END AS country,
           CASE WHEN %(slice)s & 8 <> 0 THEN sender ELSE '' END AS sender, error_code,
           sum(failed), sum(retried), sum(retried_sent), sum(retried_delivered)
    FROM failure_counts(%(since)s, %(until)s, 15, %(finer)s)
    WHERE failed <> 0 OR retried <> 0
    GROUP BY 1, 2, 3, 4, 5
)
SELECT count(*) AS differing FROM ((TABLE kept EXCEPT TABLE counted) UNION ALL (TABLE counted EXCEPT TABLE kept)) AS different;

-- name: compare_durations :one
-- for: a bucket of a roll-up against what it is made of
-- in: since, until: the bucket; slice; grain, finer: what it is made of (raw, quarter or day)
-- out: differing (rows)
-- index: duration_rollups primary key, messages (cohort_at)
-- note: as compare_messages; the places of the sketches by compare_sketches
WITH kept AS (
    SELECT CASE WHEN %(slice)s & 1 <> 0 THEN campaign_id ELSE '00000000-0000-0000-0000-000000000000' END AS campaign_id,
           CASE WHEN %(slice)s & 2 <> 0 THEN channel ELSE '' END AS channel, CASE WHEN %(slice)s & 4 <> 0 THEN country ELSE '' END AS country,
           CASE WHEN %(slice)s & 8 <> 0 THEN sender ELSE '' END AS sender, measure,
           sum(messages), sum(microseconds), min(fastest), max(slowest)
    FROM duration_counts(%(since)s, %(until)s, %(slice)s, %(grain)s, ARRAY['delivery', 'queue', 'carrier'])
    GROUP BY 1, 2, 3, 4, 5
), counted AS (
    SELECT CASE WHEN %(slice)s & 1 <> 0 THEN campaign_id ELSE '00000000-0000-0000-0000-000000000000' END AS campaign_id,
           CASE WHEN %(slice)s & 2 <> 0 THEN channel ELSE '' END AS channel, CASE WHEN %(slice)s & 4 <> 0 THEN country ELSE '' END AS country,
           CASE WHEN %(slice)s & 8 <> 0 THEN sender ELSE '' END AS sender, measure,
           sum(messages), sum(microseconds), min(fastest), max(slowest)
    FROM duration_counts(%(since)s, %(until)s, 15, %(finer)s, ARRAY['delivery', 'queue', 'carrier'])
    GROUP BY 1, 2, 3, 4, 5
)
SELECT count(*) AS differing FROM ((TABLE kept EXCEPT TABLE counted) UNION ALL (TABLE counted EXCEPT TABLE kept)) AS different;

-- name: compare_sketches :one
-- for: a bucket of a roll-up against what it is made of
-- in: since, until: the bucket; slice; grain, finer: what it is made of (raw, quarter or day)
-- out: differing (rows)
-- index: duration_rollups primary key, messages (cohort_at)
-- note: as compare_messages
WITH kept AS (
    SELECT CASE WHEN %(slice)s & 1 <> 0 THEN campaign_id ELSE '00000000-0000-0000-0000-000000000000' END AS campaign_id,
           CASE WHEN %(slice)s & 2 <> 0 THEN channel ELSE '' END AS channel, CASE WHEN %(slice)s & 4 <> 0 THEN country ELSE '' END AS country,
           CASE WHEN %(slice)s & 8 <> 0 THEN sender ELSE '' END AS sender, measure, sketch_place(element),
           sum(sketch_count(element))
    FROM duration_counts(%(since)s, %(until)s, %(slice)s, %(grain)s, ARRAY['delivery', 'queue', 'carrier']), unnest(sketch) AS element
    GROUP BY 1, 2, 3, 4, 5, 6
), counted AS (
    SELECT CASE WHEN %(slice)s & 1 <> 0 THEN campaign_id ELSE '00000000-0000-0000-0000-000000000000' END AS campaign_id,
           CASE WHEN %(slice)s & 2 <> 0 THEN channel ELSE '' END AS channel, CASE WHEN %(slice)s & 4 <> 0 THEN country ELSE '' END AS country,
           CASE WHEN %(slice)s & 8 <> 0 THEN sender ELSE '' END AS sender, measure, sketch_place(element),
           sum(sketch_count(element))
    FROM duration_counts(%(since)s, %(until)s, 15, %(finer)s, ARRAY['delivery', 'queue', 'carrier']), unnest(sketch) AS element
    GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT count(*) AS differing FROM ((TABLE kept EXCEPT TABLE counted) UNION ALL (TABLE counted EXCEPT TABLE kept)) AS different;

-- name: drop_message_bucket :exec
-- for: a bucket that is counted anew
-- in: grain, since, until
-- index: message_rollups primary key
-- note: all slices; followed by what counts it in the same transaction
DELETE FROM message_rollups WHERE grain = %(grain)s AND slice = ANY (ARRAY[0, 1, 2, 4, 5, 6, 8, 15]) AND bucket >= %(since)s AND bucket < %(until)s;

-- name: drop_failure_bucket :exec
-- for: a bucket that is counted anew
-- in: grain, since, until
-- index: failure_rollups primary key
-- note: all slices; followed by what counts it in the same transaction
DELETE FROM failure_rollups WHERE grain = %(grain)s AND slice = ANY (ARRAY[0, 1, 2, 4, 5, 6, 8, 15]) AND bucket >= %(since)s AND bucket < %(until)s;

-- name: drop_duration_bucket :exec
-- for: a bucket that is counted anew
-- in: grain, since, until
-- index: duration_rollups primary key
-- note: all slices; followed by what counts it in the same transaction
DELETE FROM duration_rollups WHERE grain = %(grain)s AND slice = ANY (ARRAY[0, 1, 2, 4, 5, 6, 8, 15]) AND bucket >= %(since)s AND bucket < %(until)s;
