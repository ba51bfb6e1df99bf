-- name: add_notices :exec
-- for: what is told, once for all channels
-- in: key uuid[], kind, severity, labels (JSON), title, body, facts (JSON), path, html text[], episode_id uuid[], at timestamptz[], of equal length
-- index: notices primary key
-- note: ordered by key, so that two evaluators wait for each other instead of locking each other out
INSERT INTO notices (key, kind, severity, labels, episode_id, title, body, facts, path, at, html)
SELECT key, kind, severity, labels::jsonb, episode_id, title, body, facts::jsonb, path, at, html
FROM unnest(%(key)s::uuid[], %(kind)s::text[], %(severity)s::text[], %(labels)s::text[], %(episode_id)s::uuid[],
            %(title)s::text[], %(body)s::text[], %(facts)s::text[], %(path)s::text[], %(at)s::timestamptz[],
            %(html)s::text[])
     AS given (key, kind, severity, labels, episode_id, title, body, facts, path, at, html)
ORDER BY key
ON CONFLICT (key) DO NOTHING;

-- name: queue_deliveries :exec
-- for: notices on their way to channels
-- in: key uuid[], group_key text[] of equal length; named uuid[] (NULL: by the routes)
-- out: row count
-- index: notices primary key and (episode_id, at), notice_deliveries (notice_key, channel_id)
-- note: told locks the deliveries of the episode's earlier notices against handing over to a fallback meanwhile: whoever
--       comes second sees what the first did, so a fallback that heard of the fire hears of its end. Regular expressions
--       are matched here, because PostgreSQL's need no backtracking: no pattern can hold up a worker. What waits for the
--       channel of the same episode gives its group, so that both go out together and in order.
WITH given AS (
    SELECT n.*, g.group_key
    FROM unnest(%(key)s::uuid[], %(group_key)s::text[]) AS g (key, group_key) JOIN notices n USING (key)
), told AS MATERIALIZED (
    SELECT g.key, d.channel_id, d.fallback_id, d.fallback_at - d.queued_at AS fallback_after, d.passed_at
    FROM given g
    JOIN notices e ON e.episode_id = g.episode_id AND e.key <> g.key
    JOIN notice_deliveries d ON d.notice_key = e.key
    WHERE g.kind LIKE '%%.resolved'
    FOR SHARE OF d
), matching AS (
    SELECT g.key, r.position, r.channel_id, r.fallback_id, make_interval(secs => r.fallback_after_seconds) AS fallback_after,
           make_interval(secs => r.group_wait_seconds) AS group_wait
    FROM given g CROSS JOIN notification_routes r
    WHERE (r.severities = '{}' OR g.severity = ANY (r.severities))
      AND (r.kinds = '{}' OR g.kind = ANY (r.kinds))
      AND NOT EXISTS (
          SELECT FROM jsonb_to_recordset(r.matchers) AS m (label text, value text, is_regex boolean)
          WHERE CASE WHEN m.is_regex THEN coalesce(g.labels ->> m.label, '') !~ ('^(?:' || m.value || ')$')
                     ELSE coalesce(g.labels ->> m.label, '') <> m.value END)
), chosen (key, rank, channel_id, fallback_id, fallback_after, group_wait) AS (
    SELECT key, 0, channel_id, fallback_id, fallback_after, interval '0' FROM told
    UNION ALL
    SELECT key, 0, fallback_id, NULL, NULL, interval '0' FROM told WHERE passed_at IS NOT NULL
    UNION ALL
    SELECT g.key, 1, c.id, NULL, NULL, interval '0'
    FROM given g JOIN notification_channels c ON c.id = ANY (%(named)s::uuid[])
    UNION ALL
    SELECT m.key, 2 + m.position, CASE WHEN c.is_enabled THEN m.channel_id ELSE m.fallback_id END,
           CASE WHEN c.is_enabled THEN m.fallback_id END, CASE WHEN c.is_enabled THEN m.fallback_after END, m.group_wait
    FROM matching m JOIN given g USING (key) JOIN notification_channels c ON c.id = m.channel_id
    WHERE %(named)s::uuid[] IS NULL AND g.kind NOT LIKE '%%.resolved'
    UNION ALL
    SELECT g.key, 2, c.id, NULL, NULL, interval '0'
    FROM given g CROSS JOIN notification_channels c
    WHERE %(named)s::uuid[] IS NULL AND g.kind NOT LIKE '%%.resolved' AND NOT EXISTS (SELECT FROM notification_routes)
)
INSERT INTO notice_deliveries (notice_key, channel_id, group_key, queued_at, due_at, expires_at, fallback_id, fallback_at)
SELECT DISTINCT ON (g.at, g.key, c.id) g.key, c.id, coalesce(w.group_key, g.group_key), g.at, g.at + chosen.group_wait,
       g.at + interval '24 hours', chosen.fallback_id, CASE WHEN chosen.fallback_id IS NOT NULL THEN g.at + chosen.fallback_after END
