-- name: export_messages :many
-- for: the set messages
-- in: since, until; campaign_ids, channel, country, sender or NULL
-- out: the message with what became of it
-- index: messages (cohort_at)
-- note: read by COPY, with its values written in, so that the planner sees which filters there are; in the order of the
--       index, because sorting millions of rows would take longer than writing them
SELECT m.id, m.campaign_id, c.name AS campaign, m.recipient_phone, m.country, m.channel, m.sender, m.provider_sid AS message_sid, m.status,
       nullif(m.failure_code, 0) AS error_code, m.cohort_at, m.queued_at, m.answered_at, m.sent_at, m.delivered_at, m.read_at, m.failed_at,
       m.replied_at, m.last_seen_at, m.delivery_us / 1e6::double precision AS delivery_seconds
FROM messages m
LEFT JOIN campaigns c ON c.id = m.campaign_id
WHERE m.cohort_at >= %(since)s::timestamptz AND m.cohort_at < %(until)s::timestamptz
  AND (%(campaign_ids)s::uuid[] IS NULL OR m.campaign_id = ANY (%(campaign_ids)s::uuid[]))
  AND (%(channel)s::text IS NULL OR m.channel = %(channel)s)
  AND (%(country)s::text IS NULL OR m.country = %(country)s)
  AND (%(sender)s::text IS NULL OR m.sender = %(sender)s)
ORDER BY m.cohort_at, m.id;

-- name: export_recipients :many
-- for: the set recipients
-- in: campaign_id; first, last: the range of its message ids; status, reason or NULL
-- out: the message with its queue entry
-- index: messages primary key; outbox primary key
-- note: also those that were never handed over, which have no cohort
SELECT m.id, m.campaign_id, c.name AS campaign, m.recipient_phone, m.country, m.channel, m.sender, m.provider_sid AS message_sid, m.status,
       nullif(m.failure_code, 0) AS error_code, m.skip_reason, o.defer_reason, o.due_at, m.queued_at, m.answered_at, m.sent_at, m.delivered_at,
       m.read_at, m.failed_at, m.replied_at, m.last_seen_at, m.delivery_us / 1e6::double precision AS delivery_seconds
FROM messages m
LEFT JOIN campaigns c ON c.id = m.campaign_id
LEFT JOIN outbox o ON o.message_id = m.id
WHERE m.id BETWEEN %(first)s::uuid AND %(last)s::uuid AND m.campaign_id = %(campaign_id)s::uuid
  AND (%(status)s::text IS NULL OR m.status = %(status)s)
  AND (%(reason)s::text IS NULL OR coalesce(m.skip_reason, o.defer_reason) = %(reason)s)
ORDER BY m.id;

-- name: export_receipts :many
-- for: the set receipts
-- in: since, until; channel or NULL
-- out: the callback's parameters
-- index: events (xid, id), merged over the days
-- note: in the order of the log, which is nearly that of receipt; there is no index by time
SELECT e.received_at, coalesce(e.payload ->> 'MessageSid', e.payload ->> 'SmsSid') AS message_sid,
       coalesce(e.payload ->> 'MessageStatus', e.payload ->> 'SmsStatus') AS message_status, e.payload ->> 'ErrorCode' AS error_code,
       address_channel(e.payload ->> 'To') AS channel, address_number(e.payload ->> 'To') AS recipient_phone,
       address_number(coalesce(e.payload ->> 'From', e.payload ->> 'MessagingServiceSid')) AS sender
FROM events e
WHERE e.received_on >= (%(since)s::timestamptz AT TIME ZONE 'UTC')::date AND e.received_on <= (%(until)s::timestamptz AT TIME ZONE 'UTC')::date
  AND e.received_at >= %(since)s::timestamptz AND e.received_at < %(until)s::timestamptz AND e.event_type = 'receipt.received'
  AND (%(channel)s::text IS NULL OR address_channel(e.payload ->> 'To') = %(channel)s)
ORDER BY e.xid, e.id;

-- name: export_inbound :many
-- for: the set inbound
-- in: since, until; channel, intent or NULL
-- out: rows of inbound_events
-- index: inbound_events (received_at) or (intent, received_at)
-- note: as export_messages
SELECT i.id, i.received_at, i.from_phone, i.to_phone, i.channel, i.message_sid, i.intent, i.body, i.is_immediate, i.is_auto_replied, i.replies_to
FROM inbound_events i
WHERE i.received_at >= %(since)s::timestamptz AND i.received_at < %(until)s::timestamptz
  AND (%(channel)s::text IS NULL OR i.channel = %(channel)s)
  AND (%(intent)s::text IS NULL OR i.intent = %(intent)s)
ORDER BY i.received_at, i.id;

-- name: export_users :many
-- for: the set users
-- in: consent, country, phone or NULL; number, text: patterns of LIKE or NULL
-- out: rows of users
-- index: users primary key
-- note: the filters of list_people of audience, all pages at once
SELECT u.phone_e164, u.consent_state, u.country, u.timezone, u.created_at, u.updated_at, u.attributes
FROM users u
WHERE (%(consent)s::text IS NULL OR u.consent_state = %(consent)s)
  AND (%(country)s::text IS NULL OR u.country = %(country)s)
  AND (%(phone)s::text IS NULL OR u.phone_e164 = %(phone)s)
  AND (%(number)s::text IS NULL OR u.phone_e164 LIKE %(number)s)
  AND (%(text)s::text IS NULL OR u.attributes::text ILIKE %(text)s)
