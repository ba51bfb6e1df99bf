-- Figures: roll-ups whose cost does not grow with history, with every dimension that pages filter by.

------------------------------------------------------------------------------------------------------------------
-- analytics: the calendar of the workspace's zone
------------------------------------------------------------------------------------------------------------------

-- One row. `timezone` is the zone that local_days was made for, '' before that, `calendar` a hash of them; the minute
-- roll-ups of what lies before `minutes_since` have been dropped; what lies before `days_until`, the start of a day, is
-- also counted by days and months.
CREATE TABLE rollup_settings (
    is_only       boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    timezone      text        NOT NULL,
    calendar      text        NOT NULL,
    minutes_since timestamptz NOT NULL,
    days_until    timestamptz NOT NULL
);
INSERT INTO rollup_settings (timezone, calendar, minutes_since, days_until) VALUES ('', '', '-infinity', '-infinity');

-- When each local day and its month began, made by `ese migrate` from the tz database that Python uses. A table and not
-- date_trunc: PostgreSQL may have other rules, and takes the second of two midnights where a clock is set back at one.
CREATE TABLE local_days (
    starts_at       timestamptz PRIMARY KEY,
    month_starts_at timestamptz NOT NULL
);
CREATE INDEX local_days_months ON local_days (starts_at) WHERE starts_at = month_starts_at;

-- The roll-up rows in which something of an instant and these dimensions counts. A slice says by which dimensions rows are
-- told apart, the others are empty: 1 campaign, 2 channel, 4 country, 8 sender. Minutes have all of them; the wider the
-- bucket, the more of the sums that are asked for there are beside, so that the figure of a year reads a few hundred rows
-- and not a million. slice_at says which of them serves a question. Days and months come about when a day is settled,
-- and from then on only what comes late is added to them.
CREATE FUNCTION rollup_targets(at timestamptz, campaign_id uuid, channel text, country text, sender text)
RETURNS TABLE (grain text, slice integer, bucket timestamptz, campaign_id uuid, channel text, country text, sender text) STABLE ROWS 23 LANGUAGE sql AS $$
    SELECT t.grain, t.slice, t.bucket,
           CASE WHEN t.slice & 1 <> 0 THEN $2 ELSE '00000000-0000-0000-0000-000000000000' END,
           CASE WHEN t.slice & 2 <> 0 THEN $3 ELSE '' END, CASE WHEN t.slice & 4 <> 0 THEN $4 ELSE '' END, CASE WHEN t.slice & 8 <> 0 THEN $5 ELSE '' END
    FROM (
        SELECT 'minute' AS grain, 15 AS slice, bucket_of('minute', $1) AS bucket WHERE $1 >= (SELECT s.minutes_since FROM rollup_settings s)
        UNION ALL
        SELECT 'quarter', kept.slice, bucket_of('quarter', $1) FROM (VALUES (0), (1), (2), (4), (8), (15)) AS kept (slice)
        UNION ALL
        SELECT kept.grain, kept.slice, CASE kept.grain WHEN 'day' THEN d.starts_at ELSE d.month_starts_at END
        FROM (SELECT l.starts_at, l.month_starts_at FROM local_days l WHERE l.starts_at <= $1 ORDER BY l.starts_at DESC LIMIT 1) AS d,
             (VALUES ('day', 0), ('day', 1), ('day', 2), ('day', 4), ('day', 5), ('day', 6), ('day', 8), ('day', 15),
                     ('month', 0), ('month', 1), ('month', 2), ('month', 4), ('month', 5), ('month', 6), ('month', 8), ('month', 15)) AS kept (grain, slice)
        WHERE $1 < (SELECT s.days_until FROM rollup_settings s)
    ) AS t
$$;

CREATE FUNCTION slice_at(grain text, asked_slice integer) RETURNS integer IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN CASE WHEN grain IN ('day', 'month') OR grain = 'quarter' AND asked_slice IN (0, 1, 2, 4, 8) THEN asked_slice ELSE 15 END;

