-- name: add_batch :exec
-- for: how long live webhooks took from receipt to effect
-- in: rows of log_batch
-- index: pipeline_rollups primary key
-- note: measured inside the transaction that makes the effect, by the database's clock; a clock that ran ahead counts 0
INSERT INTO pipeline_rollups AS r (minute, events, microseconds, slowest)
SELECT date_trunc('minute', clock_timestamp()), count(*), sum(age), max(age)
FROM (SELECT greatest(0, extract(epoch FROM clock_timestamp() - received_at) * 1000000)::bigint AS age FROM log_batch WHERE is_live AND event_type IN ('receipt.received', 'inbound.received')) AS aged
HAVING count(*) > 0
ON CONFLICT (minute) DO UPDATE
SET events = r.events + excluded.events, microseconds = r.microseconds + excluded.microseconds, slowest = greatest(r.slowest, excluded.slowest);

-- name: beat :exec
-- for: a process's sign of life, and the minute it marks
-- in: id, kind, host, pid, started_at, now, spooled (events)
-- index: processes and uptime_minutes primary keys
-- note: one statement; the minute is written once by whoever comes first
WITH marked AS (
    INSERT INTO uptime_minutes (minute, kind) VALUES (date_trunc('minute', %(now)s::timestamptz), %(kind)s)
    ON CONFLICT DO NOTHING
), forgotten AS (
    DELETE FROM processes WHERE beat_at < %(now)s::timestamptz - interval '1 day'
)
INSERT INTO processes AS p (id, kind, host, pid, started_at, beat_at, spooled)
VALUES (%(id)s, %(kind)s, %(host)s, %(pid)s, %(started_at)s, %(now)s, %(spooled)s)
ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, spooled = excluded.spooled;

-- name: end_process :exec
-- for: a process that ends in good order, so that it is not missed
-- in: id
-- index: processes primary key
-- note: one that is killed is found by its silence
DELETE FROM processes WHERE id = %(id)s;

-- name: list_live_processes :many
-- for: processes with a sign of life since an instant
-- in: since
-- out: id, kind, started_at, beat_at, spooled (events)
-- note: a handful of rows
SELECT id, kind, started_at, beat_at, spooled FROM processes WHERE beat_at >= %(since)s ORDER BY kind, started_at;

-- name: list_uptime :many
-- for: measured uptime by day
-- in: now; days; kinds text[] that must all be alive
-- out: days_ago (0: the last 24 hours), minutes_up, minutes
-- index: uptime_minutes primary key
-- note: counted from the first recorded minute: the time before the engine existed is no downtime
WITH first AS (
    SELECT greatest(min(minute), date_trunc('minute', %(now)s::timestamptz) - %(days)s * interval '1 day') AS minute FROM uptime_minutes
), up AS (
    SELECT u.minute FROM uptime_minutes u, first
    WHERE u.minute >= first.minute AND u.minute < date_trunc('minute', %(now)s::timestamptz)
    GROUP BY u.minute HAVING count(*) FILTER (WHERE u.kind = ANY (%(kinds)s)) = cardinality(%(kinds)s::text[])
)
SELECT day::integer AS days_ago,
       (SELECT count(*) FROM up WHERE up.minute >= date_trunc('minute', %(now)s::timestamptz) - (day + 1) * interval '1 day'
          AND up.minute < date_trunc('minute', %(now)s::timestamptz) - day * interval '1 day')::integer AS minutes_up,
       (extract(epoch FROM date_trunc('minute', %(now)s::timestamptz) - day * interval '1 day'
          - greatest(first.minute, date_trunc('minute', %(now)s::timestamptz) - (day + 1) * interval '1 day')) / 60)::integer AS minutes
FROM first, generate_series(0, %(days)s - 1) AS day
WHERE first.minute < date_trunc('minute', %(now)s::timestamptz) - day * interval '1 day';

-- name: load_pipeline :one
-- for: how long live webhooks took to take effect
-- in: since
-- out: events, microseconds (sum), slowest (microseconds)
-- index: pipeline_rollups primary key
-- note: five rows
SELECT coalesce(sum(events), 0)::bigint AS events, coalesce(sum(microseconds), 0)::bigint AS microseconds, coalesce(max(slowest), 0)::bigint AS slowest
FROM pipeline_rollups WHERE minute >= %(since)s;

-- name: load_lag :one
-- for: how far the projector is behind
-- in: xid, id (its place)
-- out: events (10,000 means: that many or more), oldest_at
-- index: events (xid, id)
-- note: the order is what keeps the planner to the index; the count stops at 10,000, because this is asked for all the time and most of all when much is waiting
SELECT count(*)::integer AS events, min(received_at) AS oldest_at
FROM (SELECT received_at FROM events WHERE (xid, id) > (%(xid)s::xid8, %(id)s) ORDER BY xid, id LIMIT 10000) AS waiting;

-- name: load_database :one
-- for: the database's connections and unresolved dead letters
-- out: connections (of this database), most_connections, dead_letters
-- index: dead_letters_unresolved
-- note: pg_stat_activity shows every user the rows' existence, which is all that is counted
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend')::integer AS connections,
       current_setting('max_connections')::integer AS most_connections,
       (SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL)::integer AS dead_letters;

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