ORDER BY u.phone_e164;

-- name: export_consent :many
-- for: the set consent
-- in: since, until
-- out: rows of consent_ledger
-- index: consent_ledger (occurred_at)
-- note: by when it was said, not by when we learned of it
SELECT l.id, l.phone_e164, l.occurred_at, l.recorded_at, l.action, l.source, l.actor, l.message_sid, l.evidence
FROM consent_ledger l
WHERE l.occurred_at >= %(since)s::timestamptz AND l.occurred_at < %(until)s::timestamptz
ORDER BY l.occurred_at, l.id;

-- name: export_audit :many
-- for: the set audit
-- in: since, until
-- out: rows of audit_log
-- index: audit_log (at), by block ranges
-- note: as entries lie, which is in the order of arrival, because the table is only appended to; ORDER BY id would read the
--       trail from its beginning. A part of it cannot be verified by itself, see `ese audit verify`
SELECT a.id, a.at, a.actor, a.action, a.subject, a.before, a.after, a.request_id
FROM audit_log a
WHERE a.at >= %(since)s::timestamptz AND a.at < %(until)s::timestamptz;

-- name: export_rollups :many
-- for: the set rollups
-- in: since, until; campaign_ids, channel, country, sender or NULL
-- out: counts of each quarter-hour; campaign_id NULL: external
-- index: message_rollups primary key
-- note: whole quarter-hours: those that begin in the window
SELECT r.bucket AS quarter_at, nullif(r.campaign_id, '00000000-0000-0000-0000-000000000000') AS campaign_id, c.name AS campaign, r.channel, r.country,
       r.sender, r.messages, r.sent, r.now_delivered + r.now_read AS delivered, r.now_read AS read, r.now_failed + r.now_undelivered AS failed,
       r.now_accepted + r.now_scheduled + r.now_queued + r.now_sending + r.now_sent AS in_flight, r.now_canceled AS canceled, r.conflicts, r.replied,
       r.stopped
FROM message_rollups r
LEFT JOIN campaigns c ON c.id = r.campaign_id
WHERE r.grain = 'quarter' AND r.slice = 15 AND r.bucket >= %(since)s::timestamptz AND r.bucket < %(until)s::timestamptz AND r.messages <> 0
  AND (%(campaign_ids)s::uuid[] IS NULL OR r.campaign_id = ANY (%(campaign_ids)s::uuid[]))
  AND (%(channel)s::text IS NULL OR r.channel = %(channel)s)
  AND (%(country)s::text IS NULL OR r.country = %(country)s)
  AND (%(sender)s::text IS NULL OR r.sender = %(sender)s)
ORDER BY r.bucket, r.campaign_id, r.channel, r.country, r.sender;

-- name: prepare_reading :one
-- for: reading a set in one statement
-- in: timeout_ms
-- out: nothing of interest
-- note: rows in the order of an index and at once, never after a sort; no second core and no compiler for what only
--       streams; text of instants as reading.py expects it; a scan that begins where another one is would lose the order
SELECT set_config('statement_timeout', %(timeout_ms)s, true), set_config('enable_sort', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true), set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true),
       set_config('synchronize_seqscans', 'off', true), set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, YMD', true);

-- name: insert_export :one
-- for: asking for an export
-- in: id, set_name, format, filters, shows_numbers, actor, now
-- out: id
-- note: waits for a worker
INSERT INTO exports (id, set_name, format, filters, shows_numbers, actor, state, created_at)
VALUES (%(id)s, %(set_name)s, %(format)s, %(filters)s, %(shows_numbers)s, %(actor)s, 'waiting', %(now)s)
RETURNING id;

-- name: find_export :maybe
-- for: one export
-- in: id
-- out: a row of exports
-- index: exports primary key
-- note: with its progress as of the last part
SELECT id, set_name, format, filters, shows_numbers, actor, state, error, attempts, claim_id, estimated_rows, rows, file_bytes, stored_bytes,
       as_of, created_at, started_at, finished_at, expires_at
FROM exports WHERE id = %(id)s;

-- name: list_exports :many
-- for: the list of exports, newest first
-- in: most; before_at, before_id: a place, or NULL
-- out: rows of exports
-- index: exports (created_at, id)
-- note: by place, so that a page stays where it is while new ones come
SELECT id, set_name, format, filters, shows_numbers, actor, state, error, attempts, claim_id, estimated_rows, rows, file_bytes, stored_bytes,
       as_of, created_at, started_at, finished_at, expires_at
FROM exports
WHERE %(before_at)s::timestamptz IS NULL OR (created_at, id) < (%(before_at)s, %(before_id)s)
ORDER BY created_at DESC, id DESC
LIMIT %(most)s;

