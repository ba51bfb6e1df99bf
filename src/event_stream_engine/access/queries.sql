-- name: add_operator :exec
-- for: a person who may sign in
-- in: id, email lower-case, name, password_hash argon2id, role, now
-- index: operators_email_key
-- note: touching no row means the e-mail is taken; no exception, so the caller's transaction lives on
INSERT INTO operators (id, email, name, password_hash, role, created_at)
VALUES (%(id)s, %(email)s, %(name)s, %(password_hash)s, %(role)s, %(now)s)
ON CONFLICT (email) DO NOTHING

-- name: find_operator :maybe
-- for: the password to compare with at sign-in
-- in: email lower-case
-- out: id, name, role, password_hash
-- index: operators_email_key
-- note: a disabled operator looks like an unknown one
SELECT id, name, role, password_hash
FROM operators
WHERE email = %(email)s AND disabled_at IS NULL

-- name: list_operators :many
-- for: who may sign in, and who no longer may
-- out: email, name, role, created_at, disabled_at, seen_at (last use of a session that has not ended)
-- index: sessions by operator
-- note: a handful of rows
SELECT o.email, o.name, o.role, o.created_at, o.disabled_at, (SELECT max(s.last_used_at) FROM sessions s WHERE s.operator_id = o.id) AS seen_at
FROM operators o ORDER BY o.disabled_at IS NOT NULL, o.email

-- name: disable_operator :maybe
-- for: shutting a person out at once
-- in: email lower-case, now
-- out: id
-- index: operators_email_key, sessions by operator
-- note: the row stays, because what the person did is recorded under its id; its sessions go with the same statement
WITH disabled AS (
    UPDATE operators SET disabled_at = %(now)s WHERE email = %(email)s AND disabled_at IS NULL RETURNING id
), ended AS (
    DELETE FROM sessions USING disabled WHERE sessions.operator_id = disabled.id
)
SELECT id FROM disabled

-- name: enable_operator :maybe
-- for: letting a disabled person in again, with the password they had
-- in: email lower-case
-- out: id
-- index: operators_email_key
-- note: their sessions are gone; they sign in anew
UPDATE operators SET disabled_at = NULL WHERE email = %(email)s AND disabled_at IS NOT NULL RETURNING id

-- name: list_api_keys :many
-- for: programs that may enter
-- out: name, role, key_prefix, created_at, last_used_at
-- index: api_keys_name
-- note: a handful of rows; revoked ones are in the audit trail
SELECT name, role, key_prefix, created_at, last_used_at FROM api_keys WHERE revoked_at IS NULL ORDER BY name

-- name: add_api_key :exec
-- for: a key for a program
-- in: id, name, role, key_prefix, key_hash SHA-256 of the key, now
-- index: api_keys_name
-- note: touching no row means the name is in use; names of revoked keys are free again
INSERT INTO api_keys (id, name, role, key_prefix, key_hash, created_at)
VALUES (%(id)s, %(name)s, %(role)s, %(key_prefix)s, %(key_hash)s, %(now)s)
ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING

-- name: find_api_key :maybe
-- for: who sends this key, on every request that carries one
-- in: key_hash SHA-256 of the key
-- out: id, name, role, last_used_at null before its first use
-- index: api_keys_key_hash_key
-- note: a lookup by hash tells nothing by its timing: nobody can choose a hash
SELECT id, name, role, last_used_at
FROM api_keys
WHERE key_hash = %(key_hash)s AND revoked_at IS NULL

-- name: touch_api_key :exec
-- for: when a key was last used
-- in: id, now, stale_at a minute before now
-- index: api_keys_pkey
-- note: of requests at the same moment only the first writes
UPDATE api_keys
SET last_used_at = %(now)s
WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at <= %(stale_at)s)

-- name: revoke_api_key :maybe
-- for: shutting a program out at once
-- in: name, now
-- out: id
-- index: api_keys_name
-- note: the row stays, because what the key did is recorded under its id
UPDATE api_keys
SET revoked_at = %(now)s
WHERE name = %(name)s AND revoked_at IS NULL
RETURNING id

-- name: open_session :exec
-- for: a person who signed in
-- in: token_hash SHA-256 of the token, operator_id, now, expires_at
-- note: one row for each browser; an operator may have several
INSERT INTO sessions (token_hash, operator_id, created_at, expires_at, last_used_at)
VALUES (%(token_hash)s, %(operator_id)s, %(now)s, %(expires_at)s, %(now)s)

-- name: find_session :maybe
-- for: who sends this cookie, on every request of a browser
-- in: token_hash SHA-256 of the token, now
-- out: operator_id, name, role, created_at and last_used_at of the session
-- index: sessions_pkey, operators_pkey
-- note: the role is read from the operator each time, so that a change or a disabling holds at once
SELECT operators.id AS operator_id, operators.name, operators.role, sessions.created_at, sessions.last_used_at
FROM sessions
JOIN operators ON operators.id = sessions.operator_id
WHERE sessions.token_hash = %(token_hash)s
  AND sessions.expires_at > %(now)s
  AND operators.disabled_at IS NULL

-- name: touch_session :exec
-- for: moving the end of a session that is in use
-- in: token_hash, now, expires_at, stale_at a minute before now
-- index: sessions_pkey
-- note: of requests at the same moment only the first writes
UPDATE sessions
SET last_used_at = %(now)s, expires_at = %(expires_at)s
WHERE token_hash = %(token_hash)s AND last_used_at <= %(stale_at)s

-- name: close_session :maybe
-- for: signing out
-- in: token_hash
-- out: operator_id
-- index: sessions_pkey
-- note: deleted, not marked: a session that ended is of no use to anyone
DELETE FROM sessions
WHERE token_hash = %(token_hash)s
RETURNING operator_id

-- name: delete_expired_sessions :exec
-- for: upkeep
-- in: now
-- index: sessions_expires_at
-- note: find_session does not rely on it
DELETE FROM sessions
WHERE expires_at <= %(now)s

-- name: take_attempt :exec
-- for: one more try of a password, if the subject has one left
-- in: subject SHA-256, now, refill interval until one try comes back, tolerance interval of (burst − 1) refills
-- index: sign_in_attempts_pkey
-- note: a leaky bucket in one value (GCRA); touching no row means there is no try left. Two processes cannot both take the last one.
INSERT INTO sign_in_attempts AS made (subject, free_at)
VALUES (%(subject)s, %(now)s::timestamptz + %(refill)s::interval)
ON CONFLICT (subject) DO UPDATE
SET free_at = greatest(made.free_at, %(now)s::timestamptz) + %(refill)s::interval
WHERE made.free_at <= %(now)s::timestamptz + %(tolerance)s::interval

-- name: return_attempt :exec
-- for: a try that was right does not count
-- in: subject SHA-256, refill interval
-- index: sign_in_attempts_pkey
-- note: gives back one, not all: others behind the same address may still be guessing
UPDATE sign_in_attempts
SET free_at = free_at - %(refill)s::interval
WHERE subject = %(subject)s

-- name: forget_attempts :exec
-- for: an operator who is in starts from nothing the next time
-- in: subject SHA-256
-- index: sign_in_attempts_pkey
-- note: no row is the same as no attempts
DELETE FROM sign_in_attempts
WHERE subject = %(subject)s

-- name: delete_past_attempts :exec
-- for: upkeep
-- in: now
-- index: sign_in_attempts_free_at
-- note: skips rows that a sign-in holds, so that the two never wait for each other
DELETE FROM sign_in_attempts
WHERE subject IN (SELECT subject FROM sign_in_attempts WHERE free_at <= %(now)s FOR UPDATE SKIP LOCKED)
