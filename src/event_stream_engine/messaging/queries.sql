-- name: create_receipts :exec
-- for: the working tables of one batch of receipts and outcomes, once for each connection
-- note: receipts holds the batch; message_changes what it did: -1 for each row as it was, +1 as it is. message_id: of our
--       own messages, else NULL; outcome: NULL for a receipt; code: status_code, NULL for an outcome without status
CREATE TEMPORARY TABLE IF NOT EXISTS receipts (
    message_id uuid, message_sid text, recipient_phone text, channel text, sender text, received_at timestamptz,
    code smallint, error_code integer, outcome text, reason text, country text
) ON COMMIT DELETE ROWS;

-- name: create_message_changes :exec
-- for: see create_receipts
-- note: a table of its own statement, because a prepared statement holds one command
CREATE TEMPORARY TABLE IF NOT EXISTS message_changes (
    sign smallint, recipient_phone text, is_moved boolean, cohort_at timestamptz, campaign_id uuid, channel text, country text, sender text,
    status text, failure_code integer, postponed_code integer, is_sent boolean, is_conflict boolean, is_replied boolean, is_stopped boolean,
    delivery_us bigint, queue_us bigint, carrier_us bigint, skip_reason text, in_reply_to text
) ON COMMIT DELETE ROWS;

-- name: has_own_receipts :one
-- for: whether the batch tells of messages of ours by their id
-- out: has_own
-- note: external traffic, the most of it, spares itself the next three
SELECT EXISTS (SELECT FROM receipts WHERE message_id IS NOT NULL) AS has_own;

-- name: forget_unknown_ids :exec
-- for: receipts that name a message which is not here, like those of another database's engine
-- index: messages primary key
-- note: they are then known by their SID alone, as external ones
UPDATE receipts r SET message_id = NULL
WHERE r.message_id IS NOT NULL AND NOT EXISTS (SELECT FROM messages m WHERE m.id = r.message_id);

-- name: absorb_external :exec
-- for: a SID adopted as external before it turned out to be ours: its row goes, what it knew comes back as receipts
-- in: rows of receipts
-- out: rows of receipts and message_changes
-- index: messages (provider_sid)
-- note: a row of minima and maxima says exactly which receipts make it. Only when a callback came without our id (a
--       hand-made import) and before the sender's record; mostly none
WITH external AS (
    DELETE FROM messages m
    USING (SELECT DISTINCT message_id, message_sid FROM receipts WHERE message_id IS NOT NULL AND message_sid IS NOT NULL) AS own
    WHERE m.provider_sid = own.message_sid AND m.queued_at IS NULL
    RETURNING own.message_id AS own_id, m.*
), taken_back AS (
    INSERT INTO message_changes
    SELECT -1, recipient_phone, true, cohort_at, '00000000-0000-0000-0000-000000000000', channel, coalesce(country, ''), sender,
           status, failure_code, postponed_code, is_sent, is_conflict, is_replied, is_stopped, delivery_us, queue_us, carrier_us, NULL, NULL
    FROM external
)
INSERT INTO receipts (message_id, message_sid, recipient_phone, channel, sender, received_at, code, error_code)
SELECT own_id, provider_sid, recipient_phone, channel, sender, told.at, told.code, CASE WHEN told.code IN (6, 7) THEN error_code END
FROM external, LATERAL (VALUES
    (first_seen_at, first_status), (last_seen_at, last_status), (last_seen_at, early_status), (sent_at, 4::smallint), (canceled_at, 5::smallint),
    (failed_at, failed_status), (delivered_at, 8::smallint), (read_at, 9::smallint)) AS told (at, code)
WHERE told.at IS NOT NULL AND told.code IS NOT NULL;

-- name: name_own_receipts :exec
-- for: receipts of our messages that carry only the SID, in a batch in which others carry the id
-- in: rows of receipts
-- index: messages (provider_sid)
-- note: so that all receipts of a message are merged in one group. The few to be named are found first and once
--       (MATERIALIZED): the planner takes `message_id IS NULL` for rare, and may loop over what it thinks is one row;
--       10,000 receipts then took 20 s.
WITH named AS MATERIALIZED (
    SELECT message_sid, message_id
    FROM (SELECT s.message_sid, coalesce((SELECT m.id FROM messages m WHERE m.provider_sid = s.message_sid AND m.queued_at IS NOT NULL), s.told_id) AS message_id
          FROM (SELECT message_sid, min(message_id::text)::uuid AS told_id FROM receipts GROUP BY message_sid HAVING bool_or(message_id IS NULL)) AS s
          OFFSET 0) AS found
    WHERE message_id IS NOT NULL
)
UPDATE receipts r SET message_id = named.message_id
FROM named
WHERE named.message_sid = r.message_sid AND r.message_id IS NULL;

