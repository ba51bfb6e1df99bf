-- Foundation: the event log, what is projected from it, the roll-ups, who may enter.
--
-- Functions that read tables have bodies in $$ … $$ on purpose: their names are resolved when they run, so that
-- `ese rebuild` can run them against a second set of tables by search_path.

------------------------------------------------------------------------------------------------------------------
-- stream: the append-only log
------------------------------------------------------------------------------------------------------------------

CREATE SEQUENCE events_id_seq AS bigint CACHE 1;

-- One row for each distinct webhook, as it came. Partitioned by the UTC day of receipt: the dedupe key is unique
-- within a day, which stops the provider's retries (15 s) and every repeated import (same received_at); a copy that
-- comes on another day is let in and has no effect, because projection is idempotent.
CREATE TABLE events (
    received_on date        NOT NULL,
    received_at timestamptz NOT NULL,
    id          bigint      NOT NULL DEFAULT nextval('events_id_seq'),
    xid         xid8        NOT NULL DEFAULT pg_current_xact_id(), -- commit order is (xid, id), not id
    event_type  text        NOT NULL,
    dedupe_key  uuid        NOT NULL,
    is_live     boolean     NOT NULL,                              -- false: imported, so its age says nothing about us
    payload     jsonb       NOT NULL,
    PRIMARY KEY (received_on, dedupe_key)
) PARTITION BY RANGE (received_on);
ALTER SEQUENCE events_id_seq OWNED BY events.id;
CREATE INDEX events_commit_order ON events (xid, id);

-- Make the partition of a day. Built aside and attached, because ATTACH takes a lock that lets writers go on, which
-- CREATE TABLE … PARTITION OF does not.
CREATE FUNCTION ensure_event_partition(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := 'events_' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    -- A lock on the table, the one ATTACH takes, and not an advisory one: only a table's makes a session look again at
    -- what it believes not to exist.
    LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (received_on, dedupe_key)', name);
    EXECUTE format('CREATE INDEX ON %I (xid, id)', name);
    -- The same range as a CHECK spares ATTACH the scan that would hold its lock.
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT day CHECK (received_on >= %L AND received_on < %L)', name, day, day + 1);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, day, day + 1);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT day', name);
END $$;

-- How far a reader of the log has come.
CREATE TABLE log_cursors (
    reader   text PRIMARY KEY,
    xid      xid8        NOT NULL,
    id       bigint      NOT NULL,
    events   bigint      NOT NULL, -- read so far
    moved_at timestamptz NOT NULL
);
INSERT INTO log_cursors (reader, xid, id, events, moved_at) VALUES ('projector', '0', 0, 0, now());

-- Events that could not be projected, with the reason; `ese replay` tries them again.
CREATE TABLE dead_letters (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_on date        NOT NULL,
    dedupe_key  uuid        NOT NULL,
    event_type  text        NOT NULL,
    reason      text        NOT NULL,
    died_at     timestamptz NOT NULL,
    attempts    integer     NOT NULL DEFAULT 1,
    resolved_at timestamptz,
    UNIQUE (received_on, dedupe_key)
);
CREATE INDEX dead_letters_unresolved ON dead_letters (id) WHERE resolved_at IS NULL;

-- received = accepted + duplicate + spooled + rejected(reason) + refused. One row per minute and process, so that two
-- web processes never wait for each other's row.
CREATE TABLE intake_counts (
    minute     timestamptz NOT NULL,
    source     uuid        NOT NULL, -- the process that counted
    event_type text        NOT NULL,
    outcome    text        NOT NULL,
    events     bigint      NOT NULL,
    PRIMARY KEY (minute, source, event_type, outcome)
) WITH (fillfactor = 50);

------------------------------------------------------------------------------------------------------------------
-- messaging: messages as projected, inbound messages, and the data that classifies them
------------------------------------------------------------------------------------------------------------------

