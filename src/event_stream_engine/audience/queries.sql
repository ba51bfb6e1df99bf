-- name: create_consent_changes :exec
-- for: the consent transitions the batch took back (-1) and made (+1), once for each connection
-- note: temporary tables are written without WAL; emptied by each commit
CREATE TEMPORARY TABLE IF NOT EXISTS consent_changes (
    sign bigint, occurred_at timestamptz, from_state text, to_state text, source text
) ON COMMIT DELETE ROWS;

-- name: create_user_changes :exec
-- for: what users of the batch counted as (below 0) and count as now (above 0), see user_facts and attribute_facts
-- note: as create_consent_changes
CREATE TEMPORARY TABLE IF NOT EXISTS user_changes (sign bigint, fact text, value text) ON COMMIT DELETE ROWS;

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
FROM (SELECT jsonb_agg(jsonb_build_array(n, fact, value)) AS users
      FROM (SELECT fact, value, sum(sign)::bigint AS n FROM user_changes GROUP BY 1, 2 HAVING sum(sign) <> 0) AS summed) AS u,
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
    RETURNING consent_state, created_at, attributes
)
INSERT INTO user_changes
SELECT 1, f.fact, f.value FROM made m, user_facts(m.consent_state, m.created_at) AS f
UNION ALL
SELECT 1, f.fact, f.value FROM made m, attribute_facts(m.attributes) AS f;

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
    RETURNING consent_state, created_at, attributes
)
INSERT INTO user_changes
SELECT 1, f.fact, f.value FROM made m, user_facts(m.consent_state, m.created_at) AS f
UNION ALL
SELECT 1, f.fact, f.value FROM made m, attribute_facts(m.attributes) AS f;

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
-- for: the speakers' present states as the users table has them, and when they came, which a late STOP sets back
-- in: sign: -1 before the change, 1 after it
-- index: users primary key
-- note: called twice around the change; of attributes nothing changes by words
INSERT INTO user_changes
SELECT %(sign)s, f.fact, f.value FROM consent_speakers s JOIN users u USING (phone_e164), user_facts(u.consent_state, u.created_at) AS f;

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
    ON CONFLICT (message_sid) WHERE message_sid IS NOT NULL DO NOTHING
    RETURNING id
)
INSERT INTO consent_new SELECT id FROM entered;

-- name: derive_states :exec
-- for: the speakers' states from the ledger; a STOP from an unknown number makes a user in STOP
-- index: consent_ledger (phone_e164, occurred_at, id), users primary key
-- note: no other traffic makes a user: opt-in is never inferred; nor does a pseudonym, which is of somebody erased. Whoever has no STOP has a row already, and the
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
WHERE (stopped_at IS NOT NULL AND phone_e164 !~ '^[+]999[0-9]{12}$') OR EXISTS (SELECT FROM users u WHERE u.phone_e164 = f.phone_e164)
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
-- for: recounting: all users into user_changes, what counts as the same summed
-- note: see note_all_consent
INSERT INTO user_changes
SELECT count(*), f.fact, f.value FROM users u, user_facts(u.consent_state, u.created_at) AS f GROUP BY 2, 3
UNION ALL
SELECT count(*), f.fact, f.value FROM users u, attribute_facts(u.attributes) AS f GROUP BY 2, 3;

------------------------------------------------------------------------------------------------------------------
-- people
------------------------------------------------------------------------------------------------------------------

-- name: list_people :many
-- for: the list of people, narrowed or not
-- in: after (number); most; consent, country, phone or NULL; number, text: patterns of LIKE or NULL
-- out: rows of users
-- index: users primary key
-- note: by place in the order of numbers; a rare match reads on until there are enough, bounded by the caller's timeout
SELECT phone_e164, country, timezone, attributes, consent_state, consent_entry, created_at, updated_at
FROM users
WHERE phone_e164 > %(after)s
  AND (%(consent)s::text IS NULL OR consent_state = %(consent)s)
  AND (%(country)s::text IS NULL OR country = %(country)s)
  AND (%(phone)s::text IS NULL OR phone_e164 = %(phone)s)
  AND (%(number)s::text IS NULL OR phone_e164 LIKE %(number)s)
  AND (%(text)s::text IS NULL OR attributes::text ILIKE %(text)s)
