-- name: append_events :one
-- for: one group commit: store what is new, count all of it, in one statement and so in one transaction
-- in: received_at timestamptz[], event_type text[], dedupe_key uuid[], payload text[] (JSON) of equal length;
--     is_live; source (process id); counted_at
-- out: accepted and duplicate (events)
-- index: events primary key
-- note: binary arrays (%%b): escaping JSON for a text array costs 37 us an event, this 4 us (measured);
--       sorted by key, so that two processes taking the same retries, or the intake and the drain of one process
--       counting the same minute, cannot lock each other in a circle;
--       the counters commit with the events, so that received = accepted + duplicate holds after any crash;
--       a canary is no webhook and counts nowhere, and what is imported came to another engine or at another time:
--       only the caller is told of it
WITH incoming AS (
    SELECT received_at, event_type, dedupe_key, payload
    FROM unnest(%(received_at)b::timestamptz[], %(event_type)b::text[], %(dedupe_key)b::uuid[], %(payload)b::text[])
        AS incoming (received_at, event_type, dedupe_key, payload)
), appended AS (
    INSERT INTO events (received_on, received_at, event_type, dedupe_key, is_live, payload)
    SELECT (received_at AT TIME ZONE 'UTC')::date, received_at, event_type, dedupe_key, %(is_live)s, payload::jsonb
    FROM incoming
    ORDER BY dedupe_key, received_at
    ON CONFLICT (received_on, dedupe_key) DO NOTHING
    RETURNING event_type
), counts AS (
    SELECT event_type, count(*) AS offered, (SELECT count(*) FROM appended a WHERE a.event_type = i.event_type) AS accepted
    FROM incoming i
    WHERE event_type <> 'canary.sent'
    GROUP BY event_type
), counted AS (
    INSERT INTO intake_counts (minute, source, event_type, outcome, events)
    SELECT date_trunc('minute', %(counted_at)s::timestamptz), %(source)s, event_type, outcome, events
    FROM counts, LATERAL (VALUES ('accepted', accepted), ('duplicate', offered - accepted)) AS n (outcome, events)
    WHERE events > 0 AND %(is_live)s
    ORDER BY event_type, outcome
    ON CONFLICT (minute, source, event_type, outcome) DO UPDATE SET events = intake_counts.events + excluded.events
)
SELECT coalesce(sum(accepted), 0)::bigint AS accepted, coalesce(sum(offered - accepted), 0)::bigint AS duplicate FROM counts;

-- name: append_own_events :exec
-- for: events the engine makes itself, in the transaction of what they tell
-- in: received_at timestamptz[], event_type text[], dedupe_key uuid[], payload text[] (JSON) of equal length
-- index: events primary key
-- note: as append_events, but no webhook came, so the intake counts nothing
INSERT INTO events (received_on, received_at, event_type, dedupe_key, is_live, payload)
SELECT (received_at AT TIME ZONE 'UTC')::date, received_at, event_type, dedupe_key, true, payload::jsonb
FROM unnest(%(received_at)b::timestamptz[], %(event_type)b::text[], %(dedupe_key)b::uuid[], %(payload)b::text[])
    AS incoming (received_at, event_type, dedupe_key, payload)
ORDER BY dedupe_key, received_at
ON CONFLICT (received_on, dedupe_key) DO NOTHING;

-- name: add_intake_counts :exec
-- for: outcomes of requests that stored nothing: rejected, refused, spooled
-- in: minute timestamptz[], event_type text[], outcome text[], events bigint[] of equal length; source (process id)
-- index: intake_counts primary key
-- note: additive, so that a flush after a failed one only has to carry what is not yet counted
INSERT INTO intake_counts (minute, source, event_type, outcome, events)
SELECT minute, %(source)s, event_type, outcome, events
FROM unnest(%(minute)s::timestamptz[], %(event_type)s::text[], %(outcome)s::text[], %(events)s::bigint[]) AS n (minute, event_type, outcome, events)
ORDER BY minute, event_type, outcome
ON CONFLICT (minute, source, event_type, outcome) DO UPDATE SET events = intake_counts.events + excluded.events;