-- The state machine in one list: a later place outranks an earlier one; 5 to 7 share one rank, the earliest wins there.
CREATE FUNCTION status_code(status text) RETURNS integer IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN array_position(ARRAY['accepted', 'scheduled', 'queued', 'sending', 'sent', 'canceled', 'failed', 'undelivered', 'delivered', 'read'], status) - 1;
CREATE FUNCTION status_name(code bigint) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN (ARRAY['ACCEPTED', 'SCHEDULED', 'QUEUED', 'SENDING', 'SENT', 'CANCELED', 'FAILED', 'UNDELIVERED', 'DELIVERED', 'READ'])[code + 1];

-- A time-ordered UUID (RFC 9562 version 8): 48 bits of milliseconds, then a hash of the name.
CREATE FUNCTION time_ordered_uuid(at timestamptz, name text) RETURNS uuid IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN overlay(overlay(overlay(md5(name)
        PLACING lpad(to_hex(floor(date_part('epoch', at) * 1000)::bigint), 12, '0') FROM 1) PLACING '8' FROM 13) PLACING 'a' FROM 17)::uuid;

-- A provider address is a number, or a channel, a colon and a number. Length beside the pattern, not {6,14} in it: a
-- bounded repetition costs PostgreSQL ten times as much (measured: 5 us against 0.6).
CREATE FUNCTION address_channel(address text) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN CASE WHEN strpos(address, ':') > 0 THEN split_part(address, ':', 1) ELSE 'sms' END;
CREATE FUNCTION address_number(address text) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN substr(address, strpos(address, ':') + 1);
CREATE FUNCTION is_phone_address(address text) RETURNS boolean IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN coalesce(address ~ '^([a-z]+:)?\+[1-9][0-9]+$' AND length(address_number(address)) BETWEEN 8 AND 16
        AND length(address_channel(address)) <= 20, false);

-- Every column is a minimum or a maximum over the message's receipts, so that any order and repetition of callbacks
-- ends in the same row.
CREATE TABLE messages (
    id              uuid PRIMARY KEY,
    campaign_id     uuid,                 -- NULL: external, seen only through its callbacks
    recipient_phone text        NOT NULL, -- E.164
    channel         text        NOT NULL,
    sender          text        NOT NULL,
    country         text,                 -- region of the number; NULL: none known
    provider_sid    text UNIQUE,
    status          text        NOT NULL,
    error_code      integer,              -- of the earliest failure
    cohort_at       timestamptz NOT NULL, -- the moment windows select by
    first_status    smallint    NOT NULL, -- status_code of the first and of the last receipt by time
    last_status     smallint    NOT NULL,
    last_seen_at    timestamptz NOT NULL,
    early_status    smallint,             -- highest of accepted … sending
    sent_at         timestamptz,          -- first receipt of each kind
    canceled_at     timestamptz,
    failed_at       timestamptz,          -- failed or undelivered
    failed_status   smallint,
    delivered_at    timestamptz,
    read_at         timestamptz,
    -- What the message adds to the figures, defined here and nowhere else.
    is_sent         boolean NOT NULL GENERATED ALWAYS AS (NOT (first_status = 6 AND last_status = 6)) STORED, -- external: unless failed from first to last
    is_conflict     boolean NOT NULL GENERATED ALWAYS AS (failed_at IS NOT NULL AND coalesce(delivered_at, read_at) IS NOT NULL) STORED,
    failure_code    integer NOT NULL GENERATED ALWAYS AS (CASE WHEN status IN ('FAILED', 'UNDELIVERED') THEN coalesce(error_code, 0) ELSE 0 END) STORED, -- 0: none
    delivery_us     bigint  GENERATED ALWAYS AS (CASE WHEN delivered_at >= sent_at THEN round(date_part('epoch', delivered_at - sent_at) * 1000000)::bigint END) STORED
) WITH (fillfactor = 75);                 -- room for HOT updates: a message is written about three times
CREATE INDEX messages_cohort ON messages (cohort_at);
CREATE INDEX messages_recipient ON messages (recipient_phone, cohort_at);

-- One row per message, its latest receipt under the document's names.
CREATE VIEW delivery_receipts AS
    SELECT provider_sid AS message_sid,
           CASE status WHEN 'READ' THEN 'delivered' ELSE lower(status) END AS message_status,
           error_code, last_seen_at AS received_at, delivered_at, read_at
    FROM messages
    WHERE provider_sid IS NOT NULL;