FROM chosen
JOIN given g USING (key)
JOIN notification_channels c ON c.id = chosen.channel_id AND c.is_enabled AND c.removed_at IS NULL
LEFT JOIN LATERAL (
    SELECT d.group_key
    FROM notices e JOIN notice_deliveries d ON d.notice_key = e.key AND d.channel_id = c.id AND d.state = 'waiting'
    WHERE e.episode_id = g.episode_id
    ORDER BY d.id LIMIT 1) AS w ON true
ORDER BY g.at, g.key, c.id, chosen.rank
ON CONFLICT (notice_key, channel_id) DO NOTHING;

-- name: list_channels :many
-- for: the channels with how they are doing
-- out: id, name, kind, shown_target, is_enabled, created_at, failing_since; waiting (deliveries); last_at, last_result and
--      last_answer of the last attempt (NULL: none yet)
-- index: notice_deliveries_waiting, notice_deliveries_channel, notice_attempts primary key
-- note: the last attempt is looked for among the last hundred deliveries of the channel: one may wait while others go out
SELECT c.id, c.name, c.kind, c.shown_target, c.is_enabled, c.created_at, c.failing_since,
       (SELECT count(*) FROM notice_deliveries d WHERE d.channel_id = c.id AND d.state = 'waiting') AS waiting,
       l.at AS last_at, l.result AS last_result, l.answer AS last_answer
FROM notification_channels c
LEFT JOIN LATERAL (
    SELECT a.at, a.result, a.answer
    FROM (SELECT d.id FROM notice_deliveries d WHERE d.channel_id = c.id ORDER BY d.id DESC LIMIT 100) AS recent
    JOIN notice_attempts a ON a.delivery_id = recent.id
    ORDER BY a.at DESC LIMIT 1) AS l ON true
WHERE c.removed_at IS NULL
ORDER BY lower(c.name);

-- name: create_channel :exec
-- for: a new channel
-- in: id, name, kind, sealed_target, shown_target, is_enabled, now
-- note: a name that is taken is refused by the index
INSERT INTO notification_channels (id, name, kind, sealed_target, shown_target, is_enabled, created_at, refresh_at)
VALUES (%(id)s, %(name)s, %(kind)s, %(sealed_target)s, %(shown_target)s, %(is_enabled)s, %(now)s, CASE WHEN %(kind)s = 'alertmanager' THEN %(now)s END);

-- name: change_channel :exec
-- for: a channel's new content
-- in: id, name, is_enabled; sealed_target, shown_target (NULL: as they are)
-- out: row count
-- index: notification_channels primary key
-- note: what is on its way while the address changes was claimed with the old one and goes there
UPDATE notification_channels
SET name = %(name)s, is_enabled = %(is_enabled)s, sealed_target = coalesce(%(sealed_target)s, sealed_target),
    shown_target = coalesce(%(shown_target)s, shown_target)
WHERE id = %(id)s AND removed_at IS NULL;

-- name: remove_channel :exec
-- for: a channel that is no more: its address is gone, its history stays
-- in: id, now
-- out: row count
-- index: notification_channels primary key
-- note: what waits is given up by the next look at the outbox, after its fallback has been told
UPDATE notification_channels SET removed_at = %(now)s, sealed_target = NULL, is_enabled = false
WHERE id = %(id)s AND removed_at IS NULL;

-- name: list_routes_of_channel :many
-- for: whether a channel is needed
-- in: id
-- out: position
-- note: a handful of routes
SELECT position FROM notification_routes WHERE channel_id = %(id)s OR fallback_id = %(id)s ORDER BY position;

-- name: list_routes :many
-- for: the routes in order
-- out: id, severities, kinds, matchers (JSON), channel_id, fallback_id, fallback_after_seconds, group_wait_seconds
-- note: a handful of rows
SELECT id, severities, kinds, matchers, channel_id, fallback_id, fallback_after_seconds, group_wait_seconds
FROM notification_routes ORDER BY position;

-- name: lock_routes :exec
-- for: new routes in place of all there are
-- note: the first statement of that: SHARE ROW EXCLUSIVE makes a second person wait, and nobody who queues
LOCK TABLE notification_routes IN SHARE ROW EXCLUSIVE MODE;