-- When the bucket that begins at an instant ends.
CREATE FUNCTION bucket_end(grain text, begins timestamptz) RETURNS timestamptz STABLE LANGUAGE sql
    RETURN CASE grain
        WHEN 'minute' THEN begins + interval '1 minute'
        WHEN 'quarter' THEN begins + interval '15 minutes'
        WHEN 'day' THEN (SELECT min(l.starts_at) FROM local_days l WHERE l.starts_at > begins)
        ELSE (SELECT min(l.starts_at) FROM local_days l WHERE l.starts_at = l.month_starts_at AND l.starts_at > begins) END;

-- The pieces that make up [since, until): whole months, beside them whole days, quarter-hours, minutes, and less than a
-- minute of raw rows at each end. No piece is wider than `coarsest`, so that a series can be told apart by its steps. A
-- piece of minutes that are no longer kept is raw, too. Days that are not settled yet are made of quarter-hours.
CREATE FUNCTION window_pieces(since timestamptz, until timestamptz, coarsest text) RETURNS TABLE (grain text, begins timestamptz, ends timestamptz) STABLE ROWS 8 LANGUAGE plpgsql AS $$
DECLARE
    kept_until timestamptz := (SELECT least(s.days_until, until) FROM rollup_settings s);
    m1 timestamptz := (SELECT min(l.starts_at) FROM local_days l WHERE l.starts_at = l.month_starts_at AND l.starts_at >= since AND coarsest = 'month');
    m2 timestamptz := (SELECT max(l.starts_at) FROM local_days l WHERE l.starts_at = l.month_starts_at AND l.starts_at <= kept_until);
    d1 timestamptz := (SELECT min(l.starts_at) FROM local_days l WHERE l.starts_at >= since AND coarsest IN ('day', 'month'));
    d2 timestamptz := (SELECT max(l.starts_at) FROM local_days l WHERE l.starts_at <= kept_until);
    q1 timestamptz := CASE WHEN coarsest NOT IN ('minute', 'raw') THEN bucket_after('quarter', since) END;
    q2 timestamptz := bucket_of('quarter', until);
    n1 timestamptz := CASE WHEN coarsest <> 'raw' THEN bucket_after('minute', since) END;
    n2 timestamptz := bucket_of('minute', until);
    kept_since timestamptz := (SELECT s.minutes_since FROM rollup_settings s);
BEGIN
    RETURN QUERY SELECT CASE WHEN p.grain = 'minute' AND p.begins < kept_since THEN 'raw' ELSE p.grain END, p.begins, p.ends
    FROM (VALUES
        ('month', m1, m2),
        ('day', d1, CASE WHEN m1 < m2 THEN m1 ELSE d2 END),
        ('day', CASE WHEN m1 < m2 THEN m2 END, d2),
        ('quarter', q1, CASE WHEN d1 < d2 THEN d1 ELSE q2 END),
        ('quarter', CASE WHEN d1 < d2 THEN d2 END, q2),
        ('minute', n1, CASE WHEN q1 < q2 THEN q1 ELSE n2 END),
        ('minute', CASE WHEN q1 < q2 THEN q2 END, n2),
        ('raw', since, CASE WHEN n1 < n2 THEN n1 ELSE until END),
        ('raw', CASE WHEN n1 < n2 THEN n2 END, until)) AS p (grain, begins, ends)
    WHERE p.begins < p.ends;
END $$;

-- A DDSketch as one array, ordered by bucket: sketch_index * 2^40 + count. A row and an array for each bucket of time,
-- because a row for each of its hundred places would be as many rows as there are messages.
CREATE FUNCTION sketch_of(microseconds bigint) RETURNS bigint[] IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN ARRAY[(sketch_index(microseconds)::bigint << 40) + 1];
CREATE FUNCTION sketch_place(element bigint) RETURNS integer IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN ((element + 549755813888) >> 40)::integer;
CREATE FUNCTION sketch_count(element bigint) RETURNS bigint IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN element - (((element + 549755813888) >> 40) << 40);
CREATE FUNCTION sketch_add(one bigint[], other bigint[]) RETURNS bigint[] IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
    SELECT coalesce(array_agg((place << 40) + n ORDER BY place), '{}')
    FROM (SELECT (element + 549755813888) >> 40 AS place, sum(element - (((element + 549755813888) >> 40) << 40))::bigint AS n
          FROM unnest(one || other) AS element GROUP BY 1) AS summed
    WHERE n <> 0
