-- name: add_message_counts :exec
-- for: messages by cohort and present status, kept by differences
-- in: rows of message_changes
-- index: message_rollups primary key
-- note: what cancels out inside the batch is not written at all; what has not reached the provider has no cohort yet
INSERT INTO message_rollups AS r (grain, bucket, campaign_id, channel, country, status, error_code, messages, sent, conflicts)
SELECT grain, bucket_of(grain, cohort_at), campaign_id, channel, country, status, error_code,
       sum(sign), sum(sign * is_sent::int), sum(sign * is_conflict::int)
FROM message_changes, (VALUES ('minute'), ('quarter')) AS grains (grain)
WHERE cohort_at IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6, 7
HAVING sum(sign) <> 0 OR sum(sign * is_sent::int) <> 0 OR sum(sign * is_conflict::int) <> 0
ON CONFLICT (grain, bucket, campaign_id, channel, country, status, error_code) DO UPDATE
SET messages = r.messages + excluded.messages, sent = r.sent + excluded.sent, conflicts = r.conflicts + excluded.conflicts;

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

-- name: add_delivery_times :exec
-- for: delivery times as sketch rows with exact sum, fastest and slowest
-- in: rows of message_changes
-- index: delivery_time_rollups primary key
-- note: a time is taken back only when a callback with an earlier receive time comes late; fastest and slowest of such
--       a row are then found again from its messages by correct_extremes. The sentinels never survive: a bucket without
--       messages is not read.
INSERT INTO delivery_time_rollups AS r (grain, bucket, campaign_id, channel, country, idx, messages, microseconds, fastest, slowest)
SELECT grain, bucket_of(grain, cohort_at), campaign_id, channel, country, sketch_index(delivery_us),
       sum(n), sum(n * delivery_us),
       coalesce(min(delivery_us) FILTER (WHERE n > 0), 9223372036854775807), coalesce(max(delivery_us) FILTER (WHERE n > 0), -1)
FROM (SELECT cohort_at, campaign_id, channel, country, delivery_us, sum(sign)::bigint AS n
      FROM message_changes WHERE delivery_us IS NOT NULL
      GROUP BY 1, 2, 3, 4, 5 HAVING sum(sign) <> 0) AS net, (VALUES ('minute'), ('quarter')) AS grains (grain)
GROUP BY 1, 2, 3, 4, 5, 6
ON CONFLICT (grain, bucket, campaign_id, channel, country, idx) DO UPDATE
SET messages = r.messages + excluded.messages, microseconds = r.microseconds + excluded.microseconds,
    fastest = least(r.fastest, excluded.fastest), slowest = greatest(r.slowest, excluded.slowest);

-- name: correct_extremes :exec
-- for: fastest and slowest of sketch rows from which a time was taken back
-- in: rows of message_changes
-- index: messages (cohort_at)
-- note: minimum and maximum cannot be subtracted; reads the raw rows of the few buckets concerned, mostly none
UPDATE delivery_time_rollups r
SET fastest = found.fastest, slowest = found.slowest
FROM (
    SELECT DISTINCT grain, bucket_of(grain, cohort_at) AS bucket, campaign_id, channel, country, sketch_index(delivery_us) AS idx
    FROM (SELECT cohort_at, campaign_id, channel, country, delivery_us FROM message_changes WHERE delivery_us IS NOT NULL
          GROUP BY 1, 2, 3, 4, 5 HAVING sum(sign) < 0) AS removed, (VALUES ('minute'), ('quarter')) AS grains (grain)
) AS stale, LATERAL (
    SELECT coalesce(min(m.delivery_us), 0) AS fastest, coalesce(max(m.delivery_us), 0) AS slowest
    FROM messages m
    WHERE m.cohort_at >= stale.bucket AND m.cohort_at < stale.bucket + CASE stale.grain WHEN 'minute' THEN interval '1 minute' ELSE interval '15 minutes' END
      AND coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000') = stale.campaign_id
      AND m.channel = stale.channel AND coalesce(m.country, '') = stale.country
      AND sketch_index(m.delivery_us) = stale.idx
) AS found
WHERE (r.grain, r.bucket, r.campaign_id, r.channel, r.country, r.idx) = (stale.grain, stale.bucket, stale.campaign_id, stale.channel, stale.country, stale.idx);

