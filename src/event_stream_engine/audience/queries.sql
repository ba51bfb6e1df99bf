-- name: create_consent_changes :exec
-- for: the consent transitions the batch took back (-1) and made (+1), once for each connection
-- note: temporary tables are written without WAL; emptied by each commit
CREATE TEMPORARY TABLE IF NOT EXISTS consent_changes (
    sign bigint, occurred_at timestamptz, from_state text, to_state text, source text
) ON COMMIT DELETE ROWS;

-- name: create_user_changes :exec
-- for: users of the batch by consent state, as they were (-1) and as they are (+1)
-- note: as create_consent_changes
CREATE TEMPORARY TABLE IF NOT EXISTS user_changes (sign bigint, consent_state text) ON COMMIT DELETE ROWS;

-- name: create_consent_speakers :exec
-- for: the people who spoke about consent in the batch
-- note: as create_consent_changes
CREATE TEMPORARY TABLE IF NOT EXISTS consent_speakers (phone_e164 text PRIMARY KEY) ON COMMIT DELETE ROWS;

-- name: create_consent_new :exec
-- for: the ledger's entries of this transaction
-- note: as create_consent_changes
CREATE TEMPORARY TABLE IF NOT EXISTS consent_new (id uuid) ON COMMIT DELETE ROWS;

-- name: empty_speakers :exec
-- for: several statements in one transaction
-- note: DELETE, because TRUNCATE of a table that is mostly empty costs more
DELETE FROM consent_speakers;

-- name: empty_consent_new :exec
-- for: see empty_speakers
-- note: see empty_speakers
DELETE FROM consent_new;

-- name: empty_consent_changes :exec
-- for: differences that have been published
-- note: see empty_speakers
DELETE FROM consent_changes;

-- name: empty_user_changes :exec
-- for: see empty_consent_changes
-- note: see empty_speakers
DELETE FROM user_changes;

-- name: sum_changes :one
-- for: the differences of a transaction as the payload of audience.changed
-- in: rows of consent_changes and user_changes
-- out: JSON, or NULL when nothing has changed
-- note: by minute, the finest roll-up; what cancels out is not told
SELECT CASE WHEN users IS NOT NULL OR consent IS NOT NULL
       THEN jsonb_build_object('users', coalesce(users, '[]'), 'consent', coalesce(consent, '[]')) END AS payload
FROM (SELECT jsonb_agg(jsonb_build_array(n, consent_state)) AS users
      FROM (SELECT consent_state, sum(sign)::bigint AS n FROM user_changes GROUP BY 1 HAVING sum(sign) <> 0) AS summed) AS u,
     (SELECT jsonb_agg(jsonb_build_array(n, minute, from_state, to_state, source)) AS consent
      FROM (SELECT date_trunc('minute', occurred_at) AS minute, from_state, to_state, source, sum(sign)::bigint AS n
            FROM consent_changes GROUP BY 1, 2, 3, 4 HAVING sum(sign) <> 0) AS summed) AS c;

-- name: name_speakers :exec
-- for: the people that statements are about
-- in: phone text[]
-- out: rows of consent_speakers
-- note: the same working table as of the batch's speakers, so that the same queries follow
INSERT INTO consent_speakers SELECT DISTINCT phone FROM unnest(%(phone)s::text[]) AS phone;

-- name: list_stopping :one
-- for: the people who said STOP in the batch
-- in: rows of inbound_batch
-- out: an array
-- note: they must not be written to once this commits
SELECT coalesce(array_agg(DISTINCT from_phone), '{}') FROM inbound_batch WHERE keyword = 'stop';

-- name: admit_stopping :exec
-- for: a row for everybody who said STOP, before any row is locked
-- in: rows of inbound_batch
-- index: users primary key
-- note: a lock needs a row; in order, so that two transactions cannot lock each other in a circle; counted as a new
--       user that is UNKNOWN, which the change after it takes back
WITH made AS (
    INSERT INTO users (phone_e164, country, created_at, updated_at)
    SELECT from_phone, (SELECT p.country FROM phone_country(from_phone) AS p), min(received_at), min(received_at)
    FROM inbound_batch WHERE keyword = 'stop'
    GROUP BY from_phone ORDER BY from_phone
    ON CONFLICT (phone_e164) DO NOTHING
    RETURNING consent_state
)
INSERT INTO user_changes SELECT 1, consent_state FROM made;

-- name: admit_people :exec
-- for: a row for everybody about whom a STOP is stated
-- in: phone text[]
-- index: users primary key
-- note: see admit_stopping; derive_states sets the instants
WITH made AS (
    INSERT INTO users (phone_e164, country, created_at, updated_at)
    SELECT phone, (SELECT p.country FROM phone_country(phone) AS p), 'infinity', '-infinity'
    FROM (SELECT DISTINCT phone FROM unnest(%(phone)s::text[]) AS phone) AS stopped ORDER BY phone
    ON CONFLICT (phone_e164) DO NOTHING
    RETURNING consent_state
)
INSERT INTO user_changes SELECT 1, consent_state FROM made;

