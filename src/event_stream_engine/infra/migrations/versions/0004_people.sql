-- People and what they write: roll-ups whose cost does not grow with history.

------------------------------------------------------------------------------------------------------------------
-- analytics: days and months of inbound messages, consent and signups
------------------------------------------------------------------------------------------------------------------

-- The bucket of each grain in which an instant counts; of roll-ups with few rows, which need no slices.
CREATE FUNCTION buckets_of(at timestamptz) RETURNS TABLE (grain text, bucket timestamptz) STABLE ROWS 4 LANGUAGE sql AS $$
    SELECT 'minute', bucket_of('minute', $1) WHERE $1 >= (SELECT s.minutes_since FROM rollup_settings s)
    UNION ALL
    SELECT 'quarter', bucket_of('quarter', $1)
    UNION ALL
    SELECT kept.grain, CASE kept.grain WHEN 'day' THEN d.starts_at ELSE d.month_starts_at END
    FROM (SELECT l.starts_at, l.month_starts_at FROM local_days l WHERE l.starts_at <= $1 ORDER BY l.starts_at DESC LIMIT 1) AS d,
         (VALUES ('day'), ('month')) AS kept (grain)
    WHERE $1 < (SELECT s.days_until FROM rollup_settings s)
$$;

ALTER TABLE inbound_rollups DROP CONSTRAINT inbound_rollups_grain_check,
    ADD CONSTRAINT inbound_rollups_grain_check CHECK (grain IN ('minute', 'quarter', 'day', 'month'));
ALTER TABLE consent_rollups DROP CONSTRAINT consent_rollups_grain_check,
    ADD CONSTRAINT consent_rollups_grain_check CHECK (grain IN ('minute', 'quarter', 'day', 'month'));

-- Users by when they came, as far as they are still there.
CREATE TABLE signup_rollups (
    grain  text        NOT NULL CHECK (grain IN ('minute', 'quarter', 'day', 'month')),
    bucket timestamptz NOT NULL,
    users  bigint      NOT NULL,
    PRIMARY KEY (grain, bucket)
) WITH (fillfactor = 70);
INSERT INTO signup_rollups (grain, bucket, users)
SELECT grain, bucket_of(grain, created_at), count(*) FROM users, (VALUES ('minute'), ('quarter')) AS kept (grain) GROUP BY 1, 2;

-- Minutes are now dropped with those of messages.
DELETE FROM inbound_rollups WHERE grain = 'minute' AND bucket < (SELECT minutes_since FROM rollup_settings);
DELETE FROM consent_rollups WHERE grain = 'minute' AND bucket < (SELECT minutes_since FROM rollup_settings);
DELETE FROM signup_rollups WHERE grain = 'minute' AND bucket < (SELECT minutes_since FROM rollup_settings);

-- So that days are settled anew: the next look at the calendar finds that it is not the present one.
UPDATE rollup_settings SET calendar = '';

-- Inbound messages by hour of the local week; of the wide grains alone, finer ones are in inbound_rollups.
CREATE TABLE inbound_hour_rollups (
    grain    text        NOT NULL CHECK (grain IN ('day', 'month')),
    channel  text        NOT NULL, -- '': any
    bucket   timestamptz NOT NULL,
    weekday  integer     NOT NULL, -- 1: Monday
    hour     integer     NOT NULL,
    messages bigint      NOT NULL,
    PRIMARY KEY (grain, channel, bucket, weekday, hour)
) WITH (fillfactor = 70);

-- The rows of [since, until), exact for any instants, see window_pieces and message_counts.
DROP FUNCTION inbound_counts(timestamptz, timestamptz), consent_counts(timestamptz, timestamptz);
CREATE FUNCTION inbound_counts(since timestamptz, until timestamptz, coarsest text)
RETURNS TABLE (at timestamptz, channel text, intent text, messages bigint, immediate bigint, auto_replied bigint)
STABLE LANGUAGE sql AS $$
    SELECT r.bucket, r.channel, r.intent, r.messages, r.immediate, r.auto_replied
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN LATERAL (SELECT * FROM inbound_rollups r WHERE r.grain = p.grain AND r.bucket >= p.begins AND r.bucket < p.ends OFFSET 0) AS r
    UNION ALL
    SELECT i.received_at, i.channel, i.intent, 1, i.is_immediate::int, i.is_auto_replied::int
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN LATERAL (SELECT * FROM inbound_events i WHERE i.received_at >= p.begins AND i.received_at < p.ends OFFSET 0) AS i
    WHERE p.grain = 'raw'
$$;

