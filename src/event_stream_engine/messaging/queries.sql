-- name: create_receipts :exec
-- for: the working tables of one batch of receipts, once for each connection
-- note: receipts holds the batch; message_changes what it did: -1 for each row as it was, +1 as it is
CREATE TEMPORARY TABLE IF NOT EXISTS receipts (
    message_sid text, recipient_phone text, channel text, sender text, received_at timestamptz, code smallint, error_code integer
) ON COMMIT DELETE ROWS;

-- name: create_message_changes :exec
-- for: see create_receipts
-- note: a table of its own statement, because a prepared statement holds one command
CREATE TEMPORARY TABLE IF NOT EXISTS message_changes (
    sign smallint, recipient_phone text, is_moved boolean, cohort_at timestamptz, campaign_id uuid, channel text, country text,
    status text, error_code integer, is_sent boolean, is_conflict boolean, delivery_us bigint
) ON COMMIT DELETE ROWS;

-- name: merge_receipts :exec
-- for: the state machine: receipts of the batch into their messages, unknown SIDs adopted as external messages
-- in: rows of receipts
-- out: rows of message_changes; row count
-- index: messages (provider_sid)
-- note: every column is a minimum or maximum, so order and repetition do not matter. (instant, status) pairs are
--       compared as one bigint, microseconds * 16 + code: 51 + 4 bits. Rows that would not change are not written.
WITH grouped AS (
    SELECT message_sid,
           min(recipient_phone) AS recipient_phone, min(channel) AS channel, min(sender) AS sender,
           min(received_at) AS first_seen_at, (min(key) & 15)::smallint AS first_status,
           max(received_at) AS last_seen_at, (max(key) & 15)::smallint AS last_status,
           max(code) FILTER (WHERE code < 4) AS early_status,
           min(received_at) FILTER (WHERE code = 4) AS sent_at,
           min(received_at) FILTER (WHERE code = 5) AS canceled_at,
           min(received_at) FILTER (WHERE code IN (6, 7)) AS failed_at,
           min(ARRAY[key, coalesce(error_code, 0)]) FILTER (WHERE code IN (6, 7)) AS failure,
           min(received_at) FILTER (WHERE code = 8) AS delivered_at,
           min(received_at) FILTER (WHERE code = 9) AS read_at
    FROM (SELECT *, round(date_part('epoch', received_at) * 1000000)::bigint * 16 + code AS key FROM receipts) AS keyed
    GROUP BY message_sid
), old AS MATERIALIZED (
    SELECT m.* FROM grouped g JOIN messages m ON m.provider_sid = g.message_sid FOR UPDATE OF m
), compared AS (
    SELECT g.*, o.id, o.campaign_id, o.country, o.cohort_at AS old_cohort_at, o.status AS old_status,
           o.error_code AS old_error_code, o.failed_status AS old_failed_status, o.failed_at AS old_failed_at,
           o.recipient_phone AS old_recipient_phone, o.channel AS old_channel, o.sender AS old_sender,
           o.first_status AS old_first_status, o.last_status AS old_last_status, o.last_seen_at AS old_last_seen_at,
           o.early_status AS old_early_status, o.sent_at AS old_sent_at, o.canceled_at AS old_canceled_at, o.delivered_at AS old_delivered_at, o.read_at AS old_read_at,
           g.failed_at IS NOT NULL AND (o.failed_at IS NULL OR (g.failed_at, (g.failure[1] & 15), g.failure[2])
               < (o.failed_at, o.failed_status::bigint, coalesce(o.error_code, 0)::bigint)) AS is_failure_new
    FROM grouped g LEFT JOIN old o ON o.provider_sid = g.message_sid
), merged AS (
    SELECT coalesce(id, time_ordered_uuid(first_seen_at, message_sid)) AS id, campaign_id,
           coalesce(old_recipient_phone, recipient_phone) AS recipient_phone, coalesce(old_channel, channel) AS channel,
           coalesce(old_sender, sender) AS sender,
           CASE WHEN id IS NULL THEN (SELECT p.country FROM phone_country(recipient_phone) AS p) ELSE country END AS country,
           message_sid,
           CASE WHEN campaign_id IS NULL THEN least(old_cohort_at, first_seen_at) ELSE old_cohort_at END AS cohort_at,
           CASE WHEN id IS NULL OR (first_seen_at, first_status) < (old_cohort_at, old_first_status) THEN first_status ELSE old_first_status END AS first_status,
           CASE WHEN id IS NULL OR (last_seen_at, last_status) > (old_last_seen_at, old_last_status) THEN last_status ELSE old_last_status END AS last_status,
           greatest(old_last_seen_at, last_seen_at) AS last_seen_at,
           greatest(old_early_status, early_status) AS early_status,
           least(old_sent_at, sent_at) AS sent_at,
           least(old_canceled_at, canceled_at) AS canceled_at,
           least(old_failed_at, failed_at) AS failed_at,
           CASE WHEN is_failure_new THEN (failure[1] & 15)::smallint ELSE old_failed_status END AS failed_status,
           CASE WHEN is_failure_new THEN nullif(failure[2], 0)::integer ELSE old_error_code END AS error_code,
           least(old_delivered_at, delivered_at) AS delivered_at,
           least(old_read_at, read_at) AS read_at
    FROM compared
    WHERE id IS NULL
       OR first_seen_at < old_cohort_at OR (first_seen_at = old_cohort_at AND first_status < old_first_status)
       OR (last_seen_at, last_status) > (old_last_seen_at, old_last_status)
       OR early_status > coalesce(old_early_status, -1)
       OR sent_at < coalesce(old_sent_at, 'infinity') OR canceled_at < coalesce(old_canceled_at, 'infinity') OR is_failure_new
       OR delivered_at < coalesce(old_delivered_at, 'infinity') OR read_at < coalesce(old_read_at, 'infinity')
), written AS (
    INSERT INTO messages AS m (id, campaign_id, recipient_phone, channel, sender, country, provider_sid, status, error_code, cohort_at,
        first_status, last_status, last_seen_at, early_status, sent_at, canceled_at, failed_at, failed_status, delivered_at, read_at)
    SELECT id, campaign_id, recipient_phone, channel, sender, country, message_sid,
           CASE WHEN read_at IS NOT NULL THEN 'READ'
                WHEN delivered_at IS NOT NULL THEN 'DELIVERED'
                WHEN canceled_at <= coalesce(failed_at, 'infinity') THEN 'CANCELED'
                WHEN failed_at IS NOT NULL THEN status_name(failed_status)
                WHEN sent_at IS NOT NULL THEN 'SENT'
                ELSE status_name(early_status) END,
           error_code, cohort_at, first_status, last_status, last_seen_at, early_status, sent_at, canceled_at, failed_at, failed_status, delivered_at, read_at
    FROM merged
    ON CONFLICT (provider_sid) DO UPDATE SET
        status = excluded.status, error_code = excluded.error_code, cohort_at = excluded.cohort_at,
        first_status = excluded.first_status, last_status = excluded.last_status, last_seen_at = excluded.last_seen_at,
        early_status = excluded.early_status, sent_at = excluded.sent_at, canceled_at = excluded.canceled_at, failed_at = excluded.failed_at,
        failed_status = excluded.failed_status, delivered_at = excluded.delivered_at, read_at = excluded.read_at
    RETURNING m.id, m.recipient_phone, m.cohort_at, m.campaign_id, m.channel, m.country, m.status, m.failure_code, m.is_sent, m.is_conflict, m.delivery_us
)
INSERT INTO message_changes
SELECT -1, o.recipient_phone, o.cohort_at <> w.cohort_at, o.cohort_at, coalesce(o.campaign_id, '00000000-0000-0000-0000-000000000000'),
       o.channel, coalesce(o.country, ''), o.status, o.failure_code, o.is_sent, o.is_conflict, o.delivery_us
