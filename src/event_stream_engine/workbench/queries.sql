-- name: lock_logins :exec
-- for: several processes that start at once making the logins one after the other
-- note: two ALTER ROLE of one role at once fail
SELECT pg_advisory_xact_lock(hashtextextended('workbench logins', 0));

-- name: list_logins :one
-- for: which of some roles there are
-- in: names text[]
-- out: an array of names
-- index: pg_authid's by name
-- note: pg_roles, because pg_authid is for superusers
SELECT coalesce(array_agg(rolname::text), '{}') FROM pg_roles WHERE rolname = ANY (%(names)s);

-- name: list_usable_logins :one
-- for: which of some roles may log in and read all views of their schemas
-- in: names text[], schemas text[] (of each, with commas between them)
-- out: an array of names
-- note: a superuser could do anything, so it does not count. An upgrade may have brought views that were not granted yet
SELECT coalesce(array_agg(r.rolname::text), '{}')
FROM unnest(%(names)s::text[], %(schemas)s::text[]) AS wanted (name, schemas) JOIN pg_roles r ON r.rolname = wanted.name
WHERE r.rolcanlogin AND NOT r.rolsuper AND has_database_privilege(r.oid, current_database(), 'CONNECT') AND NOT EXISTS (
    SELECT FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind = 'v'
    WHERE n.nspname = ANY (string_to_array(wanted.schemas, ','))
      AND NOT (has_schema_privilege(r.oid, n.oid, 'USAGE') AND coalesce(has_table_privilege(r.oid, c.oid, 'SELECT'), true))
);

-- name: load_maker :one
-- for: what may be set for a role
-- out: is_superuser
-- note: temp_file_limit can be set by superusers alone
SELECT rolsuper AS is_superuser FROM pg_roles WHERE rolname = current_user;

-- name: list_refused_functions :one
-- for: which of the names in a person's SQL are functions that do something or that wait
-- in: names text[], allowed text[]
-- out: an array of names
-- index: pg_proc's by name
-- note: PostgreSQL marks all of these volatile: pg_sleep, nextval, set_config, pg_advisory_lock, lo_import, dblink, query_to_xml …
SELECT coalesce(array_agg(DISTINCT proname::text), '{}') FROM pg_proc
WHERE proname = ANY (%(names)s) AND provolatile = 'v' AND NOT proname = ANY (%(allowed)s);

-- name: list_tables :many
-- for: what people's queries may read
-- in: schemas text[]
-- out: name, description, columns (jsonb array of {name, type})
-- index: pg_class's by schema
-- note: some 20 views
SELECT c.relname::text AS name, coalesce(obj_description(c.oid, 'pg_class'), '') AS description,
       jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = ANY (%(schemas)s) AND c.relkind = 'v'
GROUP BY c.oid, c.relname ORDER BY c.relname;

------------------------------------------------------------------------------------------------------------------
-- saved queries
------------------------------------------------------------------------------------------------------------------

-- name: list_saved_queries :many
-- for: what somebody may see
-- in: owner
-- out: the columns of saved_queries
-- note: read whole: a workspace has hundreds at most, and each person keeps a bounded number
SELECT id, name, description, sql, parameters, chart, owner, owner_name, is_shared, version, created_at, changed_at
FROM saved_queries WHERE is_shared OR owner = %(owner)s ORDER BY lower(name), id;

-- name: find_saved_query :maybe
-- for: one saved query
-- in: id
-- out: the columns of saved_queries
-- index: saved_queries primary key
-- note: whether the one who asks may see it is for the caller to say
SELECT id, name, description, sql, parameters, chart, owner, owner_name, is_shared, version, created_at, changed_at
FROM saved_queries WHERE id = %(id)s;

-- name: count_saved_queries :one
-- for: how many queries somebody keeps
-- in: owner
-- out: queries
-- index: saved_queries_name
-- note: two at once may go one beyond the limit, which nobody minds
SELECT count(*) AS queries FROM saved_queries WHERE owner = %(owner)s;

-- name: lock_saved_query :exec
-- for: a change that must find what it was decided on
-- in: id
-- index: saved_queries primary key
-- note: so that two who change one query follow each other, and a rule is not made of one that is being deleted
SELECT 1 FROM saved_queries WHERE id = %(id)s FOR UPDATE;

-- name: create_saved_query :exec
-- for: a new query
-- in: id, name, description, sql, parameters (JSON), chart (JSON or NULL), owner, owner_name, is_shared, now
-- note: a name that the owner uses already is a UniqueViolation
INSERT INTO saved_queries (id, name, description, sql, parameters, chart, owner, owner_name, is_shared, created_at, changed_at)
VALUES (%(id)s, %(name)s, %(description)s, %(sql)s, %(parameters)s::jsonb, %(chart)s::jsonb, %(owner)s, %(owner_name)s,
        %(is_shared)s, %(now)s, %(now)s);