ORDER BY phone_e164
LIMIT %(most)s;

-- name: list_attribute_names :many
-- for: suggestions in the form of a segment
-- out: name
-- index: users (created_at)
-- note: of the thousand newest people; more would be a scan of them all
SELECT DISTINCT jsonb_object_keys(u.attributes) AS name
FROM (SELECT attributes FROM users ORDER BY created_at DESC LIMIT 1000) AS u
ORDER BY name;

-- name: find_person :maybe
-- for: one person
-- in: phone
-- out: a row of users
-- index: users primary key
-- note: by the whole number
SELECT phone_e164, country, timezone, attributes, consent_state, consent_entry, created_at, updated_at
FROM users WHERE phone_e164 = %(phone)s;

-- name: lock_person :maybe
-- for: changing a person
-- in: phone
-- out: a row of users
-- index: users primary key
-- note: two merges at once must not lose one
SELECT phone_e164, country, timezone, attributes, consent_state, consent_entry, created_at, updated_at
FROM users WHERE phone_e164 = %(phone)s FOR UPDATE;

-- name: create_person :maybe
-- for: a new person
-- in: phone, attributes, timezone, at
-- out: the row of users, none when the number is there already
-- index: users primary key
-- note: consent comes from the ledger, which follows; but what the ledger knows of the number already holds at once
INSERT INTO users (phone_e164, attributes, country, timezone, created_at, updated_at)
VALUES (%(phone)s, %(attributes)s, (SELECT p.country FROM phone_country(%(phone)s) AS p), %(timezone)s, %(at)s, %(at)s)
ON CONFLICT (phone_e164) DO NOTHING
RETURNING phone_e164, country, timezone, attributes, consent_state, consent_entry, created_at, updated_at;

-- name: note_created :exec
-- for: the figures of users
-- in: phone
-- out: rows of user_changes
-- index: users primary key
-- note: in the transaction that has made the person
INSERT INTO user_changes
SELECT 1, f.fact, f.value FROM users u, user_facts(u.consent_state, u.created_at) AS f WHERE u.phone_e164 = %(phone)s
UNION ALL
SELECT 1, f.fact, f.value FROM users u, attribute_facts(u.attributes) AS f WHERE u.phone_e164 = %(phone)s;

-- name: change_person :exec
-- for: a person's profile, and the figures of users by attribute
-- in: phone, attributes, timezone, at
-- out: rows of user_changes
-- index: users primary key
-- note: under the lock of lock_person. One statement, because which attributes are counted must be the same for both
WITH old AS (
    SELECT attributes FROM users WHERE phone_e164 = %(phone)s
), new AS (
    UPDATE users SET attributes = %(attributes)s, timezone = %(timezone)s, updated_at = %(at)s WHERE phone_e164 = %(phone)s RETURNING attributes
)
INSERT INTO user_changes
SELECT p.sign, f.fact, f.value
FROM (SELECT -1 AS sign, attributes FROM old UNION ALL SELECT 1, attributes FROM new) AS p, attribute_facts(p.attributes) AS f;

-- name: is_suppressed :one
-- for: a number that must not come back
-- in: hash (of the person)
-- out: a boolean
-- index: suppressions primary key
-- note: only hashes are kept
SELECT EXISTS (SELECT FROM suppressions WHERE phone_hash = %(hash)s AND reason = 'erased');

------------------------------------------------------------------------------------------------------------------
-- segments
------------------------------------------------------------------------------------------------------------------

-- name: list_segments :many
-- for: the segments in use, by name
-- in: most; name, id: the place to go on from
-- out: rows of segments
-- index: segments (name) of those in use
-- note: names are unique among them; the id only makes the place complete
SELECT id, name, filter, created_at, updated_at, archived_at
FROM segments
WHERE archived_at IS NULL AND (name, id) > (%(name)s, %(id)s)
ORDER BY name, id
LIMIT %(most)s;

-- name: find_segment :maybe
-- for: one segment
-- in: id
-- out: a row of segments
-- index: segments primary key
-- note: also an archived one, which past campaigns name
SELECT id, name, filter, created_at, updated_at, archived_at FROM segments WHERE id = %(id)s;

