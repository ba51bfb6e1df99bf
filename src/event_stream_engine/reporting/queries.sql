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