-- name: delete_routes :exec
-- for: new routes in place of all there are
-- note: with the insert in one transaction, so that nobody queues without routes
DELETE FROM notification_routes;

-- name: add_routes :exec
-- for: the routes in order
-- in: id uuid[], severities, kinds, matchers text[] (JSON), channel_id, fallback_id uuid[], fallback_after_seconds, group_wait_seconds integer[] of equal length; now
-- note: arrays of arrays travel as JSON, because PostgreSQL's have one length for all
INSERT INTO notification_routes (id, position, severities, kinds, matchers, channel_id, fallback_id, fallback_after_seconds, group_wait_seconds, created_at)
SELECT id, position, ARRAY(SELECT jsonb_array_elements_text(severities::jsonb)), ARRAY(SELECT jsonb_array_elements_text(kinds::jsonb)),
       matchers::jsonb, channel_id, fallback_id, fallback_after_seconds, group_wait_seconds, %(now)s
FROM unnest(%(id)s::uuid[], %(severities)s::text[], %(kinds)s::text[], %(matchers)s::text[], %(channel_id)s::uuid[], %(fallback_id)s::uuid[],
            %(fallback_after_seconds)s::integer[], %(group_wait_seconds)s::integer[]) WITH ORDINALITY
     AS r (id, severities, kinds, matchers, channel_id, fallback_id, fallback_after_seconds, group_wait_seconds, position);

-- name: try_pattern :exec
-- for: whether PostgreSQL can read a regular expression
-- in: pattern
-- note: an error says that it cannot
SELECT '' ~ ('^(?:' || %(pattern)s || ')$');