-- name: add_inbound_counts :exec
-- for: inbound messages by intent
-- in: rows of inbound_changes
-- index: inbound_rollups primary key
-- note: by differences, because a late word can turn a YES from general into start
INSERT INTO inbound_rollups AS r (grain, bucket, channel, intent, messages, immediate, auto_replied)
SELECT grain, bucket_of(grain, received_at), channel, intent, sum(sign), sum(sign * is_immediate::int), sum(sign * is_auto_replied::int)
FROM inbound_changes, (VALUES ('minute'), ('quarter')) AS grains (grain)
GROUP BY 1, 2, 3, 4
HAVING sum(sign) <> 0 OR sum(sign * is_immediate::int) <> 0 OR sum(sign * is_auto_replied::int) <> 0
ON CONFLICT (grain, bucket, channel, intent) DO UPDATE
SET messages = r.messages + excluded.messages, immediate = r.immediate + excluded.immediate, auto_replied = r.auto_replied + excluded.auto_replied;

-- name: add_consent_counts :exec
-- for: consent transitions
-- in: rows of consent_changes
-- index: consent_rollups primary key
-- note: by differences, because a late entry can take a transition back
INSERT INTO consent_rollups AS r (grain, bucket, from_state, to_state, source, transitions)
SELECT grain, bucket_of(grain, occurred_at), from_state, to_state, source, sum(sign)
FROM consent_changes, (VALUES ('minute'), ('quarter')) AS grains (grain)
GROUP BY 1, 2, 3, 4, 5
HAVING sum(sign) <> 0
ON CONFLICT (grain, bucket, from_state, to_state, source) DO UPDATE SET transitions = r.transitions + excluded.transitions;

-- name: add_user_counts :exec
-- for: users by consent state
-- in: rows of user_changes
-- index: user_rollups primary key
-- note: five rows at the most
INSERT INTO user_rollups AS r (consent_state, users)
SELECT consent_state, sum(sign) FROM user_changes GROUP BY 1 HAVING sum(sign) <> 0
ON CONFLICT (consent_state) DO UPDATE SET users = r.users + excluded.users;

-- name: count_by_status :many
-- for: messages of a scope by present status and channel
-- in: since, until; campaign_id, channel, country or NULL for all
-- out: status, channel, messages, sent, conflicts
-- index: message_rollups primary key; messages (cohort_at) for less than a minute at each end
-- note: cost follows the number of buckets, not of messages
SELECT status, channel, sum(messages)::bigint AS messages, sum(sent)::bigint AS sent, sum(conflicts)::bigint AS conflicts
FROM message_counts(%(since)s, %(until)s)
WHERE (%(campaign_id)s::uuid IS NULL OR campaign_id = %(campaign_id)s)
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s)
GROUP BY status, channel
HAVING sum(messages) > 0;

-- name: count_in_status :one
-- for: messages of a scope in one status; with until = 72 h ago and SENT: delivery unknown
-- in: as count_by_status; status
-- out: messages
-- index: as count_by_status
-- note: until may lie before since: nothing is counted then
SELECT coalesce(sum(messages), 0)::bigint AS messages
FROM message_counts(%(since)s, greatest(%(since)s::timestamptz, %(until)s))
WHERE status = %(status)s
  AND (%(campaign_id)s::uuid IS NULL OR campaign_id = %(campaign_id)s)
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s);

-- name: list_delivery_times :many
-- for: the sketch of delivery times of a scope
-- in: as count_by_status
-- out: idx (sketch_index), messages, microseconds (sum), fastest, slowest (microseconds)
-- index: delivery_time_rollups primary key
-- note: some hundred rows at the most, whatever the number of messages
SELECT idx, sum(messages)::bigint AS messages, sum(microseconds)::bigint AS microseconds, min(fastest) AS fastest, max(slowest) AS slowest
FROM delivery_time_counts(%(since)s, %(until)s)
WHERE (%(campaign_id)s::uuid IS NULL OR campaign_id = %(campaign_id)s)
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s)
GROUP BY idx;

-- name: list_bin_counts :many
-- for: the series of messages by state
-- in: as count_by_status; bins timestamptz[], ascending starts that cover the window
-- out: bin (start), sent, delivered, failed, in_flight (messages)
-- index: as count_by_status
-- note: the bins come from outside, because local days are not of equal length
SELECT (%(bins)s::timestamptz[])[width_bucket(at, %(bins)s::timestamptz[])] AS bin,
       sum(sent)::bigint AS sent,
       coalesce(sum(messages) FILTER (WHERE status IN ('DELIVERED', 'READ')), 0)::bigint AS delivered,
       coalesce(sum(messages) FILTER (WHERE status IN ('FAILED', 'UNDELIVERED')), 0)::bigint AS failed,
       coalesce(sum(messages) FILTER (WHERE status IN ('ACCEPTED', 'SCHEDULED', 'QUEUED', 'SENDING', 'SENT')), 0)::bigint AS in_flight
