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