-- name: create_segment :exec
-- for: a new segment
-- in: id, name, filter, at
-- index: segments (name) of those in use
-- note: the filter was compiled before, so that it can be
INSERT INTO segments (id, name, filter, created_at, updated_at) VALUES (%(id)s, %(name)s, %(filter)s, %(at)s, %(at)s);

-- name: change_segment :exec
-- for: a segment's new name and filter
-- in: id, name, filter, at
-- out: row count: none of an archived one
-- index: segments primary key
-- note: campaigns that have started hold a copy of the filter
UPDATE segments SET name = %(name)s, filter = %(filter)s, updated_at = %(at)s WHERE id = %(id)s AND archived_at IS NULL;

-- name: archive_segment :exec
-- for: a segment that is no longer offered
-- in: id, at
-- out: row count: none of one that is archived already
-- index: segments primary key
-- note: not deleted, because campaigns refer to it
UPDATE segments SET archived_at = %(at)s, updated_at = %(at)s WHERE id = %(id)s AND archived_at IS NULL;

------------------------------------------------------------------------------------------------------------------
-- numbers that cannot be reached
------------------------------------------------------------------------------------------------------------------

-- name: suppress_unreachable :one
-- for: numbers that are no longer written to on a channel
-- in: hashes bytea[] (of the people), channel, source, at
-- out: hashes of those that are suppressed by this
-- index: suppressions primary key
-- note: one suppressed before keeps what suppressed it, unless it has written since: then this is a new one
WITH made AS (
    INSERT INTO suppressions (phone_hash, channel, reason, source, created_at)
    SELECT hash, %(channel)s, 'unreachable', %(source)s, %(at)s FROM unnest(%(hashes)b::bytea[]) AS hash ORDER BY hash
    ON CONFLICT (phone_hash, channel) DO UPDATE SET source = excluded.source, created_at = excluded.created_at
    RETURNING phone_hash
)
SELECT coalesce(array_agg(phone_hash), '{}') FROM made;

-- name: release_suppressed :one
-- for: numbers that may be written to again
-- in: source: what suppressed them
-- out: hashes of the people
-- index: suppressions (source)
-- note: who was erased has no source
WITH released AS (
    DELETE FROM suppressions WHERE source = %(source)s AND reason = 'unreachable' RETURNING phone_hash
)
SELECT coalesce(array_agg(phone_hash), '{}') FROM released;

------------------------------------------------------------------------------------------------------------------
-- erasure
------------------------------------------------------------------------------------------------------------------

-- name: suppress_person :exec
-- for: a number that must not come back
-- in: hash (of the person), at
-- index: suppressions primary key
-- note: the hash is keyed: without ESE_SECRET_KEY nobody finds out whose it is
INSERT INTO suppressions (phone_hash, reason, created_at) VALUES (%(hash)s, 'erased', %(at)s) ON CONFLICT DO NOTHING;

-- name: delete_person :exec
-- for: the profile of somebody erased
-- in: phone
-- out: rows of user_changes; row count
-- index: users primary key
-- note: aggregates stay, but there is one user less
WITH gone AS (DELETE FROM users WHERE phone_e164 = %(phone)s RETURNING consent_state, created_at, attributes), noted AS (
    INSERT INTO user_changes
    SELECT -1, f.fact, f.value FROM gone g, user_facts(g.consent_state, g.created_at) AS f
    UNION ALL
    SELECT -1, f.fact, f.value FROM gone g, attribute_facts(g.attributes) AS f
)
SELECT FROM gone;

-- name: disguise_ledger :exec
-- for: the ledger of somebody erased
-- in: phone, pseudonym
-- out: row count
-- index: consent_ledger (phone_e164, occurred_at, id)
-- note: transitions stay countable. A word's evidence becomes the bare word, as the scrubbed log projects it again
UPDATE consent_ledger
SET phone_e164 = %(pseudonym)s, evidence = CASE WHEN message_sid IS NULL THEN '' ELSE action END
WHERE phone_e164 = %(phone)s;

-- name: disguise_evidence :exec
-- for: others' words about consent that name somebody erased
-- in: sids text[]; digits, pseudonym_digits
-- index: consent_ledger (message_sid)
-- note: rare: the provider took a longer text for a STOP
UPDATE consent_ledger SET evidence = replace(evidence, %(digits)s, %(pseudonym_digits)s) WHERE message_sid = ANY (%(sids)s::text[]);