FROM message_counts(%(since)s, %(until)s)
WHERE (%(campaign_id)s::uuid IS NULL OR campaign_id = %(campaign_id)s)
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s)
GROUP BY bin;

-- name: list_bin_times :many
-- for: the series of delivery-time sketches
-- in: as list_bin_counts
-- out: bin (start), idx, messages
-- index: delivery_time_rollups primary key
-- note: percentiles are taken from the sketch of each bin
SELECT (%(bins)s::timestamptz[])[width_bucket(at, %(bins)s::timestamptz[])] AS bin, idx, sum(messages)::bigint AS messages
FROM delivery_time_counts(%(since)s, %(until)s)
WHERE (%(campaign_id)s::uuid IS NULL OR campaign_id = %(campaign_id)s)
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s)
GROUP BY bin, idx;

-- name: count_failures :many
-- for: failed messages of a scope by error code and country
-- in: as count_by_status
-- out: error_code (0: none named), country ('': unknown), messages
-- index: as count_by_status
-- note: one pass serves both breakdowns
SELECT error_code, country, sum(messages)::bigint AS messages
FROM message_counts(%(since)s, %(until)s)
WHERE status IN ('FAILED', 'UNDELIVERED')
  AND (%(campaign_id)s::uuid IS NULL OR campaign_id = %(campaign_id)s)
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s)
GROUP BY error_code, country
HAVING sum(messages) > 0;

-- name: count_failed :one
-- for: failed messages of a scope
-- in: as count_by_status
-- out: messages
-- index: as count_by_status
-- note: the window before, for the trend
SELECT coalesce(sum(messages), 0)::bigint AS messages
FROM message_counts(%(since)s, %(until)s)
WHERE status IN ('FAILED', 'UNDELIVERED')
  AND (%(campaign_id)s::uuid IS NULL OR campaign_id = %(campaign_id)s)
  AND (%(channel)s::text IS NULL OR channel = %(channel)s)
  AND (%(country)s::text IS NULL OR country = %(country)s);

-- name: list_inbound_hours :many
-- for: inbound messages by local day, local hour and intent
-- in: since, until; zone (tz database name)
-- out: day, hour (0..23), intent, messages, immediate, auto_replied
-- index: inbound_rollups primary key
-- note: quarter-hours add up to local hours in every zone
SELECT (at AT TIME ZONE %(zone)s)::date AS day, extract(hour FROM at AT TIME ZONE %(zone)s)::integer AS hour, intent,
       sum(messages)::bigint AS messages, sum(immediate)::bigint AS immediate, sum(auto_replied)::bigint AS auto_replied
FROM inbound_counts(%(since)s, %(until)s)
GROUP BY day, hour, intent
HAVING sum(messages) > 0;

-- name: count_senders :one
-- for: people who wrote in a window
-- in: since, until
-- out: senders
-- index: inbound_events (received_at)
-- note: exact, and so the one figure here whose cost grows with the inbound messages of the window
SELECT count(DISTINCT from_phone) AS senders FROM inbound_events WHERE received_at >= %(since)s AND received_at < %(until)s;

-- name: count_intent :one
-- for: inbound messages with one intent
-- in: since, until; intent
-- out: messages
-- index: inbound_rollups primary key
-- note: exact for any instants
SELECT coalesce(sum(messages), 0)::bigint AS messages FROM inbound_counts(%(since)s, %(until)s) WHERE intent = %(intent)s;

-- name: count_users :many
-- for: users by consent state
-- out: consent_state, users
-- index: user_rollups primary key
-- note: four rows
SELECT consent_state, users FROM user_rollups WHERE users > 0;

-- name: count_opt_outs :one
-- for: transitions into OPT_OUT or STOP
-- in: since, until
-- out: opt_outs
-- index: consent_rollups primary key
-- note: a second STOP of the same person is no transition
SELECT coalesce(sum(transitions), 0)::bigint AS opt_outs
FROM consent_counts(%(since)s, %(until)s)
WHERE to_state IN ('OPT_OUT', 'STOP');

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
-- note: quarter-hours of each campaign's own time only; both grains are kept up to date together
SELECT c.campaign_id, coalesce(sum(r.sent), 0)::bigint AS sent
FROM unnest(%(campaign_ids)s::uuid[], %(since)s::timestamptz[], %(until)s::timestamptz[]) AS c (campaign_id, since, until)
LEFT JOIN message_rollups r
    ON r.grain = 'quarter' AND r.bucket >= bucket_of('quarter', c.since) AND r.bucket < c.until AND r.campaign_id = c.campaign_id
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