-- name: lock_speakers :exec
-- for: one change of a person's consent at a time
-- in: rows of consent_speakers
-- index: users primary key
-- note: two that run at once would each fold a ledger without the other's entry; who has no row has no STOP, and
--       START and YES change nothing then
SELECT FROM users u WHERE u.phone_e164 IN (SELECT phone_e164 FROM consent_speakers) ORDER BY u.phone_e164 FOR UPDATE;

-- name: enter_statements :exec
-- for: statements by API, page or provider into the ledger
-- in: phone text[], action text[], evidence text[] of equal length; source, actor, at
-- out: rows of consent_new
-- index: consent_ledger (phone_e164, occurred_at, id)
-- note: behind everything known of the person, also what a clock ahead of ours has stamped
WITH entered AS (
    INSERT INTO consent_ledger (id, phone_e164, occurred_at, recorded_at, action, source, actor, evidence)
    SELECT time_ordered_uuid(s.occurred_at, gen_random_uuid()::text), s.phone, s.occurred_at, clock_timestamp(), s.action, %(source)s, %(actor)s, s.evidence
    FROM (SELECT given.*, greatest(%(at)s::timestamptz, (SELECT max(l.occurred_at) + interval '1 microsecond' FROM consent_ledger l WHERE l.phone_e164 = given.phone)) AS occurred_at
          FROM unnest(%(phone)s::text[], %(action)s::text[], %(evidence)b::text[]) AS given (phone, action, evidence)) AS s
    RETURNING id
)
INSERT INTO consent_new SELECT id FROM entered;

-- name: list_transitions :many
-- for: what the ledger's new entries changed
-- in: rows of consent_new and consent_speakers
-- out: entry, phone_e164, occurred_at, action, source, actor, message_sid, state_before, state_after
-- index: consent_ledger (phone_e164, occurred_at, id)
-- note: in the order of occurrence, which is the order of the audit trail
SELECT h.id AS entry, h.phone_e164, h.occurred_at, h.action, h.source, l.actor, h.message_sid, h.state_before, h.state_after
FROM consent_history(ARRAY(SELECT phone_e164 FROM consent_speakers)) AS h
JOIN consent_new USING (id)
JOIN consent_ledger l USING (id)
WHERE h.state_before <> h.state_after
ORDER BY h.occurred_at, h.id;

-- name: stage_audit :exec
-- for: changes of consent, for the audit trail
-- in: at timestamptz[], actor text[], action text[], subject text[], before text[], after text[] (JSON) of equal length; request_id
-- out: rows of audit_staged
-- note: of the people's own words each has another actor
INSERT INTO audit_staged (at, actor, action, subject, before, after, request_id)
SELECT at, actor, action, subject, before::jsonb, after::jsonb, %(request_id)s
FROM unnest(%(at)b::timestamptz[], %(actor)b::text[], %(action)b::text[], %(subject)b::text[], %(before)b::text[], %(after)b::text[])
    AS entry (at, actor, action, subject, before, after);

-- name: choose_held_off :one
-- for: whose deliveries are held off
-- in: phones text[]; most
-- out: an array
-- note: sorted, so that two transactions cannot lock each other in a circle; beyond `most` those with something to be
--       handed over go first
SELECT coalesce(array_agg(phone ORDER BY phone), '{}')
FROM (SELECT phone FROM (SELECT DISTINCT phone FROM unnest(%(phones)s::text[]) AS phone) AS given
      ORDER BY EXISTS (SELECT FROM outbox o WHERE o.recipient_phone = given.phone AND cardinality(%(phones)s::text[]) > %(most)s) DESC, phone
      LIMIT %(most)s) AS chosen;

-- name: try_hold_off :one
-- for: the exclusive side of the lock that a delivery holds from its last look at consent until the provider's answer
-- in: phones text[]
-- out: an array of those whose delivery is in progress
-- note: never waits in the server, where it would stand behind whoever comes later; gone with the transaction
SELECT coalesce(array_agg(phone ORDER BY place), '{}')
FROM unnest(%(phones)s::text[]) WITH ORDINALITY AS given (phone, place)
WHERE NOT pg_try_advisory_xact_lock(person_lock(phone));