-- name: delete_rejects_of :exec
-- for: rejected rows of imports that hold the number of somebody erased
-- in: digits: the number's last ones, without what differs between notations
-- note: a scan: rejects are few
DELETE FROM import_rejects WHERE regexp_replace(value, '[^0-9]', '', 'g') LIKE '%%' || %(digits)s || '%%';

-- name: step_import_back :exec
-- for: an import whose place is the number of somebody erased
-- in: phone
-- note: one place back; who was applied already changes nothing when applied again
UPDATE imports
SET applied_to = (SELECT max(u.phone_e164) FROM users u WHERE u.phone_e164 < %(phone)s)
WHERE applied_to = %(phone)s;

-- name: begin_erasure :exec
-- for: the log, which the worker goes through
-- in: pseudonym, phone, at
-- index: erasures primary key
-- note: the same number always has the same pseudonym
INSERT INTO erasures (pseudonym, phone_e164, erased_at) VALUES (%(pseudonym)s, %(phone)s, %(at)s)
ON CONFLICT (pseudonym) DO UPDATE SET phone_e164 = excluded.phone_e164, erased_at = excluded.erased_at, done_at = NULL;

-- name: list_erasures :many
-- for: erasures whose traces in the log are still to be removed
-- out: pseudonym, phone
-- note: mostly none
SELECT pseudonym, phone_e164 AS phone FROM erasures WHERE phone_e164 IS NOT NULL ORDER BY erased_at;

-- name: end_erasure :exec
-- for: a number that is now nowhere
-- in: pseudonym, at
-- index: erasures primary key
-- note: with it the number goes from here as well
UPDATE erasures SET phone_e164 = NULL, done_at = %(at)s WHERE pseudonym = %(pseudonym)s;

-- name: list_late_pseudonyms :one
-- for: people erased lately, about whom callbacks may still come
-- in: since
-- out: an array
-- note: see erasures
SELECT coalesce(array_agg(pseudonym), '{}') FROM erasures WHERE phone_e164 IS NULL AND done_at >= %(since)s;

-- name: forget_past_erasures :exec
-- for: erasures no callback can concern any more
-- in: until
-- note: see erasures
DELETE FROM erasures WHERE phone_e164 IS NULL AND done_at < %(until)s;

------------------------------------------------------------------------------------------------------------------
-- imports
------------------------------------------------------------------------------------------------------------------

-- name: create_import :exec
-- for: an import whose file is yet to come
-- in: id, file_name, format, default_region, consent_proof, actor, now
-- note: not waiting before the last chunk is there
INSERT INTO imports (id, file_name, format, default_region, consent_proof, state, actor, created_at)
VALUES (%(id)s, %(file_name)s, %(format)s, %(default_region)s, %(consent_proof)s, 'uploading', %(actor)s, %(now)s);

-- name: append_import_chunk :maybe
-- for: the next piece of an uploaded file
-- in: id, number (from 0), bytes, most (bytes of a file)
-- out: size_bytes so far; no row when the file would be too large, or is complete already
-- index: imports primary key
-- note: size and chunk in one statement, so that a file is never longer than it says
WITH grown AS (
    UPDATE imports SET size_bytes = size_bytes + length(%(bytes)s::bytea)
    WHERE id = %(id)s AND state = 'uploading' AND size_bytes + length(%(bytes)s::bytea) <= %(most)s
    RETURNING id, size_bytes
), stored AS (
    INSERT INTO import_chunks (import_id, number, bytes) SELECT id, %(number)s, %(bytes)s FROM grown
)
SELECT size_bytes FROM grown;

-- name: finish_upload :exec
-- for: a file that is complete
-- in: id
-- index: imports primary key
-- note: from here on the worker may take it
UPDATE imports SET state = 'waiting' WHERE id = %(id)s AND state = 'uploading';

-- name: begin_local_import :exec
-- for: an import from the command line, which reads its file itself
-- in: id, size_bytes, now
-- index: imports primary key
-- note: it has no chunks; a worker that finds it left behind can only say so
UPDATE imports SET state = 'running', size_bytes = %(size_bytes)s, started_at = %(now)s, beat_at = %(now)s WHERE id = %(id)s;