-- name: merge_receipts :exec
-- for: the state machine: receipts and outcomes of the batch into their messages, unknown SIDs adopted as external ones
-- in: rows of receipts
-- out: rows of message_changes; row count
-- index: messages primary key and (provider_sid)
-- note: every column is a minimum or maximum, so order and repetition do not matter. (instant, status) pairs are
--       compared as one bigint, microseconds * 16 + code: 51 + 4 bits. Rows that would not change are not written.
WITH grouped AS (
    SELECT coalesce(message_id::text, message_sid) AS name, (min(message_id::text))::uuid AS message_id, min(message_sid) AS message_sid,
           min(recipient_phone) AS recipient_phone, min(channel) AS channel, min(sender) AS sender, min(country) AS kept_country,
           min(received_at) FILTER (WHERE outcome IS NULL) AS first_seen_at, (min(key) FILTER (WHERE outcome IS NULL) & 15)::smallint AS first_status,
           max(received_at) FILTER (WHERE outcome IS NULL) AS last_seen_at, (max(key) FILTER (WHERE outcome IS NULL) & 15)::smallint AS last_status,
           max(code) FILTER (WHERE code < 4) AS early_status,
           min(received_at) FILTER (WHERE code = 4) AS sent_at,
           min(received_at) FILTER (WHERE code = 5) AS canceled_at,
           min(received_at) FILTER (WHERE code IN (6, 7)) AS failed_at,
           min(ARRAY[key, coalesce(error_code, 0)]) FILTER (WHERE code IN (6, 7)) AS failure,
           min(received_at) FILTER (WHERE code = 8) AS delivered_at,
           min(received_at) FILTER (WHERE code = 9) AS read_at,
           min(received_at) FILTER (WHERE outcome IN ('accepted', 'refused')) AS answered_at,
           min(ARRAY[to_char(received_at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS'), reason]) FILTER (WHERE outcome = 'skipped') AS skip,
           min(received_at) FILTER (WHERE outcome = 'skipped') AS skipped_at,
           max(received_at) FILTER (WHERE outcome = 'unsure') AS unsure_at,
           max(received_at) FILTER (WHERE outcome = 'requeued') AS requeued_at,
           min(received_at) FILTER (WHERE outcome = 'postponed') AS postponed_at,
           min(ARRAY[(date_part('epoch', received_at) * 1000000)::bigint, coalesce(error_code, 0)]) FILTER (WHERE outcome = 'postponed') AS postponement
    FROM (SELECT *, round(date_part('epoch', received_at) * 1000000)::bigint * 16 + code AS key FROM receipts) AS keyed
    GROUP BY 1
), own AS MATERIALIZED (
    SELECT g.name, m.* FROM grouped g JOIN messages m ON m.id = g.message_id FOR UPDATE OF m
), known AS MATERIALIZED (
    SELECT g.name, m.* FROM grouped g JOIN messages m ON m.provider_sid = g.message_sid WHERE g.message_id IS NULL FOR UPDATE OF m
), old AS (
    SELECT * FROM own UNION ALL SELECT * FROM known
), compared AS (
    SELECT g.*, o.id, o.provider_sid AS old_sid, o.error_code AS old_error_code, o.failed_status AS old_failed_status, o.failed_at AS old_failed_at,
           o.first_seen_at AS old_first_seen_at, o.first_status AS old_first_status, o.last_status AS old_last_status, o.last_seen_at AS old_last_seen_at,
           o.early_status AS old_early_status, o.sent_at AS old_sent_at, o.canceled_at AS old_canceled_at, o.delivered_at AS old_delivered_at, o.read_at AS old_read_at,
           o.answered_at AS old_answered_at, o.skipped_at AS old_skipped_at, o.skip_reason AS old_skip_reason, o.unsure_at AS old_unsure_at, o.requeued_at AS old_requeued_at,
           o.postponed_at AS old_postponed_at, o.postponed_code AS old_postponed_code,
           g.failed_at IS NOT NULL AND (o.failed_at IS NULL OR (g.failed_at, (g.failure[1] & 15), g.failure[2])
               < (o.failed_at, o.failed_status::bigint, coalesce(o.error_code, 0)::bigint)) AS is_failure_new
    FROM grouped g LEFT JOIN old o USING (name)
), merged AS (
    SELECT id, name, recipient_phone, channel, sender, kept_country, message_sid,
           least(old_sid, message_sid) AS provider_sid,
           least(old_first_seen_at, first_seen_at) AS first_seen_at,
           CASE WHEN old_first_seen_at IS NULL OR (first_seen_at, first_status) < (old_first_seen_at, old_first_status) THEN first_status ELSE old_first_status END AS first_status,
           CASE WHEN old_last_seen_at IS NULL OR (last_seen_at, last_status) > (old_last_seen_at, old_last_status) THEN last_status ELSE old_last_status END AS last_status,
           greatest(old_last_seen_at, last_seen_at) AS last_seen_at,
           greatest(old_early_status, early_status) AS early_status,
           least(old_sent_at, sent_at) AS sent_at,
           least(old_canceled_at, canceled_at) AS canceled_at,
           least(old_failed_at, failed_at) AS failed_at,
           CASE WHEN is_failure_new THEN (failure[1] & 15)::smallint ELSE old_failed_status END AS failed_status,
           CASE WHEN is_failure_new THEN nullif(failure[2], 0)::integer ELSE old_error_code END AS error_code,
           least(old_delivered_at, delivered_at) AS delivered_at,
           least(old_read_at, read_at) AS read_at,
           least(old_answered_at, answered_at) AS answered_at,
           least(old_skipped_at, skipped_at) AS skipped_at,
           CASE WHEN skipped_at < coalesce(old_skipped_at, 'infinity') THEN skip[2] ELSE old_skip_reason END AS skip_reason,
           greatest(old_unsure_at, unsure_at) AS unsure_at,
           greatest(old_requeued_at, requeued_at) AS requeued_at,
           least(old_postponed_at, postponed_at) AS postponed_at,
           CASE WHEN postponed_at < coalesce(old_postponed_at, 'infinity') THEN postponement[2]::integer ELSE old_postponed_code END AS postponed_code
    FROM compared
    WHERE id IS NULL
       OR first_seen_at < coalesce(old_first_seen_at, 'infinity') OR (first_seen_at = old_first_seen_at AND first_status < old_first_status)
       OR last_seen_at > coalesce(old_last_seen_at, '-infinity') OR (last_seen_at = old_last_seen_at AND last_status > old_last_status)
       OR early_status > coalesce(old_early_status, -1)
       OR sent_at < coalesce(old_sent_at, 'infinity') OR canceled_at < coalesce(old_canceled_at, 'infinity') OR is_failure_new
       OR delivered_at < coalesce(old_delivered_at, 'infinity') OR read_at < coalesce(old_read_at, 'infinity')
       OR message_sid IS NOT NULL AND (old_sid IS NULL OR message_sid < old_sid)
       OR answered_at < coalesce(old_answered_at, 'infinity') OR skipped_at < coalesce(old_skipped_at, 'infinity')
       OR unsure_at > coalesce(old_unsure_at, '-infinity') OR requeued_at > coalesce(old_requeued_at, '-infinity')
       OR postponed_at < coalesce(old_postponed_at, 'infinity')
), inserted AS (
    INSERT INTO messages AS m (id, recipient_phone, channel, sender, country, provider_sid, error_code, first_seen_at,
        first_status, last_status, last_seen_at, early_status, sent_at, canceled_at, failed_at, failed_status, delivered_at, read_at)
    SELECT time_ordered_uuid(first_seen_at, message_sid), recipient_phone, channel, sender,
           coalesce(kept_country, (SELECT p.country FROM phone_country(recipient_phone) AS p)), message_sid, error_code, first_seen_at,
           first_status, last_status, last_seen_at, early_status, sent_at, canceled_at, failed_at, failed_status, delivered_at, read_at
    FROM merged WHERE id IS NULL
    RETURNING m.id, m.provider_sid, m.recipient_phone, m.cohort_at, m.campaign_id, m.channel, m.country, m.sender, m.status, m.failure_code, m.postponed_code,
              m.is_sent, m.is_conflict, m.is_replied, m.is_stopped, m.delivery_us, m.queue_us, m.carrier_us, m.skip_reason, m.in_reply_to
), updated AS (
    UPDATE messages m SET
        provider_sid = n.provider_sid, error_code = n.error_code, first_seen_at = n.first_seen_at,
        first_status = n.first_status, last_status = n.last_status, last_seen_at = n.last_seen_at,
        early_status = n.early_status, sent_at = n.sent_at, canceled_at = n.canceled_at, failed_at = n.failed_at,
        failed_status = n.failed_status, delivered_at = n.delivered_at, read_at = n.read_at, answered_at = n.answered_at,
        skipped_at = n.skipped_at, skip_reason = n.skip_reason, unsure_at = n.unsure_at, requeued_at = n.requeued_at,
        postponed_at = n.postponed_at, postponed_code = n.postponed_code
    FROM merged n WHERE m.id = n.id
    RETURNING m.id, m.provider_sid, m.recipient_phone, m.cohort_at, m.campaign_id, m.channel, m.country, m.sender, m.status, m.failure_code, m.postponed_code,
              m.is_sent, m.is_conflict, m.is_replied, m.is_stopped, m.delivery_us, m.queue_us, m.carrier_us, m.skip_reason, m.in_reply_to
)
INSERT INTO message_changes
SELECT -1, o.recipient_phone, (o.cohort_at, o.provider_sid) IS DISTINCT FROM (w.cohort_at, w.provider_sid), o.cohort_at, coalesce(o.campaign_id, '00000000-0000-0000-0000-000000000000'),
       o.channel, coalesce(o.country, ''), o.sender, o.status, o.failure_code, o.postponed_code, o.is_sent, o.is_conflict, o.is_replied, o.is_stopped,
       o.delivery_us, o.queue_us, o.carrier_us, o.skip_reason, o.in_reply_to
FROM updated w JOIN old o USING (id)
UNION ALL
SELECT 1, w.recipient_phone, (o.cohort_at, o.provider_sid) IS DISTINCT FROM (w.cohort_at, w.provider_sid), w.cohort_at, coalesce(w.campaign_id, '00000000-0000-0000-0000-000000000000'),
       w.channel, coalesce(w.country, ''), w.sender, w.status, w.failure_code, w.postponed_code, w.is_sent, w.is_conflict, w.is_replied, w.is_stopped,
       w.delivery_us, w.queue_us, w.carrier_us, w.skip_reason, w.in_reply_to
FROM updated w JOIN old o USING (id)
UNION ALL
SELECT 1, recipient_phone, true, cohort_at, '00000000-0000-0000-0000-000000000000',
       channel, coalesce(country, ''), sender, status, failure_code, postponed_code, is_sent, is_conflict, is_replied, is_stopped,
       delivery_us, queue_us, carrier_us, NULL, NULL
FROM inserted;

-- name: create_inbound_batch :exec
-- for: the inbound messages of one batch
-- note: as create_receipts
CREATE TEMPORARY TABLE IF NOT EXISTS inbound_batch (
    message_sid text, from_phone text, to_phone text, channel text, body text, received_at timestamptz, keyword text,
    opt_out_type text, is_live boolean
) ON COMMIT DELETE ROWS;

-- name: create_inbound_touched :exec
-- for: the SIDs of inbound messages whose classification the batch may change
-- note: as create_receipts
CREATE TEMPORARY TABLE IF NOT EXISTS inbound_touched (
    message_sid text PRIMARY KEY, is_new boolean NOT NULL DEFAULT false, replied_to text
) ON COMMIT DELETE ROWS;

-- name: create_inbound_changes :exec
-- for: what the batch did to inbound messages: -1 for each row as it was, +1 as it is
-- note: as create_receipts
CREATE TEMPORARY TABLE IF NOT EXISTS inbound_changes (
    sign smallint, received_at timestamptz, channel text, intent text, is_immediate boolean, is_auto_replied boolean
) ON COMMIT DELETE ROWS;

-- name: create_inbound_new :exec
-- for: live inbound messages that were not there before, for whoever answers them
-- note: as create_receipts
CREATE TEMPORARY TABLE IF NOT EXISTS inbound_new (
    message_sid text, from_phone text, to_phone text, channel text, intent text, body text, received_at timestamptz, opt_out_type text
) ON COMMIT DELETE ROWS;

-- name: touch_inbound :exec
-- for: stored inbound messages that this batch may classify anew
-- in: rows of inbound_batch and message_changes
-- out: rows of inbound_touched
-- index: inbound_events (from_phone, received_at)
-- note: a YES depends on the sender's consent, which late words change; "immediate", and which message it answers, on
--       our messages, which late receipts add or move; "auto-replied" on our reply having been accepted. All are rare:
--       one index probe for each new message, mostly in vain. replied_to: what it answered before.
INSERT INTO inbound_touched (message_sid, replied_to)
SELECT i.message_sid, i.replies_to
FROM message_changes c
JOIN inbound_events i ON i.from_phone = c.recipient_phone AND i.received_at BETWEEN c.cohort_at AND c.cohort_at + interval '72 hours'
WHERE c.is_moved
UNION
SELECT i.message_sid, i.replies_to
FROM inbound_batch b
JOIN inbound_events i ON i.from_phone = b.from_phone
WHERE b.keyword IN ('stop', 'start', 'yes') AND i.keyword = 'yes'
UNION
SELECT i.message_sid, i.replies_to
FROM message_changes c
JOIN inbound_events i ON i.message_sid = c.in_reply_to
ON CONFLICT DO NOTHING;

-- name: note_inbound :exec
-- for: the touched inbound messages as they are now, into inbound_changes
-- in: sign: -1 before the change, 1 after it
-- index: inbound_events (message_sid)
-- note: called twice around the change
INSERT INTO inbound_changes
SELECT %(sign)s, i.received_at, i.channel, i.intent, i.is_immediate, i.is_auto_replied
FROM inbound_touched t JOIN inbound_events i USING (message_sid);

-- name: insert_inbound :exec
-- for: the inbound messages of the batch that are not there yet
-- in: rows of inbound_batch
-- out: rows of inbound_touched; row count
-- index: inbound_events (message_sid)
-- note: intent and immediacy are set by classify_inbound, for new and touched rows alike
WITH inserted AS (
    INSERT INTO inbound_events (id, message_sid, from_phone, to_phone, channel, body, received_at, keyword, intent, is_immediate)
    SELECT DISTINCT ON (message_sid)
           time_ordered_uuid(received_at, message_sid), message_sid, from_phone, to_phone, channel, body, received_at, keyword, 'general', false
    FROM inbound_batch
    ORDER BY message_sid, received_at
    ON CONFLICT (message_sid) DO NOTHING
    RETURNING message_sid
)
INSERT INTO inbound_touched (message_sid, is_new) SELECT message_sid, true FROM inserted ON CONFLICT (message_sid) DO UPDATE SET is_new = true;

-- name: classify_inbound :exec
-- for: intent, immediacy and the message answered of the touched inbound messages
-- in: rows of inbound_touched, after messages and consent have been brought up to date
-- index: inbound_events (message_sid), messages (recipient_phone, cohort_at) and (in_reply_to), consent_ledger (phone_e164, occurred_at)
-- note: a YES re-opens only from STOP: its own ledger entry says what it found
UPDATE inbound_events i
SET intent = CASE i.keyword WHEN 'yes' THEN coalesce(y.intent, 'general') ELSE i.keyword END,
    is_immediate = coalesce(found.cohort_at >= i.received_at - interval '5 minutes', false),
    replies_to = found.provider_sid,
    is_auto_replied = EXISTS (SELECT FROM messages m WHERE m.in_reply_to = i.message_sid AND m.is_sent)
FROM inbound_touched t
JOIN inbound_events s USING (message_sid)
LEFT JOIN LATERAL (
    SELECT m.provider_sid, m.cohort_at FROM messages m
    WHERE m.recipient_phone = s.from_phone AND m.cohort_at BETWEEN s.received_at - interval '72 hours' AND s.received_at AND m.provider_sid IS NOT NULL
    ORDER BY m.cohort_at DESC, m.provider_sid DESC LIMIT 1) AS found ON true
LEFT JOIN (
    SELECT h.message_sid, CASE h.state_before WHEN 'STOP' THEN 'start' ELSE 'general' END AS intent
    FROM consent_history(ARRAY(
        SELECT DISTINCT s.from_phone FROM inbound_touched JOIN inbound_events s USING (message_sid) WHERE s.keyword = 'yes')) AS h
) AS y ON y.message_sid = t.message_sid
WHERE i.message_sid = t.message_sid;

-- name: mark_replies :exec
-- for: the messages that the touched inbound messages answer, or no longer do: when first, and when first with STOP
-- in: rows of inbound_touched, after classify_inbound
-- out: rows of message_changes
-- index: inbound_events (replies_to), messages (provider_sid)
-- note: counted anew from all that answers them, so that order and repetition do not matter
WITH affected AS (
    SELECT replied_to AS sid FROM inbound_touched WHERE replied_to IS NOT NULL
    UNION
    SELECT i.replies_to FROM inbound_touched t JOIN inbound_events i USING (message_sid) WHERE i.replies_to IS NOT NULL
), found AS (
    SELECT a.sid AS provider_sid, r.replied_at, r.stopped_at
    FROM affected a, LATERAL (SELECT min(i.received_at) AS replied_at, min(i.received_at) FILTER (WHERE i.intent = 'stop') AS stopped_at
                              FROM inbound_events i WHERE i.replies_to = a.sid) AS r
), old AS MATERIALIZED (
    SELECT m.* FROM messages m JOIN found f USING (provider_sid) WHERE (m.replied_at, m.stopped_at) IS DISTINCT FROM (f.replied_at, f.stopped_at) FOR UPDATE OF m
), new AS (
    UPDATE messages m SET replied_at = f.replied_at, stopped_at = f.stopped_at FROM found f JOIN old USING (provider_sid) WHERE m.id = old.id RETURNING m.*
)
INSERT INTO message_changes
SELECT sign, recipient_phone, false, cohort_at, coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), channel, coalesce(country, ''), sender,
       status, failure_code, postponed_code, is_sent, is_conflict, is_replied, is_stopped, delivery_us, queue_us, carrier_us, skip_reason, in_reply_to
FROM (SELECT -1 AS sign, * FROM old UNION ALL SELECT 1, * FROM new) AS changed;

-- name: list_new_inbound :exec
-- for: the batch's new live inbound messages with their intent
-- out: rows of inbound_new
-- index: inbound_events (message_sid)
-- note: after classify_inbound; imported history is not live and gets no answer
INSERT INTO inbound_new (message_sid, from_phone, to_phone, channel, intent, body, received_at, opt_out_type)
SELECT i.message_sid, i.from_phone, i.to_phone, i.channel, i.intent, i.body, i.received_at, b.opt_out_type
FROM inbound_touched t
JOIN inbound_events i USING (message_sid)
JOIN (SELECT message_sid, max(opt_out_type) AS opt_out_type FROM inbound_batch WHERE is_live GROUP BY message_sid) AS b USING (message_sid)
WHERE t.is_new;

-- name: disguise_messages :exec
-- for: the messages to somebody erased
-- in: phone, pseudonym
-- out: row count
-- index: messages (recipient_phone, cohort_at)
-- note: the number alone: no figure depends on it, so that the projector need not know
UPDATE messages SET recipient_phone = %(pseudonym)s WHERE recipient_phone = %(phone)s;

-- name: disguise_inbound :exec
-- for: what somebody erased has written
-- in: phone, pseudonym
-- out: row count
-- index: inbound_events (from_phone, received_at)
-- note: the body becomes the bare keyword, as the scrubbed log projects it again
UPDATE inbound_events
SET from_phone = %(pseudonym)s, body = CASE keyword WHEN 'general' THEN '' ELSE keyword END
WHERE from_phone = %(phone)s;

-- name: disguise_mentions :exec
-- for: what others wrote about somebody erased
-- in: sids text[]; digits, pseudonym_digits
-- index: inbound_events (message_sid)
-- note: their words stay, the number in them does not; exactly as in the scrubbed log
UPDATE inbound_events SET body = replace(body, %(digits)s, %(pseudonym_digits)s) WHERE message_sid = ANY (%(sids)s::text[]);

-- name: list_sids_to :one
-- for: messages whose late callbacks would bring an erased number back
-- in: phones text[]
-- out: an array of SIDs
-- index: messages (recipient_phone, cohort_at)
-- note: few people are erased in a week
SELECT coalesce(array_agg(provider_sid), '{}') FROM messages WHERE recipient_phone = ANY (%(phones)s::text[]) AND provider_sid IS NOT NULL;

-- name: refresh_phone_regions :exec
-- for: libphonenumber's patterns, of the version in use
-- in: calling_code text[], position integer[], region text[], pattern text[] of equal length
-- index: phone_regions primary key
-- note: one statement, so that nobody sees a half-filled table
WITH wanted AS (
    SELECT * FROM unnest(%(calling_code)s::text[], %(position)s::integer[], %(region)s::text[], %(pattern)s::text[])
        AS wanted (calling_code, position, region, pattern)
), gone AS (
    DELETE FROM phone_regions r WHERE NOT EXISTS (SELECT FROM wanted w WHERE (w.calling_code, w.position) = (r.calling_code, r.position))
)
INSERT INTO phone_regions (calling_code, position, region, pattern) SELECT calling_code, position, region, pattern FROM wanted
ON CONFLICT (calling_code, position) DO UPDATE SET region = excluded.region, pattern = excluded.pattern
WHERE (phone_regions.region, phone_regions.pattern) IS DISTINCT FROM (excluded.region, excluded.pattern);

-- name: refresh_phone_zones :exec
-- for: libphonenumber's zones of number prefixes, of the version in use
-- in: prefix text[], zones text[] (joined by |) of equal length
-- index: phone_zones primary key
-- note: see refresh_phone_regions; SQL has no arrays of arrays of different length, hence the bar
WITH wanted AS (
    SELECT prefix, string_to_array(zones, '|') AS zones FROM unnest(%(prefix)s::text[], %(zones)s::text[]) AS wanted (prefix, zones)
), gone AS (
    DELETE FROM phone_zones z WHERE NOT EXISTS (SELECT FROM wanted w WHERE w.prefix = z.prefix)
)
INSERT INTO phone_zones (prefix, zones) SELECT prefix, zones FROM wanted
ON CONFLICT (prefix) DO UPDATE SET zones = excluded.zones WHERE phone_zones.zones <> excluded.zones;

-- name: create_new_messages :exec
-- for: messages about to be queued, once for each connection
-- note: filled by SQL of the slice that queues them
CREATE TEMPORARY TABLE IF NOT EXISTS new_messages (
    id uuid, campaign_id uuid, recipient_phone text, channel text, sender text, country text, queued_at timestamptz, in_reply_to text
) ON COMMIT DELETE ROWS;

-- name: queue_messages :exec
-- for: the staged messages as rows that have yet to be handed over
-- in: rows of new_messages
-- out: row count: those that were not there yet
-- index: messages primary key
-- note: the id follows from campaign and recipient, so that the key forbids a second message to a person
INSERT INTO messages (id, campaign_id, recipient_phone, channel, sender, country, queued_at, in_reply_to)
SELECT id, campaign_id, recipient_phone, channel, sender, country, queued_at, in_reply_to FROM new_messages
ON CONFLICT (id) DO NOTHING;

-- name: note_all_messages :exec
-- for: recounting: every message as one +1 into message_changes
-- note: after this the roll-ups are added from final rows, not from differences
INSERT INTO message_changes
SELECT 1, recipient_phone, false, cohort_at, coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), channel, coalesce(country, ''), sender,
       status, failure_code, postponed_code, is_sent, is_conflict, is_replied, is_stopped, delivery_us, queue_us, carrier_us, skip_reason, in_reply_to
FROM messages;

-- name: note_messages_between :exec
-- for: counting a bucket anew: its messages as +1 into message_changes
-- in: since, until
-- index: messages (cohort_at)
-- note: see note_all_messages
INSERT INTO message_changes
SELECT 1, recipient_phone, false, cohort_at, coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), channel, coalesce(country, ''), sender,
       status, failure_code, postponed_code, is_sent, is_conflict, is_replied, is_stopped, delivery_us, queue_us, carrier_us, skip_reason, in_reply_to
FROM messages
WHERE cohort_at >= %(since)s AND cohort_at < %(until)s;

-- name: note_all_inbound :exec
-- for: recounting: every inbound message as one +1 into inbound_changes
-- note: see note_all_messages
INSERT INTO inbound_changes SELECT 1, received_at, channel, intent, is_immediate, is_auto_replied FROM inbound_events;