-- name: gather_intake :exec
-- for: minutes of the intake that are past, put together by quarter-hour
-- in: before
-- index: intake_counts primary key
-- note: as add_up_intake. Whoever counts late adds to a row of its own, which is gathered the next time
WITH past AS (
    DELETE FROM intake_counts WHERE minute < %(before)s AND source <> '00000000-0000-0000-0000-000000000000'
    RETURNING bucket_of('quarter', minute) AS bucket, event_type, outcome, events
)
INSERT INTO intake_counts AS c (minute, source, event_type, outcome, events)
SELECT bucket, '00000000-0000-0000-0000-000000000000', event_type, outcome, sum(events)::bigint FROM past GROUP BY bucket, event_type, outcome ORDER BY bucket, event_type, outcome
ON CONFLICT (minute, source, event_type, outcome) DO UPDATE SET events = c.events + excluded.events;

-- name: add_up_intake :exec
-- for: quarter-hours of the intake that are no longer kept
-- in: before
-- index: intake_counts primary key
-- note: one statement, so that a sum over both tables never falls; a row that a second worker has taken is gone for the first.
--       What a process counts late, for a minute of long ago, is taken the next time
WITH past AS (
    DELETE FROM intake_counts WHERE minute < %(before)s RETURNING event_type, outcome, events
)
INSERT INTO intake_totals AS t (event_type, outcome, events)
SELECT event_type, outcome, sum(events)::bigint FROM past GROUP BY event_type, outcome ORDER BY event_type, outcome
ON CONFLICT (event_type, outcome) DO UPDATE SET events = t.events + excluded.events;

-- name: list_intake_totals :many
-- for: all webhooks that ever came, by what became of them
-- out: event_type, outcome, events
-- note: some rows for each minute of a day and each process, and for each quarter-hour of a hundred days
SELECT event_type, outcome, sum(events)::bigint AS events
FROM (SELECT event_type, outcome, events FROM intake_counts UNION ALL SELECT event_type, outcome, events FROM intake_totals) AS counted
GROUP BY event_type, outcome;

-- name: ensure_event_partitions :exec
-- for: partitions of the days that are about to be written
-- in: days date[]
-- note: a day at a time inside one statement; ensure_event_partition does nothing for a day that is there
SELECT ensure_event_partition(day) FROM unnest(%(days)s::date[]) AS day;

-- name: await_partition_makers :exec
-- for: an insert that found no partition, before it makes one and tries again
-- note: another session's commit shows its new partition in the catalogue a moment before this session is told to forget
--       what it knows of the table; ensure_event_partition would then do nothing and the insert fail once more. That
--       session gives its lock back only after it has told everybody.
LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE;

-- name: try_reader_lock :one
-- for: being the only one that projects, until the end of the transaction
-- in: reader
-- out: is_mine
-- note: a statement of its own before load_cursor: one snapshot for both could show a place the holder has just left
SELECT pg_try_advisory_xact_lock(hashtext(%(reader)s)) AS is_mine;

-- name: try_hold_reader :one
-- for: being the only one that reads as this reader, over many transactions
-- in: reader
-- out: is_mine
-- note: a lock of the session, gone with it; the second key keeps it apart from try_reader_lock
SELECT pg_try_advisory_lock(hashtext(%(reader)s), 1) AS is_mine;

-- name: load_cursor :one
-- for: the reader's place in the log
-- in: reader
-- out: xid (as text), id, events read so far, moved_at
-- index: log_cursors primary key
-- note: read under the reader lock when it is to be moved
SELECT xid::text, id, events, moved_at FROM log_cursors WHERE reader = %(reader)s;

-- name: create_log_batch :exec
-- for: the working table of one batch, once for each connection
-- note: temporary tables are written without WAL; emptied by each commit
CREATE TEMPORARY TABLE IF NOT EXISTS log_batch (
    xid xid8, id bigint, received_on date, dedupe_key uuid, received_at timestamptz, event_type text, is_live boolean, payload jsonb
) ON COMMIT DELETE ROWS;

-- name: read_log :exec
-- for: the next events after a place, in commit order
-- in: xid, id (the place), last_xid, last_id (no further than this), most (events)
-- index: events (xid, id) of each partition, merged
-- note: only below the oldest running transaction: one that began earlier and commits later must not be skipped
INSERT INTO log_batch (xid, id, received_on, dedupe_key, received_at, event_type, is_live, payload)
SELECT xid, id, received_on, dedupe_key, received_at, event_type, is_live, payload
FROM events
WHERE (xid, id) > (%(xid)s::xid8, %(id)s) AND (xid, id) <= (%(last_xid)s::xid8, %(last_id)s) AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, id
LIMIT %(most)s;