CREATE TABLE inbound_events (
    id              uuid PRIMARY KEY,
    message_sid     text        NOT NULL UNIQUE,
    from_phone      text        NOT NULL, -- E.164
    to_phone        text        NOT NULL,
    channel         text        NOT NULL,
    body            text        NOT NULL,
    received_at     timestamptz NOT NULL,
    keyword         text        NOT NULL, -- what the words say: an intent, or 'yes', which the sender's consent decides
    intent          text        NOT NULL, -- stop, help, start, order, general
    is_immediate    boolean     NOT NULL, -- within 5 minutes of our last message to the sender
    is_auto_replied boolean     NOT NULL DEFAULT false
);
CREATE INDEX inbound_events_received ON inbound_events (received_at);
CREATE INDEX inbound_events_sender ON inbound_events (from_phone, received_at);

-- Which words mean what; the rows with the highest version decide. 'body': the whole message; 'word': a run of a-z in it.
CREATE TABLE intent_words (
    version  integer NOT NULL,
    keyword  text    NOT NULL,
    word     text    NOT NULL,
    match    text    NOT NULL CHECK (match IN ('body', 'word')),
    position integer NOT NULL, -- the first that matches decides
    PRIMARY KEY (version, word, match)
);
INSERT INTO intent_words (version, keyword, word, match, position)
SELECT 1, keyword, word, match, position
FROM (VALUES
    ('stop',  'body', 1, ARRAY['stop', 'stopall', 'unsubscribe', 'cancel', 'end', 'quit', 'revoke', 'optout', 'opt out']),
    ('help',  'body', 2, ARRAY['help', 'info']),
    ('start', 'body', 3, ARRAY['start', 'unstop']),
    ('yes',   'body', 3, ARRAY['yes']),
    ('order', 'word', 4, ARRAY['order', 'orders', 'delivery', 'refund', 'tracking', 'shipped'])
) AS rule (keyword, match, position, words), unnest(words) AS word;

-- The keyword of an inbound body. Twilio's own OptOutType, when it sends one, is its decision and goes first. A set of
-- one row, because a function in FROM is inlined, where one in a SELECT list is started anew for each row.
CREATE FUNCTION inbound_keyword(body text, opt_out_type text) RETURNS TABLE (keyword text) STABLE PARALLEL SAFE ROWS 1 LANGUAGE sql AS $$
    SELECT CASE
        WHEN lower(opt_out_type) IN ('stop', 'start', 'help') THEN lower(opt_out_type)
        ELSE coalesce((
            SELECT w.keyword FROM intent_words w
            WHERE w.version = (SELECT max(version) FROM intent_words)
              AND CASE w.match
                  WHEN 'body' THEN w.word = text.folded
                  ELSE w.word = ANY (text.runs)
              END
            ORDER BY w.position LIMIT 1), 'general')
    END
    FROM (SELECT btrim(regexp_replace(lower(body), '\s+', ' ', 'g')) AS folded, regexp_split_to_array(lower(body), '[^a-z]+') AS runs) AS text
$$;

-- Number → region after libphonenumber, as patterns: `ese migrate` fills it from the library in use. A calling code with
-- one region needs no pattern; in a shared one the regions are tried by position.
CREATE TABLE phone_regions (
    calling_code text    NOT NULL,
    position     integer NOT NULL,
    region       text    NOT NULL,
    pattern      text, -- of the national number; NULL matches all
    PRIMARY KEY (calling_code, position)
);
-- A set of one row or none: inlined where it stands in FROM.
CREATE FUNCTION phone_country(phone text) RETURNS TABLE (country text) STABLE PARALLEL SAFE ROWS 1 LANGUAGE sql AS $$
    SELECT region FROM phone_regions
    WHERE calling_code IN (substr(phone, 2, 1), substr(phone, 2, 2), substr(phone, 2, 3))
      AND CASE WHEN pattern IS NULL THEN true ELSE substr(phone, 2 + length(calling_code)) ~ pattern END
    ORDER BY calling_code, position LIMIT 1
