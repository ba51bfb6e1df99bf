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
