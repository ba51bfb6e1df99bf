-- name: open_second :maybe
-- for: beginning a claim: the campaign must run, the provider must want messages, and the pace of this second is held
-- in: campaign_id, provider, second, now
-- out: taken: messages handed over in this second so far
-- index: campaigns, provider_pauses and pace primary keys
-- note: locked in this order by everybody: campaign, pace, outbox. The share lock makes pausing wait for claims that
--       have begun and claims that come later see the pause. The update changes nothing but locks the row there is.
WITH open AS (
    SELECT id FROM campaigns
    WHERE id = %(campaign_id)s AND state = 'running'
      AND NOT EXISTS (SELECT FROM provider_pauses WHERE provider = %(provider)s AND paused_until > %(now)s)
    FOR SHARE
)
INSERT INTO pace AS p (campaign_id, second, taken)
SELECT id, %(second)s, 0 FROM open
ON CONFLICT (campaign_id, second) DO UPDATE SET taken = p.taken
RETURNING taken;

-- name: take_tokens :exec
-- for: messages counted against a second
-- in: campaign_id, second, count
-- index: pace primary key
-- note: the row is held since open_second, so that nobody has counted meanwhile
UPDATE pace SET taken = taken + %(count)s WHERE campaign_id = %(campaign_id)s AND second = %(second)s;

-- name: forget_past_seconds :exec
-- for: seconds nobody will ask for any more
-- in: until
-- note: a scan of a table that is kept small by this
DELETE FROM pace WHERE second < %(until)s;

-- name: pause_provider :exec
-- for: the provider asked everybody to wait
-- in: provider, until, reason
-- index: provider_pauses primary key
-- note: a shorter pause does not end a longer one
INSERT INTO provider_pauses AS p (provider, paused_until, reason) VALUES (%(provider)s, %(until)s, %(reason)s)
ON CONFLICT (provider) DO UPDATE SET paused_until = excluded.paused_until, reason = excluded.reason
WHERE p.paused_until < excluded.paused_until;

-- name: list_ready :many
-- for: what has messages that are due, with the pace of the present second
-- in: provider, now, second
-- out: campaign_id (zeros: the replies, which have no pace), rate_per_second, taken
-- index: campaigns (state), outbox (campaign_id, due_at), pace primary key
-- note: one probe of the outbox for each running campaign; the claim looks again under locks
SELECT '00000000-0000-0000-0000-000000000000'::uuid AS campaign_id, 0 AS rate_per_second, 0 AS taken
WHERE EXISTS (SELECT FROM outbox o WHERE o.campaign_id IS NULL AND o.due_at <= %(now)s AND o.claimed_by IS NULL AND o.unsure_since IS NULL)
  AND NOT EXISTS (SELECT FROM provider_pauses WHERE provider = %(provider)s AND paused_until > %(now)s)
UNION ALL
SELECT c.id, c.rate_per_second, coalesce(p.taken, 0)
FROM campaigns c
LEFT JOIN pace p ON p.campaign_id = c.id AND p.second = %(second)s
WHERE c.state = 'running'
  AND EXISTS (SELECT FROM outbox o WHERE o.campaign_id = c.id AND o.due_at <= %(now)s AND o.claimed_by IS NULL AND o.unsure_since IS NULL)
  AND NOT EXISTS (SELECT FROM provider_pauses WHERE provider = %(provider)s AND paused_until > %(now)s);

-- name: hold_due :many
-- for: the messages of a campaign to be decided on next
-- in: campaign_id, now, most
-- out: message_id, recipient_phone, attempts, is_held; body, channel, sender and in_reply_to only of replies
-- index: outbox (campaign_id, due_at, message_id)
-- note: MATERIALIZED, so that people are locked for exactly the rows taken; the lock outlives the transaction
WITH due AS MATERIALIZED (
    SELECT message_id, recipient_phone, attempts FROM outbox
    WHERE campaign_id = %(campaign_id)s AND due_at <= %(now)s AND claimed_by IS NULL AND unsure_since IS NULL
    ORDER BY due_at, message_id
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
)
SELECT message_id, recipient_phone, attempts::integer, pg_try_advisory_lock_shared(person_lock(recipient_phone)) AS is_held,
       NULL AS body, NULL AS channel, NULL AS sender, NULL AS in_reply_to
FROM due;

-- name: hold_due_replies :many
-- for: as hold_due, for replies
-- in: now, most
-- out: as hold_due
-- index: outbox (campaign_id, due_at, message_id), messages primary key
-- note: channel and sender of a reply are those of the message it answers and lie in its row in messages
WITH due AS MATERIALIZED (
    SELECT o.message_id, o.recipient_phone, o.attempts, o.body, m.channel, m.sender, m.in_reply_to
    FROM outbox o JOIN messages m ON m.id = o.message_id
    WHERE o.campaign_id IS NULL AND o.due_at <= %(now)s AND o.claimed_by IS NULL AND o.unsure_since IS NULL
    ORDER BY o.due_at, o.message_id
    LIMIT %(most)s
    FOR UPDATE OF o SKIP LOCKED
)
SELECT message_id, recipient_phone, attempts::integer, pg_try_advisory_lock_shared(person_lock(recipient_phone)) AS is_held,
       body, channel, sender, in_reply_to
FROM due;