$$;

------------------------------------------------------------------------------------------------------------------
-- audience: people and their consent
------------------------------------------------------------------------------------------------------------------

CREATE TABLE users (
    phone_e164    text PRIMARY KEY,
    attributes    jsonb       NOT NULL DEFAULT '{}',
    consent_state text        NOT NULL DEFAULT 'UNKNOWN' CHECK (consent_state IN ('OPT_IN', 'OPT_OUT', 'STOP', 'UNKNOWN')),
    created_at    timestamptz NOT NULL
);
CREATE INDEX users_created ON users (created_at);

-- What people said about consent, append-only. The state is derived, see consent_history.
CREATE TABLE consent_ledger (
    id          uuid PRIMARY KEY,     -- time-ordered by occurred_at
    phone_e164  text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    action      text        NOT NULL CHECK (action IN ('stop', 'start', 'yes')),
    source      text        NOT NULL, -- inbound
    message_sid text UNIQUE,
    evidence    text        NOT NULL  -- the words themselves
);
CREATE INDEX consent_ledger_person ON consent_ledger (phone_e164, occurred_at, id);

-- The fold of the ledger, one row per entry: STOP closes from any state; START and YES re-open from STOP and do
-- nothing otherwise. By time of occurrence, so that late entries end in the same state. An array and not a join,
-- because only that reaches the index through the window functions.
CREATE FUNCTION consent_history(phones text[])
RETURNS TABLE (id uuid, phone_e164 text, occurred_at timestamptz, action text, source text, message_sid text, evidence text, state_before text, state_after text)
STABLE LANGUAGE sql AS $$
    WITH counted AS (
        SELECT l.*, count(*) FILTER (WHERE l.action = 'stop') OVER person AS stops,
               lag(l.action) OVER person AS action_before
        FROM consent_ledger l
        WHERE l.phone_e164 = ANY (phones)
        WINDOW person AS (PARTITION BY l.phone_e164 ORDER BY l.occurred_at, l.id)
    ), folded AS (
        SELECT c.*, CASE WHEN c.stops = 0 THEN 'UNKNOWN' WHEN c.action = 'stop' THEN 'STOP' ELSE 'OPT_IN' END AS state_after
        FROM counted c
    )
    SELECT f.id, f.phone_e164, f.occurred_at, f.action, f.source, f.message_sid, f.evidence,
           coalesce(lag(f.state_after) OVER (PARTITION BY f.phone_e164 ORDER BY f.occurred_at, f.id), 'UNKNOWN') AS state_before,
           f.state_after
    FROM folded f
$$;

------------------------------------------------------------------------------------------------------------------
-- analytics: roll-ups
------------------------------------------------------------------------------------------------------------------

-- The bucket of a DDSketch with 1 % relative error; kernel/stats.py holds the same formula.
CREATE FUNCTION sketch_index(microseconds bigint) RETURNS integer IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN ceil(ln(greatest(microseconds, 1000)::float8 / 1000000) / ln(1.01::float8 / 0.99::float8))::integer;

-- Both grains are kept for all additive figures. Quarter-hours and not hours, because every zone's offset is a multiple
-- of 15 minutes: local hours and days are whole sums of buckets in every zone.
CREATE FUNCTION bucket_of(grain text, at timestamptz) RETURNS timestamptz IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN date_bin(CASE grain WHEN 'minute' THEN interval '1 minute' ELSE interval '15 minutes' END, at, timestamptz '2000-01-01 00:00+00');
CREATE FUNCTION bucket_after(grain text, at timestamptz) RETURNS timestamptz IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN bucket_of(grain, at + CASE grain WHEN 'minute' THEN interval '59.999999 seconds' ELSE interval '14 minutes 59.999999 seconds' END);

