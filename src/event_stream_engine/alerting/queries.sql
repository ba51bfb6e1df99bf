------------------------------------------------------------------------------------------------------------------
-- rules
------------------------------------------------------------------------------------------------------------------

-- name: list_rules :many
-- for: what is watched, at every tick and on the page
-- out: the columns of alert_rules
-- note: some dozens of rows
SELECT id, name, metric, scope, scope_filter, window_seconds, comparison, threshold, clear_threshold, minimum_sample, for_seconds, keep_seconds, severity, labels, inhibits,
       runbook_url, opens_incident, action, action_percent, is_enabled, configuration, created_at, changed_at
FROM alert_rules ORDER BY name;

-- name: find_rule :maybe
-- for: one rule that somebody looks at or changes
-- in: id
-- out: as list_rules
-- index: alert_rules primary key
-- note: also in a read-only snapshot
SELECT id, name, metric, scope, scope_filter, window_seconds, comparison, threshold, clear_threshold, minimum_sample, for_seconds, keep_seconds, severity, labels, inhibits,
       runbook_url, opens_incident, action, action_percent, is_enabled, configuration, created_at, changed_at
FROM alert_rules WHERE id = %(id)s;

-- name: lock_rule :exec
-- for: changes of one rule, which follow each other
-- in: id
-- index: alert_rules primary key
-- note: held until the end of the transaction, so that the trail tells each change against the one before it
SELECT FROM alert_rules WHERE id = %(id)s FOR NO KEY UPDATE;

-- name: find_rule_id :maybe
-- for: names that alerts can be told apart by
-- in: name
-- out: id
-- index: alert_rules (name)
-- note: the unique index has the last word, when two take a name at once
SELECT id FROM alert_rules WHERE name = btrim(%(name)s);

-- name: put_rule :exec
-- for: a rule made or changed
-- in: the columns of alert_rules; now
-- index: alert_rules primary key
-- note: one statement for both, so that no column is forgotten in one of them; what a rule measures never changes
INSERT INTO alert_rules (id, name, metric, scope, scope_filter, window_seconds, comparison, threshold, clear_threshold, minimum_sample, for_seconds, keep_seconds, severity, labels,
    inhibits, runbook_url, opens_incident, action, action_percent, is_enabled, created_at, changed_at)
VALUES (%(id)s, %(name)s, %(metric)s, %(scope)s, %(scope_filter)s, %(window_seconds)s, %(comparison)s, %(threshold)s, %(clear_threshold)s, %(minimum_sample)s, %(for_seconds)s,
    %(keep_seconds)s, %(severity)s, %(labels)s, %(inhibits)s, %(runbook_url)s, %(opens_incident)s, %(action)s, %(action_percent)s, %(is_enabled)s, %(now)s, %(now)s)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, window_seconds = excluded.window_seconds, comparison = excluded.comparison, threshold = excluded.threshold,
    clear_threshold = excluded.clear_threshold, minimum_sample = excluded.minimum_sample, for_seconds = excluded.for_seconds, keep_seconds = excluded.keep_seconds,
    severity = excluded.severity, labels = excluded.labels, inhibits = excluded.inhibits, runbook_url = excluded.runbook_url, opens_incident = excluded.opens_incident,
    action = excluded.action, action_percent = excluded.action_percent, is_enabled = excluded.is_enabled, changed_at = excluded.changed_at;

-- name: delete_rule :exec
-- for: a rule that is wanted no longer
-- in: id
-- index: alert_rules primary key
-- note: its states go with it; its episodes stay, and the next tick resolves those that are open
DELETE FROM alert_rules WHERE id = %(id)s;

------------------------------------------------------------------------------------------------------------------
-- measuring
------------------------------------------------------------------------------------------------------------------