-- name: count_open_exports :one
-- for: exports that a worker would take, and how many somebody has waiting
-- in: silent_since; actor or NULL
-- out: waiting: that may be taken; own: open ones of the actor
-- index: exports_open
-- note: one that runs may be taken when its worker has been silent
SELECT count(*) FILTER (WHERE state = 'waiting' OR beat_at < %(silent_since)s) AS waiting, count(*) FILTER (WHERE actor = %(actor)s) AS own
FROM exports WHERE state IN ('waiting', 'running');

-- name: count_stored_bytes :one
-- for: the limit of what all files may take
-- out: bytes
-- note: a few hundred rows; what has no file has no bytes
SELECT coalesce(sum(stored_bytes), 0)::bigint AS bytes FROM exports;

-- name: claim_export :maybe
-- for: the next export to make
-- in: claim_id, now, silent_since
-- out: a row of exports
-- index: exports_open
-- note: SKIP LOCKED, so that workers take different ones; a new claim shuts out the worker before, which may still live
UPDATE exports SET state = 'running', claim_id = %(claim_id)s, attempts = attempts + 1, started_at = %(now)s, beat_at = %(now)s, rows = 0,
       file_bytes = 0, stored_bytes = 0, estimated_rows = NULL, as_of = NULL
WHERE id = (
    SELECT id FROM exports
    WHERE state = 'waiting' OR (state = 'running' AND beat_at < %(silent_since)s)
    ORDER BY created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, set_name, format, filters, shows_numbers, actor, state, error, attempts, claim_id, estimated_rows, rows, file_bytes, stored_bytes,
    as_of, created_at, started_at, finished_at, expires_at;

-- name: delete_parts :exec
-- for: what is left of an attempt before, or of a file that is no longer wanted
-- in: id
-- index: export_parts primary key
-- note: an export is one snapshot, so an attempt begins anew and keeps nothing
DELETE FROM export_parts WHERE export_id = %(id)s;

-- name: tell_progress :one
-- for: progress and sign of life
-- in: id, claim_id, now, as_of, estimated_rows, rows, file_bytes, stored_bytes
-- out: held: whether the claim still counts; stored: bytes of all files
-- index: exports primary key
-- note: the row's lock orders this and a cancellation: after one has won, the other sees it
WITH told AS (
    UPDATE exports SET beat_at = %(now)s, as_of = %(as_of)s, estimated_rows = %(estimated_rows)s, rows = %(rows)s, file_bytes = %(file_bytes)s,
           stored_bytes = %(stored_bytes)s
    WHERE id = %(id)s AND claim_id = %(claim_id)s AND state = 'running'
    RETURNING stored_bytes)
SELECT EXISTS (SELECT FROM told) AS held,
       (SELECT coalesce(sum(stored_bytes), 0) FROM exports WHERE id <> %(id)s)::bigint + %(stored_bytes)s::bigint AS stored;

-- name: insert_part :exec
-- for: a piece of a file
-- in: id, number, bytes
-- index: export_parts primary key
-- note: after tell_progress, in its transaction
INSERT INTO export_parts (export_id, number, bytes) VALUES (%(id)s, %(number)s, %(bytes)s);

-- name: find_part :maybe
-- for: a download
-- in: id, number
-- out: bytes
-- index: export_parts primary key
-- note: one at a time, so that memory stays flat
SELECT bytes FROM export_parts WHERE export_id = %(id)s AND number = %(number)s;

-- name: end_export :exec
-- for: the end of an attempt
-- in: id, claim_id, state, error, now, expires_at
-- index: exports primary key
-- note: of the claim that counts
UPDATE exports SET state = %(state)s, error = %(error)s, finished_at = %(now)s, expires_at = %(expires_at)s, claim_id = NULL,
       stored_bytes = CASE %(state)s WHEN 'completed' THEN stored_bytes ELSE 0 END
WHERE id = %(id)s AND claim_id = %(claim_id)s AND state = 'running';

-- name: cancel_export :maybe
-- for: an export that is no longer wanted
-- in: id, now
-- out: id, NULL when it was over already
-- index: exports primary key
-- note: its worker finds out with its next part
UPDATE exports SET state = 'cancelled', claim_id = NULL, finished_at = %(now)s, stored_bytes = 0
WHERE id = %(id)s AND state IN ('waiting', 'running')
RETURNING id;

-- name: expire_export :maybe
-- for: a file that somebody deletes before its time
-- in: id
-- out: id, NULL when it has no file
-- index: exports primary key
-- note: the row stays for the history
UPDATE exports SET state = 'expired', stored_bytes = 0 WHERE id = %(id)s AND state = 'completed' RETURNING id;

-- name: expire_exports :many
-- for: the upkeep
-- in: now
-- out: id
-- index: exports_expiry
-- note: files that have expired
UPDATE exports SET state = 'expired', stored_bytes = 0 WHERE state = 'completed' AND expires_at <= %(now)s RETURNING id;

-- name: forget_exports :exec
-- for: the upkeep
-- in: until
-- index: exports (created_at, id)
-- note: who took what stays in the audit trail
DELETE FROM exports WHERE created_at < %(until)s AND state NOT IN ('waiting', 'running', 'completed');