-- name: list_latest_events :many
-- for: the first look at the feed
-- in: most (events)
-- in: event_types text[] (those shown)
-- out: xid (text), id, received_at, event_type, status (lower case), phone, channel, body, intent, error_code,
--      delivery_seconds, is_auto_replied, campaign_name, recipients (of a campaign)
-- index: events (xid, id) of each partition, merged backwards; messages (provider_sid) and primary key, inbound_events
--        (message_sid), campaigns primary key
-- note: only what is projected, so that the feed never shows an effect before the figures do. Dead letters and what is
--       not shown are left out before the LIMIT: behind many of them in a row the feed would see nothing and stand still.
SELECT e.xid::text, e.id, e.received_at, e.event_type, CASE e.event_type WHEN 'message.refused' THEN 'failed' ELSE r.status END AS status, coalesce(i.from_phone, m.recipient_phone) AS phone,
       coalesce(i.channel, m.channel) AS channel, i.body, i.intent, m.error_code,
       m.delivery_us / 1e6::float8 AS delivery_seconds, i.is_auto_replied,
       coalesce(c.name, e.payload ->> 'CampaignName') AS campaign_name, (e.payload ->> 'Recipients')::bigint AS recipients
FROM (SELECT * FROM events w WHERE (xid, id) <= (SELECT c.xid, c.id FROM log_cursors c WHERE c.reader = 'projector')
        AND event_type = ANY (%(event_types)s)
        AND NOT EXISTS (SELECT FROM dead_letters d WHERE (d.received_on, d.dedupe_key) = (w.received_on, w.dedupe_key) AND d.resolved_at IS NULL)
      ORDER BY xid DESC, id DESC LIMIT %(most)s) AS e
CROSS JOIN LATERAL (SELECT coalesce(e.payload ->> 'MessageSid', e.payload ->> 'SmsSid') AS sid,
                           lower(coalesce(e.payload ->> 'MessageStatus', e.payload ->> 'SmsStatus')) AS status) AS r
LEFT JOIN messages m ON m.id = CASE e.event_type WHEN 'receipt.received' THEN (SELECT s.id FROM messages s WHERE s.provider_sid = r.sid)
                                                 WHEN 'message.refused' THEN (e.payload ->> 'MessageId')::uuid END
LEFT JOIN inbound_events i ON e.event_type = 'inbound.received' AND i.message_sid = r.sid
LEFT JOIN campaigns c ON c.id = m.campaign_id
WHERE m.id IS NOT NULL OR i.id IS NOT NULL OR e.event_type LIKE 'campaign.%%'
ORDER BY e.xid DESC, e.id DESC;

-- name: list_events_after :many
-- for: what the feed shows next
-- in: xid, id (the last event shown), most (events), event_types text[]
-- out: as list_latest_events, oldest first
-- index: as list_latest_events
-- note: the row comparison is what lets the index begin at the place
SELECT e.xid::text, e.id, e.received_at, e.event_type, CASE e.event_type WHEN 'message.refused' THEN 'failed' ELSE r.status END AS status, coalesce(i.from_phone, m.recipient_phone) AS phone,
       coalesce(i.channel, m.channel) AS channel, i.body, i.intent, m.error_code,
       m.delivery_us / 1e6::float8 AS delivery_seconds, i.is_auto_replied,
       coalesce(c.name, e.payload ->> 'CampaignName') AS campaign_name, (e.payload ->> 'Recipients')::bigint AS recipients
FROM (SELECT * FROM events w WHERE (xid, id) > (%(xid)s::xid8, %(id)s) AND (xid, id) <= (SELECT c.xid, c.id FROM log_cursors c WHERE c.reader = 'projector')
        AND event_type = ANY (%(event_types)s)
        AND NOT EXISTS (SELECT FROM dead_letters d WHERE (d.received_on, d.dedupe_key) = (w.received_on, w.dedupe_key) AND d.resolved_at IS NULL)
      ORDER BY xid, id LIMIT %(most)s) AS e
CROSS JOIN LATERAL (SELECT coalesce(e.payload ->> 'MessageSid', e.payload ->> 'SmsSid') AS sid,
                           lower(coalesce(e.payload ->> 'MessageStatus', e.payload ->> 'SmsStatus')) AS status) AS r
LEFT JOIN messages m ON m.id = CASE e.event_type WHEN 'receipt.received' THEN (SELECT s.id FROM messages s WHERE s.provider_sid = r.sid)
                                                 WHEN 'message.refused' THEN (e.payload ->> 'MessageId')::uuid END
LEFT JOIN inbound_events i ON e.event_type = 'inbound.received' AND i.message_sid = r.sid
LEFT JOIN campaigns c ON c.id = m.campaign_id
WHERE m.id IS NOT NULL OR i.id IS NOT NULL OR e.event_type LIKE 'campaign.%%'
ORDER BY e.xid, e.id;

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
