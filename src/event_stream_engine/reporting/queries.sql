-- name: find_recorded_since :one
-- for: the first moment of which anything is known
-- out: at; NULL before anything happened
-- index: the primary keys of the roll-ups and of uptime_quarters
-- note: the lower end of five indexes, past the few buckets that are empty again; an engine that ran and saw nothing has
--       days, too
SELECT least((SELECT min(bucket) FROM message_rollups WHERE grain = 'quarter' AND slice = 0 AND messages > 0),
             (SELECT min(bucket) FROM inbound_rollups WHERE grain = 'quarter' AND messages > 0),
             (SELECT min(bucket) FROM consent_rollups WHERE grain = 'quarter' AND transitions > 0),
             (SELECT min(bucket) FROM signup_rollups WHERE grain = 'quarter' AND users > 0),
             (SELECT min(quarter) FROM uptime_quarters)) AS at;

-- name: count_started_campaigns :one
-- for: campaigns executed
-- in: since, until
-- out: campaigns
-- note: reads all campaigns, a few hundred bytes each
SELECT count(*) FROM campaigns WHERE started_at >= %(since)s AND started_at < %(until)s;

-- name: list_failed_campaigns :many
-- for: which campaigns are behind an error code
-- in: since, until; slice with campaigns; most (of each code)
-- out: error_code (0: none named), campaign_id (zeros: of no campaign), failed (messages), most first
-- index: failure_rollups primary key
-- note: as count_failures of analytics, with the campaign beside the code
SELECT error_code, campaign_id, failed
FROM (SELECT error_code, campaign_id, sum(failed)::bigint AS failed,
             row_number() OVER (PARTITION BY error_code ORDER BY sum(failed) DESC, campaign_id) AS place
      FROM failure_counts(%(since)s, %(until)s, %(slice)s, 'month')
      GROUP BY 1, 2 HAVING sum(failed) > 0) AS counted
WHERE place <= %(most)s
ORDER BY error_code, place;

-- name: store_version :exec
-- for: a version of a report
-- in: kind, last_day, version, zone, cut_off_at, body jsonb
-- out: row count: 0 when another worker has made the same version
-- index: report_versions primary key
-- note: who comes second waits for the first, at most for its transaction, and stores nothing: no version is made twice
INSERT INTO report_versions (kind, last_day, version, zone, cut_off_at, confirmed_at, body)
VALUES (%(kind)s, %(last_day)s, %(version)s, %(zone)s, %(cut_off_at)s, %(cut_off_at)s, %(body)s)
ON CONFLICT DO NOTHING;

-- name: confirm_version :exec
-- for: a version whose figures are still the same
-- in: kind, last_day, version, at
-- index: report_versions primary key
-- note: never back, should clocks of two hosts differ
UPDATE report_versions SET confirmed_at = greatest(confirmed_at, %(at)s)
WHERE kind = %(kind)s AND last_day = %(last_day)s AND version = %(version)s;

-- name: load_body :maybe
-- for: a version of a report, the latest when none is named
-- in: kind, last_day, version (NULL: the latest)
-- out: body jsonb
-- index: report_versions primary key
-- note: one row from the end of the index
SELECT body FROM report_versions
WHERE kind = %(kind)s AND last_day = %(last_day)s AND (%(version)s::integer IS NULL OR version = %(version)s)
ORDER BY version DESC LIMIT 1;

