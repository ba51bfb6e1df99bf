-- name: add_batch :exec
-- for: how long live webhooks took from receipt to effect
-- in: rows of log_batch and faults; is_buried: the whole batch had no effect
-- index: pipeline_rollups primary key
-- note: measured inside the transaction that makes the effect, by the database's clock; a clock that ran ahead counts 0.
--       Places of the sketch are counted first, so that ten thousand events are some hundred rows from there on
WITH aged AS (
    SELECT greatest(0, extract(epoch FROM clock_timestamp() - b.received_at) * 1000000)::bigint AS us,
           %(is_buried)s OR f.dedupe_key IS NOT NULL AS is_dead
    FROM log_batch b LEFT JOIN faults f ON (f.received_on, f.dedupe_key) = (b.received_on, b.dedupe_key)
    WHERE b.is_live AND b.event_type IN ('receipt.received', 'inbound.received', 'receipt.quarantined', 'inbound.quarantined')
), placed AS (
    SELECT is_dead, sketch_index(us)::bigint AS place, count(*) AS n, sum(us) AS us, max(us) AS slowest FROM aged GROUP BY 1, 2
), told AS (
    SELECT coalesce(sum(n) FILTER (WHERE NOT is_dead), 0) AS events, coalesce(sum(n) FILTER (WHERE is_dead), 0) AS dead,
           coalesce(sum(us) FILTER (WHERE NOT is_dead), 0) AS us, coalesce(max(slowest) FILTER (WHERE NOT is_dead), 0) AS slowest,
           coalesce(array_agg((place << 40) + n ORDER BY place) FILTER (WHERE NOT is_dead), '{}') AS sketch
    FROM placed HAVING count(*) > 0
)
INSERT INTO pipeline_rollups AS r (grain, stage, bucket, events, dead, microseconds, slowest, sketch)
SELECT b.grain, 'applied', b.bucket, t.events, t.dead, t.us, t.slowest, t.sketch
FROM told t, (VALUES ('minute', date_trunc('minute', clock_timestamp())), ('quarter', bucket_of('quarter', clock_timestamp())), ('total', '-infinity')) AS b (grain, bucket)
ON CONFLICT (grain, stage, bucket) DO UPDATE
SET events = r.events + excluded.events, dead = r.dead + excluded.dead, microseconds = r.microseconds + excluded.microseconds,
    slowest = greatest(r.slowest, excluded.slowest), sketch = sketch_add(r.sketch, excluded.sketch);

-- name: add_stored :exec
-- for: how long a web process's webhooks took until they were stored
-- in: grain text[], bucket float8[] (seconds of the epoch, -Infinity for totals), events, microseconds, slowest bigint[], sketch text[]
--     (each an array as text) of equal length
-- index: pipeline_rollups primary key
-- note: as add_requests
INSERT INTO pipeline_rollups AS r (grain, stage, bucket, events, dead, microseconds, slowest, sketch)
SELECT grain, 'stored', to_timestamp(bucket), events, 0, microseconds, slowest, sketch::bigint[]
FROM unnest(%(grain)s::text[], %(bucket)s::float8[], %(events)s::bigint[], %(microseconds)s::bigint[], %(slowest)s::bigint[], %(sketch)s::text[])
    AS told (grain, bucket, events, microseconds, slowest, sketch)
ORDER BY grain, bucket
ON CONFLICT (grain, stage, bucket) DO UPDATE
SET events = r.events + excluded.events, microseconds = r.microseconds + excluded.microseconds,
    slowest = greatest(r.slowest, excluded.slowest), sketch = sketch_add(r.sketch, excluded.sketch);

-- name: list_stages :many
-- for: webhooks of a window by the stage they came to
-- in: numbers (not looked at), grains text[], begins, ends timestamptz[] of equal length: the spans that make it up
-- out: stage, events, dead, microseconds (sum), slowest (microseconds); places, counts: the sketch as two arrays
-- index: pipeline_rollups primary key
-- note: two rows a bucket. A version without sketches has left some that have none
WITH found AS MATERIALIZED (
    SELECT r.stage, r.events, r.dead, r.microseconds, r.slowest, r.sketch
    FROM unnest(%(numbers)s::bigint[], %(grains)s::text[], %(begins)s::timestamptz[], %(ends)s::timestamptz[]) AS s (number, grain, begins, ends)
    CROSS JOIN unnest(ARRAY['stored', 'applied']) AS a (stage)
    CROSS JOIN LATERAL (
        SELECT * FROM pipeline_rollups r WHERE r.grain = s.grain AND r.stage = a.stage AND r.bucket >= s.begins AND r.bucket < s.ends
        OFFSET 0) AS r
), placed AS (
    SELECT stage, element >> 40 AS place, sum(element & 1099511627775)::bigint AS n FROM found, unnest(sketch) AS element GROUP BY 1, 2
)
SELECT f.stage, sum(f.events)::bigint AS events, sum(f.dead)::bigint AS dead, sum(f.microseconds)::bigint AS microseconds, max(f.slowest) AS slowest,
       ARRAY(SELECT p.place::integer FROM placed p WHERE p.stage = f.stage ORDER BY p.place) AS places,
       ARRAY(SELECT p.n FROM placed p WHERE p.stage = f.stage ORDER BY p.place) AS counts
FROM found f
GROUP BY f.stage;

-- name: list_outcomes :many
-- for: what became of the webhooks of a window
-- in: as list_stages
-- out: outcome, events
-- index: intake_counts primary key
-- note: rows of quarter-hours begin with their first minute, so the spans need not be told apart. A canary is no webhook
SELECT c.outcome, sum(c.events)::bigint AS events
FROM intake_counts c
WHERE c.event_type IN ('receipt.received', 'inbound.received', 'receipt.quarantined', 'inbound.quarantined')
  AND c.minute >= (SELECT min(b) FROM unnest(%(begins)s::timestamptz[]) AS b) AND c.minute < (SELECT max(e) FROM unnest(%(ends)s::timestamptz[]) AS e)
GROUP BY c.outcome
ORDER BY c.outcome;

-- name: clear_pipeline :exec
-- for: buckets that are no longer kept
-- in: grains text[], before timestamptz[] of equal length
-- index: pipeline_rollups primary key
-- note: two rows a minute; nobody adds to so old a bucket, so nobody waits
DELETE FROM pipeline_rollups r
USING unnest(%(grains)s::text[], %(before)s::timestamptz[]) AS k (grain, before)
WHERE r.grain = k.grain AND r.bucket < k.before;

-- name: beat :exec
-- for: a process's sign of life, and the minute it marks
-- in: id, kind, host, pid, version, started_at, now, provider, loops jsonb, spooled (events), spooled_since, spool_bytes, spool_limit_bytes
-- index: processes and uptime_quarters primary keys
-- note: one statement; the minute is marked once by whoever comes first
WITH marked AS (
    INSERT INTO uptime_quarters AS u (quarter, kind, minutes)
    VALUES (date_bin('15 minutes', %(now)s::timestamptz, 'epoch'), %(kind)s, 1 << (extract(minute FROM %(now)s::timestamptz AT TIME ZONE 'UTC')::integer %% 15))
    ON CONFLICT (quarter, kind) DO UPDATE SET minutes = u.minutes | excluded.minutes WHERE u.minutes & excluded.minutes = 0
), forgotten AS (
    DELETE FROM processes WHERE beat_at < %(now)s::timestamptz - interval '1 day'
)
INSERT INTO processes AS p (id, kind, host, pid, version, started_at, beat_at, provider, loops, spooled, spooled_since, spool_bytes, spool_limit_bytes)
VALUES (%(id)s, %(kind)s, %(host)s, %(pid)s, %(version)s, %(started_at)s, %(now)s, %(provider)s, %(loops)s, %(spooled)s, %(spooled_since)s, %(spool_bytes)s, %(spool_limit_bytes)s)
ON CONFLICT (id) DO UPDATE
SET beat_at = excluded.beat_at, loops = excluded.loops, spooled = excluded.spooled, spooled_since = excluded.spooled_since, spool_bytes = excluded.spool_bytes;

-- name: end_process :exec
-- for: a process that ends in good order, so that it is not missed
-- in: id
-- index: processes primary key
-- note: one that is killed is found by its silence
DELETE FROM processes WHERE id = %(id)s;

-- name: list_processes :many
-- for: the processes that were alive within a day
-- out: id, kind, host, pid, version, started_at, beat_at, provider, loops jsonb, spooled (events), spooled_since, spool_bytes, spool_limit_bytes
-- note: a handful of rows; also the silent ones, which tell since when a needed one is missing
SELECT id, kind, host, pid, coalesce(version, '') AS version, started_at, beat_at, provider, loops, spooled, spooled_since, spool_bytes, spool_limit_bytes
FROM processes ORDER BY kind, started_at;

-- name: find_last_minute :maybe
-- for: since when a kind of process is missing, when none of it is remembered any more
-- in: kind
-- out: minute: the last with a sign of life
-- index: uptime_quarters primary key
-- note: scans back from the newest quarter-hour to the first of this kind
SELECT quarter + floor(log(2, minutes)) * interval '1 minute'
FROM uptime_quarters WHERE kind = %(kind)s ORDER BY quarter DESC LIMIT 1;

-- name: list_uptime :many
-- for: measured uptime of some windows, one after the other
-- in: edges timestamptz[] (whole minutes; where each window begins, and the end of the last); kinds text[] that must all be alive
-- out: since, minutes_up, minutes (since the first that was ever recorded: the time before the engine existed is no downtime)
-- index: uptime_quarters primary key
-- note: 672 rows a kind and week, kept for good
WITH first AS (
    SELECT min(quarter + n * interval '1 minute') AS minute
    FROM uptime_quarters, generate_series(0, 14) AS n
    WHERE quarter = (SELECT min(quarter) FROM uptime_quarters) AND minutes >> n & 1 = 1
), up AS (
    SELECT quarter + n * interval '1 minute' AS minute
    FROM (SELECT quarter, bit_and(minutes) AS minutes FROM uptime_quarters
          WHERE quarter > (%(edges)s::timestamptz[])[1] - interval '15 minutes'
            AND quarter < (%(edges)s::timestamptz[])[cardinality(%(edges)s::timestamptz[])] AND kind = ANY (%(kinds)s)
          GROUP BY quarter HAVING count(*) = cardinality(%(kinds)s::text[])) AS q, generate_series(0, 14) AS n
    WHERE minutes >> n & 1 = 1
)
SELECT w.since, (SELECT count(*) FROM up WHERE minute >= w.since AND minute < w.until)::integer AS minutes_up,
       (extract(epoch FROM w.until - greatest(first.minute, w.since)) / 60)::integer AS minutes
FROM first, unnest((%(edges)s::timestamptz[])[:cardinality(%(edges)s::timestamptz[]) - 1], (%(edges)s::timestamptz[])[2:]) AS w (since, until)
WHERE w.until > first.minute
ORDER BY w.since;