$$;

------------------------------------------------------------------------------------------------------------------
-- messaging: what people did with our messages
------------------------------------------------------------------------------------------------------------------

ALTER TABLE messages
    ADD COLUMN postponed_at   timestamptz, -- the provider refused an attempt for the moment, first time
    ADD COLUMN postponed_code integer,     -- with this code
    ADD COLUMN replied_at     timestamptz, -- first inbound message that answers this one, see inbound_events.replies_to
    ADD COLUMN stopped_at     timestamptz; -- first STOP among them
ALTER TABLE messages
    ADD COLUMN is_replied boolean NOT NULL GENERATED ALWAYS AS (replied_at IS NOT NULL AND coalesce(delivered_at, read_at) IS NOT NULL) STORED,
    ADD COLUMN is_stopped boolean NOT NULL GENERATED ALWAYS AS (stopped_at IS NOT NULL) STORED,
    -- From the provider's acceptance, or the first callback of an external message that began before `sent`, to `sent`.
    ADD COLUMN queue_us bigint GENERATED ALWAYS AS (CASE
        WHEN queued_at IS NULL AND first_status < 4 AND sent_at >= first_seen_at THEN round(date_part('epoch', sent_at - first_seen_at) * 1000000)::bigint
        WHEN queued_at IS NOT NULL AND sent_at >= answered_at THEN round(date_part('epoch', sent_at - answered_at) * 1000000)::bigint END) STORED,
    -- From `sent` to `delivered`; of an external message that is delivery_us.
    ADD COLUMN carrier_us bigint GENERATED ALWAYS AS (CASE
        WHEN queued_at IS NOT NULL AND delivered_at >= sent_at THEN round(date_part('epoch', delivered_at - sent_at) * 1000000)::bigint END) STORED;

-- When a campaign's last recipient was denied, without reading all of them.
CREATE INDEX messages_skipped_at ON messages (campaign_id, skipped_at) WHERE skipped_at IS NOT NULL AND campaign_id IS NOT NULL;

-- SID of the message of ours that an inbound message answers: the last to that person, not older than 72 hours.
ALTER TABLE inbound_events ADD COLUMN replies_to text;
CREATE INDEX inbound_events_replies_to ON inbound_events (replies_to) WHERE replies_to IS NOT NULL;
UPDATE inbound_events i SET replies_to = (
    SELECT m.provider_sid FROM messages m
    WHERE m.recipient_phone = i.from_phone AND m.cohort_at BETWEEN i.received_at - interval '72 hours' AND i.received_at AND m.provider_sid IS NOT NULL
    ORDER BY m.cohort_at DESC, m.provider_sid DESC LIMIT 1);
UPDATE messages m SET replied_at = r.replied_at, stopped_at = r.stopped_at
FROM (SELECT replies_to, min(received_at) AS replied_at, min(received_at) FILTER (WHERE intent = 'stop') AS stopped_at
      FROM inbound_events WHERE replies_to IS NOT NULL GROUP BY replies_to) AS r
WHERE m.provider_sid = r.replies_to;

------------------------------------------------------------------------------------------------------------------
-- analytics: roll-ups of messages
------------------------------------------------------------------------------------------------------------------

DROP FUNCTION message_counts(timestamptz, timestamptz), delivery_time_counts(timestamptz, timestamptz);
DROP TABLE message_rollups, delivery_time_rollups;

