------------------------------------------------------------------------------------------------------------------
-- replies
------------------------------------------------------------------------------------------------------------------

-- name: create_reply_bodies :exec
-- for: what the staged replies say, once for each connection
-- note: new_messages is everybody's and has no body
CREATE TEMPORARY TABLE IF NOT EXISTS reply_bodies (message_id uuid, body text) ON COMMIT DELETE ROWS;

-- name: stage_replies :exec
-- for: which of the batch's new inbound messages are answered, by which rule
-- in: now; rows of inbound_new
-- out: rows of new_messages and reply_bodies; row count
-- index: reply_times primary key; consent_ledger (phone_e164, occurred_at, id) for those who said STOP or START
-- note: a rule with words goes before that of the intent. STOP and START are answered when they changed the state, so
--       a second STOP gets no second confirmation. In one batch a rule answers a person once: one statement cannot
--       count a row of reply_times twice, and a batch is a fraction of a second
WITH asked AS (
    SELECT DISTINCT ON (n.message_sid)
           n.message_sid, n.from_phone, n.to_phone, n.channel, n.intent, n.received_at, r.id AS rule_id, r.body, r.per_person_minutes
    FROM inbound_new n
    JOIN reply_rules r ON r.is_enabled AND r.intent = n.intent
        AND (r.words = '{}' OR btrim(regexp_replace(lower(n.body), '\s+', ' ', 'g')) = ANY (r.words))
    WHERE n.opt_out_type IS NULL AND n.received_at > %(now)s::timestamptz - interval '5 minutes'
    ORDER BY n.message_sid, r.words = '{}', r.created_at, r.id
), changing AS (
    SELECT message_sid
    FROM consent_history(ARRAY(SELECT from_phone FROM asked WHERE intent IN ('stop', 'start')))
    WHERE state_before <> state_after
), first AS (
    SELECT DISTINCT ON (rule_id, from_phone) *
    FROM asked
    WHERE intent NOT IN ('stop', 'start') OR message_sid IN (SELECT message_sid FROM changing)
    ORDER BY rule_id, from_phone, received_at, message_sid
), counted AS (
    INSERT INTO reply_times AS t (rule_id, phone_e164, replied_at)
    SELECT rule_id, from_phone, %(now)s FROM first ORDER BY rule_id, from_phone
    ON CONFLICT (rule_id, phone_e164) DO UPDATE SET replied_at = excluded.replied_at
    WHERE t.replied_at <= excluded.replied_at
        - (SELECT r.per_person_minutes FROM reply_rules r WHERE r.id = excluded.rule_id) * interval '1 minute'
    RETURNING rule_id, phone_e164
), staged AS (
    INSERT INTO new_messages (id, campaign_id, recipient_phone, channel, sender, country, queued_at, in_reply_to)
    SELECT time_ordered_uuid(f.received_at, 'reply:' || f.message_sid), NULL, f.from_phone, f.channel, f.to_phone,
           (SELECT p.country FROM phone_country(f.from_phone) AS p), %(now)s, f.message_sid
    FROM first f JOIN counted c ON c.rule_id = f.rule_id AND c.phone_e164 = f.from_phone
    RETURNING id, in_reply_to
)
INSERT INTO reply_bodies (message_id, body)
SELECT s.id, f.body FROM staged s JOIN first f ON f.message_sid = s.in_reply_to;

-- name: queue_replies :exec
-- for: the staged replies into the outbox
-- in: now; rows of new_messages and reply_bodies
-- index: outbox primary key
-- note: due at once: who wrote waits for the answer, and the hour is the one they chose
INSERT INTO outbox (message_id, campaign_id, recipient_phone, due_at, body)
SELECT n.id, NULL, n.recipient_phone, %(now)s, b.body
FROM new_messages n JOIN reply_bodies b ON b.message_id = n.id
ON CONFLICT (message_id) DO NOTHING;

-- name: list_reply_rules :many
-- for: the page and the API
-- out: rows of reply_rules
-- note: a handful; in the order stage_replies prefers them
SELECT id, intent, words, body, per_person_minutes, is_enabled, created_at
FROM reply_rules
ORDER BY intent, words = '{}', created_at, id;

-- name: find_reply_rule :maybe
-- for: one rule
-- in: id
-- out: a row of reply_rules
-- note: locked, because who asks for one is about to change it or only reads a handful
SELECT id, intent, words, body, per_person_minutes, is_enabled, created_at
FROM reply_rules
WHERE id = %(id)s
FOR UPDATE;

-- name: create_reply_rule :exec
-- for: a new rule
-- in: the columns of reply_rules
-- note: what is right in it is checked in campaigns/replies.py, what must never be wrong by the table
INSERT INTO reply_rules (id, intent, words, body, per_person_minutes, is_enabled, created_at)
VALUES (%(id)s, %(intent)s, %(words)s, %(body)s, %(per_person_minutes)s, %(is_enabled)s, %(created_at)s);

-- name: change_reply_rule :exec
-- for: a rule's new content
-- in: id and the columns that change
-- index: reply_rules primary key
-- note: see create_reply_rule
UPDATE reply_rules
SET intent = %(intent)s, words = %(words)s, body = %(body)s, per_person_minutes = %(per_person_minutes)s, is_enabled = %(is_enabled)s
WHERE id = %(id)s;

-- name: delete_reply_rule :exec
-- for: a rule that goes, with whom it answered when
-- in: id
-- index: reply_rules primary key
-- note: reply_times cascades
DELETE FROM reply_rules WHERE id = %(id)s;
