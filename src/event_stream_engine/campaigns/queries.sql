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
-- in: phones text[], hashes bytea[] (of the numbers), answered text[] (SIDs replied to) of equal length; channel; needs_inbound: of WhatsApp messages
-- out: one row for each phone, in order; the rule is that of the longest prefix
-- index: users, suppressions, phone_zones and quiet_hours_rules primary keys; inbound_events (from_phone, received_at), (message_sid)
-- note: a statement of its own after hold_due: only its snapshot shows the STOP that was committed before the lock was got. Who
--       could not be reached and has written since can be
SELECT p.position::integer, u.consent_state, u.consent_entry, u.attributes, u.timezone, z.zones,
       r.starts AS rule_starts, r.ends AS rule_ends, s.is_suppressed, s.is_unreachable,
       i.received_at AS last_inbound_at, a.intent AS answered_intent
FROM unnest(%(phones)s::text[], %(hashes)b::bytea[], %(answered)s::text[]) WITH ORDINALITY AS p (phone, hash, answered, position)
LEFT JOIN users u ON u.phone_e164 = p.phone
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(s.reason = 'erased'), false) AS is_suppressed,
           coalesce(bool_or(s.reason = 'unreachable' AND s.channel = %(channel)s AND NOT EXISTS (
               SELECT FROM inbound_events e WHERE e.from_phone = p.phone AND e.channel = s.channel AND e.received_at > s.created_at)), false) AS is_unreachable
    FROM suppressions s WHERE s.phone_hash = p.hash) AS s
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

------------------------------------------------------------------------------------------------------------------
-- lifecycle
------------------------------------------------------------------------------------------------------------------

-- name: create_campaign :exec
-- for: a new draft
-- in: id, name, segment_id, template_id, sender, rate_per_second, quiet_starts, quiet_ends, actor, now
-- note: nothing is frozen before the start
INSERT INTO campaigns (id, name, segment_id, template_id, sender, rate_per_second, quiet_starts, quiet_ends, state, created_by, created_at, updated_at)
VALUES (%(id)s, %(name)s, %(segment_id)s, %(template_id)s, %(sender)s, %(rate_per_second)s, %(quiet_starts)s, %(quiet_ends)s,
        'draft', %(actor)s, %(now)s, %(now)s);

-- name: change_campaign :exec
-- for: other content of a campaign that has not begun
-- in: as create_campaign, without actor
-- index: campaigns primary key
-- note: under lock_campaign
UPDATE campaigns
SET name = %(name)s, segment_id = %(segment_id)s, template_id = %(template_id)s, sender = %(sender)s, rate_per_second = %(rate_per_second)s,
    quiet_starts = %(quiet_starts)s, quiet_ends = %(quiet_ends)s, updated_at = %(now)s
WHERE id = %(id)s;

-- name: find_campaign :maybe
-- for: one campaign
-- in: id
-- index: campaigns primary key
-- note: without lock; see lock_campaign
SELECT id, name, segment_id, template_id, sender, rate_per_second, quiet_starts, quiet_ends, state, template, filter, created_by,
       created_at, updated_at, scheduled_at, started_at, finished_at, filled_to, filled_at, recipients
FROM campaigns WHERE id = %(id)s;

-- name: lock_campaign :maybe
-- for: one campaign whose state is about to change
-- in: id
-- index: campaigns primary key
-- note: waits for claims that have begun, see open_second
SELECT id, name, segment_id, template_id, sender, rate_per_second, quiet_starts, quiet_ends, state, template, filter, created_by,
       created_at, updated_at, scheduled_at, started_at, finished_at, filled_to, filled_at, recipients
FROM campaigns WHERE id = %(id)s FOR UPDATE;

-- name: list_campaigns :many
-- for: campaigns, newest first
-- in: limit; before_at, before_id (the place to go on from, or NULL); state, or NULL for all
-- index: campaigns (created_at)
-- note: by place and not by OFFSET
SELECT id, name, segment_id, template_id, sender, rate_per_second, quiet_starts, quiet_ends, state, template, filter, created_by,
       created_at, updated_at, scheduled_at, started_at, finished_at, filled_to, filled_at, recipients