-- name: add_sample :exec
-- for: what a process found of itself and its host
-- in: process_id, host, pid, at; kinds text[] (host, or the kind of the process), metrics text[], values float8[], limits jsonb
-- index: resource_rollups and processes primary keys
-- note: sorted, because the processes of a host all add to the rows of their host
WITH told AS (
    UPDATE processes SET limits = %(limits)s WHERE id = %(process_id)s
)
INSERT INTO resource_rollups AS r (grain, bucket, host, kind, pid, metric, count, sum, peak)
SELECT g.grain, date_bin(g.length, %(at)s::timestamptz, 'epoch'), %(host)s, s.kind, CASE s.kind WHEN 'host' THEN 0 ELSE %(pid)s END, s.metric, 1, s.value, s.value
FROM unnest(%(kinds)s::text[], %(metrics)s::text[], %(values)s::float8[]) AS s (kind, metric, value),
     (VALUES ('minute', interval '1 minute'), ('quarter', interval '15 minutes')) AS g (grain, length)
ORDER BY g.grain, s.kind, s.metric
ON CONFLICT (grain, bucket, host, kind, pid, metric) DO UPDATE
SET count = r.count + 1, sum = r.sum + excluded.sum, peak = greatest(r.peak, excluded.peak);

-- name: load_utilization :one
-- for: what is used at present
-- in: now, beating_since
-- out: cpu_percent (of the busiest host), memory_bytes (of all our processes that are alive), disk_operations_per_second (of
--      all hosts), reasons jsonb (why a figure could not be measured)
-- index: resource_rollups primary key
-- note: two minutes of rows; the last full one too, because the running one may have just begun
WITH used AS (
    SELECT host, kind, pid, metric, sum(sum) / sum(count) AS mean FROM resource_rollups
    WHERE grain = 'minute' AND bucket >= date_trunc('minute', %(now)s::timestamptz) - interval '1 minute' AND bucket <= %(now)s
    GROUP BY host, kind, pid, metric
), living AS (
    SELECT kind, host, pid, limits FROM processes WHERE beat_at >= %(beating_since)s
)
SELECT (SELECT max(mean) FROM used WHERE kind = 'host' AND metric = 'cpu_percent') AS cpu_percent,
       (SELECT sum(mean) FROM used JOIN living USING (kind, host, pid) WHERE metric = 'memory_bytes') AS memory_bytes,
       (SELECT sum(mean) FROM used WHERE kind = 'host' AND metric IN ('disk_reads_per_second', 'disk_writes_per_second')) AS disk_operations_per_second,
       (SELECT jsonb_object_agg(u.key, u.value) FROM living, jsonb_each(limits -> 'unknown') AS u) AS reasons;

-- name: list_resource_points :many
-- for: what hosts and kinds of processes used over time
-- in: grain, since, until, bins timestamptz[]
-- out: host, kind (host, web, worker), metric, bin, mean (of processes: of all of the kind together), peak (of one of them)
-- index: resource_rollups primary key
-- note: processes sample at the same instants, so that their sums in a bucket divided by the number of instants are what
--       all used together, also when one took the place of another; a share of its own limit is that of the worst
WITH used AS (
    SELECT bucket, host, kind, metric, max(peak) AS peak,
           CASE metric WHEN 'open_files_percent' THEN max(sum / count) ELSE sum(sum) / max(count) END AS mean
    FROM resource_rollups WHERE grain = %(grain)s AND bucket >= %(since)s AND bucket < %(until)s
    GROUP BY bucket, host, kind, metric
)
SELECT host, kind, metric, (%(bins)s::timestamptz[])[greatest(1, width_bucket(bucket, %(bins)s::timestamptz[]))] AS bin, avg(mean) AS mean, max(peak) AS peak
FROM used GROUP BY host, kind, metric, bin ORDER BY host, kind, bin;

-- name: list_resource_uses :many
-- for: what each host and process used in a window
-- in: grain, since, until, most (processes and hosts)
-- out: host, kind, pid (0: the host), seen_at (its last bucket), means jsonb and peaks jsonb (by metric), limits jsonb (NULL: of one that is gone)
-- index: resource_rollups and processes primary keys
-- note: the newest first, so that a process that was restarted a thousand times does not hide those that live
SELECT u.host, u.kind, u.pid, max(u.seen_at) AS seen_at, jsonb_object_agg(u.metric, u.mean) AS means, jsonb_object_agg(u.metric, u.peak) AS peaks,
       (SELECT p.limits FROM processes p WHERE p.host = u.host AND (u.kind = 'host' OR (p.kind = u.kind AND p.pid = u.pid)) ORDER BY p.beat_at DESC LIMIT 1) AS limits
FROM (SELECT host, kind, pid, metric, max(bucket) AS seen_at, sum(sum) / sum(count) AS mean, max(peak) AS peak
      FROM resource_rollups WHERE grain = %(grain)s AND bucket >= %(since)s AND bucket < %(until)s
      GROUP BY host, kind, pid, metric) AS u
GROUP BY u.host, u.kind, u.pid
ORDER BY seen_at DESC, u.host, u.kind, u.pid LIMIT %(most)s;

-- name: drop_old_resources :exec
-- for: what is kept no longer
-- in: minutes_until, quarters_until
-- index: resource_rollups primary key
-- note: two ranges of the key, a few thousand rows each time
DELETE FROM resource_rollups
WHERE (grain = 'minute' AND bucket < %(minutes_until)s) OR (grain = 'quarter' AND bucket < %(quarters_until)s);

-- name: load_pipeline :one
-- for: how long live webhooks took to take effect
-- in: since
-- out: events, microseconds (sum), slowest (microseconds)
-- index: pipeline_rollups primary key
-- note: five rows
SELECT coalesce(sum(events), 0)::bigint AS events, coalesce(sum(microseconds), 0)::bigint AS microseconds, coalesce(max(slowest), 0)::bigint AS slowest
FROM pipeline_rollups WHERE grain = 'minute' AND stage = 'applied' AND bucket >= %(since)s;

-- name: load_lag :one
-- for: how far the projector is behind
-- in: xid, id (its place)
-- out: events (10,000 means: that many or more), oldest_at (of live ones: the age of what is imported says nothing about us)
-- index: events (xid, id)
-- note: the order is what keeps the planner to the index; the count stops at 10,000, because this is asked for all the time and most of all when much is waiting
SELECT count(*)::integer AS events, min(received_at) FILTER (WHERE is_live) AS oldest_at
FROM (SELECT received_at, is_live FROM events WHERE (xid, id) > (%(xid)s::xid8, %(id)s) ORDER BY xid, id LIMIT 10000) AS waiting;

-- name: load_database :one
-- for: the database itself, and unresolved dead letters
-- out: connections (of this database), most_connections, started_at, major (version), is_embedded (reached by a socket only),
--      dead_letters, oldest_dead_letter_at
-- index: dead_letters_unresolved
-- note: pg_stat_activity shows every user the rows' existence, which is all that is counted
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend')::integer AS connections,
       current_setting('max_connections')::integer AS most_connections,
       pg_postmaster_start_time() AS started_at,
       current_setting('server_version_num')::integer / 10000 AS major,
       current_setting('listen_addresses') = '' AS is_embedded,
       d.dead_letters, d.oldest_dead_letter_at
FROM (SELECT count(*)::integer AS dead_letters, min(died_at) AS oldest_dead_letter_at FROM dead_letters WHERE resolved_at IS NULL) AS d;

-- name: list_unsent :many
-- for: what is due and not handed over, by campaign
-- in: now, moving_since
-- out: campaign (name; NULL: the auto-replies), oldest_due_at, is_moving (something of it was handed over since)
-- index: campaigns (state), outbox (campaign_id, due_at), pace primary key
-- note: one probe of the outbox for each running campaign. A campaign that its pace holds back is due for hours and all right.
SELECT NULL AS campaign, o.due_at AS oldest_due_at, false AS is_moving
FROM (SELECT due_at FROM outbox WHERE campaign_id IS NULL AND due_at <= %(now)s AND claimed_by IS NULL AND unsure_since IS NULL ORDER BY due_at LIMIT 1) AS o
UNION ALL
SELECT c.name, o.due_at, EXISTS (SELECT FROM pace p WHERE p.campaign_id = c.id AND p.second >= %(moving_since)s AND p.taken > 0)
FROM campaigns c
CROSS JOIN LATERAL (SELECT due_at FROM outbox WHERE campaign_id = c.id AND due_at <= %(now)s AND claimed_by IS NULL AND unsure_since IS NULL ORDER BY due_at LIMIT 1) AS o
WHERE c.state = 'running'
ORDER BY oldest_due_at;

-- name: note_redis :exec
-- for: what was found of Redis
-- in: now, memory_bytes, latency_ms, fault
-- index: redis_state primary key
-- note: one row; several processes measure, the newest look counts
INSERT INTO redis_state AS r (measured_at, memory_bytes, latency_ms, fault, since)
VALUES (%(now)s, %(memory_bytes)s, %(latency_ms)s, %(fault)s, %(now)s)
ON CONFLICT (only_row) DO UPDATE
SET measured_at = excluded.measured_at, memory_bytes = excluded.memory_bytes, latency_ms = excluded.latency_ms, fault = excluded.fault,
    since = CASE WHEN (r.fault IS NULL) = (excluded.fault IS NULL) THEN r.since ELSE excluded.since END
WHERE r.measured_at <= excluded.measured_at;

-- name: find_redis :maybe
-- for: what was last found of Redis
-- in: fresh_since
-- out: memory_bytes, latency_ms, fault, since
-- index: redis_state primary key
-- note: an old look is none: nobody measures any more, because it is not configured any more
SELECT memory_bytes, latency_ms, fault, since FROM redis_state WHERE measured_at >= %(fresh_since)s;

-- name: list_user_changes :many
-- for: new users and consent transitions by bin, from which the past of the user figures is reckoned back
-- in: bins timestamptz[]; ends: of the last bin; until; coarsest: grain that no bin cuts
-- out: bin (start), users (new), opt_ins (transitions into OPT_IN less those out of it)
-- index: signup_rollups and consent_rollups primary keys
-- note: cost follows the number of buckets, not of users; what came after the bins, up to now, counts in the last one
SELECT bin, sum(users)::bigint AS users, sum(opt_ins)::bigint AS opt_ins
FROM (
    SELECT (%(bins)s::timestamptz[])[width_bucket(at, %(bins)s::timestamptz[])] AS bin, users, 0 AS opt_ins
    FROM (VALUES ((%(bins)s::timestamptz[])[1], %(ends)s::timestamptz, %(coarsest)s), (%(ends)s, %(until)s, 'month')) AS s (since, until, coarsest),
         signup_counts(s.since, s.until, s.coarsest)
    UNION ALL
    SELECT (%(bins)s::timestamptz[])[width_bucket(at, %(bins)s::timestamptz[])], 0,
           CASE WHEN to_state = 'OPT_IN' THEN transitions WHEN from_state = 'OPT_IN' THEN -transitions ELSE 0 END
    FROM (VALUES ((%(bins)s::timestamptz[])[1], %(ends)s::timestamptz, %(coarsest)s), (%(ends)s, %(until)s, 'month')) AS s (since, until, coarsest),
         consent_counts(s.since, s.until, s.coarsest)
) AS changes
GROUP BY bin;

-- name: list_active_campaigns :many
-- for: how many campaigns were running at each of some instants
-- in: instants timestamptz[]
-- out: instant, campaigns
-- index: audit_log (subject, id)
-- note: the trail knows each change of state, also pauses; only campaigns that had begun and not ended are looked up in it
SELECT instant, count(*) AS campaigns
FROM unnest(%(instants)s::timestamptz[]) AS instant
JOIN campaigns c ON c.started_at <= instant AND (c.finished_at > instant) IS NOT FALSE
CROSS JOIN LATERAL (SELECT a.action FROM audit_log a
                    WHERE a.subject = 'campaign:' || c.id AND a.at <= instant
                      AND a.action IN ('campaign.started', 'campaign.paused', 'campaign.resumed', 'campaign.completed', 'campaign.cancelled')
                    ORDER BY a.id DESC LIMIT 1) AS last