-- name: read_dead_letters :exec
-- for: the events of dead letters that are still unresolved, to be tried again
-- in: ids bigint[]
-- index: dead_letters and events primary keys
-- note: same shape as read_log, so that the same projection follows
INSERT INTO log_batch (xid, id, received_on, dedupe_key, received_at, event_type, is_live, payload)
SELECT e.xid, e.id, e.received_on, e.dedupe_key, e.received_at, e.event_type, false, e.payload
FROM dead_letters d
JOIN events e USING (received_on, dedupe_key)
WHERE d.id = ANY (%(ids)s::bigint[]) AND d.resolved_at IS NULL;

-- name: move_cursor :maybe
-- for: taking note of what the batch held
-- in: reader; xid, id (the place that was read from)
-- out: xid (as text), id, events of the new place
-- note: with the batch in one transaction, so that each event counts once; no row when another has moved the reader
UPDATE log_cursors c
SET xid = last.xid, id = last.id, events = c.events + last.events, moved_at = clock_timestamp()
FROM (SELECT (array_agg(xid ORDER BY xid DESC, id DESC))[1] AS xid, (array_agg(id ORDER BY xid DESC, id DESC))[1] AS id, count(*) AS events FROM log_batch) AS last
WHERE c.reader = %(reader)s AND (c.xid, c.id) = (%(xid)s::xid8, %(id)s) AND last.xid IS NOT NULL
RETURNING c.xid::text, c.id, c.events, c.moved_at;

-- name: bury_faulty_events :exec
-- for: events of the batch with a fault become dead letters
-- in: rows of the temporary table faults (received_on, dedupe_key, event_type, reason)
-- index: dead_letters (received_on, dedupe_key)
-- note: a letter that dies again keeps its place and counts the attempt
INSERT INTO dead_letters (received_on, dedupe_key, event_type, reason, died_at)
SELECT received_on, dedupe_key, event_type, reason, clock_timestamp() FROM faults
ON CONFLICT (received_on, dedupe_key)
DO UPDATE SET reason = excluded.reason, died_at = excluded.died_at, attempts = dead_letters.attempts + 1, resolved_at = NULL;

-- name: bury_event :one
-- for: the batch, of one event, becomes a dead letter with a reason that only the database knew
-- in: reason
-- out: dedupe_key
-- index: dead_letters (received_on, dedupe_key)
-- note: reached by halving a refused batch
INSERT INTO dead_letters (received_on, dedupe_key, event_type, reason, died_at)
SELECT received_on, dedupe_key, event_type, %(reason)s, clock_timestamp() FROM log_batch
ON CONFLICT (received_on, dedupe_key)
DO UPDATE SET reason = excluded.reason, died_at = excluded.died_at, attempts = dead_letters.attempts + 1, resolved_at = NULL
RETURNING dedupe_key;

-- name: begin_reading :exec
-- for: a reader at the beginning of the log
-- in: reader
-- note: also for one that a killed process left behind
INSERT INTO log_cursors (reader, xid, id, events, moved_at) VALUES (%(reader)s, '0', 0, 0, clock_timestamp())
ON CONFLICT (reader) DO UPDATE SET xid = '0', id = 0, events = 0, moved_at = excluded.moved_at;

-- name: end_reading :exec
-- for: a reader that is done for good
-- in: reader
-- note: the projector's row stays for ever
DELETE FROM log_cursors WHERE reader = %(reader)s;

-- name: resolve_batch :exec
-- for: dead letters that were projected this time
-- in: rows of log_batch and faults
-- index: dead_letters (received_on, dedupe_key)
-- note: in the transaction that projects them
UPDATE dead_letters d SET resolved_at = clock_timestamp()
FROM log_batch b
WHERE (d.received_on, d.dedupe_key) = (b.received_on, b.dedupe_key)
  AND NOT EXISTS (SELECT FROM faults f WHERE (f.received_on, f.dedupe_key) = (b.received_on, b.dedupe_key));

-- name: list_dead_letters :many
-- for: a person who asks what could not be projected
-- out: id, received_at, event_type, reason, attempts
-- index: dead_letters_unresolved, events primary key
-- note: the payload is not shown: it holds numbers and words of people
SELECT d.id, e.received_at, d.event_type, d.reason, d.attempts
FROM dead_letters d JOIN events e USING (received_on, dedupe_key)
WHERE d.resolved_at IS NULL
ORDER BY d.id;