FROM written w JOIN old o USING (id)
UNION ALL
SELECT 1, w.recipient_phone, o.cohort_at IS DISTINCT FROM w.cohort_at, w.cohort_at, coalesce(w.campaign_id, '00000000-0000-0000-0000-000000000000'),
       w.channel, coalesce(w.country, ''), w.status, w.failure_code, w.is_sent, w.is_conflict, w.delivery_us
FROM written w LEFT JOIN old o USING (id);

-- name: create_inbound_batch :exec
-- for: the inbound messages of one batch
-- note: as create_receipts
CREATE TEMPORARY TABLE IF NOT EXISTS inbound_batch (
    message_sid text, from_phone text, to_phone text, channel text, body text, received_at timestamptz, keyword text
) ON COMMIT DELETE ROWS;

-- name: create_inbound_touched :exec
-- for: the SIDs of inbound messages whose classification the batch may change
-- note: as create_receipts
CREATE TEMPORARY TABLE IF NOT EXISTS inbound_touched (message_sid text PRIMARY KEY) ON COMMIT DELETE ROWS;

-- name: create_inbound_changes :exec
-- for: what the batch did to inbound messages: -1 for each row as it was, +1 as it is
-- note: as create_receipts
CREATE TEMPORARY TABLE IF NOT EXISTS inbound_changes (
    sign smallint, received_at timestamptz, channel text, intent text, is_immediate boolean, is_auto_replied boolean
) ON COMMIT DELETE ROWS;