CREATE FUNCTION inbound_hours(since timestamptz, until timestamptz, asked_channel text)
RETURNS TABLE (weekday integer, hour integer, messages bigint)
STABLE LANGUAGE sql AS $$
    SELECT r.weekday, r.hour, r.messages
    FROM window_pieces(since, until, 'month') AS p
    CROSS JOIN LATERAL (
        SELECT * FROM inbound_hour_rollups r
        WHERE r.grain = p.grain AND r.channel = coalesce(asked_channel, '') AND r.bucket >= p.begins AND r.bucket < p.ends
        OFFSET 0) AS r
    UNION ALL
    SELECT extract(isodow FROM c.at AT TIME ZONE s.timezone)::integer, extract(hour FROM c.at AT TIME ZONE s.timezone)::integer, c.messages
    FROM rollup_settings s
    CROSS JOIN window_pieces(since, until, 'month') AS p
    CROSS JOIN inbound_counts(p.begins, p.ends, 'quarter') AS c
    WHERE p.grain NOT IN ('day', 'month') AND (asked_channel IS NULL OR c.channel = asked_channel)
$$;

-- Its edges come from the ledger of the people who spoke in that minute.
CREATE FUNCTION consent_counts(since timestamptz, until timestamptz, coarsest text)
RETURNS TABLE (at timestamptz, from_state text, to_state text, source text, transitions bigint)
STABLE LANGUAGE sql AS $$
    SELECT r.bucket, r.from_state, r.to_state, r.source, r.transitions
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN LATERAL (SELECT * FROM consent_rollups r WHERE r.grain = p.grain AND r.bucket >= p.begins AND r.bucket < p.ends OFFSET 0) AS r
    UNION ALL
    SELECT h.occurred_at, h.state_before, h.state_after, h.source, 1
    FROM consent_history(ARRAY(
            SELECT DISTINCT l.phone_e164 FROM window_pieces(since, until, coarsest) AS p
            CROSS JOIN LATERAL (SELECT * FROM consent_ledger l WHERE l.occurred_at >= p.begins AND l.occurred_at < p.ends OFFSET 0) AS l
            WHERE p.grain = 'raw')) AS h
    JOIN window_pieces(since, until, coarsest) AS p ON p.grain = 'raw' AND h.occurred_at >= p.begins AND h.occurred_at < p.ends
    WHERE h.state_before <> h.state_after
$$;

CREATE FUNCTION signup_counts(since timestamptz, until timestamptz, coarsest text) RETURNS TABLE (at timestamptz, users bigint)
STABLE LANGUAGE sql AS $$
    SELECT r.bucket, r.users
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN LATERAL (SELECT * FROM signup_rollups r WHERE r.grain = p.grain AND r.bucket >= p.begins AND r.bucket < p.ends OFFSET 0) AS r
    UNION ALL
    SELECT u.created_at, 1
    FROM window_pieces(since, until, coarsest) AS p
    CROSS JOIN LATERAL (SELECT * FROM users u WHERE u.created_at >= p.begins AND u.created_at < p.ends OFFSET 0) AS u
    WHERE p.grain = 'raw'
$$;

------------------------------------------------------------------------------------------------------------------
-- analytics: users by attribute
------------------------------------------------------------------------------------------------------------------

-- The attributes that users are counted by, see ESE_ATTRIBUTES.
ALTER TABLE rollup_settings ADD COLUMN attributes text[] NOT NULL DEFAULT '{}';

CREATE TABLE attribute_rollups (
    attribute text   NOT NULL,
    value     text   NOT NULL, -- at most 100 characters; 'unknown': the user does not have it
    users     bigint NOT NULL,
    PRIMARY KEY (attribute, value)
) WITH (fillfactor = 70);
CREATE INDEX attribute_rollups_most ON attribute_rollups (attribute, users DESC);

-- What a user counts as, said once: `consent` a state, `signup` a minute, `attributes.…` a value.
CREATE FUNCTION user_facts(consent_state text, created_at timestamptz) RETURNS TABLE (fact text, value text) STABLE PARALLEL SAFE ROWS 2 LANGUAGE sql AS $$
    VALUES ('consent', $1), ('signup', to_char($2 AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'))
$$;
CREATE FUNCTION attribute_facts(attributes jsonb) RETURNS TABLE (fact text, value text) STABLE PARALLEL SAFE ROWS 2 LANGUAGE sql AS $$
    SELECT 'attributes.' || name, coalesce(nullif(left(btrim($1 ->> name), 100), ''), 'unknown')
    FROM unnest((SELECT s.attributes FROM rollup_settings s)) AS name
$$;

------------------------------------------------------------------------------------------------------------------
-- analytics: unique senders
------------------------------------------------------------------------------------------------------------------

-- HyperLogLog sketches of who wrote, by UTC day and month, so that another zone leaves them as they are. What they hold
-- are pseudonyms under ESE_SECRET_KEY: nobody without it can ask a sketch about a number, and an erasure changes nothing.
CREATE TABLE sender_sketches (
    grain     text  NOT NULL CHECK (grain IN ('day', 'month')),
    channel   text  NOT NULL, -- '': any
    starts_on date  NOT NULL,
    sketch    bytea NOT NULL,
    PRIMARY KEY (grain, channel, starts_on)
);

-- The newest with an intent, and those nobody answered.
CREATE INDEX inbound_events_intent ON inbound_events (intent, received_at);