CREATE TABLE message_rollups (
    grain       text        NOT NULL CHECK (grain IN ('minute', 'quarter')),
    bucket      timestamptz NOT NULL,
    campaign_id uuid        NOT NULL, -- all zeros: external
    channel     text        NOT NULL,
    country     text        NOT NULL, -- '': unknown
    status      text        NOT NULL,
    error_code  integer     NOT NULL, -- 0: none
    messages    bigint      NOT NULL,
    sent        bigint      NOT NULL,
    conflicts   bigint      NOT NULL,
    PRIMARY KEY (grain, bucket, campaign_id, channel, country, status, error_code)
) WITH (fillfactor = 70);

CREATE TABLE delivery_time_rollups (
    grain        text        NOT NULL CHECK (grain IN ('minute', 'quarter')),
    bucket       timestamptz NOT NULL,
    campaign_id  uuid        NOT NULL,
    channel      text        NOT NULL,
    country      text        NOT NULL,
    idx          integer     NOT NULL, -- sketch_index
    messages     bigint      NOT NULL,
    microseconds bigint      NOT NULL, -- their sum
    fastest      bigint      NOT NULL, -- exact, microseconds
    slowest      bigint      NOT NULL,
    PRIMARY KEY (grain, bucket, campaign_id, channel, country, idx)
) WITH (fillfactor = 70);

CREATE TABLE inbound_rollups (
    grain       text        NOT NULL CHECK (grain IN ('minute', 'quarter')),
    bucket      timestamptz NOT NULL,
    channel     text        NOT NULL,
    intent      text        NOT NULL,
    messages    bigint      NOT NULL,
    immediate   bigint      NOT NULL,
    auto_replied bigint     NOT NULL,
    PRIMARY KEY (grain, bucket, channel, intent)
) WITH (fillfactor = 70);

CREATE TABLE consent_rollups (
    grain       text        NOT NULL CHECK (grain IN ('minute', 'quarter')),
    bucket      timestamptz NOT NULL,
    from_state  text        NOT NULL,
    to_state    text        NOT NULL,
    source      text        NOT NULL,
    transitions bigint      NOT NULL,
    PRIMARY KEY (grain, bucket, from_state, to_state, source)
) WITH (fillfactor = 70);

CREATE TABLE user_rollups (
    consent_state text   NOT NULL PRIMARY KEY,
    users         bigint NOT NULL
);

-- The roll-up rows of [since, until), exact for any instants: whole quarter-hours, whole minutes beside them, and the
-- raw rows of less than a minute at each end. One shape for all: left part [from, least(inner, to)), right part
-- [greatest(inner end, left end), to).
CREATE FUNCTION message_counts(since timestamptz, until timestamptz)
RETURNS TABLE (at timestamptz, campaign_id uuid, channel text, country text, status text, error_code integer, messages bigint, sent bigint, conflicts bigint)
STABLE LANGUAGE sql AS $$
    SELECT bucket, campaign_id, channel, country, status, error_code, messages, sent, conflicts
    FROM message_rollups
    WHERE grain = 'quarter' AND bucket >= bucket_after('quarter', since) AND bucket < bucket_of('quarter', until)
    UNION ALL
    SELECT bucket, campaign_id, channel, country, status, error_code, messages, sent, conflicts
    FROM message_rollups
    WHERE grain = 'minute' AND bucket >= bucket_after('minute', since)
      AND bucket < least(bucket_after('quarter', since), bucket_of('minute', until))
    UNION ALL
    SELECT bucket, campaign_id, channel, country, status, error_code, messages, sent, conflicts
    FROM message_rollups
    WHERE grain = 'minute'
      AND bucket >= greatest(bucket_of('quarter', until), least(bucket_after('quarter', since), bucket_of('minute', until)))
      AND bucket < bucket_of('minute', until)
    UNION ALL
    SELECT m.cohort_at, coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000'), m.channel, coalesce(m.country, ''), m.status, m.failure_code, 1, m.is_sent::int, m.is_conflict::int
    FROM messages m
    WHERE m.cohort_at >= since AND m.cohort_at < least(bucket_after('minute', since), until)
    UNION ALL
    SELECT m.cohort_at, coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000'), m.channel, coalesce(m.country, ''), m.status, m.failure_code, 1, m.is_sent::int, m.is_conflict::int
    FROM messages m
    WHERE m.cohort_at >= greatest(bucket_of('minute', until), least(bucket_after('minute', since), until)) AND m.cohort_at < until