WHERE last.action IN ('campaign.started', 'campaign.resumed')
GROUP BY instant;

-- name: count_running_campaigns :one
-- for: campaigns that are running now
-- out: campaigns
-- index: campaigns_open
-- note: by state, which is the truth; their past has to be taken from the trail
SELECT count(*) FROM campaigns WHERE state = 'running';

-- name: list_feed_rows :many
-- for: the log between two places as the live feed sees it
-- in: after_xid, after_id (exclusive); until_xid, until_id (inclusive); most (events); newest: the last of them, else the first
-- out: xid (text), id, received_at, source (event type and variant; NULL: without effect), message_id, campaign_id,
--      campaign_name, phone, channel, body, intent, is_auto_replied, error_code (of this event), delivery_seconds,
--      recipients (of a campaign), people (whose consent changed), consent_source, reason, severity, message, alert_id; oldest first
-- index: events (xid, id) of each partition, merged; dead_letters (received_on, dedupe_key), messages primary key and
--        (provider_sid), inbound_events (message_sid), campaigns primary key
-- note: every event of the range, also what is not shown, so that a read costs the same whatever it holds and the place
--       moves on. The branch that is not asked for is not begun. Only a START is looked up in the ledger: whether it
--       opened anything depends on the state it found.
SELECT e.xid::text, e.id, e.received_at,
       CASE WHEN d.id IS NULL AND (coalesce(m.id, i.id) IS NOT NULL OR split_part(e.event_type, '.', 1) IN ('campaign', 'audience', 'alert')) THEN concat_ws(' ', e.event_type, CASE e.event_type
           WHEN 'receipt.received' THEN r.status
           WHEN 'inbound.received' THEN CASE i.intent WHEN 'stop' THEN 'stopped' WHEN 'start' THEN (
               SELECT 'started' FROM consent_history(ARRAY[i.from_phone]) AS h WHERE h.message_sid = r.sid AND h.state_before <> h.state_after) END
           WHEN 'audience.changed' THEN CASE WHEN c.opened > 0 AND c.closed > 0 THEN 'changed' WHEN c.closed > 0 THEN 'stopped' WHEN c.opened > 0 THEN 'started' END
           END) END AS source,
       m.id AS message_id, coalesce(m.campaign_id, r.campaign_id) AS campaign_id, coalesce(p.name, r.campaign_name) AS campaign_name,
       coalesce(i.from_phone, m.recipient_phone) AS phone, coalesce(i.channel, m.channel) AS channel,
       i.body, i.intent, i.is_auto_replied, r.error_code,
       CASE WHEN r.status IN ('delivered', 'read') THEN m.delivery_us / 1e6::float8 END AS delivery_seconds, r.recipients,
       CASE WHEN i.intent IN ('stop', 'start') THEN 1 ELSE c.opened + c.closed END AS people, coalesce(c.source, CASE WHEN i.id IS NOT NULL THEN 'inbound' END) AS consent_source,
       e.payload ->> 'Reason' AS reason, e.payload ->> 'Severity' AS severity, e.payload ->> 'Message' AS message,
       CASE WHEN e.event_type LIKE 'alert.%%' THEN e.payload ->> 'AlertId' END AS alert_id -- a webhook may carry any parameter
FROM (
    (SELECT xid, id, received_on, dedupe_key, received_at, event_type, payload FROM events
     WHERE NOT %(newest)s AND (xid, id) > (%(after_xid)s::xid8, %(after_id)s) AND (xid, id) <= (%(until_xid)s::xid8, %(until_id)s)
     ORDER BY xid, id LIMIT %(most)s)
    UNION ALL
    (SELECT xid, id, received_on, dedupe_key, received_at, event_type, payload FROM events
     WHERE %(newest)s AND (xid, id) > (%(after_xid)s::xid8, %(after_id)s) AND (xid, id) <= (%(until_xid)s::xid8, %(until_id)s)
     ORDER BY xid DESC, id DESC LIMIT %(most)s)
) AS e
CROSS JOIN LATERAL (
    SELECT coalesce(e.payload ->> 'MessageSid', e.payload ->> 'SmsSid') AS sid, lower(coalesce(e.payload ->> 'MessageStatus', e.payload ->> 'SmsStatus')) AS status,
           CASE WHEN e.payload ->> 'ErrorCode' ~ '^[1-9][0-9]{0,8}$' THEN (e.payload ->> 'ErrorCode')::integer END AS error_code,
           CASE WHEN is_own THEN (e.payload ->> 'CampaignId')::uuid END AS campaign_id, CASE WHEN is_own THEN e.payload ->> 'CampaignName' END AS campaign_name,
           CASE WHEN is_own THEN (e.payload ->> 'Recipients')::bigint END AS recipients
    FROM (SELECT e.event_type LIKE 'campaign.%%' AS is_own) AS t -- a webhook may carry any parameter
) AS r
LEFT JOIN dead_letters d ON (d.received_on, d.dedupe_key) = (e.received_on, e.dedupe_key) AND d.resolved_at IS NULL
LEFT JOIN inbound_events i ON e.event_type = 'inbound.received' AND i.message_sid = r.sid
LEFT JOIN messages m ON m.id = CASE
    WHEN e.event_type = 'receipt.received' THEN (SELECT s.id FROM messages s WHERE s.provider_sid = r.sid)
    WHEN e.event_type = 'inbound.received' THEN (SELECT s.id FROM messages s WHERE s.provider_sid = i.replies_to)
    WHEN e.event_type LIKE 'message.%%' AND d.id IS NULL THEN (e.payload ->> 'MessageId')::uuid END
LEFT JOIN campaigns p ON p.id = coalesce(m.campaign_id, r.campaign_id)
LEFT JOIN LATERAL (
    SELECT coalesce(sum((change ->> 0)::bigint) FILTER (WHERE change ->> 3 = 'OPT_IN'), 0)::bigint AS opened,
           coalesce(sum((change ->> 0)::bigint) FILTER (WHERE change ->> 3 IN ('OPT_OUT', 'STOP')), 0)::bigint AS closed, min(change ->> 4) AS source
    FROM jsonb_array_elements(CASE e.event_type WHEN 'audience.changed' THEN e.payload -> 'consent' END) AS change
) AS c ON e.event_type = 'audience.changed'
ORDER BY e.xid, e.id;

-- name: add_requests :exec
-- for: what a web process counted since it last told
-- in: grain text[], bucket float8[] (seconds of the epoch, -Infinity for totals), route, method, status_class text[], requests,
--     failed, microseconds, fastest, slowest bigint[], sketch text[] (each an array as text: those of unequal length make no array) of equal length
-- index: request_rollups primary key
-- note: additive, so that any number of processes may tell; in the order of the key, so that two of them cannot lock each
--       other in a circle. Some dozens of rows
INSERT INTO request_rollups AS r (grain, bucket, route, method, status_class, requests, failed, microseconds, fastest, slowest, sketch)
SELECT grain, to_timestamp(bucket), route, method, status_class, requests, failed, microseconds, fastest, slowest, sketch::bigint[]
FROM unnest(%(grain)s::text[], %(bucket)s::float8[], %(route)s::text[], %(method)s::text[], %(status_class)s::text[], %(requests)s::bigint[],
            %(failed)s::bigint[], %(microseconds)s::bigint[], %(fastest)s::bigint[], %(slowest)s::bigint[], %(sketch)s::text[])
    AS told (grain, bucket, route, method, status_class, requests, failed, microseconds, fastest, slowest, sketch)
ORDER BY grain, bucket, route, method, status_class
ON CONFLICT (grain, bucket, route, method, status_class) DO UPDATE
SET requests = r.requests + excluded.requests, failed = r.failed + excluded.failed, microseconds = r.microseconds + excluded.microseconds,
    fastest = least(r.fastest, excluded.fastest), slowest = greatest(r.slowest, excluded.slowest), sketch = sketch_add(r.sketch, excluded.sketch);

-- name: list_requests :many
-- for: requests of some windows, all routes together
-- in: numbers integer[] (of the window), grains text[], begins, ends timestamptz[] of equal length: the spans that make them up
-- out: number, requests, failed, microseconds (sum), fastest, slowest (microseconds); places, counts: the sketch as two arrays
-- index: request_rollups primary key
-- note: reads one row a bucket. Places are summed under one number, number * 2^20 + place, as in list_durations
WITH found AS MATERIALIZED (
    SELECT s.number, r.requests, r.failed, r.microseconds, r.fastest, r.slowest, r.sketch
    FROM unnest(%(numbers)s::bigint[], %(grains)s::text[], %(begins)s::timestamptz[], %(ends)s::timestamptz[]) AS s (number, grain, begins, ends)
    CROSS JOIN LATERAL (
        SELECT * FROM request_rollups r
        WHERE r.grain = s.grain AND r.bucket >= s.begins AND r.bucket < s.ends AND r.route = '' AND r.method = '' AND r.status_class = ''
        OFFSET 0) AS r
), placed AS (
    SELECT (number << 20) + (element >> 40) AS key, sum(element & 1099511627775)::bigint AS n FROM found, unnest(sketch) AS element GROUP BY 1
), gathered AS (
    SELECT (key + 524288) >> 20 AS number, array_agg((key - (((key + 524288) >> 20) << 20))::integer) AS places, array_agg(n) AS counts
    FROM placed GROUP BY 1
)
SELECT f.number::integer, f.requests, f.failed, f.microseconds, f.fastest, f.slowest, g.places, g.counts
FROM (SELECT number, sum(requests)::bigint AS requests, sum(failed)::bigint AS failed, sum(microseconds)::bigint AS microseconds, min(fastest) AS fastest, max(slowest) AS slowest
      FROM found GROUP BY number) AS f
JOIN gathered g USING (number);

-- name: list_route_requests :many
-- for: requests of one window by route and method
-- in: as list_requests; numbers are not looked at
-- out: route, method, requests, failed (5xx), refused (4xx), unanswered, microseconds (sum), fastest, slowest (microseconds);
--      places, counts: the sketch as two arrays
-- index: request_rollups primary key
-- note: the routes are few, so their rows are those of the buckets times some dozens
WITH found AS MATERIALIZED (
    SELECT dense_rank() OVER (ORDER BY r.route, r.method) AS number, r.route, r.method, r.status_class, r.requests, r.failed, r.microseconds, r.fastest, r.slowest, r.sketch
    FROM unnest(%(numbers)s::bigint[], %(grains)s::text[], %(begins)s::timestamptz[], %(ends)s::timestamptz[]) AS s (number, grain, begins, ends)
    CROSS JOIN LATERAL (
        SELECT * FROM request_rollups r WHERE r.grain = s.grain AND r.bucket >= s.begins AND r.bucket < s.ends AND r.route <> ''
        OFFSET 0) AS r
), placed AS (
    SELECT (number << 20) + (element >> 40) AS key, sum(element & 1099511627775)::bigint AS n FROM found, unnest(sketch) AS element GROUP BY 1
), gathered AS (
    SELECT (key + 524288) >> 20 AS number, array_agg((key - (((key + 524288) >> 20) << 20))::integer) AS places, array_agg(n) AS counts
    FROM placed GROUP BY 1
)
SELECT f.route, f.method, f.requests, f.failed, f.refused, f.unanswered, f.microseconds, f.fastest, f.slowest, g.places, g.counts
FROM (SELECT number, route, method, sum(requests)::bigint AS requests, sum(failed)::bigint AS failed,
             coalesce(sum(requests) FILTER (WHERE status_class = '4xx'), 0)::bigint AS refused,
             coalesce(sum(requests) FILTER (WHERE status_class = 'none'), 0)::bigint AS unanswered,
             sum(microseconds)::bigint AS microseconds, min(fastest) AS fastest, max(slowest) AS slowest
      FROM found GROUP BY number, route, method) AS f