-- name: list_versions :many
-- for: all versions of some reports, newest report and newest version first
-- in: kind, first, last: days, both within
-- out: kind, last_day, version, zone, cut_off_at, confirmed_at, reason (NULL: the first version), changed (figures)
-- index: report_versions primary key
-- note: bounded by the days asked for; another version only when figures had changed
SELECT kind, last_day, version, zone, cut_off_at, confirmed_at, body #>> '{frame,restated,reason}' AS reason,
       jsonb_array_length(coalesce(body #> '{frame,restated,changes}', '[]')) AS changed
FROM report_versions
WHERE kind = %(kind)s AND last_day BETWEEN %(first)s AND %(last)s
ORDER BY last_day DESC, version DESC;

-- name: list_latest :many
-- for: what there is of the reports that may be due
-- in: kind, first, last: days, both within
-- out: last_day, confirmed_at: of the latest version of each
-- index: report_versions primary key
-- note: without the bodies, once a minute
SELECT DISTINCT ON (last_day) last_day, confirmed_at
FROM report_versions
WHERE kind = %(kind)s AND last_day BETWEEN %(first)s AND %(last)s
ORDER BY last_day DESC, version DESC;

-- name: is_behind :one
-- for: whether figures are still on their way
-- in: since
-- out: a boolean: a webhook from before waits for the projector, or ten thousand events do
-- index: events (xid, id)
-- note: as load_lag of monitoring, whose count ends there, too; asked only when a report is due
SELECT count(*) = 10000 OR coalesce(min(received_at) FILTER (WHERE is_live) < %(since)s, false) AS is_behind
FROM (SELECT e.received_at, e.is_live FROM log_cursors c CROSS JOIN LATERAL (
          SELECT received_at, is_live FROM events WHERE (xid, id) > (c.xid, c.id) ORDER BY xid, id LIMIT 10000) AS e
      WHERE c.reader = 'projector') AS waiting;

-- name: list_subscriptions :many
-- for: who gets which report by which channel, and what came of the last one
-- in: id (NULL: all)
-- out: id, kind, operator_id, operator_name, channel_id, channel_name, stopped (NULL: it is told), with_restated, created_at;
--      last_at and last_state (waiting, delivered, failed) of the last report that went to the channel (NULL: none yet)
-- index: notice_deliveries_channel
-- note: a handful of rows; the last report is looked for among the last five hundred deliveries of the channel
SELECT s.id, s.kind, s.operator_id, o.name AS operator_name, s.channel_id, c.name AS channel_name, s.with_restated, s.created_at,
       CASE WHEN c.removed_at IS NOT NULL THEN 'channel removed' WHEN NOT c.is_enabled THEN 'channel off'
            WHEN o.disabled_at IS NOT NULL THEN 'person shut out' END AS stopped,
       l.at AS last_at, l.state AS last_state
FROM report_subscriptions s
JOIN operators o ON o.id = s.operator_id
JOIN notification_channels c ON c.id = s.channel_id
LEFT JOIN LATERAL (
    SELECT coalesce(r.ended_at, r.queued_at) AS at, r.state
    FROM (SELECT d.id, d.notice_key, d.state, d.queued_at, d.ended_at FROM notice_deliveries d
          WHERE d.channel_id = s.channel_id ORDER BY d.id DESC LIMIT 500) AS r
    JOIN notices n ON n.key = r.notice_key AND n.kind = 'report.' || s.kind
    ORDER BY r.id DESC LIMIT 1) AS l ON true
WHERE %(id)s::uuid IS NULL OR s.id = %(id)s
ORDER BY lower(o.name), s.kind, lower(c.name);

-- name: list_subscribers :many
-- for: whom a subscription may belong to
-- out: id, name
-- index: operators primary key
-- note: everybody who may sign in; a few dozen rows
SELECT id, name FROM operators WHERE disabled_at IS NULL ORDER BY lower(name);

-- name: add_subscription :exec
-- for: a person who wants a report by a channel
-- in: id, kind, operator_id, channel_id, with_restated, now
-- out: row count; 0: the same is there already
-- index: report_subscriptions (operator_id, channel_id, kind)
-- note: no exception for the same one, so the caller's transaction lives on
INSERT INTO report_subscriptions (id, kind, operator_id, channel_id, with_restated, created_at)
VALUES (%(id)s, %(kind)s, %(operator_id)s, %(channel_id)s, %(with_restated)s, %(now)s)
ON CONFLICT (operator_id, channel_id, kind) DO NOTHING;

-- name: remove_subscription :exec
-- for: a report that somebody no longer wants
-- in: id
-- out: row count
-- index: report_subscriptions primary key
-- note: what is queued already still arrives
DELETE FROM report_subscriptions WHERE id = %(id)s;

-- name: list_subscribed_channels :many
-- for: where a version of a report goes
-- in: kind, ended_at, is_restated
-- out: channel_id
-- note: a handful of rows. Only who subscribed before the day or week was over, so that a reporter that catches up floods
--       nobody who has just come.
SELECT DISTINCT s.channel_id
FROM report_subscriptions s JOIN operators o ON o.id = s.operator_id AND o.disabled_at IS NULL
WHERE s.kind = %(kind)s AND s.created_at <= %(ended_at)s AND (s.with_restated OR NOT %(is_restated)s::boolean);

------------------------------------------------------------------------------------------------------------------
-- schedules of saved queries
------------------------------------------------------------------------------------------------------------------

-- name: list_query_schedules :many
-- for: schedules that somebody may see, of one query or of all
-- in: owner, query_id (NULL: all)
-- out: the columns of query_schedules, query_name, channel_name; ran_at, reason, row_count of the last run (NULL: none yet)
-- index: query_schedules_query, query_runs primary key
-- note: whoever may see a query may see when it is run; a channel that was removed keeps its row and its name
SELECT s.id, s.query_id, s.given, s.weekday, s.runs_at, s.channel_id, s.is_enabled, s.owner, s.owner_name, s.created_at, s.due_at,
       q.name AS query_name, c.name AS channel_name, c.is_enabled AND c.removed_at IS NULL AS is_channel_usable,
       r.ran_at, r.reason, r.row_count
FROM query_schedules s
JOIN saved_queries q ON q.id = s.query_id
JOIN notification_channels c ON c.id = s.channel_id
LEFT JOIN LATERAL (SELECT ran_at, reason, row_count FROM query_runs WHERE schedule_id = s.id ORDER BY due_at DESC LIMIT 1) AS r ON true
WHERE (q.is_shared OR q.owner = %(owner)s) AND (%(query_id)s::uuid IS NULL OR s.query_id = %(query_id)s)
ORDER BY lower(q.name), s.created_at, s.id;

-- name: count_query_schedules :one
-- for: how many schedules somebody has
-- in: owner
-- out: schedules
-- note: schedules are few; two at once may go one beyond the limit, which nobody minds
SELECT count(*) AS schedules FROM query_schedules WHERE owner = %(owner)s;

-- name: lock_query_schedule :exec
-- for: a change of one schedule
-- in: id
-- index: query_schedules primary key
-- note: so that a worker that records a run and a person that changes the schedule follow each other
SELECT 1 FROM query_schedules WHERE id = %(id)s FOR UPDATE;

-- name: put_query_schedule :exec
-- for: a schedule made or changed
-- in: id, query_id, given (JSON), weekday, runs_at, channel_id, is_enabled, owner, owner_name, now, due_at
-- index: query_schedules primary key
-- note: the query and the owner stay; a claim is given up, so that what runs now records nothing under the old content
INSERT INTO query_schedules (id, query_id, given, weekday, runs_at, channel_id, is_enabled, owner, owner_name, created_at, due_at)
VALUES (%(id)s, %(query_id)s, %(given)s::jsonb, %(weekday)s, %(runs_at)s, %(channel_id)s, %(is_enabled)s, %(owner)s, %(owner_name)s,
        %(now)s, %(due_at)s)
ON CONFLICT (id) DO UPDATE SET given = excluded.given, weekday = excluded.weekday, runs_at = excluded.runs_at, channel_id = excluded.channel_id,
    is_enabled = excluded.is_enabled, due_at = excluded.due_at, claimed_until = NULL;

-- name: delete_query_schedule :exec
-- for: a schedule nobody needs
-- in: id
-- index: query_schedules primary key
-- note: its runs go with it
DELETE FROM query_schedules WHERE id = %(id)s;

-- name: claim_query_schedule :maybe
-- for: the schedule that has been due for longest
-- in: now, claimed_until
-- out: id, query_id, given, weekday, runs_at, channel_id, owner, due_at, claimed_until
-- index: query_schedules_due
-- note: SKIP LOCKED and a claim with an end: each time that is due runs at one worker, and at another one if that dies
UPDATE query_schedules SET claimed_until = %(claimed_until)s
WHERE id = (
    SELECT id FROM query_schedules
    WHERE is_enabled AND due_at <= %(now)s AND (claimed_until IS NULL OR claimed_until <= %(now)s)
    ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, query_id, given, weekday, runs_at, channel_id, owner, due_at, claimed_until;

-- name: end_query_claim :exec
-- for: a run that has come to its end: the schedule is due again
-- in: id, claimed_until (of the claim), due_at
-- out: row count; 0: the claim has run out or the schedule was changed, and nothing may be recorded
-- index: query_schedules primary key
-- note: in the transaction that records the run
UPDATE query_schedules SET due_at = %(due_at)s, claimed_until = NULL WHERE id = %(id)s AND claimed_until = %(claimed_until)s;

-- name: add_query_run :exec
-- for: what came of a run
-- in: schedule_id, due_at, ran_at, query_version, reason ('': it went well), duration_ms, row_count, is_truncated, csv
-- index: query_runs primary key
-- note: one row for each time that was due; a schedule that somebody put back to a time that had run keeps the new result
INSERT INTO query_runs (schedule_id, due_at, ran_at, query_version, reason, duration_ms, row_count, is_truncated, csv)
VALUES (%(schedule_id)s, %(due_at)s, %(ran_at)s, %(query_version)s, %(reason)s, %(duration_ms)s, %(row_count)s, %(is_truncated)s, %(csv)s)
ON CONFLICT (schedule_id, due_at) DO UPDATE SET ran_at = excluded.ran_at, query_version = excluded.query_version, reason = excluded.reason,
    duration_ms = excluded.duration_ms, row_count = excluded.row_count, is_truncated = excluded.is_truncated, csv = excluded.csv;

-- name: list_query_runs :many
-- for: the last runs of schedules
-- in: schedule_ids uuid[], most (of each)
-- out: schedule_id, due_at, ran_at, query_version, reason, duration_ms, row_count, is_truncated
-- index: query_runs primary key
-- note: without the results, which may be large
SELECT r.schedule_id, r.due_at, r.ran_at, r.query_version, r.reason, r.duration_ms, r.row_count, r.is_truncated
FROM unnest(%(schedule_ids)s::uuid[]) AS s (id)
CROSS JOIN LATERAL (SELECT * FROM query_runs WHERE schedule_id = s.id ORDER BY due_at DESC LIMIT %(most)s) AS r
ORDER BY r.due_at DESC, r.schedule_id;

-- name: find_query_result :maybe
-- for: the result of one run
-- in: schedule_id, due_at
-- out: csv (NULL: it failed)
-- index: query_runs primary key
-- note: one at a time
SELECT csv FROM query_runs WHERE schedule_id = %(schedule_id)s AND due_at = %(due_at)s;

-- name: forget_query_runs :exec
-- for: results that have been kept for long enough
-- in: before, most
-- index: query_runs_ran
-- note: some at a time, so that nobody waits long
DELETE FROM query_runs WHERE (schedule_id, due_at) IN (SELECT schedule_id, due_at FROM query_runs WHERE ran_at < %(before)s LIMIT %(most)s);
