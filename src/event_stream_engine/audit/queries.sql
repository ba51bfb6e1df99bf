-- name: append_entries :exec
-- for: what one actor did
-- in: actor, request_id; at timestamptz[], action text[], subject text[], before text[] (JSON), after text[] (JSON) of equal length
-- note: binary arrays (%%b), as in the event log: escaping JSON for a text array costs ten times as much
INSERT INTO audit_log (at, actor, action, subject, before, after, request_id)
SELECT at, %(actor)s, action, subject, before::jsonb, after::jsonb, %(request_id)s
FROM unnest(%(at)b::timestamptz[], %(action)b::text[], %(subject)b::text[], %(before)b::text[], %(after)b::text[]) AS entry (at, action, subject, before, after);

-- name: create_staged :exec
-- for: entries that a slice finds by SQL, once for each connection
-- note: a slice writes only its own tables; this one is everybody's, and the audit slice copies it
CREATE TEMPORARY TABLE IF NOT EXISTS audit_staged (
    at timestamptz, actor text, action text, subject text, before jsonb, after jsonb, request_id text
) ON COMMIT DELETE ROWS;

-- name: append_staged :exec
-- for: the staged entries into the log
-- out: row count
-- note: in the order of staging, which is the order they were done in
INSERT INTO audit_log (at, actor, action, subject, before, after, request_id)
SELECT at, actor, action, subject, before, after, request_id FROM audit_staged;

-- name: empty_staged :exec
-- for: staging twice in one transaction
-- note: TRUNCATE of a temporary table is cheaper than DELETE and leaves nothing to vacuum
TRUNCATE audit_staged;

-- name: try_hold_seal :one
-- for: one sealer at a time, over many transactions
-- out: a boolean
-- note: a lock of the session, gone with it; the primary key of audit_batches would stop a second one too, by an error
SELECT pg_try_advisory_lock(hashtext('audit_batches'), 1);