JOIN gathered g USING (number)
ORDER BY f.route, f.method;

-- name: list_settled_days :one
-- for: the local days of a window that are counted as a whole
-- in: since, until
-- out: an array of when they began, and when the last of them ended, ascending
-- index: local_days primary key
-- note: by the calendar that they were settled by; another one has none until its days are
SELECT coalesce(array_agg(l.starts_at ORDER BY l.starts_at), '{}')
FROM request_days d
JOIN rollup_settings s ON s.calendar = d.calendar
JOIN local_days l ON l.starts_at >= %(since)s AND l.starts_at <= least(%(until)s, d.days_until);

-- name: lock_request_days :maybe
-- for: being the only one that settles days, and whether the workspace's calendar is still the one they are counted by
-- out: is_current; no row before there is a calendar
-- note: a statement of its own, so that the next one sees what a holder before has done
SELECT s.calendar = d.calendar AS is_current
FROM request_days d, rollup_settings s
WHERE s.timezone <> ''
FOR UPDATE OF d;

-- name: renew_request_days :exec
-- for: beginning the days anew by another calendar
-- in: now
-- index: request_rollups and local_days primary keys
-- note: from the day before the oldest quarter-hour on, because a day of the old calendar may reach as far; what can no longer
--       be counted anew stays as it was
UPDATE request_days d
SET calendar = s.calendar,
    days_until = (SELECT max(l.starts_at) FROM local_days l
                  WHERE l.starts_at <= coalesce((SELECT min(r.bucket) FROM request_rollups r WHERE r.grain = 'quarter'), %(now)s) - interval '25 hours')
FROM rollup_settings s;

-- name: forget_request_days :exec
-- for: see renew_request_days
-- index: request_rollups primary key
-- note: none is read meanwhile, because the calendar they were counted by is no longer the workspace's
DELETE FROM request_rollups WHERE grain = 'day' AND bucket >= (SELECT d.days_until FROM request_days d);

-- name: settle_request_day :one
-- for: counting the next local day that is over as a whole
-- in: until: days that end later are left for later
-- out: is_settled: whether there was one
-- index: request_rollups and local_days primary keys
-- note: a hundred quarter-hours of some dozens of rows; the day and the place move together
WITH due AS (
    SELECT d.days_until AS begins, e.ends
    FROM request_days d, LATERAL (SELECT min(l.starts_at) AS ends FROM local_days l WHERE l.starts_at > d.days_until) AS e
    WHERE e.ends <= %(until)s
), moved AS (
    UPDATE request_days d SET days_until = due.ends FROM due
), found AS MATERIALIZED (
    SELECT due.begins, r.* FROM due JOIN request_rollups r ON r.grain = 'quarter' AND r.bucket >= due.begins AND r.bucket < due.ends
), placed AS (
    SELECT route, method, status_class, element >> 40 AS place, sum(element & 1099511627775)::bigint AS n FROM found, unnest(sketch) AS element GROUP BY 1, 2, 3, 4
), gathered AS (
    SELECT route, method, status_class, array_agg((place << 40) + n ORDER BY place) AS sketch FROM placed GROUP BY 1, 2, 3
), counted AS (
    INSERT INTO request_rollups (grain, bucket, route, method, status_class, requests, failed, microseconds, fastest, slowest, sketch)
    SELECT 'day', f.begins, route, method, status_class, f.requests, f.failed, f.microseconds, f.fastest, f.slowest, g.sketch
    FROM (SELECT begins, route, method, status_class, sum(requests) AS requests, sum(failed) AS failed, sum(microseconds) AS microseconds, min(fastest) AS fastest, max(slowest) AS slowest
          FROM found GROUP BY 1, 2, 3, 4) AS f
    JOIN gathered g USING (route, method, status_class)
)
SELECT EXISTS (SELECT FROM due) AS is_settled;

-- name: clear_requests :exec
-- for: buckets that are no longer kept
-- in: grains text[], before timestamptz[] of equal length; most (rows)
-- out: row count
-- index: request_rollups primary key
-- note: the oldest of each grain first and some thousand at a time; nobody adds to so old a bucket, so nobody waits
DELETE FROM request_rollups
WHERE ctid = ANY (ARRAY(
    SELECT r.ctid
    FROM unnest(%(grains)s::text[], %(before)s::timestamptz[]) AS k (grain, before), LATERAL (
        SELECT r.ctid FROM request_rollups r WHERE r.grain = k.grain AND r.bucket < k.before ORDER BY r.bucket LIMIT %(most)s
        FOR UPDATE SKIP LOCKED) AS r
    LIMIT %(most)s));

-- name: find_story_message :maybe
-- for: one message by its id or its SID, with its campaign and its place in the outbox
-- in: id uuid or NULL; sid
-- out: as StoryMessage; first_at and last_at bound what is known of it
-- index: messages primary key and (provider_sid), campaigns and outbox primary keys
-- note: two branches and no OR, so that each goes by its own index
SELECT m.id, m.provider_sid, m.campaign_id, c.name AS campaign_name, m.recipient_phone, m.channel, m.sender, m.country, m.status, m.error_code, m.skip_reason, m.in_reply_to,
       m.queued_at, coalesce(m.queued_at, m.first_seen_at, m.last_seen_at) AS first_at,
       coalesce(greatest(m.last_seen_at, m.answered_at, m.skipped_at), m.queued_at) AS last_at,
       m.delivery_us / 1e6::float8 AS delivery_seconds, o.due_at, o.defer_reason, o.attempts
FROM messages m
LEFT JOIN campaigns c ON c.id = m.campaign_id
LEFT JOIN outbox o ON o.message_id = m.id
WHERE m.id = coalesce((SELECT s.id FROM messages s WHERE s.provider_sid = %(sid)s), %(id)s::uuid);

-- name: list_message_events :many
-- for: everything the log holds about a message
-- in: names text[]: its SID and its id; most
-- out: received_at, event_type, xid (text), id, is_live, payload, dead_reason (NULL: projected, or not yet); in the log's order
-- index: events_subject of each partition; dead_letters (received_on, dedupe_key)
-- note: callbacks name the SID, our own events the id; one probe for each day of the log
SELECT e.received_at, e.event_type, e.xid::text, e.id, e.is_live, e.payload, d.reason AS dead_reason
FROM events e
LEFT JOIN dead_letters d ON (d.received_on, d.dedupe_key) = (e.received_on, e.dedupe_key) AND d.resolved_at IS NULL
WHERE event_subject(e.payload) = ANY (%(names)s::text[]) AND e.event_type <> 'inbound.received'
ORDER BY e.xid, e.id
LIMIT %(most)s;

-- name: list_replies :many
-- for: what was answered to a message
-- in: sid
-- out: received_at, message_sid, intent, body, is_auto_replied; oldest first
-- index: inbound_events (replies_to)
-- note: an inbound message answers the last one to its sender within 72 hours
SELECT received_at, message_sid, intent, body, is_auto_replied FROM inbound_events WHERE replies_to = %(sid)s ORDER BY received_at, id;

-- name: find_server_version :one
-- for: what database this is
-- out: postgresql (like 18.1)
-- note: without what a distribution adds behind it
SELECT split_part(current_setting('server_version'), ' ', 1) AS postgresql;

-- name: load_outbox :one
-- for: what waits to be handed over, and since when the oldest might have been
-- out: waiting (20,000 means: that many or more), oldest_due_at: of running campaigns and replies
-- index: outbox_due, one probe for each running campaign
-- note: counting stops, because a campaign may have millions of recipients. Ordered by campaign_id also where it is NULL:
--       only so the planner sees that the index has the order
SELECT (SELECT count(*) FROM (SELECT FROM outbox LIMIT 20000) AS counted)::integer AS waiting,
       least((SELECT min(first.due_at)
              FROM campaigns c
              CROSS JOIN LATERAL (SELECT o.due_at FROM outbox o WHERE o.campaign_id = c.id AND o.claimed_by IS NULL AND o.unsure_since IS NULL
                                  ORDER BY o.due_at LIMIT 1) AS first
              WHERE c.state = 'running'),
             (SELECT o.due_at FROM outbox o WHERE o.campaign_id IS NULL AND o.claimed_by IS NULL AND o.unsure_since IS NULL
              ORDER BY o.campaign_id, o.due_at LIMIT 1)) AS oldest_due_at;

-- name: list_resources :many
-- for: what hosts and processes use at present, for a scrape
-- in: now, beating_since
-- out: host, kind (host, web, worker), metric, value: mean of a host, sum of the means of a kind's living processes
-- index: resource_rollups primary key
-- note: as load_utilization; a host that nobody is alive on is left out
WITH used AS (
    SELECT host, kind, pid, metric, sum(sum) / sum(count) AS mean FROM resource_rollups
    WHERE grain = 'minute' AND bucket >= date_trunc('minute', %(now)s::timestamptz) - interval '1 minute' AND bucket <= %(now)s
    GROUP BY host, kind, pid, metric
), living AS (
    SELECT DISTINCT kind, host, pid FROM processes WHERE beat_at >= %(beating_since)s
    UNION
    SELECT 'host', host, 0 FROM processes WHERE beat_at >= %(beating_since)s
)
SELECT host, kind, metric, sum(mean) AS value FROM used JOIN living USING (host, kind, pid) GROUP BY host, kind, metric;

-- name: load_database_counters :one
-- for: the size of this database and what PostgreSQL counts of it, for a scrape
-- out: bytes; commits, rollbacks, deadlocks; blocks_hit, blocks_read
-- note: counted by PostgreSQL itself; the size is asked of the file system, some hundred files
SELECT pg_database_size(datid) AS bytes, xact_commit AS commits, xact_rollback AS rollbacks, blks_hit AS blocks_hit, blks_read AS blocks_read, deadlocks
FROM pg_stat_database WHERE datname = current_database();

-- name: list_request_totals :many
-- for: all requests there ever were, for a scrape
-- out: route, method, status_class, requests, microseconds (sum), sketch
-- index: request_rollups primary key
-- note: a row for each route, method and class that was ever asked for
SELECT route, method, status_class, requests, microseconds, sketch FROM request_totals;

-- name: list_pipeline_totals :many
-- for: all live webhooks there ever were, by stage
-- out: stage, dead, microseconds (sum), sketch
-- index: pipeline_rollups primary key
-- note: two rows
SELECT stage, dead, microseconds, sketch FROM pipeline_rollups WHERE grain = 'total';

-- name: try_hold_export :one
-- for: being the only one that exports to OpenTelemetry
-- out: is_mine
-- note: a lock of the session, gone with it; the figures are the whole engine's, so a second exporter would double them
SELECT pg_try_advisory_lock(hashtext('export'), 1) AS is_mine;