$$;

CREATE FUNCTION delivery_time_counts(since timestamptz, until timestamptz)
RETURNS TABLE (at timestamptz, campaign_id uuid, channel text, country text, idx integer, messages bigint, microseconds bigint, fastest bigint, slowest bigint)
STABLE LANGUAGE sql AS $$
    SELECT bucket, campaign_id, channel, country, idx, messages, microseconds, fastest, slowest
    FROM delivery_time_rollups
    WHERE grain = 'quarter' AND bucket >= bucket_after('quarter', since) AND bucket < bucket_of('quarter', until) AND messages > 0
    UNION ALL
    SELECT bucket, campaign_id, channel, country, idx, messages, microseconds, fastest, slowest
    FROM delivery_time_rollups
    WHERE grain = 'minute' AND bucket >= bucket_after('minute', since)
      AND bucket < least(bucket_after('quarter', since), bucket_of('minute', until)) AND messages > 0
    UNION ALL
    SELECT bucket, campaign_id, channel, country, idx, messages, microseconds, fastest, slowest
    FROM delivery_time_rollups
    WHERE grain = 'minute'
      AND bucket >= greatest(bucket_of('quarter', until), least(bucket_after('quarter', since), bucket_of('minute', until)))
      AND bucket < bucket_of('minute', until) AND messages > 0
    UNION ALL
    SELECT m.cohort_at, coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000'), m.channel, coalesce(m.country, ''), sketch_index(m.delivery_us), 1, m.delivery_us, m.delivery_us, m.delivery_us
    FROM messages m
    WHERE m.cohort_at >= since AND m.cohort_at < least(bucket_after('minute', since), until) AND m.delivery_us IS NOT NULL
    UNION ALL
    SELECT m.cohort_at, coalesce(m.campaign_id, '00000000-0000-0000-0000-000000000000'), m.channel, coalesce(m.country, ''), sketch_index(m.delivery_us), 1, m.delivery_us, m.delivery_us, m.delivery_us
    FROM messages m
    WHERE m.cohort_at >= greatest(bucket_of('minute', until), least(bucket_after('minute', since), until)) AND m.cohort_at < until
      AND m.delivery_us IS NOT NULL
$$;

CREATE FUNCTION inbound_counts(since timestamptz, until timestamptz)
RETURNS TABLE (at timestamptz, channel text, intent text, messages bigint, immediate bigint, auto_replied bigint)
STABLE LANGUAGE sql AS $$
    SELECT bucket, channel, intent, messages, immediate, auto_replied
    FROM inbound_rollups
    WHERE grain = 'quarter' AND bucket >= bucket_after('quarter', since) AND bucket < bucket_of('quarter', until)
    UNION ALL
    SELECT bucket, channel, intent, messages, immediate, auto_replied
    FROM inbound_rollups
    WHERE grain = 'minute' AND bucket >= bucket_after('minute', since)
      AND bucket < least(bucket_after('quarter', since), bucket_of('minute', until))
    UNION ALL
    SELECT bucket, channel, intent, messages, immediate, auto_replied
    FROM inbound_rollups
    WHERE grain = 'minute'
      AND bucket >= greatest(bucket_of('quarter', until), least(bucket_after('quarter', since), bucket_of('minute', until)))
      AND bucket < bucket_of('minute', until)
    UNION ALL
    SELECT received_at, channel, intent, 1, is_immediate::int, is_auto_replied::int
    FROM inbound_events
    WHERE received_at >= since AND received_at < least(bucket_after('minute', since), until)
    UNION ALL
    SELECT received_at, channel, intent, 1, is_immediate::int, is_auto_replied::int
    FROM inbound_events
    WHERE received_at >= greatest(bucket_of('minute', until), least(bucket_after('minute', since), until)) AND received_at < until
$$;