-- name: measure_messages :many
-- for: what rules over messages ask: the counts of each subject of a scope
-- in: scope (all, campaign, channel, country) and its slice; since (NULL: from the first followed campaign's start), until;
--     young_since; code (NULL: none); followed_since: campaigns that ended later, or not yet, are followed
-- out: subject; messages, sent, delivered, failed, stopped, young (in flight since young_since), coded (failed with the code)
-- index: message_rollups and failure_rollups primary keys; messages (cohort_at) for less than a minute at each end
-- note: one query for all subjects; cost follows the number of buckets. A followed campaign has a row also without messages,
--       so that a campaign without a row is one that is over.
WITH followed AS (
    SELECT c.id, c.started_at FROM campaigns c
    WHERE %(scope)s = 'campaign' AND c.started_at IS NOT NULL AND (c.state IN ('running', 'paused') OR c.finished_at >= %(followed_since)s)
), span AS MATERIALIZED (
    SELECT coalesce(%(since)s::timestamptz, min(f.started_at)) AS since FROM followed f
), counted AS (
    SELECT m.campaign_id, m.channel, m.country, m.messages, m.sent, m.now_delivered + m.now_read AS delivered, m.now_failed + m.now_undelivered AS failed, m.stopped, 0 AS young, 0 AS coded
    FROM message_counts((SELECT s.since FROM span s), %(until)s, %(slice)s, 'month') AS m
    UNION ALL
    SELECT m.campaign_id, m.channel, m.country, 0, 0, 0, 0, 0, m.now_accepted + m.now_scheduled + m.now_queued + m.now_sending + m.now_sent, 0
    FROM message_counts(greatest((SELECT s.since FROM span s), %(young_since)s), %(until)s, %(slice)s, 'month') AS m
    UNION ALL
    SELECT f.campaign_id, f.channel, f.country, 0, 0, 0, 0, 0, 0, f.failed
    FROM failure_counts((SELECT s.since FROM span s), %(until)s, %(slice)s, 'month') AS f
    WHERE %(code)s::integer IS NOT NULL AND f.error_code = %(code)s
), summed AS (
    SELECT CASE %(scope)s WHEN 'campaign' THEN 'campaign:' || campaign_id WHEN 'channel' THEN 'channel:' || channel WHEN 'country' THEN 'country:' || country ELSE 'all' END AS subject,
           sum(messages)::bigint AS messages, sum(sent)::bigint AS sent, sum(delivered)::bigint AS delivered, sum(failed)::bigint AS failed, sum(stopped)::bigint AS stopped,
           sum(young)::bigint AS young, sum(coded)::bigint AS coded
    FROM counted
    GROUP BY 1
)
SELECT subject, messages, sent, delivered, failed, stopped, young, coded FROM summed WHERE %(scope)s <> 'campaign' AND subject <> 'country:'
UNION ALL
SELECT 'campaign:' || f.id, coalesce(messages, 0), coalesce(sent, 0), coalesce(delivered, 0), coalesce(failed, 0), coalesce(stopped, 0), coalesce(young, 0), coalesce(coded, 0)
FROM followed f LEFT JOIN summed s ON s.subject = 'campaign:' || f.id;

-- name: list_message_bins :many
-- for: the past of what rules over messages ask, by quarter-hour
-- in: as measure_messages; whole quarter-hours
-- out: bin, subject, and as measure_messages; young is 0
-- index: as measure_messages
-- note: what became of the messages since then is what is counted, which is more than was known at the time
SELECT bin, subject, sum(messages)::bigint AS messages, sum(sent)::bigint AS sent, sum(delivered)::bigint AS delivered, sum(failed)::bigint AS failed, sum(stopped)::bigint AS stopped,
       0::bigint AS young, sum(coded)::bigint AS coded
FROM (
    SELECT at, campaign_id, channel, country, messages, sent, now_delivered + now_read AS delivered, now_failed + now_undelivered AS failed, stopped, 0 AS coded
    FROM message_counts(%(since)s, %(until)s, %(slice)s, 'quarter')
    UNION ALL
    SELECT at, campaign_id, channel, country, 0, 0, 0, 0, 0, failed
    FROM failure_counts(%(since)s, %(until)s, %(slice)s, 'quarter')
    WHERE %(code)s::integer IS NOT NULL AND error_code = %(code)s
) AS counted
CROSS JOIN LATERAL (SELECT bucket_of('quarter', at) AS bin,
    CASE %(scope)s WHEN 'campaign' THEN 'campaign:' || campaign_id WHEN 'channel' THEN 'channel:' || channel WHEN 'country' THEN 'country:' || country ELSE 'all' END AS subject) AS named
WHERE %(scope)s <> 'campaign' OR campaign_id IN (SELECT c.id FROM campaigns c WHERE c.started_at >= %(since)s)
GROUP BY bin, subject;

-- name: measure_violations :many
-- for: what the check of compliance found of late
-- in: scope (all or campaign); kinds text[]; since; followed_since as in measure_messages
-- out: subject; violations
-- index: compliance_violations_found
-- note: by when it was found: what is learned of late is news all the same
SELECT 'all' AS subject, count(*) AS violations FROM compliance_violations v
WHERE %(scope)s = 'all' AND v.kind = ANY (%(kinds)s) AND v.found_at >= %(since)s
HAVING %(scope)s = 'all'
UNION ALL
SELECT 'campaign:' || c.id, (SELECT count(*) FROM compliance_violations v WHERE v.campaign_id = c.id AND v.kind = ANY (%(kinds)s) AND v.found_at >= %(since)s)
FROM campaigns c
WHERE %(scope)s = 'campaign' AND c.started_at IS NOT NULL AND (c.state IN ('running', 'paused') OR c.finished_at >= %(followed_since)s);

-- name: list_violation_bins :many
-- for: the past of what the check found, by quarter-hour
-- in: scope; kinds text[]; since, until
-- out: bin, subject, violations
-- index: compliance_violations_found
-- note: few rows, or there is worse to do than to try rules
SELECT bucket_of('quarter', found_at) AS bin, CASE %(scope)s WHEN 'campaign' THEN 'campaign:' || campaign_id ELSE 'all' END AS subject, count(*) AS violations
FROM compliance_violations
WHERE kind = ANY (%(kinds)s) AND found_at >= %(since)s AND found_at < %(until)s
GROUP BY 1, 2;

-- name: measure_callbacks :one
-- for: how long the provider has been silent about messages that wait for a callback
-- in: since (an hour ago), now
-- out: waiting (messages handed over since then of which no callback said `sent`), silent_seconds: since the last callback,
--      or since the first of them was handed over, whichever is later; NULL: none waits
-- index: message_rollups primary key; intake_counts primary key, backwards
-- note: a message that is SENT has had its callback; that no receipt follows is not the provider's silence
SELECT waiting, CASE WHEN waiting > 0 THEN extract(epoch FROM %(now)s::timestamptz - greatest(first_at, last_callback_at))::float8 END AS silent_seconds
FROM (SELECT coalesce(sum(w.messages), 0)::bigint AS waiting, min(w.at) AS first_at
      FROM (SELECT m.at, m.now_accepted + m.now_queued + m.now_sending AS messages FROM message_counts(%(since)s, %(now)s, 0, 'minute') AS m) AS w
      WHERE w.messages > 0) AS waiting,
     (SELECT max(i.minute) + interval '59 seconds' AS last_callback_at
      FROM (SELECT c.minute FROM intake_counts c WHERE c.minute >= %(since)s AND c.event_type = 'receipt.received' AND c.outcome IN ('accepted', 'duplicate') ORDER BY c.minute DESC LIMIT 1) AS i) AS callbacks;

-- name: count_missing_processes :one
-- for: processes that fell silent without taking leave, and kinds of which none is there
-- in: kind; since: the oldest sign of life of one that is there
-- out: missing (processes)
-- note: a handful of rows; one that was started later on the same host has taken the place of those before it
SELECT count(*) FILTER (WHERE p.beat_at < %(since)s AND NOT EXISTS (
           SELECT FROM processes l WHERE l.kind = p.kind AND l.host = p.host AND l.beat_at >= %(since)s AND l.started_at > p.beat_at))
       + (count(*) FILTER (WHERE p.beat_at >= %(since)s) = 0 AND count(*) = 0)::integer AS missing
FROM processes p WHERE p.kind = %(kind)s;

-- name: find_slowest_webhook :maybe
-- for: the longest time from receipt to effect of live webhooks
-- in: since
-- out: slowest (microseconds); NULL: none came
-- index: pipeline_rollups primary key
-- note: a row a minute
SELECT max(slowest) AS slowest FROM pipeline_rollups WHERE grain = 'minute' AND stage = 'applied' AND bucket >= date_trunc('minute', %(since)s::timestamptz);

-- name: list_webhook_bins :many
-- for: the past of the slowest webhook, by quarter-hour
-- in: since, until
-- out: bin, slowest (microseconds)
-- index: pipeline_rollups primary key
-- note: a row a quarter-hour
SELECT bucket AS bin, slowest FROM pipeline_rollups WHERE grain = 'quarter' AND stage = 'applied' AND bucket >= %(since)s AND bucket < %(until)s;

-- name: measure_requests :one
-- for: how long requests took
-- in: since
-- out: requests, microseconds (sum)
-- index: request_rollups primary key
-- note: a row a minute; the rows without a route are those of all together
SELECT coalesce(sum(requests), 0)::bigint AS requests, coalesce(sum(microseconds), 0)::bigint AS microseconds
FROM request_rollups WHERE grain = 'minute' AND bucket >= date_trunc('minute', %(since)s::timestamptz) AND route = '' AND method = '' AND status_class = '';

-- name: list_request_bins :many
-- for: the past of how long requests took, by quarter-hour
-- in: since, until
-- out: bin, requests, microseconds (sum)
-- index: request_rollups primary key
-- note: a row a quarter-hour
SELECT bucket AS bin, requests, microseconds
FROM request_rollups WHERE grain = 'quarter' AND bucket >= %(since)s AND bucket < %(until)s AND route = '' AND method = '' AND status_class = '';

-- name: measure_hosts :many
-- for: what hosts use
-- in: metric; since
-- out: subject, mean
-- index: resource_rollups primary key
-- note: several processes sample one host; their samples make one mean
SELECT 'host:' || host AS subject, sum(sum) / sum(count) AS mean
FROM resource_rollups WHERE grain = 'minute' AND bucket >= date_trunc('minute', %(since)s::timestamptz) AND kind = 'host' AND metric = %(metric)s
GROUP BY host;

-- name: list_host_bins :many
-- for: the past of what hosts use, by quarter-hour
-- in: metric; since, until
-- out: bin, subject, mean
-- index: resource_rollups primary key
-- note: the quarter-hours' rows of all hosts and metrics are read, some thousands for each host
SELECT bucket AS bin, 'host:' || host AS subject, sum(sum) / sum(count) AS mean
FROM resource_rollups WHERE grain = 'quarter' AND bucket >= %(since)s AND bucket < %(until)s AND kind = 'host' AND metric = %(metric)s
GROUP BY bucket, host;

-- name: count_waiting_requests :one
-- for: pools that have no connection left
-- in: alive_since
-- out: waiting (requests)
-- index: processes primary key
-- note: a row for each web process that is there
SELECT coalesce(sum(s.waiting), 0)::bigint AS waiting FROM pool_states s JOIN processes p ON p.id = s.process_id WHERE s.noted_at >= %(alive_since)s;

-- name: count_pool_timeouts :one
-- for: requests that got no connection
-- in: since
-- out: failed (requests)
-- index: pool_rollups primary key
-- note: a row a minute and process
SELECT coalesce(sum(failed), 0)::bigint AS failed FROM pool_rollups WHERE minute >= date_trunc('minute', %(since)s::timestamptz);

-- name: list_pool_bins :many
-- for: the past of requests that got no connection, by quarter-hour
-- in: since, until
-- out: bin, failed (requests)
-- index: pool_rollups primary key
-- note: as long as minutes of pools are kept
SELECT bucket_of('quarter', minute) AS bin, sum(failed)::bigint AS failed FROM pool_rollups WHERE minute >= %(since)s AND minute < %(until)s GROUP BY 1;

-- name: find_evaluation_lag :maybe
-- for: how long ago the last tick was
-- in: now
-- out: seconds; NULL: there was none yet
-- note: one row
SELECT CASE WHEN isfinite(ticked_at) THEN extract(epoch FROM %(now)s::timestamptz - ticked_at)::float8 END FROM evaluator_ticks;

------------------------------------------------------------------------------------------------------------------
-- silences
------------------------------------------------------------------------------------------------------------------

-- name: add_silence :exec
-- for: alerts that nobody wants to be told of for a while
-- in: id, matchers (JSON), begins_at, ends_at, schedule (JSON) or NULL, comment, author, now
-- note: what was silent in the past stays to be read for a while
INSERT INTO silences (id, matchers, begins_at, ends_at, schedule, comment, author, created_at)
VALUES (%(id)s, %(matchers)s, %(begins_at)s, %(ends_at)s, %(schedule)s, %(comment)s, %(author)s, %(now)s);

-- name: list_silences :many
-- for: silences that end after an instant
-- in: since
-- out: id, matchers, begins_at, ends_at, schedule, comment, author, created_at
-- index: silences_ends
-- note: some dozens of rows; whether one holds now follows from its schedule, in Python
SELECT id, matchers, begins_at, ends_at, schedule, comment, author, created_at FROM silences WHERE ends_at > %(since)s ORDER BY ends_at, id;

-- name: end_silence :maybe
-- for: a silence that is over before its time, or never begins
-- in: id, now
-- out: id
-- index: silences primary key
-- note: one that has not begun keeps a moment, because nothing can end before it begins
UPDATE silences SET begins_at = least(begins_at, %(now)s), ends_at = greatest(%(now)s, least(begins_at, %(now)s) + interval '1 microsecond')
WHERE id = %(id)s AND ends_at > %(now)s
RETURNING id;

-- name: forget_silences :exec
-- for: silences that ended long ago
-- in: until
-- index: silences_ends
-- note: the audit trail keeps who was silent about what
DELETE FROM silences WHERE ends_at < %(until)s;

------------------------------------------------------------------------------------------------------------------
-- ticks, states and episodes
------------------------------------------------------------------------------------------------------------------

-- name: lock_tick :exec
-- for: one tick at a time, and nothing in between that a tick would write over
-- note: held until the end of the transaction; who waits here finds what the tick before has done
SELECT FROM evaluator_ticks FOR UPDATE;

-- name: note_tick :exec
-- for: a tick that came to its end
-- in: now; took_ms
-- note: one row, locked already
UPDATE evaluator_ticks SET ticked_at = %(now)s, took_ms = %(took_ms)s;

-- name: list_states :many
-- for: where each subject of each rule stands
-- out: rule_id, subject, state, since, seen_at, held_seconds, silent_since, value, sample, reason
-- note: all of them: a tick needs all
SELECT rule_id, subject, state, since, seen_at, held_seconds, silent_since, value, sample, reason FROM alert_states;

-- name: put_states :exec
-- for: where each subject stands after a tick
-- in: the columns of alert_states as arrays of equal length
-- index: alert_states primary key
-- note: seen_at moves with every tick, so every row is written; no index has it, so they are updated in place
INSERT INTO alert_states AS s (rule_id, subject, state, since, seen_at, held_seconds, silent_since, value, sample, reason)
SELECT rule_id, subject, state, since, seen_at, held_seconds, silent_since, value, sample, reason
FROM unnest(%(rule_id)s::uuid[], %(subject)s::text[], %(state)s::text[], %(since)s::timestamptz[], %(seen_at)s::timestamptz[], %(held_seconds)s::float8[],
            %(silent_since)s::timestamptz[], %(value)s::float8[], %(sample)s::bigint[], %(reason)s::text[])
    AS n (rule_id, subject, state, since, seen_at, held_seconds, silent_since, value, sample, reason)
ON CONFLICT (rule_id, subject) DO UPDATE SET state = excluded.state, since = excluded.since, seen_at = excluded.seen_at, held_seconds = excluded.held_seconds,
    silent_since = excluded.silent_since, value = excluded.value, sample = excluded.sample, reason = excluded.reason;

-- name: forget_states :exec
-- for: subjects that are there no longer, like a campaign that has ended
-- in: rule_id uuid[], subject text[] of equal length
-- index: alert_states primary key
-- note: what fires is resolved before it is forgotten
DELETE FROM alert_states s USING unnest(%(rule_id)s::uuid[], %(subject)s::text[]) AS n (rule_id, subject) WHERE (s.rule_id, s.subject) = (n.rule_id, n.subject);

-- name: acknowledge_state :exec
-- for: an alert that somebody takes in hand
-- in: rule_id, subject, now
-- index: alert_states primary key
-- note: under the lock of the tick
UPDATE alert_states SET state = 'acknowledged', since = %(now)s WHERE (rule_id, subject) = (%(rule_id)s, %(subject)s) AND state = 'firing';

-- name: acknowledge_episode :exec
-- for: an alert that somebody takes in hand
-- in: id, actor, now
-- index: alert_episodes primary key
-- note: the first to do so stays named
UPDATE alert_episodes SET acknowledged_at = %(now)s, acknowledged_by = %(actor)s WHERE id = %(id)s AND acknowledged_at IS NULL;

-- name: add_episodes :many
-- for: alerts that begin to fire
-- in: id uuid[] and the columns of alert_episodes as arrays of equal length; now
-- out: the columns of alert_episodes
-- index: alert_episodes_open
-- note: the unique index has the last word: no subject of a rule has two open episodes
INSERT INTO alert_episodes (id, rule_id, subject, subject_name, name, metric, severity, labels, comparison, threshold, value, peak, reason, runbook_url, fired_at)
SELECT id, rule_id, subject, subject_name, name, metric, severity, labels::jsonb, comparison, threshold, value, value, reason, runbook_url, %(now)s
FROM unnest(%(id)s::uuid[], %(rule_id)s::uuid[], %(subject)s::text[], %(subject_name)s::text[], %(name)s::text[], %(metric)s::text[], %(severity)s::text[], %(labels)s::text[],
            %(comparison)s::text[], %(threshold)s::float8[], %(value)s::float8[], %(reason)s::text[], %(runbook_url)s::text[])
    AS n (id, rule_id, subject, subject_name, name, metric, severity, labels, comparison, threshold, value, reason, runbook_url)
RETURNING id, number, rule_id, subject, subject_name, name, metric, severity, labels, comparison, threshold, value, peak, reason, runbook_url, fired_at, acknowledged_at,
    acknowledged_by, resolved_at, told_at, told_count, held_back;

-- name: update_episodes :exec
-- for: alerts after a tick
-- in: id uuid[]; value, peak, reason, resolved_at, told_at, told_count, held_back as arrays of equal length
-- index: alert_episodes primary key
-- note: the open ones alone, some dozens at worst
UPDATE alert_episodes e
SET value = n.value, peak = n.peak, reason = n.reason, resolved_at = n.resolved_at, told_at = n.told_at, told_count = n.told_count, held_back = n.held_back
FROM unnest(%(id)s::uuid[], %(value)s::float8[], %(peak)s::float8[], %(reason)s::text[], %(resolved_at)s::timestamptz[], %(told_at)s::timestamptz[], %(told_count)s::integer[],
            %(held_back)s::text[]) AS n (id, value, peak, reason, resolved_at, told_at, told_count, held_back)
WHERE e.id = n.id;

-- name: list_open_episodes :many
-- for: what fires
-- out: the columns of alert_episodes
-- index: alert_episodes_open
-- note: asked for every few seconds by each web process
SELECT id, number, rule_id, subject, subject_name, name, metric, severity, labels, comparison, threshold, value, peak, reason, runbook_url, fired_at, acknowledged_at,
       acknowledged_by, resolved_at, told_at, told_count, held_back
FROM alert_episodes WHERE resolved_at IS NULL ORDER BY fired_at DESC, id DESC;

-- name: list_resolved_episodes :many
-- for: what fired of late
-- in: most; before_at, before_id (NULL: from the newest on)
-- out: as list_open_episodes
-- index: alert_episodes_resolved
-- note: the row comparison is what lets the index begin at the place
SELECT id, number, rule_id, subject, subject_name, name, metric, severity, labels, comparison, threshold, value, peak, reason, runbook_url, fired_at, acknowledged_at,
       acknowledged_by, resolved_at, told_at, told_count, held_back
FROM alert_episodes
WHERE resolved_at IS NOT NULL AND (%(before_at)s::timestamptz IS NULL OR (resolved_at, id) < (%(before_at)s, %(before_id)s::uuid))
ORDER BY resolved_at DESC, id DESC LIMIT %(most)s;

-- name: find_episode :maybe
-- for: one alert
-- in: number or id, the other NULL
-- out: as list_open_episodes
-- index: alert_episodes (number) and primary key
-- note: people know the number, programs the id
SELECT id, number, rule_id, subject, subject_name, name, metric, severity, labels, comparison, threshold, value, peak, reason, runbook_url, fired_at, acknowledged_at,
       acknowledged_by, resolved_at, told_at, told_count, held_back
FROM alert_episodes WHERE number = %(number)s OR id = %(id)s::uuid;

-- name: forget_episodes :exec
-- for: alerts that were over long ago
-- in: until
-- index: alert_episodes_resolved
-- note: their steps go with them
DELETE FROM alert_episodes WHERE resolved_at < %(until)s;

-- name: add_steps :exec
-- for: what happened in episodes
-- in: episode_id, at, kind, actor, text as arrays of equal length
-- note: in the order they are given
INSERT INTO alert_steps (episode_id, at, kind, actor, text)
SELECT episode_id, at, kind, actor, text
FROM unnest(%(episode_id)s::uuid[], %(at)s::timestamptz[], %(kind)s::text[], %(actor)s::text[], %(text)s::text[]) WITH ORDINALITY AS n (episode_id, at, kind, actor, text, place)
ORDER BY place;

-- name: list_steps :many
-- for: the history of an alert
-- in: episode_id
-- out: episode_id, at, kind, actor, text
-- index: alert_steps_episode
-- note: a handful, and one more every four hours
SELECT episode_id, at, kind, actor, text FROM alert_steps WHERE episode_id = %(episode_id)s ORDER BY id;

-- name: list_query_readings :many
-- for: the numbers of the saved queries that enabled rules ask for
-- out: query_id (text), read_at (NULL: not yet), value (NULL: none, with its reason), reason
-- index: query_readings primary key
-- note: from the rules, so that each has a reading, also of a query that is new or gone
SELECT DISTINCT a.scope_filter AS query_id, r.read_at, r.value, coalesce(r.reason, '') AS reason
FROM alert_rules a LEFT JOIN query_readings r ON r.query_id::text = a.scope_filter
WHERE a.scope = 'query' AND a.is_enabled;

-- name: list_query_names :many
-- for: what the saved queries of alerts are called
-- in: ids uuid[]
-- out: id, name
-- index: saved_queries primary key
-- note: one that is gone has none
SELECT id, name FROM saved_queries WHERE id = ANY (%(ids)s::uuid[]);

-- name: list_campaign_names :many
-- for: what campaigns that alert are called
-- in: ids uuid[]
-- out: id, name
-- index: campaigns primary key
-- note: only when something begins to fire
SELECT id, name FROM campaigns WHERE id = ANY (%(ids)s);

-- name: list_standings :many
-- for: what stands where, on the pages
-- out: rule_id, subject, state, since, value, sample, reason
-- index: alert_states primary key
-- note: some dozens, and one for each followed campaign and rule by campaign
SELECT s.rule_id, s.subject, s.state, s.since, s.value, s.sample, s.reason
FROM alert_states s JOIN alert_rules r ON r.id = s.rule_id
WHERE r.is_enabled
ORDER BY s.rule_id, s.subject;

-- name: find_tick :one
-- for: whether alerts are evaluated at all
-- out: ticked_at (NULL: never), took_ms
-- note: one row
SELECT CASE WHEN isfinite(ticked_at) THEN ticked_at END AS ticked_at, took_ms FROM evaluator_ticks;

-- name: count_fired :many
-- for: how often rules have fired of late
-- in: since
-- out: rule_id, episodes
-- index: alert_episodes_fired
-- note: what fires a thousand times in two weeks is told so
SELECT rule_id, count(*) AS episodes FROM alert_episodes WHERE fired_at >= %(since)s GROUP BY rule_id;