-- name: add_canaries :exec
-- for: the canaries of the batch, by the minute they were sent in, and when they were applied
-- in: now; rows of log_batch
-- index: canary_rollups primary key
-- note: in the transaction that makes the effect; kept for a day by whoever adds one
WITH added AS (
    INSERT INTO canary_rollups AS r (minute, received_at, applied_at)
    SELECT date_trunc('minute', received_at), max(received_at), %(now)s FROM log_batch WHERE event_type = 'canary.sent' GROUP BY 1
    ON CONFLICT (minute) DO UPDATE SET applied_at = excluded.applied_at
    RETURNING minute
)
DELETE FROM canary_rollups WHERE minute < (SELECT max(minute) FROM added) - interval '1 day';

-- name: find_way :one
-- for: whether what comes in still gets through to the alerts
-- out: evaluated_at (NULL: never); received_at of the newest canary that was applied before that (NULL: none)
-- index: canary_rollups primary key
-- note: backwards, and at most a day of rows
SELECT nullif(t.ticked_at, '-infinity') AS evaluated_at,
       (SELECT received_at FROM canary_rollups WHERE applied_at <= t.ticked_at ORDER BY minute DESC LIMIT 1) AS received_at
FROM evaluator_ticks t;

-- name: take_ping :maybe
-- for: one ping a minute over all workers
-- in: now, before (the last one must be older)
-- out: tried_at
-- index: deadman_pings primary key
-- note: whoever moves tried_at pings; committed before the ping, so that one who dies over it costs a minute, not a second ping
UPDATE deadman_pings SET tried_at = %(now)s WHERE tried_at <= %(before)s RETURNING tried_at;

-- name: record_ping :exec
-- for: what came of a ping
-- in: now, fault (NULL: it was taken)
-- index: deadman_pings primary key
-- note: the time of the last good one stays beside the fault
UPDATE deadman_pings SET fault = %(fault)s, pinged_at = CASE WHEN %(fault)s::text IS NULL THEN %(now)s ELSE pinged_at END;

-- name: hold_ping :exec
-- for: why no ping is sent
-- in: fault
-- index: deadman_pings primary key
-- note: written once, and not each time somebody looks
UPDATE deadman_pings SET fault = %(fault)s WHERE fault IS DISTINCT FROM %(fault)s;

-- name: forget_pings :exec
-- for: a dead-man's switch that was switched off
-- note: a worker with one writes anew within a minute
UPDATE deadman_pings SET tried_at = '-infinity', pinged_at = NULL, fault = NULL WHERE tried_at > '-infinity' OR fault IS NOT NULL;

-- name: list_channel_states :many
-- for: whether people can be told
-- out: name, failing_since
-- note: a handful of rows
SELECT name, failing_since FROM notification_channels WHERE is_enabled ORDER BY failing_since NULLS LAST;