-- Consent changes: their edges come from the ledger of the people who spoke in that minute.
CREATE FUNCTION consent_counts(since timestamptz, until timestamptz)
RETURNS TABLE (at timestamptz, from_state text, to_state text, source text, transitions bigint)
STABLE LANGUAGE sql AS $$
    SELECT bucket, from_state, to_state, source, transitions
    FROM consent_rollups
    WHERE grain = 'quarter' AND bucket >= bucket_after('quarter', since) AND bucket < bucket_of('quarter', until)
    UNION ALL
    SELECT bucket, from_state, to_state, source, transitions
    FROM consent_rollups
    WHERE grain = 'minute' AND bucket >= bucket_after('minute', since)
      AND bucket < least(bucket_after('quarter', since), bucket_of('minute', until))
    UNION ALL
    SELECT bucket, from_state, to_state, source, transitions
    FROM consent_rollups
    WHERE grain = 'minute'
      AND bucket >= greatest(bucket_of('quarter', until), least(bucket_after('quarter', since), bucket_of('minute', until)))
      AND bucket < bucket_of('minute', until)
    UNION ALL
    SELECT h.occurred_at, h.state_before, h.state_after, h.source, 1
    FROM consent_history(ARRAY(
            SELECT l.phone_e164 FROM consent_ledger l
            WHERE l.occurred_at >= since AND l.occurred_at < least(bucket_after('minute', since), until)
               OR l.occurred_at >= greatest(bucket_of('minute', until), least(bucket_after('minute', since), until)) AND l.occurred_at < until)) AS h
    WHERE h.state_before <> h.state_after
      AND (h.occurred_at >= since AND h.occurred_at < least(bucket_after('minute', since), until)
           OR h.occurred_at >= greatest(bucket_of('minute', until), least(bucket_after('minute', since), until)) AND h.occurred_at < until)
$$;
CREATE INDEX consent_ledger_occurred ON consent_ledger (occurred_at);

------------------------------------------------------------------------------------------------------------------
-- monitoring: the engine's own processes and pipeline
------------------------------------------------------------------------------------------------------------------

CREATE TABLE processes (
    id         uuid PRIMARY KEY,
    kind       text        NOT NULL CHECK (kind IN ('web', 'worker')),
    host       text        NOT NULL,
    pid        integer     NOT NULL,
    started_at timestamptz NOT NULL,
    beat_at    timestamptz NOT NULL,
    spooled    bigint      NOT NULL DEFAULT 0 -- events this process holds on disk
);

-- The minutes in which a process of this kind gave a sign of life.
CREATE TABLE uptime_minutes (
    minute timestamptz NOT NULL,
    kind   text        NOT NULL,
    PRIMARY KEY (minute, kind)
);

-- Live webhooks applied in a minute and how long they took from receipt.
CREATE TABLE pipeline_rollups (
    minute       timestamptz PRIMARY KEY,
    events       bigint NOT NULL,
    microseconds bigint NOT NULL,
    slowest      bigint NOT NULL
) WITH (fillfactor = 50);

------------------------------------------------------------------------------------------------------------------
-- access: who may enter
------------------------------------------------------------------------------------------------------------------

CREATE TABLE operators (
    id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE CHECK (email = lower(email)),
    name text NOT NULL,
    password_hash text NOT NULL, -- argon2id with its parameters and salt
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at timestamptz NOT NULL,
    disabled_at timestamptz
);

CREATE TABLE sessions (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32), -- SHA-256; the token itself is only in the browser
    operator_id uuid NOT NULL REFERENCES operators (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL
);
CREATE INDEX sessions_operator_id ON sessions (operator_id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    key_prefix text NOT NULL, -- what lists show of the key
    key_hash bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32), -- SHA-256 of the whole key
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz
);
CREATE UNIQUE INDEX api_keys_name ON api_keys (name) WHERE revoked_at IS NULL;

CREATE TABLE sign_in_attempts (
    subject bytea PRIMARY KEY CHECK (octet_length(subject) = 32), -- SHA-256 of an e-mail or of a network address
    free_at timestamptz NOT NULL -- when the attempts made so far are forgotten
);
CREATE INDEX sign_in_attempts_free_at ON sign_in_attempts (free_at);