-- name: touch_inbound :exec
-- for: stored inbound messages that this batch may classify anew
-- in: rows of inbound_batch and message_changes
-- out: rows of inbound_touched
-- index: inbound_events (from_phone, received_at)
-- note: a YES depends on the sender's consent, which late words change; "immediate" depends on our messages, which
--       late receipts add or move. Both are rare: one index probe for each new message, mostly in vain.
INSERT INTO inbound_touched
SELECT i.message_sid
FROM message_changes c
JOIN inbound_events i ON i.from_phone = c.recipient_phone AND i.received_at BETWEEN c.cohort_at AND c.cohort_at + interval '5 minutes'
WHERE c.is_moved
UNION
SELECT i.message_sid
FROM inbound_batch b
JOIN inbound_events i ON i.from_phone = b.from_phone
WHERE b.keyword IN ('stop', 'start', 'yes') AND i.keyword = 'yes'
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
INSERT INTO inbound_touched SELECT message_sid FROM inserted ON CONFLICT DO NOTHING;

-- name: classify_inbound :exec
-- for: intent and immediacy of the touched inbound messages
-- in: rows of inbound_touched, after messages and consent have been brought up to date
-- index: inbound_events (message_sid), messages (recipient_phone, cohort_at), consent_ledger (phone_e164, occurred_at)
-- note: a YES re-opens only from STOP: its own ledger entry says what it found
UPDATE inbound_events i
SET intent = CASE i.keyword WHEN 'yes' THEN coalesce(y.intent, 'general') ELSE i.keyword END,
    is_immediate = EXISTS (
        SELECT FROM messages m
        WHERE m.recipient_phone = i.from_phone AND m.cohort_at BETWEEN i.received_at - interval '5 minutes' AND i.received_at)
FROM inbound_touched t
LEFT JOIN (
    SELECT h.message_sid, CASE h.state_before WHEN 'STOP' THEN 'start' ELSE 'general' END AS intent
    FROM consent_history(ARRAY(
        SELECT DISTINCT s.from_phone FROM inbound_touched JOIN inbound_events s USING (message_sid) WHERE s.keyword = 'yes')) AS h
) AS y USING (message_sid)
WHERE i.message_sid = t.message_sid;

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
SELECT 1, recipient_phone, false, cohort_at, coalesce(campaign_id, '00000000-0000-0000-0000-000000000000'), channel, coalesce(country, ''),
       status, failure_code, is_sent, is_conflict, delivery_us
FROM messages;

-- name: note_all_inbound :exec
-- for: recounting: every inbound message as one +1 into inbound_changes
-- note: see note_all_messages
INSERT INTO inbound_changes SELECT 1, received_at, channel, intent, is_immediate, is_auto_replied FROM inbound_events;