-- name: load_pings :one
-- for: how the dead-man's switch is doing
-- out: tried_at (NULL: never), pinged_at, fault
-- index: deadman_pings primary key
-- note: one row
SELECT nullif(tried_at, '-infinity') AS tried_at, pinged_at, fault FROM deadman_pings;
-- name: load_server :one
-- for: what may be known about this server: versions, the statistics' beginning, pg_stat_statements and the rights to it
-- out: database, role, major, started_at, statistics_began_at, statements_schema, statements_version, is_loaded,
--      may_call, may_read_all, track, computes_ids, tracks_counts, tracks_io, preloaded (NULL: not to be seen)
-- note: shared_preload_libraries is for the privileged alone, and asking for it by current_setting would be an error; the
--       library's own settings are in pg_settings for everybody, and only when it is really loaded
SELECT current_database() AS database, quote_ident(current_user) AS role, current_setting('server_version_num')::integer / 10000 AS major,
       pg_postmaster_start_time() AS started_at, (SELECT d.stats_reset FROM pg_stat_database d WHERE d.datname = current_database()) AS statistics_began_at,
       n.nspname AS statements_schema, string_to_array(e.extversion, '.')::integer[] AS statements_version,
       EXISTS (SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max') AS is_loaded,
       coalesce(has_function_privilege((SELECT p.oid FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'pg_stat_statements'), 'EXECUTE'), false) AS may_call,
       pg_has_role('pg_read_all_stats', 'USAGE') AS may_read_all,
       coalesce((SELECT setting FROM pg_settings WHERE name = 'pg_stat_statements.track'), 'none') AS track,
       current_setting('compute_query_id') <> 'off' AS computes_ids, current_setting('track_counts')::boolean AS tracks_counts,
       current_setting('track_io_timing')::boolean AS tracks_io,
       (SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries') AS preloaded
FROM (VALUES (true)) AS one
LEFT JOIN pg_extension e ON e.extname = 'pg_stat_statements'
LEFT JOIN pg_namespace n ON n.oid = e.extnamespace;

-- name: create_statements_extension :exec
-- for: statistics of statements in this database
-- note: for the privileged alone; it takes no lock that others wait for
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;

-- name: add_search_schema :exec
-- for: finding the functions of pg_stat_statements wherever they were put
-- in: schema
-- note: until the end of the transaction
SELECT set_config('search_path', current_setting('search_path') || ', ' || quote_ident(%(schema)s), true);

-- name: find_last_snapshot :maybe
-- for: when the database was last looked at
-- out: minute, taken_at
-- index: database_snapshots primary key
-- note: one row
SELECT minute, taken_at FROM database_snapshots ORDER BY minute DESC LIMIT 1;

-- name: add_snapshot :exec
-- for: having looked
-- in: minute, taken_at, since, losses (JSON)
-- index: database_snapshots primary key
-- note: a second look at the same minute fails here, and all that it counted is rolled back with it
INSERT INTO database_snapshots (minute, taken_at, since, losses) VALUES (%(minute)s, %(taken_at)s, %(since)s, %(losses)s::jsonb);

-- name: count_database :maybe
-- for: what this database did since the look before
-- in: minute (that ends with this look)
-- out: fell (whether its counters have fallen since), before_began_at; no row: this is the first look
-- index: database_marks and database_rollups primary keys
-- note: two sets of counters with beginnings of their own: the database's, and the server's write-ahead log's. Whether they
--       fell without a new beginning tells of a crash, after which PostgreSQL begins at 0 without saying so.
WITH seen AS MATERIALIZED (
    SELECT 0 AS id, d.stats_reset AS began_at, ARRAY[xact_commit, xact_rollback, blks_hit, blks_read, temp_bytes, deadlocks] AS counters FROM pg_stat_database d WHERE datname = current_database()
    UNION ALL
    SELECT 1, w.stats_reset, ARRAY[w.wal_bytes::bigint] FROM pg_stat_wal w
), before AS MATERIALIZED (
    SELECT s.id, m.id IS NOT NULL AS is_marked, m.began_at, s.began_at IS NOT DISTINCT FROM m.began_at AND EXISTS (SELECT FROM unnest(s.counters, m.counters) AS pair (now, before) WHERE pair.now < pair.before) AS fell,
           CASE WHEN m.id IS NULL THEN array_fill(0::bigint, ARRAY[cardinality(s.counters)]) ELSE counted_since(s.counters, s.began_at, m.counters, m.began_at) END AS grown
    FROM seen s LEFT JOIN database_marks m ON (m.kind, m.id, m.owner) = ('server', s.id, 0)
), marked AS (
    INSERT INTO database_marks (kind, id, owner, began_at, counters) SELECT 'server', id, 0, began_at, counters FROM seen
    ON CONFLICT (kind, id, owner) DO UPDATE SET began_at = excluded.began_at, counters = excluded.counters
), counted AS (
    INSERT INTO database_rollups AS r (grain, bucket, commits, rollbacks, blocks_hit, blocks_read, temp_bytes, deadlocks, wal_bytes, bytes)
    SELECT g.grain, g.bucket, d.grown[1], d.grown[2], d.grown[3], d.grown[4], d.grown[5], d.grown[6], w.grown[1], pg_database_size(current_database())
    FROM before d, before w, (VALUES ('minute', %(minute)s::timestamptz), ('quarter', date_bin('15 minutes', %(minute)s, '2000-01-01Z')), ('day', date_trunc('day', %(minute)s))) AS g (grain, bucket)
    WHERE d.id = 0 AND w.id = 1
    ON CONFLICT (grain, bucket) DO UPDATE
    SET commits = r.commits + excluded.commits, rollbacks = r.rollbacks + excluded.rollbacks, blocks_hit = r.blocks_hit + excluded.blocks_hit,
        blocks_read = r.blocks_read + excluded.blocks_read, temp_bytes = r.temp_bytes + excluded.temp_bytes, deadlocks = r.deadlocks + excluded.deadlocks,
        wal_bytes = r.wal_bytes + excluded.wal_bytes, bytes = excluded.bytes
)
SELECT fell, began_at AS before_began_at FROM before WHERE id = 0 AND is_marked;

-- name: count_tables :exec
-- for: what happened to each table since the look before; partitions count as their table
-- in: minute; began_at (of the database's statistics); counted: 1, or 0 at the first look, which only learns where they stand
-- index: database_marks and table_rollups primary keys
-- note: a size is asked under a lock of the table or index, which would wait behind whoever changes it: there the size of
--       the look before stands, and nobody waits
WITH locked AS MATERIALIZED (
    SELECT coalesce(x.indrelid, l.relation) AS relid FROM pg_locks l LEFT JOIN pg_index x ON x.indexrelid = l.relation WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
), seen AS MATERIALIZED (
    SELECT t.relid::bigint AS id, coalesce(pg_partition_root(t.relid), t.relid)::regclass::text AS relation, m.counters AS counters_before, m.began_at AS began_before, m.sizes AS sizes_before,
           CASE WHEN t.relid IN (SELECT relid FROM locked) THEN m.sizes ELSE ARRAY[pg_total_relation_size(t.relid), pg_indexes_size(t.relid), pg_relation_size(t.relid)] END AS sizes,
           ARRAY[t.seq_scan, t.seq_tup_read, coalesce(t.idx_scan, 0), t.n_tup_ins, t.n_tup_upd, t.n_tup_hot_upd, t.n_tup_del,
                 io.heap_blks_hit + coalesce(io.toast_blks_hit, 0), io.heap_blks_read + coalesce(io.toast_blks_read, 0), coalesce(io.idx_blks_hit, 0), coalesce(io.idx_blks_read, 0)] AS counters
    FROM pg_stat_user_tables t JOIN pg_statio_user_tables io USING (relid)
    LEFT JOIN database_marks m ON (m.kind, m.id, m.owner) = ('table', t.relid::bigint, 0)
    WHERE NOT starts_with(t.schemaname, 'pg_temp')
), changed AS MATERIALIZED (
    SELECT s.id, s.relation, s.counters, s.sizes, counted_since(s.counters, %(began_at)s, s.counters_before, s.began_before) AS grown
    FROM seen s WHERE (s.counters_before, s.began_before, s.sizes_before) IS DISTINCT FROM (s.counters, %(began_at)s::timestamptz, s.sizes)
), forgotten AS (
    DELETE FROM database_marks m WHERE m.kind = 'table' AND NOT EXISTS (SELECT FROM seen s WHERE s.id = m.id)
), marked AS (
    INSERT INTO database_marks (kind, id, owner, began_at, counters, sizes) SELECT 'table', id, 0, %(began_at)s, counters, sizes FROM changed
    ON CONFLICT (kind, id, owner) DO UPDATE SET began_at = excluded.began_at, counters = excluded.counters, sizes = excluded.sizes
), summed AS (
    SELECT relation, array_agg(total ORDER BY place) AS grown
    FROM (SELECT c.relation, n.place, sum(n.grown)::bigint * %(counted)s AS total FROM changed c, unnest(c.grown) WITH ORDINALITY AS n (grown, place) GROUP BY c.relation, n.place) AS totals
    GROUP BY relation
)
INSERT INTO table_rollups AS r (grain, bucket, relation, seq_scans, seq_rows, index_scans, inserted, updated, hot_updated, deleted, blocks_hit, blocks_read, index_hit, index_read, bytes)
SELECT g.grain, g.bucket, relation, grown[1], grown[2], grown[3], grown[4], grown[5], grown[6], grown[7], grown[8], grown[9], grown[10], grown[11],
       (SELECT coalesce(sum(s.sizes[1]), 0) FROM seen s WHERE s.relation = summed.relation)
FROM summed, (VALUES ('minute', %(minute)s::timestamptz), ('quarter', date_bin('15 minutes', %(minute)s, '2000-01-01Z')), ('day', date_trunc('day', %(minute)s))) AS g (grain, bucket)
ON CONFLICT (grain, bucket, relation) DO UPDATE
SET seq_scans = r.seq_scans + excluded.seq_scans, seq_rows = r.seq_rows + excluded.seq_rows, index_scans = r.index_scans + excluded.index_scans,
    inserted = r.inserted + excluded.inserted, updated = r.updated + excluded.updated, hot_updated = r.hot_updated + excluded.hot_updated,
    deleted = r.deleted + excluded.deleted, blocks_hit = r.blocks_hit + excluded.blocks_hit, blocks_read = r.blocks_read + excluded.blocks_read,
    index_hit = r.index_hit + excluded.index_hit, index_read = r.index_read + excluded.index_read, bytes = excluded.bytes;

-- name: count_indexes :exec
-- for: how often each index was used since the look before; those of partitions count as the index of their table
-- in: minute, began_at, counted as in count_tables
-- index: database_marks and index_rollups primary keys
-- note: an index that is not used has no rows, only a mark; of sizes see count_tables
WITH locked AS MATERIALIZED (
    SELECT l.relation AS relid FROM pg_locks l WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
), seen AS MATERIALIZED (
    SELECT i.indexrelid::bigint AS id, coalesce(pg_partition_root(i.indexrelid), i.indexrelid)::regclass::text AS relation, m.counters AS counters_before, m.began_at AS began_before, m.sizes AS sizes_before,
           CASE WHEN i.indexrelid IN (SELECT relid FROM locked) THEN m.sizes ELSE ARRAY[pg_relation_size(i.indexrelid)] END AS sizes,
           ARRAY[i.idx_scan, i.idx_tup_read, io.idx_blks_hit, io.idx_blks_read] AS counters
    FROM pg_stat_user_indexes i JOIN pg_statio_user_indexes io USING (indexrelid)
    LEFT JOIN database_marks m ON (m.kind, m.id, m.owner) = ('index', i.indexrelid::bigint, 0)
    WHERE NOT starts_with(i.schemaname, 'pg_temp')
), changed AS MATERIALIZED (
    SELECT s.id, s.relation, s.counters, s.sizes, counted_since(s.counters, %(began_at)s, s.counters_before, s.began_before) AS grown
    FROM seen s WHERE (s.counters_before, s.began_before, s.sizes_before) IS DISTINCT FROM (s.counters, %(began_at)s::timestamptz, s.sizes)
), forgotten AS (
    DELETE FROM database_marks m WHERE m.kind = 'index' AND NOT EXISTS (SELECT FROM seen s WHERE s.id = m.id)
), marked AS (
    INSERT INTO database_marks (kind, id, owner, began_at, counters, sizes) SELECT 'index', id, 0, %(began_at)s, counters, sizes FROM changed
    ON CONFLICT (kind, id, owner) DO UPDATE SET began_at = excluded.began_at, counters = excluded.counters, sizes = excluded.sizes
)
INSERT INTO index_rollups AS r (grain, bucket, relation, scans, rows_read, blocks_hit, blocks_read)
SELECT g.grain, g.bucket, relation, sum(grown[1]), sum(grown[2]), sum(grown[3]), sum(grown[4])
FROM changed, (VALUES ('minute', %(minute)s::timestamptz), ('quarter', date_bin('15 minutes', %(minute)s, '2000-01-01Z')), ('day', date_trunc('day', %(minute)s))) AS g (grain, bucket)
WHERE %(counted)s = 1
GROUP BY g.grain, g.bucket, relation HAVING sum(grown[1] + grown[2] + grown[3] + grown[4]) > 0
ON CONFLICT (grain, bucket, relation) DO UPDATE
SET scans = r.scans + excluded.scans, rows_read = r.rows_read + excluded.rows_read, blocks_hit = r.blocks_hit + excluded.blocks_hit, blocks_read = r.blocks_read + excluded.blocks_read;

-- name: mark_statements :one
-- for: where the statistics of statements as a whole stand
-- out: began_at, evictions, before_began_at, before_evictions (NULL: the first look)
-- index: database_marks primary key
-- note: an eviction is PostgreSQL forgetting the least used twentieth because a new statement has no room
WITH seen AS (SELECT stats_reset AS began_at, dealloc AS evictions FROM pg_stat_statements_info()
), before AS MATERIALIZED (SELECT began_at, counters[1] AS evictions FROM database_marks WHERE (kind, id, owner) = ('statements', 0, 0)
), marked AS (
    INSERT INTO database_marks (kind, id, owner, began_at, counters) SELECT 'statements', 0, 0, began_at, ARRAY[evictions] FROM seen
    ON CONFLICT (kind, id, owner) DO UPDATE SET began_at = excluded.began_at, counters = excluded.counters
)
SELECT s.began_at, s.evictions, b.began_at AS before_began_at, b.evictions AS before_evictions FROM seen s LEFT JOIN before b ON true;

-- name: count_statements :exec
-- for: what each statement of this database cost since the look before: the most expensive of our own, all else as 0
-- in: minute; counted: 1, or 0 at the first look; began_at (of all statements); most (kept by name)
-- index: database_marks and statement_rollups primary keys
-- note: the function without the texts, which would be read from a file of megabytes. What a version does not have is found
--       one level further out: a name in the inner query means the function's column where there is one, else that of
--       `older` (17 renamed the read time and tells since when it counts each statement). Of a minute the slowest call is
--       known when it is a new record or when the statement is new; else the mean, which is less than or equal to it.
WITH seen AS MATERIALIZED (
    SELECT s.* FROM (VALUES (NULL::timestamptz, 0::float8, 0::float8)) AS older (stats_since, blk_read_time, shared_blk_read_time)
    CROSS JOIN LATERAL (
        SELECT queryid AS id, userid AS owner, coalesce(stats_since, %(began_at)s) AS began_at, (min_exec_time * 1000000)::bigint AS fastest_ns, (max_exec_time * 1000000)::bigint AS slowest_ns,
               ARRAY[calls, (total_exec_time * 1000000)::bigint, rows, shared_blks_hit, shared_blks_read, ((blk_read_time + shared_blk_read_time) * 1000000)::bigint, temp_blks_written] AS counters
        FROM pg_stat_statements(false)
        WHERE dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND toplevel AND queryid <> 0) AS s
), changed AS MATERIALIZED (
    SELECT s.*, g.grown, m.fastest_ns AS fastest_before, m.slowest_ns AS slowest_before, g.grown = s.counters AS is_new
    FROM seen s
    LEFT JOIN database_marks m ON (m.kind, m.id, m.owner) = ('statement', s.id, s.owner)
    CROSS JOIN LATERAL (SELECT counted_since(s.counters, s.began_at, m.counters, m.began_at) AS grown) AS g
    WHERE (m.counters, m.began_at) IS DISTINCT FROM (s.counters, s.began_at)
), forgotten AS (
    DELETE FROM database_marks m WHERE m.kind = 'statement' AND NOT EXISTS (SELECT FROM seen s WHERE (s.id, s.owner) = (m.id, m.owner))
), marked AS (
    INSERT INTO database_marks (kind, id, owner, began_at, counters, fastest_ns, slowest_ns) SELECT 'statement', id, owner, began_at, counters, fastest_ns, slowest_ns FROM changed
    ON CONFLICT (kind, id, owner) DO UPDATE SET began_at = excluded.began_at, counters = excluded.counters, fastest_ns = excluded.fastest_ns, slowest_ns = excluded.slowest_ns
), ranked AS (
    SELECT *, owner = current_user::regrole AS is_own, row_number() OVER (PARTITION BY owner = current_user::regrole ORDER BY grown[2] DESC) AS place FROM changed WHERE grown[1] > 0 AND %(counted)s = 1
)
INSERT INTO statement_rollups AS r (grain, bucket, statement_id, calls, total_ns, rows, blocks_hit, blocks_read, read_ns, temp_blocks, fastest_ns, slowest_ns)
SELECT g.grain, g.bucket, k.statement_id, sum(grown[1]), sum(grown[2]), sum(grown[3]), sum(grown[4]), sum(grown[5]), sum(grown[6]), sum(grown[7]),
       min(CASE WHEN slowest_ns > 0 AND (is_new OR fastest_ns < fastest_before) THEN fastest_ns ELSE grown[2] / grown[1] END),
       max(CASE WHEN slowest_ns > 0 AND (is_new OR slowest_ns > slowest_before) THEN slowest_ns ELSE grown[2] / grown[1] END)
FROM ranked CROSS JOIN LATERAL (SELECT CASE WHEN is_own AND place <= %(most)s THEN id ELSE 0 END AS statement_id) AS k,
     (VALUES ('minute', %(minute)s::timestamptz), ('quarter', date_bin('15 minutes', %(minute)s, '2000-01-01Z')), ('day', date_trunc('day', %(minute)s))) AS g (grain, bucket)
GROUP BY g.grain, g.bucket, k.statement_id
ON CONFLICT (grain, bucket, statement_id) DO UPDATE
SET calls = r.calls + excluded.calls, total_ns = r.total_ns + excluded.total_ns, rows = r.rows + excluded.rows, blocks_hit = r.blocks_hit + excluded.blocks_hit,
    blocks_read = r.blocks_read + excluded.blocks_read, read_ns = r.read_ns + excluded.read_ns, temp_blocks = r.temp_blocks + excluded.temp_blocks,
    fastest_ns = least(r.fastest_ns, excluded.fastest_ns), slowest_ns = greatest(r.slowest_ns, excluded.slowest_ns);

-- name: list_new_statements :one
-- for: statements of a minute whose text is not kept yet
-- in: minute
-- out: an array of statement ids
-- index: statement_rollups and statement_texts primary keys
-- note: mostly none, and then the texts need not be read
SELECT coalesce(array_agg(r.statement_id), '{}') FROM statement_rollups r
WHERE r.grain = 'minute' AND r.bucket = %(minute)s AND r.statement_id <> 0 AND NOT EXISTS (SELECT FROM statement_texts t WHERE t.statement_id = r.statement_id);

-- name: list_statement_texts :many
-- for: the texts of some of our own statements
-- in: ids bigint[], most (letters)
-- out: statement_id, text
-- note: PostgreSQL reads the whole file of texts for it. A statement of two users has the same id, so only our own rows count
SELECT DISTINCT ON (queryid) queryid AS statement_id, left(query, %(most)s) AS text FROM pg_stat_statements(true)
WHERE queryid = ANY (%(ids)s) AND userid = current_user::regrole AND dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND query IS NOT NULL
ORDER BY queryid;

-- name: add_statement_texts :exec
-- for: keeping texts
-- in: ids bigint[], texts text[], now
-- index: statement_texts primary key
-- note: few rows, and each once
INSERT INTO statement_texts (statement_id, text, seen_at)
SELECT id, text, %(now)s FROM unnest(%(ids)s::bigint[], %(texts)s::text[]) AS t (id, text) ON CONFLICT DO NOTHING;

-- name: drop_old_rollups :exec
-- for: what is kept no longer
-- in: minutes_until, quarters_until, days_until, pools_until
-- index: primary keys, each by its grain and time
-- note: one statement each minute that finds little; texts go with the last day that names them
WITH d AS (DELETE FROM database_rollups WHERE (grain = 'minute' AND bucket < %(minutes_until)s) OR (grain = 'quarter' AND bucket < %(quarters_until)s) OR (grain = 'day' AND bucket < %(days_until)s)
), t AS (DELETE FROM table_rollups WHERE (grain = 'minute' AND bucket < %(minutes_until)s) OR (grain = 'quarter' AND bucket < %(quarters_until)s) OR (grain = 'day' AND bucket < %(days_until)s)
), i AS (DELETE FROM index_rollups WHERE (grain = 'minute' AND bucket < %(minutes_until)s) OR (grain = 'quarter' AND bucket < %(quarters_until)s) OR (grain = 'day' AND bucket < %(days_until)s)
), s AS (DELETE FROM statement_rollups WHERE (grain = 'minute' AND bucket < %(minutes_until)s) OR (grain = 'quarter' AND bucket < %(quarters_until)s) OR (grain = 'day' AND bucket < %(days_until)s)
), p AS (DELETE FROM pool_rollups WHERE minute < %(pools_until)s
)
DELETE FROM database_snapshots WHERE since IS NOT NULL AND minute < CASE WHEN losses = '[]' THEN %(minutes_until)s ELSE %(days_until)s END;

-- name: drop_unused_texts :exec
-- for: texts of statements that no roll-up names any more
-- note: once a day; reads the roll-ups of days
DELETE FROM statement_texts t WHERE NOT EXISTS (SELECT FROM statement_rollups r WHERE r.grain IN ('minute', 'day') AND r.statement_id = t.statement_id);

-- name: load_statement_totals :one
-- for: all statements of a window together
-- in: grains text[], sinces and untils timestamptz[] (the buckets that cover the window)
-- out: calls, total_ns, fastest_ns, slowest_ns (NULL: none)
-- index: statement_rollups primary key
-- note: cost follows the number of buckets, at most some 100 rows in each
SELECT coalesce(sum(r.calls), 0)::bigint AS calls, coalesce(sum(r.total_ns), 0)::bigint AS total_ns, min(r.fastest_ns) AS fastest_ns, max(r.slowest_ns) AS slowest_ns
FROM unnest(%(grains)s::text[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[]) AS w (grain, since, until)
JOIN statement_rollups r ON r.grain = w.grain AND r.bucket >= w.since AND r.bucket < w.until;

-- name: list_statements :many
-- for: the statements of a window, most expensive first, and 0 for all others
-- in: grains, sinces, untils as in load_statement_totals; most
-- out: statement_id, text (NULL: others), calls, total_ns, rows, blocks_hit, blocks_read, read_ns, temp_blocks, fastest_ns, slowest_ns
-- index: statement_rollups and statement_texts primary keys
-- note: the rest beyond `most` is not shown as a row; the totals have it
SELECT r.statement_id, t.text, r.calls, r.total_ns, r.rows, r.blocks_hit, r.blocks_read, r.read_ns, r.temp_blocks, r.fastest_ns, r.slowest_ns
FROM (SELECT statement_id, sum(r.calls)::bigint AS calls, sum(r.total_ns)::bigint AS total_ns, sum(r.rows)::bigint AS rows, sum(r.blocks_hit)::bigint AS blocks_hit, sum(r.blocks_read)::bigint AS blocks_read,
             sum(r.read_ns)::bigint AS read_ns, sum(r.temp_blocks)::bigint AS temp_blocks, min(r.fastest_ns) AS fastest_ns, max(r.slowest_ns) AS slowest_ns
      FROM unnest(%(grains)s::text[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[]) AS w (grain, since, until)
      JOIN statement_rollups r ON r.grain = w.grain AND r.bucket >= w.since AND r.bucket < w.until
      GROUP BY statement_id ORDER BY sum(r.total_ns) DESC LIMIT %(most)s) AS r
LEFT JOIN statement_texts t USING (statement_id)
ORDER BY r.total_ns DESC, r.statement_id;

-- name: load_database_counts :one
-- for: what the database did in a window
-- in: grains, sinces, untils as in load_statement_totals
-- out: commits, rollbacks, blocks_hit, blocks_read, temp_bytes, deadlocks, wal_bytes (of the server)
-- index: database_rollups primary key
-- note: one row a bucket
SELECT coalesce(sum(r.commits), 0)::bigint AS commits, coalesce(sum(r.rollbacks), 0)::bigint AS rollbacks, coalesce(sum(r.blocks_hit), 0)::bigint AS blocks_hit, coalesce(sum(r.blocks_read), 0)::bigint AS blocks_read,
       coalesce(sum(r.temp_bytes), 0)::bigint AS temp_bytes, coalesce(sum(r.deadlocks), 0)::bigint AS deadlocks, coalesce(sum(r.wal_bytes), 0)::bigint AS wal_bytes
FROM unnest(%(grains)s::text[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[]) AS w (grain, since, until)
JOIN database_rollups r ON r.grain = w.grain AND r.bucket >= w.since AND r.bucket < w.until;

-- name: load_looks :one
-- for: since when the database is looked at, and when it was looked at last
-- out: first, last (minutes; NULL: never)
-- index: database_snapshots primary key
-- note: the first look is never forgotten
SELECT min(minute) AS first, max(minute) AS last FROM database_snapshots;

-- name: list_losses :one
-- for: what could not be counted in a window
-- in: since, until
-- out: losses (JSON), newest first
-- index: database_snapshots_losses
-- note: few rows; a look tells of the time before it
SELECT coalesce(jsonb_agg(loss ORDER BY s.minute DESC), '[]') FROM database_snapshots s, jsonb_array_elements(s.losses) AS loss
WHERE s.losses <> '[]' AND s.minute > %(since)s AND s.minute <= %(until)s;

-- name: list_table_counts :many
-- for: what happened to each table in a window
-- in: grains, sinces, untils as in load_statement_totals
-- out: relation, seq_scans, seq_rows, index_scans, inserted, updated, hot_updated, deleted, blocks_hit, blocks_read, index_hit, index_read
-- index: table_rollups primary key
-- note: one row a bucket and table that changed or was read
SELECT r.relation, sum(seq_scans)::bigint AS seq_scans, sum(seq_rows)::bigint AS seq_rows, sum(index_scans)::bigint AS index_scans, sum(inserted)::bigint AS inserted, sum(updated)::bigint AS updated,
       sum(hot_updated)::bigint AS hot_updated, sum(deleted)::bigint AS deleted, sum(blocks_hit)::bigint AS blocks_hit, sum(blocks_read)::bigint AS blocks_read, sum(index_hit)::bigint AS index_hit, sum(index_read)::bigint AS index_read
FROM unnest(%(grains)s::text[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[]) AS w (grain, since, until)
JOIN table_rollups r ON r.grain = w.grain AND r.bucket >= w.since AND r.bucket < w.until
GROUP BY r.relation;

-- name: list_table_states :many
-- for: the tables as they are now; partitions count as their table
-- out: relation, partitions, rows, dead_rows, bytes, index_bytes, heap_bytes (of the last look; NULL: none yet), vacuumed_at, analyzed_at (the latest of
--      any partition), xid_age (the oldest), expected_bytes (of the rows, by the planner's statistics; NULL: unknown)
-- index: database_marks primary key
-- note: takes no lock of a table, so that it answers also while one is being changed. After a reset of the statistics the
--       number of rows is the planner's. The expected size: rows of the mean width of their columns plus 28 bytes of header
--       and pointer, in pages filled as the table wants it; it ignores alignment.
WITH widths AS (
    SELECT schemaname, tablename, sum(avg_width * (1 - null_frac)) AS width FROM pg_stats WHERE NOT inherited GROUP BY schemaname, tablename
), leaves AS (
    SELECT coalesce(pg_partition_root(t.relid), t.relid) AS root, t.*, c.reltuples, c.relfrozenxid, m.sizes,
           CASE WHEN c.reltuples >= 0 AND w.width IS NOT NULL AND m.sizes IS NOT NULL
                THEN ceil(c.reltuples * (w.width + 28) / (8168 * coalesce((SELECT option_value::integer FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 100) / 100.0)) * 8192 END AS expected_bytes
    FROM pg_stat_user_tables t JOIN pg_class c ON c.oid = t.relid AND c.relkind <> 'p'
    LEFT JOIN widths w ON (w.schemaname, w.tablename) = (t.schemaname, t.relname)
    LEFT JOIN database_marks m ON (m.kind, m.id, m.owner) = ('table', t.relid::bigint, 0)
    WHERE NOT starts_with(t.schemaname, 'pg_temp')
)
SELECT root::regclass::text AS relation, count(*) FILTER (WHERE root <> relid)::integer AS partitions,
       sum(CASE WHEN n_live_tup > 0 THEN n_live_tup ELSE greatest(reltuples, 0) END)::bigint AS rows, sum(n_dead_tup)::bigint AS dead_rows,
       sum(sizes[1])::bigint AS bytes, sum(sizes[2])::bigint AS index_bytes, sum(sizes[3]) FILTER (WHERE expected_bytes IS NOT NULL)::bigint AS heap_bytes,
       max(greatest(last_vacuum, last_autovacuum)) AS vacuumed_at, max(greatest(last_analyze, last_autoanalyze)) AS analyzed_at,
       max(age(relfrozenxid))::bigint AS xid_age, sum(expected_bytes)::bigint AS expected_bytes
FROM leaves GROUP BY root ORDER BY sum(sizes[1]) DESC NULLS LAST, relation;

-- name: list_table_sizes :many
-- for: how large each table was when the last seven days began, or when it was first looked at
-- in: since (midnight)
-- out: relation, bytes, since (of the figure)
-- index: table_rollups and database_rollups primary keys
-- note: a table has a row only where something happened to it, so the last one before stands for its size since. One that is
--       not there at the first look was made later, and began with nothing.
WITH first AS (SELECT min(bucket) AS bucket, bool_or(bucket < %(since)s) AS is_older FROM database_rollups WHERE grain = 'quarter'),
before AS (SELECT DISTINCT ON (relation) relation, bytes FROM table_rollups WHERE grain = 'day' AND bucket < %(since)s ORDER BY relation, bucket DESC),
earliest AS (SELECT r.relation, r.bytes FROM table_rollups r, first f WHERE r.grain = 'quarter' AND r.bucket = f.bucket AND NOT f.is_older),
known AS (SELECT relation FROM before UNION SELECT DISTINCT relation FROM table_rollups WHERE grain = 'quarter' AND bucket >= %(since)s)
SELECT k.relation, coalesce(b.bytes, e.bytes, 0)::bigint AS bytes, CASE WHEN f.is_older THEN %(since)s::timestamptz ELSE f.bucket END AS since
FROM first f, known k LEFT JOIN before b USING (relation) LEFT JOIN earliest e USING (relation);

-- name: load_database_size :one
-- for: how large the database is, and was when the last seven days began or at the first look
-- in: since (midnight)
-- out: bytes, bytes_before, since (NULL: never looked), xid_age, xid_limit (autovacuum_freeze_max_age)
-- index: database_rollups primary key
-- note: every look has a row here
SELECT pg_database_size(current_database()) AS bytes, r.bytes AS bytes_before, r.since,
       (SELECT age(datfrozenxid)::bigint FROM pg_database WHERE datname = current_database()) AS xid_age, current_setting('autovacuum_freeze_max_age')::bigint AS xid_limit
FROM (VALUES (true)) AS one
LEFT JOIN LATERAL (
    (SELECT bytes, %(since)s::timestamptz AS since, 1 AS place FROM database_rollups WHERE grain = 'day' AND bucket < %(since)s ORDER BY bucket DESC LIMIT 1)
    UNION ALL (SELECT bytes, bucket, 2 FROM database_rollups WHERE grain = 'quarter' ORDER BY bucket LIMIT 1)
    ORDER BY place LIMIT 1) AS r ON true;

-- name: list_index_states :many
-- for: the indexes as they are now; those of partitions count as the index of their table
-- in: since (from which uses are counted)
-- out: relation (the index), table_name, definition (NULL: its table is being changed), method, keys int2[], key_count, classes, collations, options, is_plain (columns and all rows),
--      is_unique, is_constraint, is_valid, is_partitioned, is_replica_identity, is_being_built, bytes (of the last look; NULL: none yet), scans (as
--      PostgreSQL counts them), scans_kept (since)
-- index: index_rollups and database_marks primary keys
-- note: the definition would wait for whoever changes the table; all else takes no lock of it
WITH locked AS MATERIALIZED (
    SELECT l.relation AS relid FROM pg_locks l WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
), leaves AS (
    SELECT coalesce(pg_partition_root(i.indexrelid), i.indexrelid) AS root, sum(i.idx_scan)::bigint AS scans, sum(m.sizes[1])::bigint AS bytes, bool_and(x.indisvalid) AS is_valid
    FROM pg_stat_user_indexes i JOIN pg_index x ON x.indexrelid = i.indexrelid
    LEFT JOIN database_marks m ON (m.kind, m.id, m.owner) = ('index', i.indexrelid::bigint, 0)
    WHERE NOT starts_with(i.schemaname, 'pg_temp') GROUP BY 1
), kept AS (
    SELECT relation, sum(scans)::bigint AS scans FROM index_rollups WHERE grain = 'day' AND bucket >= %(since)s GROUP BY relation
)
SELECT l.root::regclass::text AS relation, x.indrelid::regclass::text AS table_name, CASE WHEN NOT EXISTS (SELECT FROM locked k WHERE k.relid IN (x.indrelid, l.root)) THEN pg_get_indexdef(l.root) END AS definition, a.amname AS method,
       x.indkey::int2[] AS keys, x.indnkeyatts::integer AS key_count, x.indclass::oid[]::bigint[] AS classes, x.indcollation::oid[]::bigint[] AS collations, x.indoption::int2[] AS options,
       x.indexprs IS NULL AND x.indpred IS NULL AND x.indnatts = x.indnkeyatts AS is_plain,
       x.indisunique AS is_unique, EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = l.root) AS is_constraint, x.indisvalid AND l.is_valid AS is_valid, c.relkind = 'I' AS is_partitioned,
       x.indisreplident AS is_replica_identity, EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = l.root) AS is_being_built,
       l.bytes, l.scans, coalesce(k.scans, 0) AS scans_kept
FROM leaves l JOIN pg_index x ON x.indexrelid = l.root JOIN pg_class c ON c.oid = l.root JOIN pg_am a ON a.oid = c.relam
LEFT JOIN kept k ON k.relation = l.root::regclass::text
ORDER BY l.bytes DESC NULLS LAST, relation;

-- name: list_sessions :many
-- for: who works in this database now, and who holds up whom
-- in: most (letters of a text)
-- out: pid, role, application, client, state, wait (type and event), query_seconds, transaction_seconds (NULL: none), text (NULL: not ours to see), blocked_by int[]
-- note: pg_blocking_pids stops the lock manager for a moment, so it is asked only of those that wait for a lock; who blocks
--       may be idle, by a lock of its session. Without a role is the autovacuum, which names a table and nothing more
WITH sessions AS MATERIALIZED (
    SELECT a.*, CASE WHEN a.wait_event_type = 'Lock' THEN pg_blocking_pids(a.pid) ELSE '{}' END AS blocked_by
    FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
)
SELECT s.pid, s.usename AS role, coalesce(nullif(s.application_name, ''), s.backend_type) AS application, host(s.client_addr) AS client, coalesce(s.state, 'hidden') AS state,
       nullif(concat_ws(' ', s.wait_event_type, s.wait_event), '') AS wait,
       CASE WHEN s.state <> 'idle' THEN extract(epoch FROM clock_timestamp() - s.query_start)::float8 END AS query_seconds,
       extract(epoch FROM clock_timestamp() - s.xact_start)::float8 AS transaction_seconds,
       CASE WHEN s.usename = current_user OR s.usename IS NULL THEN left(s.query, %(most)s) END AS text, s.blocked_by
FROM sessions s
WHERE (s.state IS DISTINCT FROM 'idle' AND s.backend_type IN ('client backend', 'parallel worker', 'autovacuum worker'))
   OR EXISTS (SELECT FROM sessions b WHERE s.pid = ANY (b.blocked_by))
ORDER BY s.xact_start NULLS LAST, s.pid;

-- name: list_replicas :many
-- for: how far replicas are behind
-- out: name, client, state, sync_state, lag_bytes, lag_seconds (NULL: not to be seen, or nothing to replay)
-- note: of others' connections only the privileged see more than that they are there
SELECT application_name AS name, host(client_addr) AS client, state, sync_state,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint END AS lag_bytes, extract(epoch FROM replay_lag)::float8 AS lag_seconds
FROM pg_stat_replication ORDER BY application_name, pid;

-- name: list_settings :many
-- for: settings that matter to speed and to what can be seen
-- in: names text[]
-- out: name, value
-- note: those that only the privileged may see are left out
SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY (%(names)s) ORDER BY array_position(%(names)s, name);

-- name: note_pool :exec
-- for: a web process's pool, with its sign of life
-- in: process_id, now, size, idle, largest, waiting, counters bigint[] (requests, waited, wait in ms, failed, lost) since the process began
-- index: pool_states and pool_rollups primary keys
-- note: counters go in as they stand, so that telling twice, after an answer that was lost, counts once
WITH before AS MATERIALIZED (
    SELECT counters FROM pool_states WHERE process_id = %(process_id)s FOR UPDATE
), forgotten AS (
    DELETE FROM pool_states WHERE noted_at < %(now)s::timestamptz - interval '1 day' AND process_id <> %(process_id)s
), noted AS (
    INSERT INTO pool_states (process_id, noted_at, size, idle, largest, waiting, counters)
    VALUES (%(process_id)s, %(now)s, %(size)s, %(idle)s, %(largest)s, %(waiting)s, %(counters)s)
    ON CONFLICT (process_id) DO UPDATE SET noted_at = excluded.noted_at, size = excluded.size, idle = excluded.idle, largest = excluded.largest, waiting = excluded.waiting, counters = excluded.counters
), grown AS (
    SELECT counted_since(%(counters)s::bigint[], NULL, (SELECT counters FROM before), NULL) AS by
)
INSERT INTO pool_rollups AS r (minute, process_id, requests, waited, wait_ms, failed, lost)
SELECT date_trunc('minute', %(now)s::timestamptz), %(process_id)s, by[1], by[2], by[3], by[4], by[5] FROM grown WHERE by[1] + by[4] + by[5] > 0
ON CONFLICT (minute, process_id) DO UPDATE SET requests = r.requests + excluded.requests, waited = r.waited + excluded.waited, wait_ms = r.wait_ms + excluded.wait_ms, failed = r.failed + excluded.failed, lost = r.lost + excluded.lost;

-- name: load_pools :one
-- for: the pools of all web processes together
-- in: alive_since, waits_since, since, until
-- out: processes, size, idle, largest, waiting (of those alive); requests, wait_ms (since waits_since); failed, lost (in the window)
-- index: pool_rollups primary key
-- note: a handful of rows a minute; a process that took leave is not in `processes` any more
SELECT s.processes, s.size, s.idle, s.largest, s.waiting, w.requests, w.wait_ms, f.failed, f.lost
FROM (SELECT count(*)::integer AS processes, coalesce(sum(size), 0)::integer AS size, coalesce(sum(idle), 0)::integer AS idle, coalesce(sum(largest), 0)::integer AS largest, coalesce(sum(waiting), 0)::integer AS waiting
      FROM pool_states JOIN processes p ON p.id = process_id WHERE noted_at >= %(alive_since)s) AS s,
     (SELECT coalesce(sum(requests), 0)::bigint AS requests, coalesce(sum(wait_ms), 0)::bigint AS wait_ms FROM pool_rollups WHERE minute >= %(waits_since)s) AS w,
     (SELECT coalesce(sum(failed), 0)::bigint AS failed, coalesce(sum(lost), 0)::bigint AS lost FROM pool_rollups WHERE minute >= date_trunc('minute', %(since)s::timestamptz) AND minute < %(until)s) AS f;

-- name: find_own_server :one
-- for: whether the server runs on this host: its process for this connection, and where it keeps its data
-- out: pid, started_at, data_directory (NULL: the role may not know)
-- note: a number alone could be that of any process of this host; number and start together are not
SELECT a.pid, a.backend_start AS started_at, (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory
FROM pg_stat_activity a WHERE a.pid = pg_backend_pid();

-- name: note_disk :exec
-- for: the disk as this host sees it
-- in: at, host, total_bytes, free_bytes, unless_since (a younger look is enough)
-- index: database_disk has one row
-- note: each process of the host looks every ten seconds; writing what another has just written would gain nothing
INSERT INTO database_disk AS d (measured_at, host, total_bytes, free_bytes) VALUES (%(at)s, %(host)s, %(total_bytes)s, %(free_bytes)s)
ON CONFLICT (only_row) DO UPDATE
SET measured_at = excluded.measured_at, host = excluded.host, total_bytes = excluded.total_bytes, free_bytes = excluded.free_bytes
WHERE d.measured_at < %(unless_since)s;

-- name: find_disk :maybe
-- for: the disk as it was last seen
-- in: since
-- out: host, total_bytes, free_bytes, measured_at
-- index: database_disk has one row
-- note: an old look may be of a host on which PostgreSQL ran before
SELECT host, total_bytes, free_bytes, measured_at FROM database_disk WHERE measured_at >= %(since)s;