-- name: list_history :many
-- for: a person's consent as evidence
-- in: phone
-- out: the entries with the state before and after, oldest first
-- index: consent_ledger (phone_e164, occurred_at, id)
-- note: folded anew, not stored: late entries move what follows them
SELECT h.id, h.occurred_at, l.recorded_at, h.action, h.source, l.actor, h.message_sid, h.evidence, h.state_before, h.state_after
FROM consent_history(ARRAY[%(phone)s::text]) AS h JOIN consent_ledger l USING (id)
ORDER BY h.occurred_at, h.id;

-- name: find_speakers :exec
-- for: the people who spoke about consent in the batch
-- in: rows of inbound_batch
-- out: rows of consent_speakers; row count
-- note: STOP, START and YES only; most batches have none
INSERT INTO consent_speakers
SELECT DISTINCT from_phone FROM inbound_batch WHERE keyword IN ('stop', 'start', 'yes');

-- name: find_all_speakers :exec
-- for: recounting: everybody the ledger knows
-- out: rows of consent_speakers
-- note: see find_speakers
INSERT INTO consent_speakers SELECT DISTINCT phone_e164 FROM consent_ledger ON CONFLICT DO NOTHING;

-- name: note_consent :exec
-- for: the speakers' transitions as the ledger tells them now
-- in: sign: -1 before the change, 1 after it
-- index: consent_ledger (phone_e164, occurred_at, id)
-- note: called twice around the change; a late entry may take back a transition and make another
INSERT INTO consent_changes
SELECT %(sign)s, occurred_at, state_before, state_after, source
FROM consent_history(ARRAY(SELECT phone_e164 FROM consent_speakers))
WHERE state_before <> state_after;

-- name: note_users :exec
-- for: the speakers' present states as the users table has them
-- in: sign: -1 before the change, 1 after it
-- index: users primary key
-- note: called twice around the change
INSERT INTO user_changes
SELECT %(sign)s, u.consent_state FROM consent_speakers s JOIN users u USING (phone_e164);

-- name: record_words :exec
-- for: inbound words about consent into the ledger
-- in: rows of inbound_batch
-- index: consent_ledger (message_sid)
-- out: rows of consent_new
-- note: append-only; a repeated message is there already
WITH entered AS (
    INSERT INTO consent_ledger (id, phone_e164, occurred_at, recorded_at, action, source, message_sid, evidence)
    SELECT DISTINCT ON (message_sid)
           time_ordered_uuid(received_at, message_sid), from_phone, received_at, clock_timestamp(), keyword, 'inbound', message_sid, body
    FROM inbound_batch
    WHERE keyword IN ('stop', 'start', 'yes')
    ORDER BY message_sid, received_at
    ON CONFLICT (message_sid) DO NOTHING
    RETURNING id
)
INSERT INTO consent_new SELECT id FROM entered;

-- name: derive_states :exec
-- for: the speakers' states from the ledger; a STOP from an unknown number makes a user in STOP
-- index: consent_ledger (phone_e164, occurred_at, id), users primary key
-- note: no other traffic makes a user: opt-in is never inferred. Whoever has no STOP has a row already, and the
--       infinite created_at of the offered one changes nothing in it
WITH found AS (
    SELECT phone_e164, (array_agg(state_after ORDER BY occurred_at DESC, id DESC))[1] AS state,
           (array_agg(id ORDER BY occurred_at DESC, id DESC) FILTER (WHERE state_before <> state_after))[1] AS entry,
           min(occurred_at) FILTER (WHERE action = 'stop') AS stopped_at, max(occurred_at) AS changed_at
    FROM consent_history(ARRAY(SELECT phone_e164 FROM consent_speakers))
    GROUP BY phone_e164
)
INSERT INTO users (phone_e164, consent_state, consent_entry, country, created_at, updated_at)
SELECT phone_e164, state, entry, (SELECT p.country FROM phone_country(phone_e164) AS p), coalesce(stopped_at, 'infinity'), changed_at
FROM found f
WHERE stopped_at IS NOT NULL OR EXISTS (SELECT FROM users u WHERE u.phone_e164 = f.phone_e164)
ON CONFLICT (phone_e164) DO UPDATE
SET consent_state = excluded.consent_state, consent_entry = excluded.consent_entry,
    created_at = least(users.created_at, excluded.created_at), updated_at = greatest(users.updated_at, excluded.updated_at);

-- name: note_all_consent :exec
-- for: recounting: every transition of the ledger as one +1 into consent_changes
-- note: after this the roll-ups are added from final rows, not from differences
INSERT INTO consent_changes
SELECT 1, occurred_at, state_before, state_after, source
FROM consent_history(ARRAY(SELECT DISTINCT phone_e164 FROM consent_ledger))
WHERE state_before <> state_after;

-- name: note_all_users :exec
-- for: recounting: every user as one +1 into user_changes
-- note: see note_all_consent
INSERT INTO user_changes SELECT 1, consent_state FROM users;