-- name: has_waiting :one
-- for: whether the projector has come to the end of what is committed
-- in: reader
-- out: a boolean
-- index: events (xid, id) of each partition, backwards
-- note: the newest event is compared with the place. EXISTS over what lies behind the place reads a whole partition when
--       nothing does, which is nearly always. What is above the horizon belongs to a transaction still running, and is
--       not waited for.
SELECT coalesce((SELECT (e.xid, e.id) > (c.xid, c.id) FROM events e
                 WHERE e.xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY e.xid DESC, e.id DESC LIMIT 1), false)
FROM log_cursors c WHERE c.reader = %(reader)s;

-- name: has_webhooks :one
-- for: whether the log holds anything from outside
-- out: a boolean
-- note: the first webhook of any partition ends it; only events of our own could make it long
SELECT EXISTS (SELECT FROM events WHERE event_type LIKE '%%.received');

-- name: list_log_days :many
-- for: going through the log day by day
-- out: day
-- note: by the names of the partitions: the days themselves would be read from every event
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'events'::regclass
ORDER BY day;

-- name: find_mentions :one
-- for: the events of a day that hold a number somewhere
-- in: day, digits (of the number)
-- out: an array of dedupe keys
-- note: a scan of one partition, 1.7 s for a million events (measured); it reads only, so that the log's horizon moves on
SELECT coalesce(array_agg(dedupe_key), '{}') FROM events
WHERE received_on = %(day)s AND event_type IN ('receipt.received', 'inbound.received', 'receipt.quarantined', 'inbound.quarantined')
  AND payload::text LIKE '%%' || %(digits)s || '%%';

-- name: scrub_events :many
-- for: events that hold a number of somebody erased
-- in: day, keys uuid[]; digits (of the number), pseudonym_digits; kept text[]: parameters that tell nothing of a person
-- out: sid
-- index: events primary key
-- note: of the person's own events only what is projected stays: of the words the keyword they amount to, of the number
--       its country; another's words lose the number alone. So a recount makes the same rows of them.
UPDATE events e
SET payload = CASE WHEN concat(e.payload ->> 'To', ' ', CASE WHEN e.event_type LIKE 'inbound.%%' THEN e.payload ->> 'From' END) LIKE '%%' || %(digits)s || '%%'
    THEN (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(d.disguised) WHERE key = ANY (%(kept)s::text[]))
         || CASE WHEN e.event_type LIKE 'inbound.%%'
                 THEN jsonb_build_object('Body', (SELECT CASE k.keyword WHEN 'general' THEN '' ELSE k.keyword END
                                                  FROM inbound_keyword(coalesce(e.payload ->> 'Body', ''), e.payload ->> 'OptOutType') AS k))
                 ELSE jsonb_strip_nulls(jsonb_build_object('EseCountry', coalesce(e.payload ->> 'EseCountry', (SELECT p.country FROM phone_country('+' || %(digits)s) AS p)))) END
    ELSE d.disguised END
FROM (SELECT received_on, dedupe_key, replace(payload::text, %(digits)s, %(pseudonym_digits)s)::jsonb AS disguised
      FROM events WHERE received_on = %(day)s AND dedupe_key = ANY (%(keys)s::uuid[])) AS d
WHERE e.received_on = %(day)s AND e.received_on = d.received_on AND e.dedupe_key = d.dedupe_key
RETURNING coalesce(e.payload ->> 'MessageSid', e.payload ->> 'SmsSid', '') AS sid;

-- name: find_late_numbers :many
-- for: callbacks about messages to somebody erased that came after the log was scrubbed
-- in: day, sids text[]
-- out: phone, sid
-- note: a scan of one partition; `To` without a pseudonym tells the number once more
SELECT DISTINCT address_number(payload ->> 'To') AS phone, coalesce(payload ->> 'MessageSid', payload ->> 'SmsSid') AS sid
FROM events
WHERE received_on = %(day)s AND event_type = 'receipt.received'
  AND coalesce(payload ->> 'MessageSid', payload ->> 'SmsSid') = ANY (%(sids)s::text[])
  AND is_phone_address(payload ->> 'To') AND address_number(payload ->> 'To') !~ '^[+]999[0-9]{12}$';