-- name: change_saved_query :exec
-- for: another content of a query
-- in: id, name, description, sql, parameters (JSON), chart (JSON or NULL), is_shared, now
-- index: saved_queries primary key
-- note: the version goes up with every change, so that nobody overwrites what they have not seen
UPDATE saved_queries
SET name = %(name)s, description = %(description)s, sql = %(sql)s, parameters = %(parameters)s::jsonb, chart = %(chart)s::jsonb,
    is_shared = %(is_shared)s, version = version + 1, changed_at = %(now)s
WHERE id = %(id)s;

-- name: delete_saved_query :exec
-- for: a query nobody needs
-- in: id
-- index: saved_queries primary key
-- note: its versions, its reading and its schedules with their runs go with it
DELETE FROM saved_queries WHERE id = %(id)s;

-- name: keep_query_version :exec
-- for: what a query says as of now
-- in: id, name (of who wrote it), now
-- index: saved_queries primary key
-- note: after the change of the query itself, in its transaction
INSERT INTO saved_query_versions (query_id, version, sql, parameters, changed_by_name, changed_at)
SELECT id, version, sql, parameters, %(name)s, %(now)s FROM saved_queries WHERE id = %(id)s;

-- name: forget_query_versions :exec
-- for: versions beyond the newest ones
-- in: id, most
-- index: saved_query_versions primary key
-- note: so that a program that saves every minute does not fill the table
DELETE FROM saved_query_versions v
WHERE v.query_id = %(id)s AND v.version <= (
    SELECT version FROM saved_query_versions WHERE query_id = %(id)s ORDER BY version DESC OFFSET %(most)s LIMIT 1);

-- name: list_query_versions :many
-- for: what a query said, the newest first
-- in: id
-- out: version, sql, parameters, changed_by_name, changed_at
-- index: saved_query_versions primary key
-- note: a bounded number; a shipped query has none
SELECT version, sql, parameters, changed_by_name, changed_at
FROM saved_query_versions WHERE query_id = %(id)s ORDER BY version DESC;

-- name: list_rules_of_query :many
-- for: alert rules that measure a query
-- in: id (text)
-- out: name
-- note: rules are few
SELECT name FROM alert_rules WHERE scope = 'query' AND scope_filter = %(id)s ORDER BY name;

------------------------------------------------------------------------------------------------------------------
-- numbers for alert rules
------------------------------------------------------------------------------------------------------------------

-- name: claim_query_reading :maybe
-- for: the query whose number is due, the one that has waited longest
-- in: read_before, now, claimed_until
-- out: id
-- index: alert_rules is small; query_readings primary key
-- note: one statement, so that of two workers one gets it: whoever loses the race for the row finds it claimed and
--       changes nothing. A worker that died leaves a claim that runs out. The rule's filter is a valid id: see check_draft
INSERT INTO query_readings AS r (query_id, claimed_until)
SELECT q.id, %(claimed_until)s
FROM saved_queries q LEFT JOIN query_readings h ON h.query_id = q.id
WHERE EXISTS (SELECT FROM alert_rules a WHERE a.scope = 'query' AND a.is_enabled AND a.scope_filter = q.id::text)
  AND (h.read_at IS NULL OR h.read_at <= %(read_before)s) AND (h.claimed_until IS NULL OR h.claimed_until <= %(now)s)
ORDER BY h.read_at NULLS FIRST, q.id
LIMIT 1
ON CONFLICT (query_id) DO UPDATE SET claimed_until = excluded.claimed_until
WHERE r.claimed_until IS NULL OR r.claimed_until <= %(now)s
RETURNING r.query_id AS id;

-- name: record_query_reading :exec
-- for: the number a query answered with, or why there is none
-- in: id, claimed_until (of the claim), now, value, reason
-- index: query_readings primary key
-- note: a worker whose claim has run out writes nothing: another one has the query by now
UPDATE query_readings SET read_at = %(now)s, value = %(value)s, reason = %(reason)s, claimed_until = NULL
WHERE query_id = %(id)s AND claimed_until = %(claimed_until)s;

-- name: forget_query_readings :exec
-- for: numbers that no rule asks for any more
-- note: so that a rule that is switched on again does not begin with an old number
DELETE FROM query_readings r
WHERE NOT EXISTS (SELECT FROM alert_rules a WHERE a.scope = 'query' AND a.is_enabled AND a.scope_filter = r.query_id::text);