FROM campaigns
WHERE (%(before_at)s::timestamptz IS NULL OR (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
  AND (%(state)s::text IS NULL OR state = %(state)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: list_campaigns_by_name :many
-- for: a campaign named on the command line
-- in: name
-- note: two rows are enough to know that the name is not clear; a scan of a table with a row for each campaign
SELECT id, name, segment_id, template_id, sender, rate_per_second, quiet_starts, quiet_ends, state, template, filter, created_by,
       created_at, updated_at, scheduled_at, started_at, finished_at, filled_to, filled_at, recipients
FROM campaigns WHERE name = %(name)s ORDER BY created_at DESC LIMIT 2;

-- name: find_segment_id :maybe
-- for: a segment named on the command line
-- in: name
-- index: segments (name)
-- note: an archived one may have the name of one in use
SELECT id FROM segments WHERE name = %(name)s AND archived_at IS NULL;

-- name: find_template_id :maybe
-- for: a template named on the command line
-- in: name
-- index: templates (name)
-- note: as find_segment_id
SELECT id FROM templates WHERE name = %(name)s AND archived_at IS NULL;

-- name: list_due_campaigns :many
-- for: scheduled campaigns whose time has come
-- in: now
-- out: id
-- index: campaigns (state)
-- note: each is locked and looked at again when it is started
SELECT id FROM campaigns WHERE state = 'scheduled' AND scheduled_at <= %(now)s ORDER BY scheduled_at;

-- name: lock_finished_campaigns :many
-- for: running campaigns with all recipients made and nothing left to hand over
-- index: campaigns (state), outbox (campaign_id, …) for what is due and what is unsure
-- note: SKIP LOCKED: what is being claimed of now is not finished
SELECT id, name, segment_id, template_id, sender, rate_per_second, quiet_starts, quiet_ends, state, template, filter, created_by,
       created_at, updated_at, scheduled_at, started_at, finished_at, filled_to, filled_at, recipients
FROM campaigns c
WHERE state = 'running' AND filled_at IS NOT NULL AND NOT EXISTS (SELECT FROM outbox o WHERE o.campaign_id = c.id)
FOR UPDATE SKIP LOCKED;

-- name: lower_rate :exec
-- for: a running campaign that is to send slower
-- in: id, rate_per_second, now
-- index: campaigns primary key
-- note: the row is held already; a claim reads the rate under the same lock
UPDATE campaigns SET rate_per_second = %(rate_per_second)s, updated_at = %(now)s WHERE id = %(id)s;

-- name: move_campaign :exec
-- for: a campaign's new state
-- in: id, state, now, scheduled_at, started_at, finished_at, template and filter (JSON)
-- index: campaigns primary key
-- note: under lock_campaign; what stays is written again
UPDATE campaigns
SET state = %(state)s, updated_at = %(now)s, scheduled_at = %(scheduled_at)s, started_at = %(started_at)s, finished_at = %(finished_at)s,
    template = %(template)s::jsonb, filter = %(filter)s::jsonb
WHERE id = %(id)s;

-- name: unschedule_campaign :exec
-- for: a scheduled campaign that could not start
-- in: id, now
-- index: campaigns primary key
-- note: under lock_campaign
UPDATE campaigns SET state = 'draft', scheduled_at = NULL, updated_at = %(now)s WHERE id = %(id)s;

-- name: find_sources :one
-- for: what a campaign is made of
-- in: segment_id, template_id
-- out: filter, template: NULL where there is none or it is archived
-- index: segments and templates primary keys
-- note: the template's content alone; a name changes nothing sent but says later what it was
SELECT (SELECT s.filter FROM segments s WHERE s.id = %(segment_id)s AND s.archived_at IS NULL) AS filter,
       (SELECT jsonb_build_object('id', t.id, 'name', t.name, 'channel', t.channel, 'locale', t.locale, 'body', t.body,
                                  'content_sid', t.content_sid, 'content_variables', t.content_variables)
        FROM templates t WHERE t.id = %(template_id)s AND t.archived_at IS NULL) AS template;

------------------------------------------------------------------------------------------------------------------
-- recipients
------------------------------------------------------------------------------------------------------------------

-- name: list_unfilled_campaigns :many
-- for: running campaigns that have yet to get all their recipients
-- out: id
-- index: campaigns (state)
-- note: oldest start first
SELECT id FROM campaigns WHERE state = 'running' AND filled_at IS NULL ORDER BY started_at;

-- name: list_undrained_campaigns :many
-- for: cancelled campaigns with messages that still wait
-- out: id
-- index: outbox (campaign_id, due_at)
-- note: from the outbox, which is short, to the campaigns, which are many: one probe for each campaign in it
WITH RECURSIVE waiting AS (
    (SELECT campaign_id FROM outbox WHERE campaign_id IS NOT NULL AND claimed_by IS NULL AND unsure_since IS NULL ORDER BY campaign_id LIMIT 1)
    UNION ALL
    SELECT (SELECT o.campaign_id FROM outbox o WHERE o.campaign_id > w.campaign_id AND o.claimed_by IS NULL AND o.unsure_since IS NULL
            ORDER BY o.campaign_id LIMIT 1)
    FROM waiting w WHERE w.campaign_id IS NOT NULL
)
SELECT c.id FROM waiting w JOIN campaigns c ON c.id = w.campaign_id WHERE c.state = 'cancelled';

-- name: find_stretch_end :maybe
-- for: the last number of the next stretch of people
-- in: after (number), people (in a stretch)
-- index: users primary key
-- note: no row: fewer are left, and the stretch has no end
SELECT phone_e164 FROM users WHERE phone_e164 > %(after)s ORDER BY phone_e164 OFFSET %(people)s - 1 LIMIT 1;

-- name: stage_recipients :exec
-- for: the people of a stretch that the campaign's filter finds
-- in: id, after, until (or NULL: no end), now; the filter's own parameters
-- out: rows of new_messages
-- index: users primary key
-- note: {condition} is put in by recipients.py, as segments.py compiled it. By stretches of people, not of matches: a
--       filter that finds nobody must not make one long transaction. The id follows from campaign and number
INSERT INTO new_messages (id, campaign_id, recipient_phone, channel, sender, country, queued_at, in_reply_to)
SELECT time_ordered_uuid(c.started_at, c.id::text || u.phone_e164), c.id, u.phone_e164, c.template ->> 'channel', c.sender, u.country, %(now)s, NULL
FROM campaigns c, users u
WHERE c.id = %(id)s AND u.phone_e164 > %(after)s AND (%(until)s::text IS NULL OR u.phone_e164 <= %(until)s) AND ({condition});

-- name: queue_recipients :exec
-- for: the staged messages that are new, into the outbox
-- in: now; rows of new_messages
-- index: messages and outbox primary keys
-- note: before queue_messages: a message that is there already may have been handed over
INSERT INTO outbox (message_id, campaign_id, recipient_phone, due_at)
SELECT n.id, n.campaign_id, n.recipient_phone, %(now)s
FROM new_messages n
WHERE NOT EXISTS (SELECT FROM messages m WHERE m.id = n.id)
ON CONFLICT (message_id) DO NOTHING;

-- name: move_filling :exec
-- for: a stretch has been filled
-- in: id, filled_from (as it was before), filled_to, filled_at (or NULL), made
-- out: row count: 0 when the campaign was stopped, or another process has filled the stretch
-- index: campaigns primary key
-- note: the last statement of its transaction: it locks the campaign against claims
UPDATE campaigns SET filled_to = %(filled_to)s, filled_at = %(filled_at)s, recipients = recipients + %(made)s
WHERE id = %(id)s AND state = 'running' AND filled_at IS NULL AND filled_to IS NOT DISTINCT FROM %(filled_from)s;

-- name: remove_waiting :many
-- for: messages of a cancelled campaign that nobody is handing over
-- in: id, most
-- out: message_id
-- index: outbox (campaign_id, due_at, message_id)
-- note: in chunks, because the log's readers wait for the transaction
DELETE FROM outbox WHERE message_id IN (
    SELECT message_id FROM outbox
    WHERE campaign_id = %(id)s AND claimed_by IS NULL AND unsure_since IS NULL
    ORDER BY due_at, message_id
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED)
RETURNING message_id;

------------------------------------------------------------------------------------------------------------------
-- reconciliation
------------------------------------------------------------------------------------------------------------------

-- name: expire_leases :many
-- for: claims whose worker did not come back
-- in: now, most
-- out: message_id
-- index: outbox (lease_until)
-- note: handed_at stays: it says since when the provider may have the message
UPDATE outbox SET claimed_by = NULL, lease_until = NULL, unsure_since = %(now)s
WHERE message_id IN (
    SELECT message_id FROM outbox WHERE claimed_by IS NOT NULL AND lease_until < %(now)s
    ORDER BY lease_until LIMIT %(most)s FOR UPDATE SKIP LOCKED)
RETURNING message_id;

-- name: list_unsure :many
-- for: messages whose outcome is not known
-- in: until (unsure since before), after (message_id), most
-- out: the message as it was handed over; provider_sid when a callback has told it; is_template: the provider made the words
-- index: outbox (unsure_since), messages primary key
-- note: few; body is kept in the outbox from the claim on
SELECT o.message_id, o.campaign_id, o.recipient_phone, m.channel, m.sender, o.body, coalesce(o.handed_at, o.unsure_since) AS handed_at, o.unsure_since,
       m.provider_sid, coalesce(c.template ->> 'content_sid' IS NOT NULL, false) AS is_template
FROM outbox o
JOIN messages m ON m.id = o.message_id
LEFT JOIN campaigns c ON c.id = o.campaign_id
WHERE o.unsure_since <= %(until)s AND o.message_id > %(after)s
ORDER BY o.message_id
LIMIT %(most)s;

-- name: list_known_sids :many
-- for: which of the provider's messages are others already
-- in: sids text[]
-- out: provider_sid
-- index: messages (provider_sid)
-- note: so that two messages with the same words to one person do not become one
SELECT provider_sid FROM messages WHERE provider_sid = ANY (%(sids)s::text[]);

-- name: end_unsure :many
-- for: unsure messages that were found out about
-- in: messages uuid[]
-- out: message_id, campaign_id, attempts, decision
-- index: outbox primary key
-- note: a row that is claimed or waits again has got another outcome meanwhile
DELETE FROM outbox WHERE message_id = ANY (%(messages)s::uuid[]) AND unsure_since IS NOT NULL
RETURNING message_id, campaign_id, attempts::integer, decision;

-- name: requeue_unsure :many
-- for: an unsure message that the provider does not have
-- in: message_id, now, most_attempts
-- out: message_id, campaign_id, attempts, decision; is_requeued: false when it was the last attempt
-- index: outbox primary key
-- note: a worker that was stopped in its call, and may go on with it, holds the person's lock as long as its session
--       lives: then nothing happens here
WITH free AS MATERIALIZED (
    SELECT message_id, campaign_id, attempts, decision FROM outbox
    WHERE message_id = %(message_id)s AND unsure_since IS NOT NULL AND pg_try_advisory_xact_lock(person_lock(recipient_phone))
    FOR UPDATE
), again AS (
    UPDATE outbox o SET unsure_since = NULL, handed_at = NULL, decision = NULL, due_at = %(now)s, defer_reason = 'provider'
    FROM free f WHERE o.message_id = f.message_id AND f.attempts < %(most_attempts)s
    RETURNING o.message_id
), given_up AS (
    DELETE FROM outbox o USING free f WHERE o.message_id = f.message_id AND f.attempts >= %(most_attempts)s
)
SELECT f.message_id, f.campaign_id, f.attempts::integer, f.decision, a.message_id IS NOT NULL AS is_requeued
FROM free f LEFT JOIN again a USING (message_id);

-- name: list_silent :many
-- for: accepted messages of ours without an end, at the ages they are asked for
-- in: since, until timestamptz[] (when they were accepted, one pair for each age); after_at, after_id (place), most
-- out: message_id, provider_sid, sender, status, cohort_at
-- index: messages (cohort_at)
-- note: each is asked for once at each age, because the pairs of one run begin where those of the last ended
SELECT m.id AS message_id, m.provider_sid, m.sender, m.status, m.cohort_at
FROM unnest(%(since)s::timestamptz[], %(until)s::timestamptz[]) AS age (since, until)
JOIN messages m ON m.cohort_at > age.since AND m.cohort_at <= age.until
WHERE m.queued_at IS NOT NULL AND m.provider_sid IS NOT NULL AND m.status IN ('ACCEPTED', 'SCHEDULED', 'QUEUED', 'SENDING', 'SENT')
  AND (m.cohort_at, m.id) > (%(after_at)s, %(after_id)s)
ORDER BY m.cohort_at, m.id
LIMIT %(most)s;

-- name: find_last_run :maybe
-- for: where the next run goes on
-- out: started_at
-- index: reconciliations (started_at)
-- note: a run that failed is done again
SELECT started_at FROM reconciliations WHERE finished_at IS NOT NULL AND error IS NULL ORDER BY started_at DESC LIMIT 1;

-- name: note_run :exec
-- for: what a run of the reconciliation did
-- in: id, started_at, finished_at, unsure, found, requeued, silent, closed, error
-- note: one row a run
INSERT INTO reconciliations (id, started_at, finished_at, unsure, found, requeued, silent, closed, error)
VALUES (%(id)s, %(started_at)s, %(finished_at)s, %(unsure)s, %(found)s, %(requeued)s, %(silent)s, %(closed)s, %(error)s);

------------------------------------------------------------------------------------------------------------------
-- replies
------------------------------------------------------------------------------------------------------------------

-- name: create_reply_bodies :exec
-- for: what the staged replies say, once for each connection
-- note: new_messages is everybody's and has no body
CREATE TEMPORARY TABLE IF NOT EXISTS reply_bodies (message_id uuid, body text) ON COMMIT DELETE ROWS;

-- name: drop_outbox_of :many
-- for: what was still to be handed over to somebody erased
-- in: phone
-- out: message_id
-- note: a scan: the outbox holds what is under way. What somebody is handing over at the moment stays to be recorded
DELETE FROM outbox WHERE recipient_phone = %(phone)s AND claimed_by IS NULL RETURNING message_id;

-- name: disguise_outbox_of :exec
-- for: what is being handed over to somebody erased at the moment
-- in: phone, pseudonym
-- note: see drop_outbox_of; should it come to another attempt, nobody by the pseudonym has given consent
UPDATE outbox SET recipient_phone = %(pseudonym)s, body = NULL WHERE recipient_phone = %(phone)s;

-- name: delete_reply_times_of :exec
-- for: when somebody erased was answered
-- in: phone
-- note: a scan of a small table
DELETE FROM reply_times WHERE phone_e164 = %(phone)s;

-- name: step_back_before :exec
-- for: campaigns that have come to the number of somebody erased in making recipients
-- in: phone
-- index: users primary key
-- note: one place back; who is a recipient already is not made one again
UPDATE campaigns
SET filled_to = CASE WHEN filled_at IS NULL THEN (SELECT max(u.phone_e164) FROM users u WHERE u.phone_e164 < %(phone)s) END
WHERE filled_to = %(phone)s;

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

------------------------------------------------------------------------------------------------------------------
-- templates and prohibited words
------------------------------------------------------------------------------------------------------------------

-- name: create_template :exec
-- for: a new template
-- in: id, name, channel, locale, body, content_sid, content_variables (JSON), now
-- index: templates_name
-- note: touching no row means the name is in use; names of archived ones are free again
INSERT INTO templates (id, name, channel, locale, body, content_sid, content_variables, created_at, updated_at)
VALUES (%(id)s, %(name)s, %(channel)s, %(locale)s, %(body)s, %(content_sid)s, %(content_variables)s::jsonb, %(now)s, %(now)s)
ON CONFLICT (name) WHERE archived_at IS NULL DO NOTHING;

-- name: is_template_name_taken :one
-- for: a clear word before the index refuses
-- in: id, name
-- out: is_taken by another template
-- index: templates_name
-- note: two at the same moment still meet the index
SELECT EXISTS (SELECT FROM templates WHERE name = %(name)s AND archived_at IS NULL AND id <> %(id)s) AS is_taken;

-- name: change_template :exec
-- for: new content
-- in: as create_template
-- index: templates primary key
-- note: campaigns that have started hold a copy
UPDATE templates
SET name = %(name)s, channel = %(channel)s, locale = %(locale)s, body = %(body)s, content_sid = %(content_sid)s,
    content_variables = %(content_variables)s::jsonb, updated_at = %(now)s
WHERE id = %(id)s;

-- name: archive_template :exec
-- for: a template taken out of use
-- in: id, now
-- index: templates primary key
-- note: never deleted: campaigns refer to it
UPDATE templates SET archived_at = %(now)s, updated_at = %(now)s WHERE id = %(id)s;

-- name: find_template :maybe
-- for: one template
-- in: id
-- out: a row of templates
-- index: templates primary key
-- note: also an archived one
SELECT id, name, channel, locale, body, content_sid, content_variables, created_at, updated_at, archived_at
FROM templates WHERE id = %(id)s;

-- name: lock_template :maybe
-- for: one template about to be changed
-- in: id
-- out: a row of templates
-- index: templates primary key
-- note: so that what the audit log calls "before" is what was there
SELECT id, name, channel, locale, body, content_sid, content_variables, created_at, updated_at, archived_at
FROM templates WHERE id = %(id)s FOR UPDATE;

-- name: list_templates :many
-- for: the page and the API, by name
-- in: limit, name and id (the place to go on from, or NULL), is_archived
-- out: rows of templates
-- index: templates_name
-- note: hundreds at the most
SELECT id, name, channel, locale, body, content_sid, content_variables, created_at, updated_at, archived_at
FROM templates
WHERE (archived_at IS NOT NULL) = %(is_archived)s AND (%(name)s::text IS NULL OR (name, id) > (%(name)s, %(id)s::uuid))
ORDER BY name, id
LIMIT %(limit)s;

-- name: find_attributes :one
-- for: previewing a template against a person
-- in: phone
-- out: attributes, no row for nobody
-- index: users primary key
-- note: the same attributes the sender reads
SELECT attributes FROM users WHERE phone_e164 = %(phone)s;

-- name: list_prohibited_words :many
-- for: the content step and the page
-- out: word
-- note: read once for each claim; a list, not a search
SELECT word FROM prohibited_words ORDER BY word;

-- name: replace_prohibited_words :exec
-- for: a new list
-- in: words text[], now
-- index: prohibited_words primary key
-- note: one statement, so that no claim sees half a list
WITH gone AS (DELETE FROM prohibited_words WHERE word <> ALL (%(words)s::text[]))
INSERT INTO prohibited_words (word, created_at) SELECT word, %(now)s FROM unnest(%(words)s::text[]) AS word
ON CONFLICT DO NOTHING;

-- name: list_quiet_rules :many
-- for: the page and the API
-- out: rows of quiet_hours_rules
-- note: the sender finds a person's own rule in its facts, by the longest prefix
SELECT prefix, starts, ends, reason FROM quiet_hours_rules ORDER BY prefix;

-- name: lock_quiet_rule :maybe
-- for: what a rule was before it changes
-- in: prefix
-- out: a row of quiet_hours_rules
-- index: quiet_hours_rules primary key
-- note: so that what the audit log calls "before" is what was there
SELECT prefix, starts, ends, reason FROM quiet_hours_rules WHERE prefix = %(prefix)s FOR UPDATE;

-- name: put_quiet_rule :exec
-- for: a new or changed rule
-- in: prefix, starts, ends, reason
-- index: quiet_hours_rules primary key
-- note: messages that wait are judged by it
INSERT INTO quiet_hours_rules (prefix, starts, ends, reason) VALUES (%(prefix)s, %(starts)s, %(ends)s, %(reason)s)
ON CONFLICT (prefix) DO UPDATE SET starts = excluded.starts, ends = excluded.ends, reason = excluded.reason;

-- name: delete_quiet_rule :exec
-- for: a rule that goes
-- in: prefix
-- index: quiet_hours_rules primary key
-- note: see put_quiet_rule
DELETE FROM quiet_hours_rules WHERE prefix = %(prefix)s;
