-- name: create_faults :exec
-- for: events of the batch that cannot be projected, with the reason, once for each connection
-- note: temporary tables are written without WAL; emptied by each commit
CREATE TEMPORARY TABLE IF NOT EXISTS faults (received_on date, dedupe_key uuid, event_type text, reason text) ON COMMIT DELETE ROWS;

-- name: find_faults :exec
-- for: what cannot be projected, before anything casts it
-- in: rows of log_batch
-- out: rows of faults; row count
-- note: the first fault of an event is its reason; a parameter sent twice is a JSON list and fails its pattern;
--       the channel before a number is bounded because the roll-ups have it in their keys;
--       a scalar subquery and no EXISTS, of which the planner makes a hash of all messages (half of the projector's time)
INSERT INTO faults
SELECT received_on, dedupe_key, event_type, reason
FROM (
    SELECT received_on, dedupe_key, event_type, CASE
        WHEN event_type = 'receipt.received' AND is_sid_good AND is_phone_address(recipient) AND status_code(lower(status)) IS NOT NULL THEN NULL
        WHEN event_type = 'inbound.received' AND is_sid_good AND is_phone_address(sender) THEN NULL
        WHEN event_type IN ('audience.changed', 'canary.sent') OR event_type LIKE 'campaign.%%' OR event_type LIKE 'alert.%%' THEN NULL
        WHEN event_type LIKE 'message.%%' THEN CASE WHEN (SELECT true FROM messages m WHERE m.id = message_id::uuid) THEN NULL ELSE format('message %%s is not here', message_id) END
        WHEN event_type LIKE '%%.quarantined' THEN format('callback of account %%s, which is not this engine''s', coalesce(account, '(none)'))
        WHEN event_type NOT IN ('receipt.received', 'inbound.received') THEN format('event type %%s is not known', event_type)
        WHEN NOT is_sid_good THEN 'MessageSid is missing or malformed'
        WHEN event_type = 'inbound.received' THEN 'From is no phone number in E.164'
        WHEN NOT is_phone_address(recipient) THEN 'To is no phone number in E.164'
        ELSE format('MessageStatus %%s is not known', coalesce(status, '(none)'))
    END AS reason
    FROM (
        SELECT received_on, dedupe_key, event_type,
               coalesce(sid ~ '^[A-Za-z0-9]+$' AND length(sid) <= 64, false) AS is_sid_good,
               status, recipient, sender, account, message_id
        FROM (SELECT received_on, dedupe_key, event_type,
                     coalesce(payload ->> 'MessageSid', payload ->> 'SmsSid') AS sid,
                     coalesce(payload ->> 'MessageStatus', payload ->> 'SmsStatus') AS status,
                     payload ->> 'To' AS recipient, payload ->> 'From' AS sender, payload ->> 'AccountSid' AS account, payload ->> 'MessageId' AS message_id
              FROM log_batch
              OFFSET 0) AS named -- OFFSET 0: each value is taken out of the payload once, not once for each use
        OFFSET 0
    ) AS checked
) AS judged
WHERE reason IS NOT NULL;

-- name: extract_receipts :exec
-- for: the status callbacks of the batch as typed rows
-- in: rows of log_batch and faults
-- out: rows of receipts; row count
-- note: an unreadable ErrorCode counts as "no code"; EseMessageId is what our callback's address carried; EseCountry is
--       what an erasure kept of the number
INSERT INTO receipts (message_id, message_sid, recipient_phone, channel, sender, received_at, code, error_code, country)
SELECT CASE WHEN payload ->> 'EseMessageId' ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN (payload ->> 'EseMessageId')::uuid END,
       coalesce(payload ->> 'MessageSid', payload ->> 'SmsSid'),
       address_number(payload ->> 'To'),
       address_channel(payload ->> 'To'),
       address_number(coalesce(payload ->> 'From', payload ->> 'MessagingServiceSid', '')),
       received_at,
       status_code(lower(coalesce(payload ->> 'MessageStatus', payload ->> 'SmsStatus'))),
       CASE WHEN payload ->> 'ErrorCode' ~ '^[1-9][0-9]{0,8}$' THEN (payload ->> 'ErrorCode')::integer END,
       payload ->> 'EseCountry'
FROM log_batch b
WHERE event_type = 'receipt.received' AND NOT EXISTS (SELECT FROM faults f WHERE f.received_on = b.received_on AND f.dedupe_key = b.dedupe_key);

-- name: extract_outcomes :exec
-- for: what the sender says became of its messages, as typed rows beside the receipts
-- in: rows of log_batch and faults
-- out: rows of receipts; row count
-- note: a refusal is a failure at that moment; an acceptance begins at most with `sending`, what goes on is told by receipts
INSERT INTO receipts (message_id, message_sid, received_at, code, error_code, outcome, reason)
SELECT (payload ->> 'MessageId')::uuid, payload ->> 'MessageSid', received_at,
       CASE event_type
           WHEN 'message.accepted' THEN CASE WHEN status_code(lower(payload ->> 'MessageStatus')) < 4 THEN status_code(lower(payload ->> 'MessageStatus')) ELSE 2 END
           WHEN 'message.refused' THEN 6 END,
       (payload ->> 'ErrorCode')::integer, substr(event_type, 9), payload ->> 'Reason'
FROM log_batch b
WHERE event_type LIKE 'message.%%' AND NOT EXISTS (SELECT FROM faults f WHERE f.received_on = b.received_on AND f.dedupe_key = b.dedupe_key);

-- name: extract_user_changes :exec
-- for: what pages, API and imports did to users, told as differences
-- in: rows of log_batch
-- out: rows of user_changes
-- note: they wrote the tables themselves; only the projector writes roll-ups, so that nobody waits for it. In the
--       oldest events there are count and consent state alone
INSERT INTO user_changes (sign, fact, value)
SELECT (change ->> 0)::bigint, CASE jsonb_array_length(change) WHEN 2 THEN 'consent' ELSE change ->> 1 END, change ->> -1
FROM log_batch, jsonb_array_elements(payload -> 'users') AS change
WHERE event_type = 'audience.changed';

-- name: extract_consent_changes :exec
-- for: see extract_user_changes
-- in: rows of log_batch
-- out: rows of consent_changes
-- note: the instant is that of the minute, the finest roll-up there is
INSERT INTO consent_changes (sign, occurred_at, from_state, to_state, source)
SELECT (change ->> 0)::bigint, (change ->> 1)::timestamptz, change ->> 2, change ->> 3, change ->> 4
FROM log_batch, jsonb_array_elements(payload -> 'consent') AS change
WHERE event_type = 'audience.changed';

-- name: has_audience_changes :one
-- for: whether the batch tells of changes of users
-- out: has_changes
-- note: mostly not
SELECT EXISTS (SELECT FROM log_batch WHERE event_type = 'audience.changed') AS has_changes;

-- name: take_back_user_changes :exec
-- for: recounting: changes of users that the roll-ups do not have yet
-- in: xid, id (the projector's place)
-- out: rows of user_changes
-- index: events (xid, id)
-- note: whoever writes users must be held off meanwhile
INSERT INTO user_changes (sign, fact, value)
SELECT -(change ->> 0)::bigint, CASE jsonb_array_length(change) WHEN 2 THEN 'consent' ELSE change ->> 1 END, change ->> -1
FROM (SELECT payload FROM events WHERE (xid, id) > (%(xid)s::xid8, %(id)s) AND event_type = 'audience.changed' ORDER BY xid, id) AS waiting,
     jsonb_array_elements(payload -> 'users') AS change;

-- name: take_back_consent_changes :exec
-- for: see take_back_user_changes
-- in: xid, id (the projector's place)
-- out: rows of consent_changes
-- index: events (xid, id)
-- note: see take_back_user_changes
INSERT INTO consent_changes (sign, occurred_at, from_state, to_state, source)
SELECT -(change ->> 0)::bigint, (change ->> 1)::timestamptz, change ->> 2, change ->> 3, change ->> 4
FROM (SELECT payload FROM events WHERE (xid, id) > (%(xid)s::xid8, %(id)s) AND event_type = 'audience.changed' ORDER BY xid, id) AS waiting,
     jsonb_array_elements(payload -> 'consent') AS change;

-- name: extract_inbound :exec
-- for: the inbound messages of the batch as typed rows with their keyword
-- in: rows of log_batch and faults
-- out: rows of inbound_batch; row count
-- note: the keyword is what the words say; consent decides later what a YES means
INSERT INTO inbound_batch (message_sid, from_phone, to_phone, channel, body, received_at, keyword, opt_out_type, is_live)
SELECT coalesce(payload ->> 'MessageSid', payload ->> 'SmsSid'),
       address_number(payload ->> 'From'),
       address_number(coalesce(payload ->> 'To', '')),
       address_channel(payload ->> 'From'),
       coalesce(payload ->> 'Body', ''),
       received_at,
       k.keyword,
       nullif(payload ->> 'OptOutType', ''),
       is_live
FROM log_batch b, inbound_keyword(coalesce(payload ->> 'Body', ''), payload ->> 'OptOutType') AS k
WHERE event_type = 'inbound.received' AND NOT EXISTS (SELECT FROM faults f WHERE f.received_on = b.received_on AND f.dedupe_key = b.dedupe_key);

-- name: create_staged_events :exec
-- for: the lines of one import, until they are in the log
-- note: temporary: an import that is killed leaves nothing, and is simply run again
CREATE TEMPORARY TABLE staged_events (line bigint, received_at timestamptz, event_type text, dedupe_key uuid, payload text);

-- name: index_staged_events :exec
-- for: reading the staged lines by time in chunks
-- note: made after COPY, which is quicker than keeping it during COPY
CREATE INDEX ON staged_events (received_at, line);

-- name: list_staged_events :many
-- for: the next lines in the order they were received
-- in: received_at, line (the last one taken), most (lines)
-- out: line, received_at, event_type, dedupe_key, payload (JSON)
-- index: staged_events (received_at, line)
-- note: by place and not by OFFSET, which would read all before it each time
SELECT line, received_at, event_type, dedupe_key, payload
FROM staged_events
WHERE (received_at, line) > (%(received_at)s::timestamptz, %(line)s)
ORDER BY received_at, line
LIMIT %(most)s;

-- name: drop_staged_events :exec
-- for: the end of an import
-- note: the connection may go on to another file
DROP TABLE staged_events;