-- name: find_import :maybe
-- for: one import
-- in: id
-- out: a row of imports
-- index: imports primary key
-- note: all columns: they are its progress
SELECT id, file_name, format, default_region, consent_proof, state, error, actor, size_bytes, read_bytes, rows, created, changed,
       unchanged, duplicates, rejected, applied_to, created_at, started_at, beat_at, finished_at
FROM imports WHERE id = %(id)s;

-- name: list_imports :many
-- for: the page and the API, newest first
-- in: most; before_at, before_id: the place to go on from, or NULL
-- out: rows of imports
-- index: imports (created_at)
-- note: an upload given up stays to be seen
SELECT id, file_name, format, default_region, consent_proof, state, error, actor, size_bytes, read_bytes, rows, created, changed,
       unchanged, duplicates, rejected, applied_to, created_at, started_at, beat_at, finished_at
FROM imports
WHERE %(before_at)s::timestamptz IS NULL OR (created_at, id) < (%(before_at)s, %(before_id)s::uuid)
ORDER BY created_at DESC, id DESC
LIMIT %(most)s;

-- name: list_rejects :many
-- for: the rejected rows, for reading and for the file to download
-- in: id, after (row), most
-- out: row, reason, value
-- index: import_rejects primary key
-- note: by place, so that a million of them can be streamed
SELECT row, reason, value FROM import_rejects WHERE import_id = %(id)s AND row > %(after)s ORDER BY row LIMIT %(most)s;