-- Messages by cohort; `now_…`: by present status. What a campaign's messages have before the provider's answer has no
-- cohort and is in campaign_rollups alone.
CREATE TABLE message_rollups (
    grain           text        NOT NULL CHECK (grain IN ('minute', 'quarter', 'day', 'month')),
    slice           integer     NOT NULL, -- see rollup_targets
    bucket          timestamptz NOT NULL,
    campaign_id     uuid        NOT NULL, -- all zeros: external, or any
    channel         text        NOT NULL,
    country         text        NOT NULL, -- '': unknown, or any
    sender          text        NOT NULL,
    messages        bigint      NOT NULL,
    sent            bigint      NOT NULL,
    conflicts       bigint      NOT NULL,
    replied         bigint      NOT NULL, -- delivered ones that were answered
    stopped         bigint      NOT NULL, -- answered with STOP
    now_accepted    bigint      NOT NULL,
    now_scheduled   bigint      NOT NULL,
    now_queued      bigint      NOT NULL,
    now_sending     bigint      NOT NULL,
    now_sent        bigint      NOT NULL,
    now_canceled    bigint      NOT NULL,
    now_failed      bigint      NOT NULL,
    now_undelivered bigint      NOT NULL,
    now_delivered   bigint      NOT NULL,
    now_read        bigint      NOT NULL,
    PRIMARY KEY (grain, slice, bucket, campaign_id, channel, country, sender)
) WITH (fillfactor = 70);

-- Error codes: of messages that failed with them, and of messages that met them at an attempt that was made again.
CREATE TABLE failure_rollups (
    grain             text        NOT NULL CHECK (grain IN ('minute', 'quarter', 'day', 'month')),
    slice             integer     NOT NULL,
    bucket            timestamptz NOT NULL,
    campaign_id       uuid        NOT NULL,
    channel           text        NOT NULL,
    country           text        NOT NULL,
    sender            text        NOT NULL,
    error_code        integer     NOT NULL, -- 0: none named
    failed            bigint      NOT NULL,
    retried           bigint      NOT NULL, -- and answered by the provider since
    retried_sent      bigint      NOT NULL, -- of these: taken by the provider in the end
    retried_delivered bigint      NOT NULL, -- of these: delivered
    PRIMARY KEY (grain, slice, bucket, campaign_id, channel, country, sender, error_code)
) WITH (fillfactor = 70);

-- Durations: `delivery` (messages.delivery_us), `queue` (queue_us), `carrier` (carrier_us).
CREATE TABLE duration_rollups (
    grain        text        NOT NULL CHECK (grain IN ('minute', 'quarter', 'day', 'month')),
    slice        integer     NOT NULL,
    measure      text        NOT NULL CHECK (measure IN ('delivery', 'queue', 'carrier')),
    bucket       timestamptz NOT NULL,
    campaign_id  uuid        NOT NULL,
    channel      text        NOT NULL,
    country      text        NOT NULL,
    sender       text        NOT NULL,
    messages     bigint      NOT NULL,
    microseconds bigint      NOT NULL, -- their sum
    fastest      bigint      NOT NULL, -- exact, microseconds
    slowest      bigint      NOT NULL,
    sketch       bigint[]    NOT NULL, -- see sketch_of
    PRIMARY KEY (grain, slice, measure, bucket, campaign_id, channel, country, sender)
) WITH (fillfactor = 70);

-- The roll-up rows of [since, until) at one slice, exact for any instants; at the ends, where it is made of finer pieces,
-- rows have all dimensions. OFFSET 0: one range of the index for each piece, whatever the planner believes of the filters
-- around it (a hash join over the whole index, for a list of campaigns, took 140 ms instead of 1).
CREATE FUNCTION message_counts(since timestamptz, until timestamptz, asked_slice integer, coarsest text)
RETURNS TABLE (at timestamptz, campaign_id uuid, channel text, country text, sender text, messages bigint, sent bigint, conflicts bigint, replied bigint, stopped bigint,
    now_accepted bigint, now_scheduled bigint, now_queued bigint, now_sending bigint, now_sent bigint, now_canceled bigint, now_failed bigint, now_undelivered bigint,
    now_delivered bigint, now_read bigint)