-- name: claim_channels :many
-- for: channels with something to send, each for one worker
-- in: now, lease_until, most
-- out: id, claim_id, kind, sealed_target
-- index: notice_deliveries_waiting
-- note: NO KEY, so that queueing (whose foreign key takes a KEY SHARE lock) neither waits nor is waited for
WITH ready AS (
    SELECT c.id FROM notification_channels c
    WHERE c.is_enabled AND (c.claim_id IS NULL OR c.lease_until <= %(now)s)
      AND (c.refresh_at <= %(now)s
           OR EXISTS (SELECT FROM notice_deliveries d WHERE d.channel_id = c.id AND d.state = 'waiting' AND d.due_at <= %(now)s))
    ORDER BY c.id LIMIT %(most)s
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE notification_channels c
SET claim_id = gen_random_uuid(), lease_until = %(lease_until)s
FROM ready WHERE c.id = ready.id
RETURNING c.id, c.claim_id, c.kind, c.sealed_target;

-- name: list_due :many
-- for: what goes out next to a claimed channel: of the group that has waited longest, all that waits
-- in: channel_id, now, most
-- out: delivery_id, attempts, group_key and the notice
-- index: notice_deliveries_waiting
-- note: also what is not due yet: a resolved one must not pass the fired one before it, whose turn is later after a failure
SELECT d.id AS delivery_id, d.attempts, d.group_key, n.key, n.kind, n.severity, n.labels, n.episode_id, n.title, n.body, n.facts, n.path, n.at, n.html
FROM notice_deliveries d JOIN notices n ON n.key = d.notice_key
WHERE d.channel_id = %(channel_id)s AND d.state = 'waiting'
  AND d.group_key = (SELECT g.group_key FROM notice_deliveries g
                     WHERE g.channel_id = %(channel_id)s AND g.state = 'waiting' AND g.due_at <= %(now)s
                     ORDER BY g.due_at, g.id LIMIT 1)
ORDER BY n.at, d.id
LIMIT %(most)s;

-- name: list_episodes :many
-- for: what an Alertmanager is to know: the episodes it is about to be told of, and those it must not forget
-- in: channel_id, delivery_ids bigint[] (about to be told)
-- out: id, labels, name, severity, starts_at (of the first notice), ends_at, title, body, facts, path (of the last)
-- index: notice_deliveries_channel
-- note: labels of the first notice, because by them Alertmanager knows an alert: it could not end one whose labels changed.
--       What belongs to no episode ends by itself after five minutes.
WITH told AS (
    SELECT coalesce(n.episode_id, n.key) AS id, n.*, d.id AS delivery_id, d.id = ANY (%(delivery_ids)s::bigint[]) AS is_new
    FROM notice_deliveries d JOIN notices n ON n.key = d.notice_key
    WHERE d.channel_id = %(channel_id)s
      AND (d.id = ANY (%(delivery_ids)s::bigint[]) OR (d.state = 'delivered' AND n.episode_id IS NOT NULL))
), episodes AS (
    SELECT t.id, bool_or(t.is_new) AS is_new, (array_agg(t.delivery_id ORDER BY t.at, t.delivery_id))[1] AS first,
           (array_agg(t.delivery_id ORDER BY t.at DESC, t.delivery_id DESC))[1] AS last,
           max(t.at) FILTER (WHERE t.kind LIKE '%%.resolved') AS resolved_at
    FROM told t GROUP BY t.id
)
SELECT e.id, f.labels, coalesce(f.labels ->> 'alertname', f.title) AS name, f.severity, f.at AS starts_at,
       coalesce(e.resolved_at, CASE WHEN f.episode_id IS NULL THEN f.at + interval '5 minutes' END) AS ends_at, l.title, l.body, l.facts, l.path
FROM episodes e JOIN told f ON f.delivery_id = e.first JOIN told l ON l.delivery_id = e.last
WHERE e.is_new OR e.resolved_at IS NULL
ORDER BY f.at, e.id;

-- name: end_claim :exec
-- for: letting a channel go, with how it is doing
-- in: channel_id, claim_id, is_delivered (NULL: nothing was sent), now, refresh_at
-- out: row count; 0: the lease ran out and another worker has the channel
-- index: notification_channels primary key
-- note: first of the transaction, so that whoever lost the claim writes nothing
UPDATE notification_channels
SET claim_id = NULL, lease_until = NULL,
    failing_since = CASE %(is_delivered)s::boolean WHEN true THEN NULL WHEN false THEN coalesce(failing_since, %(now)s) ELSE failing_since END,
    refresh_at = CASE WHEN kind = 'alertmanager' THEN %(refresh_at)s::timestamptz END
WHERE id = %(channel_id)s AND claim_id = %(claim_id)s;

-- name: note_attempts :exec
-- for: the history of an attempt
-- in: delivery_ids bigint[], now, took_ms, result, answer
-- index: notice_deliveries primary key
-- note: before settle, which counts it
INSERT INTO notice_attempts (delivery_id, number, at, took_ms, result, answer)
SELECT id, attempts + 1, %(now)s, %(took_ms)s, %(result)s, %(answer)s FROM notice_deliveries WHERE id = ANY (%(delivery_ids)s::bigint[]);

-- name: settle :exec
-- for: what came of an attempt: delivered, refused for good, or due again
-- in: delivery_ids bigint[], result, now, due_at
-- index: notice_deliveries primary key
-- note: what was refused goes to the fallback at once
UPDATE notice_deliveries
SET attempts = attempts + 1,
    state = CASE WHEN %(result)s = 'delivered' THEN 'delivered' WHEN %(result)s = 'refused' OR expires_at <= %(now)s THEN 'failed' ELSE 'waiting' END,
    ended_at = CASE WHEN %(result)s <> 'postponed' OR expires_at <= %(now)s THEN %(now)s::timestamptz END,
    due_at = CASE WHEN %(result)s = 'postponed' THEN %(due_at)s ELSE due_at END,
    fallback_at = CASE WHEN %(result)s = 'refused' AND fallback_id IS NOT NULL THEN %(now)s ELSE fallback_at END
WHERE id = ANY (%(delivery_ids)s::bigint[]) AND state = 'waiting';

-- name: hasten_others :exec
-- for: a channel that is back: what waited for its next try goes now
-- in: channel_id, now
-- index: notice_deliveries_waiting
-- note: only what has been tried; a group that is being waited for goes on waiting
UPDATE notice_deliveries SET due_at = %(now)s
WHERE channel_id = %(channel_id)s AND state = 'waiting' AND due_at > %(now)s AND attempts > 0;

-- name: mark_passed :many
-- for: deliveries whose fallback is to be told now
-- in: now
-- out: id
-- index: notice_deliveries_fallback
-- note: only what has failed once, or could not be tried: after a night without workers the channel itself gets its chance.
--       Rows locked by queue_deliveries are left for the next time.
WITH late AS (
    SELECT d.id FROM notice_deliveries d JOIN notification_channels c ON c.id = d.channel_id
    WHERE d.passed_at IS NULL AND d.fallback_id IS NOT NULL AND d.state <> 'delivered'
      AND (d.fallback_at <= %(now)s AND d.attempts > 0 OR NOT c.is_enabled)
    ORDER BY d.id
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE notice_deliveries d SET passed_at = %(now)s FROM late WHERE d.id = late.id RETURNING d.id;

-- name: queue_fallbacks :exec
-- for: notices on their way to fallbacks, and what has followed them in their episodes
-- in: ids bigint[] (passed on), now
-- index: notice_deliveries primary key and (notice_key, channel_id), notices_episode
-- note: a statement of its own after mark_passed: only its snapshot shows a "resolved" that was queued while that waited
INSERT INTO notice_deliveries (notice_key, channel_id, group_key, queued_at, due_at, expires_at)
SELECT DISTINCT ON (f.at, f.key, p.fallback_id) f.key, p.fallback_id, p.group_key, %(now)s, %(now)s, %(now)s::timestamptz + interval '24 hours'
FROM notice_deliveries p
JOIN notification_channels c ON c.id = p.fallback_id AND c.is_enabled
JOIN notices n ON n.key = p.notice_key
JOIN notices f ON f.key = n.key OR (f.episode_id = n.episode_id AND f.at >= n.at)
JOIN notice_deliveries d ON d.notice_key = f.key AND d.channel_id = p.channel_id
WHERE p.id = ANY (%(ids)s::bigint[])
ORDER BY f.at, f.key, p.fallback_id
ON CONFLICT (notice_key, channel_id) DO NOTHING;

-- name: give_up :exec
-- for: what waits for a channel that is switched off or removed
-- in: now
-- index: notice_deliveries_waiting
-- note: an enabled channel is always tried once more before it is given up, by settle
UPDATE notice_deliveries d SET state = 'failed', ended_at = %(now)s
FROM notification_channels c
WHERE c.id = d.channel_id AND NOT c.is_enabled AND d.state = 'waiting' AND (d.expires_at <= %(now)s OR c.removed_at IS NOT NULL);

-- name: forget_notices :exec
-- for: history that has run out
-- in: before, most
-- index: notices_at
-- note: deliveries and attempts go with their notice; some at a time, so that nobody waits long
DELETE FROM notices WHERE key IN (
    SELECT n.key FROM notices n
    WHERE n.at < %(before)s
      AND NOT EXISTS (SELECT FROM notice_deliveries d WHERE d.notice_key = n.key AND d.state = 'waiting')
    LIMIT %(most)s);

-- name: list_deliveries :many
-- for: the history, newest first, and what waits
-- in: before_id (NULL: from the newest), channel_id, state (NULL: all), key (NULL: of all notices), most
-- out: id, kind, severity, title, path; channel_id, channel_name; state, queued_at, due_at, ended_at, attempts, passed_at;
--      last_at, last_result, last_answer, last_took_ms (NULL: not tried)
-- index: notice_deliveries primary key, notice_deliveries_channel, notice_attempts primary key
-- note: by place and not by OFFSET
SELECT d.id, n.key, n.kind, n.severity, n.title, n.path, d.channel_id, c.name AS channel_name, d.state, d.queued_at, d.due_at, d.ended_at,
       d.attempts, d.passed_at, a.at AS last_at, a.result AS last_result, a.answer AS last_answer, a.took_ms AS last_took_ms
FROM notice_deliveries d
JOIN notices n ON n.key = d.notice_key
JOIN notification_channels c ON c.id = d.channel_id
LEFT JOIN notice_attempts a ON a.delivery_id = d.id AND a.number = d.attempts
WHERE (%(before_id)s::bigint IS NULL OR d.id < %(before_id)s) AND (%(channel_id)s::uuid IS NULL OR d.channel_id = %(channel_id)s)
  AND (%(state)s::text IS NULL OR d.state = %(state)s) AND (%(key)s::uuid IS NULL OR n.key = %(key)s)
ORDER BY d.id DESC
LIMIT %(most)s;

-- name: list_attempts :many
-- for: every attempt of one delivery
-- in: delivery_id
-- out: number, at, took_ms, result, answer
-- index: notice_attempts primary key
-- note: about a hundred in a day of failing
SELECT number, at, took_ms, result, answer FROM notice_attempts WHERE delivery_id = %(delivery_id)s ORDER BY number;

-- name: retry_delivery :maybe
-- for: trying once more at a person's word
-- in: id, now
-- out: key, channel_name
-- index: notice_deliveries primary key
-- note: a day begins anew; nothing for what is delivered, or a channel that is no more
UPDATE notice_deliveries d
SET state = 'waiting', ended_at = NULL, due_at = %(now)s, expires_at = %(now)s::timestamptz + interval '24 hours'
FROM notification_channels c
WHERE d.id = %(id)s AND c.id = d.channel_id AND c.is_enabled AND d.state <> 'delivered'
RETURNING d.notice_key AS key, c.name AS channel_name;