-- name: find_head :maybe
-- for: the newest batch: what the next one continues
-- out: number, hash, sealed_at, until_xid (as text), until_id, floor_id, is_foreign (its place lies in this cluster's future)
-- index: audit_batches primary key, audit_batches_restored
-- note: after a restore into another cluster a batch with until_xid 0 begins the order anew above its until_id
SELECT number, hash, sealed_at, until_xid::text, until_id,
       coalesce((SELECT r.until_id FROM audit_batches r WHERE r.until_xid = '0' ORDER BY r.number DESC LIMIT 1), -9223372036854775808) AS floor_id,
       until_xid >= pg_snapshot_xmax(pg_current_snapshot()) AS is_foreign
FROM audit_batches
ORDER BY number DESC LIMIT 1;

-- name: load_horizon :one
-- for: below which transaction all that will ever be committed is committed
-- out: a transaction id (as text)
-- note: read in a statement before the rows, whose newer snapshot then shows all of them
SELECT pg_snapshot_xmin(pg_current_snapshot())::text;

-- name: list_hashes :many
-- for: sealing, and verifying what was sealed
-- in: after_xid, after_id and until_xid, until_id (places); above_id, to_id; most (rows)
-- out: xid, id, hash (SHA-256)
-- index: audit_log_commit_order
-- note: the text that is hashed is a JSON array of strings, so that no two rows have the same one and NULL is not '';
--       in the form PostgreSQL gives jsonb, and with times by to_char, it depends on no setting of the session.
--       It stands here and not in a function of the database, which whoever edits rows could edit too. after-restore.sql
--       holds the same text, and a test compares the two. Both places bound the index: after a restore old rows with high
--       xids lie behind the new ones. Ordered by a.xid: plain xid would be the column of the result, which no index has.
SELECT a.xid::text::bigint AS xid, a.id,
       sha256(convert_to(jsonb_build_array(
           a.xid::text, a.id::text, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
           actor, action, subject, before::text, after::text, request_id)::text, 'UTF8')) AS hash
FROM audit_log a
WHERE (a.xid, a.id) > (%(after_xid)s::xid8, %(after_id)s) AND (a.xid, a.id) <= (%(until_xid)s::xid8, %(until_id)s)
  AND a.id > %(above_id)s AND a.id <= %(to_id)s
ORDER BY a.xid, a.id
LIMIT %(most)s;

-- name: add_batch :exec
-- for: the next link
-- in: number, until_xid, until_id, rows, row_hashes, hash, now
-- note: in the transaction that read the rows, while the connection holds the seal
INSERT INTO audit_batches (number, until_xid, until_id, rows, row_hashes, hash, sealed_at)
VALUES (%(number)s, %(until_xid)s::xid8, %(until_id)s, %(rows)s, %(row_hashes)s, %(hash)s, %(now)s);

-- name: count_unsealed :one
-- for: how far the sealer is behind
-- in: xid, id (the head's place), floor_id; most (rows counted at most)
-- out: unsealed (rows), oldest_unsealed_at (null: none)
-- index: audit_log_commit_order
-- note: bounded, because without a worker for a month it could be everything
SELECT count(*) AS unsealed, min(at) AS oldest_unsealed_at
FROM (SELECT at FROM audit_log
      WHERE (xid, id) > (%(xid)s::xid8, %(id)s) AND xid < pg_snapshot_xmax(pg_current_snapshot()) AND id > %(floor_id)s
      ORDER BY xid, id LIMIT %(most)s) AS unsealed;

-- name: list_batches :many
-- for: verifying
-- in: after (number), to (number), most (batches)
-- out: number, until_xid (as text), until_id, rows, row_hashes, hash, sealed_at
-- index: audit_batches primary key
-- note: few at a time: row_hashes is up to 160 kB
SELECT number, until_xid::text, until_id, rows, row_hashes, hash, sealed_at
FROM audit_batches
WHERE number > %(after)s AND number <= %(to)s
ORDER BY number
LIMIT %(most)s;

-- name: list_restarts :many
-- for: verifying: where a restore into another cluster began the order anew
-- out: number, until_id
-- index: audit_batches_restored
-- note: one row for each restore
SELECT number, until_id FROM audit_batches WHERE until_xid = '0' ORDER BY number;

-- name: list_of_subject :many
-- for: what happened to one thing: a campaign's timeline, a message's decisions
-- in: subject, most
-- out: at, action, actor, actor_name (NULL: the engine, or gone), before, after; newest first
-- index: audit_log (subject, id)
-- note: names are looked up when read, because the log holds none
SELECT l.at, l.action, l.actor, coalesce(o.name, k.name) AS actor_name, l.before, l.after
FROM audit_log l
LEFT JOIN operators o ON l.actor = 'operator:' || o.id
LEFT JOIN api_keys k ON l.actor = 'key:' || k.id
WHERE l.subject = %(subject)s
ORDER BY l.id DESC
LIMIT %(most)s;

-- name: list_actor_names :many
-- for: names beside what actors did
-- in: actors text[], like operator:<id>
-- out: actor, name
-- note: a handful of operators and keys
SELECT actor, name
FROM (SELECT 'operator:' || id AS actor, name FROM operators UNION ALL SELECT 'key:' || id, name FROM api_keys) AS known
WHERE actor = ANY (%(actors)s::text[]);

-- name: note_verdict :exec
-- for: what a whole verification found
-- in: now; took_seconds; rows, faults; first_fault or NULL
-- note: one row: only the last one counts
INSERT INTO audit_verdicts (verified_at, took_seconds, rows, faults, first_fault) VALUES (%(now)s, %(took_seconds)s, %(rows)s, %(faults)s, %(first_fault)s)
ON CONFLICT (only_row) DO UPDATE SET verified_at = excluded.verified_at, took_seconds = excluded.took_seconds, rows = excluded.rows,
    faults = excluded.faults, first_fault = excluded.first_fault;

-- name: find_verdict :maybe
-- for: what the last whole verification found
-- out: verified_at, took_seconds, rows, faults, first_fault
-- note: no row: there was none yet
SELECT verified_at, took_seconds, rows, faults, first_fault FROM audit_verdicts;