-- name: claim_import :maybe
-- for: the next import to be done, oldest first
-- in: now, silent_since: a worker that gave no sign since then has left its import
-- out: a row of imports
-- index: imports (created_at)
-- note: SKIP LOCKED: two workers take two imports
UPDATE imports SET state = 'running', started_at = coalesce(started_at, %(now)s), beat_at = %(now)s
WHERE id = (SELECT id FROM imports
            WHERE state = 'waiting' OR (state = 'running' AND beat_at < %(silent_since)s)
            ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, file_name, format, default_region, consent_proof, state, error, actor, size_bytes, read_bytes, rows, created, changed,
          unchanged, duplicates, rejected, applied_to, created_at, started_at, beat_at, finished_at;

-- name: count_waiting_imports :one
-- for: whether claim_import would find any
-- in: silent_since
-- out: count
-- note: imports are few
SELECT count(*) FROM imports WHERE state = 'waiting' OR (state = 'running' AND beat_at < %(silent_since)s);

-- name: find_import_chunk :one
-- for: an uploaded file, piece by piece
-- in: id, number
-- out: bytes, no row behind the last
-- index: import_chunks primary key
-- note: about 1 MB each
SELECT bytes FROM import_chunks WHERE import_id = %(id)s AND number = %(number)s;

-- name: end_import :exec
-- for: an import that is completed or has failed
-- in: id, state, error, now
-- index: imports primary key
-- note: the file goes, and the place, which is a number: they are people's data and have done their service
WITH gone AS (DELETE FROM import_chunks WHERE import_id = %(id)s)
UPDATE imports SET state = %(state)s, error = %(error)s, applied_to = NULL, finished_at = %(now)s, beat_at = %(now)s WHERE id = %(id)s;

-- name: give_up_uploads :exec
-- for: uploads that broke off, whose pieces would stay for ever
-- in: until, now
-- index: imports (created_at)
-- note: they are people's data, and no erasure looks into them
WITH given_up AS (
    UPDATE imports SET state = 'failed', error = 'The upload broke off. Send the file again.', finished_at = %(now)s
    WHERE state = 'uploading' AND created_at < %(until)s
    RETURNING id
)
DELETE FROM import_chunks c USING given_up g WHERE c.import_id = g.id;

-- name: drop_import_rows :exec
-- for: what an import before left on this connection
-- note: see create_import_rows
DROP TABLE IF EXISTS import_rows;

-- name: create_import_rows :exec
-- for: the rows of one file
-- note: temporary: without WAL, and gone with the connection of an import that was killed
CREATE TEMPORARY TABLE import_rows (row bigint, phone text, consent text, timezone text, attributes jsonb, country text);

-- name: create_import_lines :exec
-- for: the rows that COPY brings, before their country is known
-- note: emptied by each commit
CREATE TEMPORARY TABLE IF NOT EXISTS import_lines (row bigint, phone text, consent text, timezone text, attributes jsonb) ON COMMIT DELETE ROWS;

-- name: stage_import_lines :exec
-- for: the rows of a file with their country
-- in: rows of import_lines
-- out: rows of import_rows
-- note: the country tells whether it is a number at all. Found here, while the next rows are being read on the other core
INSERT INTO import_rows (row, phone, consent, timezone, attributes, country)
SELECT l.row, l.phone, l.consent, l.timezone, l.attributes, c.country
FROM import_lines l LEFT JOIN LATERAL phone_country(l.phone) AS c ON true;

-- name: create_import_batch :exec
-- for: the people applied in one transaction, each with its last row
-- note: emptied by each commit
CREATE TEMPORARY TABLE IF NOT EXISTS import_batch (
    row bigint, phone text, action text, timezone text, attributes jsonb, country text, entry uuid -- the ledger's, if consent changes
) ON COMMIT DELETE ROWS;

-- name: create_import_done :exec
-- for: what became of the people of a batch
-- note: emptied by each commit
CREATE TEMPORARY TABLE IF NOT EXISTS import_done (
    phone text PRIMARY KEY, is_new boolean, state_before text, state_after text, attributes_before jsonb, occurs_at timestamptz -- NULL: now
) ON COMMIT DELETE ROWS;

-- name: insert_rejects :exec
-- for: rows that are no person
-- in: id; row bigint[], reason text[], value text[] of equal length
-- index: import_rejects primary key
-- note: an import taken over reads its file again
INSERT INTO import_rejects (import_id, row, reason, value)
SELECT %(id)s, row, reason, value FROM unnest(%(row)s::bigint[], %(reason)b::text[], %(value)b::text[]) AS rejected (row, reason, value)
ON CONFLICT DO NOTHING;

-- name: tell_import_read :exec
-- for: progress of reading
-- in: id, rows, read_bytes, now
-- index: imports primary key; import_rejects primary key
-- note: the beat keeps others from taking it over; rejects are counted, not added, because a file may be read twice
UPDATE imports SET rows = %(rows)s, read_bytes = %(read_bytes)s, beat_at = %(now)s,
       rejected = (SELECT count(*) FROM import_rejects WHERE import_id = %(id)s)
WHERE id = %(id)s;

-- name: index_import_rows :exec
-- for: applying in the order of numbers, a number's last row first
-- note: made after COPY, which is quicker than keeping it
CREATE INDEX ON import_rows (phone, row DESC);

-- name: analyze_import_rows :exec
-- for: the planner, which knows nothing of a temporary table
-- note: without it each batch would sort the whole file
ANALYZE import_rows;

-- name: tell_import_duplicates :exec
-- for: rows whose number comes again in the file
-- in: id, now
-- note: an index-only look at the whole file, once
UPDATE imports SET duplicates = (SELECT count(*) - count(DISTINCT phone) FROM import_rows), beat_at = %(now)s WHERE id = %(id)s;

-- name: fill_import_batch :exec
-- for: the next people in the order of numbers
-- in: id, now, after (number), most, proof: whether consent in the file is proved
-- out: rows of import_batch; row count
-- index: import_rows (phone, row DESC)
-- note: the entry is a time-ordered UUID as time_ordered_uuid makes them, with the time written once and not for each row
INSERT INTO import_batch (row, phone, action, timezone, attributes, country, entry)
SELECT n.row, n.phone,
       CASE n.consent WHEN 'OPT_IN' THEN CASE WHEN %(proof)s THEN 'prove' ELSE 'opt_in' END WHEN 'OPT_OUT' THEN 'opt_out' WHEN 'STOP' THEN 'stop' END,
       n.timezone, n.attributes, n.country, CASE WHEN n.consent IS NOT NULL THEN (k.prefix || substr(n.name, 1, 3) || 'a' || substr(n.name, 4, 15))::uuid END
FROM (SELECT lpad(to_hex(floor(date_part('epoch', %(now)s::timestamptz) * 1000)::bigint), 12, '0') || '8' AS prefix) AS k,
     (SELECT DISTINCT ON (phone) row, phone, consent, timezone, attributes, country, md5(%(id)s::text || phone) AS name
      FROM import_rows WHERE phone > %(after)s
      ORDER BY phone, row DESC LIMIT %(most)s) AS n;

-- name: advance_import :exec
-- for: the place from which an import that is taken over goes on
-- in: id, now; rows of import_batch
-- index: imports primary key
-- note: commits with what is done; before rows of the batch are rejected, or the last of them would come again
UPDATE imports SET applied_to = (SELECT max(phone) FROM import_batch), beat_at = %(now)s WHERE id = %(id)s;

-- name: hold_suppressions :exec
-- for: an erasure and a batch that would bring the same person back
-- note: the one that comes second waits for the first: who is being erased at this moment is suppressed already when
--       the batch looks, who is erased after it is erased with what the batch has made
LOCK TABLE suppressions IN SHARE MODE;

-- name: reject_suppressed :exec
-- for: people who were erased and must not come back
-- in: id; inner, outer (the pads of the HMAC); rows of import_batch
-- index: suppressions primary key
-- note: not a hash is computed while nobody has been erased
WITH erased AS (
    DELETE FROM import_batch b
    WHERE EXISTS (SELECT FROM suppressions WHERE reason = 'erased')
      AND EXISTS (SELECT FROM suppressions s
                  WHERE s.reason = 'erased' AND s.phone_hash = sha256(%(outer)s::bytea || sha256(%(inner)s::bytea || convert_to('person:' || b.phone, 'UTF8'))))
    RETURNING b.row
)
INSERT INTO import_rejects (import_id, row, reason, value)
SELECT %(id)s, row, 'erased at the person''s request', '' FROM erased
ON CONFLICT DO NOTHING;

-- name: reject_countryless :exec
-- for: numbers that no country gives out
-- in: id; rows of import_batch
-- note: libphonenumber's patterns, as everywhere
WITH wrong AS (
    DELETE FROM import_batch WHERE country IS NULL RETURNING row, phone
)
INSERT INTO import_rejects (import_id, row, reason, value)
SELECT %(id)s, row, 'not a number of any country', phone FROM wrong
ON CONFLICT DO NOTHING;

-- name: list_closing :many
-- for: people of the batch whose consent may be closed by it
-- out: phone
-- note: mostly none
SELECT phone FROM import_batch WHERE action IN ('stop', 'opt_out') ORDER BY phone;

-- name: insert_people :exec
-- for: people who are not there yet
-- in: id, now; rows of import_batch
-- out: rows of import_done; row count
-- index: users primary key
-- note: in the order of numbers; whoever is there already is left to lock_known_people
WITH made AS (
    INSERT INTO users (phone_e164, attributes, consent_state, consent_entry, country, timezone, created_at, updated_at)
    SELECT phone, attributes, CASE WHEN action IS NULL THEN 'UNKNOWN' ELSE consent_step('UNKNOWN', action) END,
           entry, country, timezone, %(now)s, %(now)s
    FROM import_batch
    ORDER BY phone
    ON CONFLICT (phone_e164) DO NOTHING
    RETURNING phone_e164, consent_state
)
INSERT INTO import_done (phone, is_new, state_before, state_after) SELECT phone_e164, true, 'UNKNOWN', consent_state FROM made;

-- name: lock_known_people :exec
-- for: people who were there, with the state the batch makes of theirs
-- out: rows of import_done
-- index: users primary key
-- note: locked, so that the state that is read is the one that is changed. A row that says nothing of consent leaves it
INSERT INTO import_done (phone, is_new, state_before, state_after, attributes_before)
SELECT b.phone, false, u.consent_state, CASE WHEN b.action IS NULL THEN u.consent_state ELSE consent_step(u.consent_state, b.action) END, u.attributes
FROM import_batch b
JOIN users u ON u.phone_e164 = b.phone
WHERE NOT EXISTS (SELECT FROM import_done d WHERE d.phone = b.phone)
ORDER BY b.phone
FOR UPDATE OF u;

-- name: place_entries :exec
-- for: entries that take effect after all that is known of their people
-- in: now
-- index: consent_ledger (phone_e164, occurred_at, id)
-- note: a statement of its own after lock_known_people: whoever held a person's row may have entered something that is
--       later than the beginning of this batch, and the fold goes by time
UPDATE import_done d
SET occurs_at = (SELECT max(l.occurred_at) + interval '1 microsecond' FROM consent_ledger l WHERE l.phone_e164 = d.phone AND l.occurred_at >= %(now)s)
WHERE NOT d.is_new AND d.state_before <> d.state_after;

-- name: update_people :exec
-- for: what the file says about people who were there
-- in: id, now
-- out: row count: people who are different now
-- index: users primary key
-- note: attributes are merged: a file need not have all of them
UPDATE users u
SET attributes = u.attributes || b.attributes, timezone = coalesce(b.timezone, u.timezone), consent_state = d.state_after, updated_at = %(now)s,
    consent_entry = CASE WHEN d.state_before <> d.state_after THEN b.entry ELSE u.consent_entry END
FROM import_done d JOIN import_batch b ON b.phone = d.phone
WHERE NOT d.is_new AND u.phone_e164 = d.phone
  AND (d.state_before <> d.state_after OR u.attributes || b.attributes <> u.attributes OR coalesce(b.timezone, u.timezone) IS DISTINCT FROM u.timezone);

-- name: insert_import_ledger :one
-- for: the changes of consent the batch made, and a hash over them for the audit log
-- in: now, actor, evidence
-- out: entries, digest (hex SHA-256 of id, action and evidence in the order of ids; NULL of none)
-- index: consent_ledger primary key
-- note: what changes nothing is not entered: the same file twice would fill the ledger. One audit entry for a batch
--       covers each of its changes: whoever alters one of them no longer meets the hash
WITH written AS (
    INSERT INTO consent_ledger (id, phone_e164, occurred_at, recorded_at, action, source, evidence, actor)
    SELECT b.entry, b.phone, coalesce(d.occurs_at, %(now)s), %(now)s, b.action, 'import',
           %(evidence)s::text || ', row ' || b.row, %(actor)s
    FROM import_done d JOIN import_batch b USING (phone)
    WHERE d.state_before <> d.state_after
    ORDER BY b.phone
    RETURNING id, action, evidence
)
SELECT count(*)::integer AS entries,
       encode(sha256(convert_to(string_agg(concat_ws(' ', id, action, evidence), E'\n' ORDER BY id), 'UTF8')), 'hex') AS digest
FROM written;

-- name: note_import_users :exec
-- for: what the batch's people counted as and count as now
-- in: now
-- out: rows of user_changes
-- note: a new person takes nothing back; summed, because most of a file counts as the same few
INSERT INTO user_changes
SELECT sum(sign), fact, value
FROM (
    SELECT -1 AS sign, 'consent' AS fact, state_before AS value FROM import_done WHERE NOT is_new AND state_before <> state_after
    UNION ALL
    SELECT 1, 'consent', state_after FROM import_done WHERE NOT is_new AND state_before <> state_after
    UNION ALL
    SELECT 1, f.fact, f.value FROM import_done d, user_facts(d.state_after, %(now)s) AS f WHERE d.is_new
    UNION ALL
    SELECT -1, f.fact, f.value FROM import_done d, attribute_facts(d.attributes_before) AS f WHERE NOT d.is_new
    UNION ALL
    SELECT 1, f.fact, f.value FROM import_done d JOIN import_batch b USING (phone), attribute_facts(coalesce(d.attributes_before, '{}') || b.attributes) AS f
) AS noted
GROUP BY fact, value
HAVING sum(sign) <> 0;

-- name: note_import_consent :exec
-- for: the batch's transitions
-- in: now
-- out: rows of consent_changes
-- note: as note_consent, without reading the ledger again
INSERT INTO consent_changes (sign, occurred_at, from_state, to_state, source)
SELECT 1, coalesce(occurs_at, %(now)s), state_before, state_after, 'import' FROM import_done WHERE state_before <> state_after;

-- name: count_applied :exec
-- for: progress of applying
-- in: id, changed
-- index: imports primary key; import_rejects primary key
-- note: commits with what it counts
UPDATE imports i SET created = i.created + d.created, changed = i.changed + %(changed)s, unchanged = i.unchanged + d.known - %(changed)s,
       rejected = (SELECT count(*) FROM import_rejects WHERE import_id = %(id)s)
FROM (SELECT count(*) FILTER (WHERE is_new) AS created, count(*) FILTER (WHERE NOT is_new) AS known FROM import_done) AS d
WHERE id = %(id)s;