-- name: load_facts :many
-- for: what the steps must know of the people of due messages
-- in: phones text[], hashes bytea[] (of the numbers), answered text[] (SIDs replied to) of equal length; needs_inbound: of WhatsApp messages
-- out: one row for each phone, in order; the rule is that of the longest prefix
-- index: users, suppressions, phone_zones and quiet_hours_rules primary keys; inbound_events (from_phone, received_at), (message_sid)
-- note: a statement of its own after hold_due: only its snapshot shows the STOP that was committed before the lock was got
SELECT p.position::integer, u.consent_state, u.consent_entry, u.attributes, u.timezone, z.zones,
       r.starts AS rule_starts, r.ends AS rule_ends, s.phone_hash IS NOT NULL AS is_suppressed,
       i.received_at AS last_inbound_at, a.intent AS answered_intent
FROM unnest(%(phones)s::text[], %(hashes)b::bytea[], %(answered)s::text[]) WITH ORDINALITY AS p (phone, hash, answered, position)
LEFT JOIN users u ON u.phone_e164 = p.phone
LEFT JOIN suppressions s ON s.phone_hash = p.hash
LEFT JOIN LATERAL zones_of_phone(p.phone) AS z ON u.timezone IS NULL
LEFT JOIN LATERAL (
    SELECT q.starts, q.ends FROM quiet_hours_rules q
    WHERE q.prefix IN (substr(p.phone, 2, 1), substr(p.phone, 2, 2), substr(p.phone, 2, 3), substr(p.phone, 2, 4), substr(p.phone, 2, 5), substr(p.phone, 2, 6), substr(p.phone, 2, 7))
    ORDER BY length(q.prefix) DESC LIMIT 1) AS r ON true
LEFT JOIN LATERAL (
    SELECT max(e.received_at) AS received_at FROM inbound_events e
    WHERE e.from_phone = p.phone AND e.channel = 'whatsapp') AS i ON %(needs_inbound)s
LEFT JOIN inbound_events a ON a.message_sid = p.answered
ORDER BY p.position;

-- name: settle :exec
-- for: what the steps decided about held rows
-- in: claim_id, now, lease_until; claimed uuid[], bodies text[], decisions text[] (JSON) of equal length; deferred uuid[], due timestamptz[],
--     reasons text[] of equal length; denied uuid[]
-- index: outbox primary key
-- note: one statement for the three; the rows are held since hold_due
WITH claimed AS (
    UPDATE outbox o
    SET claimed_by = %(claim_id)s, handed_at = %(now)s, lease_until = %(lease_until)s, attempts = o.attempts + 1, defer_reason = NULL,
        body = coalesce(c.body, o.body), decision = c.decision::jsonb
    FROM unnest(%(claimed)b::uuid[], %(bodies)b::text[], %(decisions)b::text[]) AS c (message_id, body, decision)
    WHERE o.message_id = c.message_id
), deferred AS (
    UPDATE outbox o SET due_at = d.due_at, defer_reason = d.reason
    FROM unnest(%(deferred)b::uuid[], %(due)b::timestamptz[], %(reasons)b::text[]) AS d (message_id, due_at, reason)
    WHERE o.message_id = d.message_id
)
DELETE FROM outbox WHERE message_id = ANY (%(denied)b::uuid[]);

-- name: give_back :exec
-- for: a claim that came too late for its second: no call of it has begun
-- in: claim_id
-- index: outbox (lease_until) WHERE claimed
-- note: the tokens stay taken; a second is never exceeded for it
UPDATE outbox SET claimed_by = NULL, lease_until = NULL, handed_at = NULL, decision = NULL, attempts = attempts - 1
WHERE claimed_by = %(claim_id)s;

-- name: release_people :exec
-- for: people whose messages the provider has answered for
-- in: phones text[], one for each lock got
-- note: locks of a session are counted: each is let go once
SELECT pg_advisory_unlock_shared(person_lock(phone)) FROM unnest(%(phones)s::text[]) AS phone;

-- name: finish :many
-- for: the ends of claims
-- in: messages uuid[], claims uuid[], decisions text[] (JSON), due timestamptz[], reasons text[], unsure timestamptz[], attempts integer[]
--     (1: the call counts as one) of equal length
-- out: message_id of the rows that were there to be ended
-- index: outbox primary key
-- note: a known outcome ends the row also when its lease had run out, unless another claim has it since
WITH finished AS (
    SELECT * FROM unnest(%(messages)b::uuid[], %(claims)b::uuid[], %(decisions)b::text[], %(due)b::timestamptz[], %(reasons)b::text[],
                         %(unsure)b::timestamptz[], %(attempts)b::integer[])
        AS f (message_id, claim_id, decision, due_at, reason, unsure_since, attempts)
), gone AS (
    DELETE FROM outbox o USING finished f
    WHERE o.message_id = f.message_id AND (o.claimed_by = f.claim_id OR o.claimed_by IS NULL) AND f.due_at IS NULL AND f.unsure_since IS NULL
    RETURNING o.message_id
), released AS (
    UPDATE outbox o
    SET claimed_by = NULL, lease_until = NULL, unsure_since = f.unsure_since, attempts = o.attempts - 1 + f.attempts,
        due_at = coalesce(f.due_at, o.due_at), defer_reason = f.reason,
        handed_at = CASE WHEN f.unsure_since IS NULL THEN NULL ELSE o.handed_at END,
        decision = CASE WHEN f.unsure_since IS NULL THEN NULL ELSE f.decision::jsonb END
    FROM finished f
    WHERE o.message_id = f.message_id AND o.claimed_by = f.claim_id AND (f.due_at IS NOT NULL OR f.unsure_since IS NOT NULL)
    RETURNING o.message_id
)
SELECT message_id FROM gone UNION ALL SELECT message_id FROM released;
