-- name: add_message_counts :exec
-- for: messages by cohort and present status, kept by differences
-- in: rows of message_changes
-- index: message_rollups primary key
-- note: what cancels out inside the batch is not written at all
INSERT INTO message_rollups AS r (grain, bucket, campaign_id, channel, country, status, error_code, messages, sent, conflicts)
SELECT grain, bucket_of(grain, cohort_at), campaign_id, channel, country, status, error_code,
       sum(sign), sum(sign * is_sent::int), sum(sign * is_conflict::int)
FROM message_changes, (VALUES ('minute'), ('quarter')) AS grains (grain)
GROUP BY 1, 2, 3, 4, 5, 6, 7
HAVING sum(sign) <> 0 OR sum(sign * is_sent::int) <> 0 OR sum(sign * is_conflict::int) <> 0
ON CONFLICT (grain, bucket, campaign_id, channel, country, status, error_code) DO UPDATE
SET messages = r.messages + excluded.messages, sent = r.sent + excluded.sent, conflicts = r.conflicts + excluded.conflicts;

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
    SELECT coalesce(min(f.delivery_us), 0) AS fastest, coalesce(max(f.delivery_us), 0) AS slowest
    FROM messages m, fact_of(m) f
    WHERE m.cohort_at >= stale.bucket AND m.cohort_at < stale.bucket + CASE stale.grain WHEN 'minute' THEN interval '1 minute' ELSE interval '15 minutes' END
      AND f.campaign_id = stale.campaign_id AND f.channel = stale.channel AND f.country = stale.country
      AND sketch_index(f.delivery_us) = stale.idx
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
