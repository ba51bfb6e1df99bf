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