STABLE LANGUAGE sql AS $$
    SELECT r.bucket, r.campaign_id, r.channel, r.country, r.sender, r.messages, r.sent, r.conflicts, r.replied, r.stopped,
           r.now_accepted, r.now_scheduled, r.now_queued, r.now_sending, r.now_sent, r.now_canceled, r.now_failed, r.now_undelivered, r.now_delivered, r.now_read
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN LATERAL (
        SELECT * FROM message_rollups r
        WHERE r.grain = p.grain AND r.slice = slice_at(p.grain, asked_slice) AND r.bucket >= p.begins AND r.bucket < p.ends
        OFFSET 0) AS r
    UNION ALL
    SELECT m.cohort_at, coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000'), m.channel, coalesce(m.country, ''), m.sender,
           1, m.is_sent::int, m.is_conflict::int, m.is_replied::int, m.is_stopped::int,
           (m.status = 'ACCEPTED')::int, (m.status = 'SCHEDULED')::int, (m.status = 'QUEUED')::int, (m.status = 'SENDING')::int, (m.status = 'SENT')::int,
           (m.status = 'CANCELED')::int, (m.status = 'FAILED')::int, (m.status = 'UNDELIVERED')::int, (m.status = 'DELIVERED')::int, (m.status = 'READ')::int
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN LATERAL (SELECT * FROM messages m WHERE m.cohort_at >= p.begins AND m.cohort_at < p.ends OFFSET 0) AS m
    WHERE p.grain = 'raw'
$$;

CREATE FUNCTION failure_counts(since timestamptz, until timestamptz, asked_slice integer, coarsest text)
RETURNS TABLE (at timestamptz, campaign_id uuid, channel text, country text, sender text, error_code integer, failed bigint, retried bigint, retried_sent bigint, retried_delivered bigint)
STABLE LANGUAGE sql AS $$
    SELECT r.bucket, r.campaign_id, r.channel, r.country, r.sender, r.error_code, r.failed, r.retried, r.retried_sent, r.retried_delivered
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN LATERAL (
        SELECT * FROM failure_rollups r
        WHERE r.grain = p.grain AND r.slice = slice_at(p.grain, asked_slice) AND r.bucket >= p.begins AND r.bucket < p.ends
        OFFSET 0) AS r
    UNION ALL
    SELECT m.cohort_at, coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000'), m.channel, coalesce(m.country, ''), m.sender,
           told.error_code, told.failed, told.retried, told.retried_sent, told.retried_delivered
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN LATERAL (SELECT * FROM messages m WHERE m.cohort_at >= p.begins AND m.cohort_at < p.ends OFFSET 0) AS m
    CROSS JOIN LATERAL (SELECT m.failure_code, 1, 0, 0, 0 WHERE m.status IN ('FAILED', 'UNDELIVERED')
             UNION ALL
             SELECT m.postponed_code, 0, 1, m.is_sent::int, (m.status IN ('DELIVERED', 'READ'))::int WHERE m.postponed_code IS NOT NULL)
        AS told (error_code, failed, retried, retried_sent, retried_delivered)
    WHERE p.grain = 'raw'
$$;

CREATE FUNCTION duration_counts(since timestamptz, until timestamptz, asked_slice integer, coarsest text, asked_measures text[])
RETURNS TABLE (at timestamptz, measure text, campaign_id uuid, channel text, country text, sender text, messages bigint, microseconds bigint, fastest bigint, slowest bigint, sketch bigint[])
STABLE LANGUAGE sql AS $$
    SELECT r.bucket, r.measure, r.campaign_id, r.channel, r.country, r.sender, r.messages, r.microseconds, r.fastest, r.slowest, r.sketch
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN unnest(asked_measures) AS a (measure)
    CROSS JOIN LATERAL (
        SELECT * FROM duration_rollups r
        WHERE r.grain = p.grain AND r.slice = slice_at(p.grain, asked_slice) AND r.measure = a.measure AND r.bucket >= p.begins AND r.bucket < p.ends AND r.messages > 0
        OFFSET 0) AS r
    UNION ALL
    SELECT m.cohort_at, told.measure, coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000'), m.channel, coalesce(m.country, ''), m.sender,
           1, told.us, told.us, told.us, sketch_of(told.us)
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN LATERAL (SELECT * FROM messages m WHERE m.cohort_at >= p.begins AND m.cohort_at < p.ends OFFSET 0) AS m
    CROSS JOIN LATERAL (VALUES ('delivery', m.delivery_us), ('queue', m.queue_us), ('carrier', m.carrier_us)) AS told (measure, us)
    WHERE p.grain = 'raw' AND told.us IS NOT NULL AND told.measure = ANY (asked_measures)
$$;
