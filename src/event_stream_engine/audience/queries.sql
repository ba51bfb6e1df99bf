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
-- note: append-only; a repeated message is there already
INSERT INTO consent_ledger (id, phone_e164, occurred_at, recorded_at, action, source, message_sid, evidence)
SELECT DISTINCT ON (message_sid)
       time_ordered_uuid(received_at, message_sid), from_phone, received_at, clock_timestamp(), keyword, 'inbound', message_sid, body
FROM inbound_batch
WHERE keyword IN ('stop', 'start', 'yes')
ORDER BY message_sid, received_at
ON CONFLICT (message_sid) DO NOTHING;

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
