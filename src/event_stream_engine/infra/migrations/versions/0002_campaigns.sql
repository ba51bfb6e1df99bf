-- Audience, campaigns, compliance and the audit trail: the engine that sends.

------------------------------------------------------------------------------------------------------------------
-- audit: what was done, by whom, in a chain of hashes
------------------------------------------------------------------------------------------------------------------

-- Numbers of people are never in it: a person is `person:` and a keyed hash, so that an erasure leaves the chain whole.
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid        xid8        NOT NULL DEFAULT pg_current_xact_id(), -- commit order is (xid, id), as in the event log
    at         timestamptz NOT NULL,
    actor      text        NOT NULL, -- operator:<id>, key:<id>, person:<hash>, engine:<part>
    action     text        NOT NULL, -- subject.verb in the past: campaign.started, consent.stopped, compliance.denied
    subject    text        NOT NULL, -- campaign:<id>, message:<id>, person:<hash>, template:<id>, …
    before     jsonb,
    after      jsonb,
    request_id text
);
CREATE INDEX audit_log_commit_order ON audit_log (xid, id);
CREATE INDEX audit_log_subject ON audit_log (subject, id);
CREATE INDEX audit_log_at ON audit_log USING brin (at);

-- Links of the chain: each covers the rows after the one before it in (xid, id) order.
CREATE TABLE audit_batches (
    number     bigint PRIMARY KEY, -- 1, 2, 3 … without a gap
    until_xid  xid8        NOT NULL, -- 0: the rows up to until_id came from another cluster; the order begins anew
    until_id   bigint      NOT NULL,
    rows       integer     NOT NULL,
    row_hashes bytea       NOT NULL, -- 32 bytes a row, in order: they tell which row is bad
    hash       bytea       NOT NULL, -- SHA-256 of the hash before, number and row_hashes
    sealed_at  timestamptz NOT NULL
);
CREATE INDEX audit_batches_restored ON audit_batches (number) WHERE until_xid = '0';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_batches_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_batches FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

------------------------------------------------------------------------------------------------------------------
-- audience: people, segments, imports
------------------------------------------------------------------------------------------------------------------

ALTER TABLE users
    ADD COLUMN country       text,        -- region of the number; NULL: none known
    ADD COLUMN timezone      text,        -- as the person or an import gave it; NULL: the zones of the number hold
    ADD COLUMN updated_at    timestamptz,
    ADD COLUMN consent_entry uuid;        -- the ledger's entry that made the present state; NULL: UNKNOWN
UPDATE users SET updated_at = created_at, country = (SELECT p.country FROM phone_country(phone_e164) AS p);
ALTER TABLE users ALTER COLUMN updated_at SET NOT NULL;
CREATE INDEX users_attributes ON users USING gin (attributes jsonb_path_ops) WITH (gin_pending_list_limit = 16384); -- a larger one is flushed in fewer, longer sweeps, which an import is glad of

-- stop and prove decide by themselves; the others depend on the state they find, see consent_step.
ALTER TABLE consent_ledger DROP CONSTRAINT consent_ledger_action_check;
ALTER TABLE consent_ledger
    ADD CONSTRAINT consent_ledger_action_check CHECK (action IN ('stop', 'start', 'yes', 'opt_in', 'opt_out', 'prove')),
    ADD COLUMN actor text; -- who entered it, as in audit_log; NULL: the person, by a message
-- Only messages have a SID: a million imported entries need no place in this index.
ALTER TABLE consent_ledger DROP CONSTRAINT consent_ledger_message_sid_key;
CREATE UNIQUE INDEX consent_ledger_message ON consent_ledger (message_sid) WHERE message_sid IS NOT NULL;

-- What an entry makes of a state. `opt_in` is a claim without proof and opens only what was never closed; `prove` comes
-- with evidence and opens anything; start and yes are the person's own words and re-open from STOP alone.
CREATE FUNCTION consent_step(state text, action text) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN CASE action
        WHEN 'stop' THEN 'STOP'
        WHEN 'prove' THEN 'OPT_IN'
        WHEN 'opt_out' THEN CASE state WHEN 'STOP' THEN 'STOP' ELSE 'OPT_OUT' END
        WHEN 'opt_in' THEN CASE state WHEN 'UNKNOWN' THEN 'OPT_IN' ELSE state END
        ELSE CASE state WHEN 'STOP' THEN 'OPT_IN' ELSE state END
    END;
CREATE AGGREGATE consent_fold(text) (SFUNC = consent_step, STYPE = text, INITCOND = 'UNKNOWN', PARALLEL = SAFE);

-- The fold of the ledger, one row per entry, by time of occurrence, so that late entries end in the same state. An array
-- and not a join, because only that reaches the index through the window functions.
CREATE OR REPLACE FUNCTION consent_history(phones text[])
RETURNS TABLE (id uuid, phone_e164 text, occurred_at timestamptz, action text, source text, message_sid text, evidence text, state_before text, state_after text)
STABLE LANGUAGE sql AS $$
    WITH folded AS (
        SELECT l.*, consent_fold(l.action) OVER (PARTITION BY l.phone_e164 ORDER BY l.occurred_at, l.id) AS state_after
        FROM consent_ledger l
        WHERE l.phone_e164 = ANY (phones)
    )
    SELECT f.id, f.phone_e164, f.occurred_at, f.action, f.source, f.message_sid, f.evidence,
           coalesce(lag(f.state_after) OVER (PARTITION BY f.phone_e164 ORDER BY f.occurred_at, f.id), 'UNKNOWN') AS state_before,
           f.state_after
    FROM folded f
$$;
UPDATE users u SET consent_entry = h.id
FROM (SELECT DISTINCT ON (phone_e164) phone_e164, id
      FROM consent_history(ARRAY(SELECT DISTINCT phone_e164 FROM consent_ledger))
      WHERE state_before <> state_after ORDER BY phone_e164, occurred_at DESC, id DESC) AS h
WHERE u.phone_e164 = h.phone_e164;

-- Numbers that must not come back or must not be written to, as keyed hashes.
CREATE TABLE suppressions (
    phone_hash bytea PRIMARY KEY CHECK (octet_length(phone_hash) = 32), -- HMAC-SHA256 under ESE_SECRET_KEY
    reason     text        NOT NULL CHECK (reason IN ('erased')),
    created_at timestamptz NOT NULL
);

-- Erasures whose traces in the log are still being removed. The number goes when that is done; the pseudonym is kept
-- for the callbacks that come late, see stream/erasure.py.
CREATE TABLE erasures (
    pseudonym  text PRIMARY KEY,     -- what stands in place of the number: +999 and 12 digits, which no country gives out
    phone_e164 text,                 -- NULL: nothing is left
    erased_at  timestamptz NOT NULL,
    done_at    timestamptz
);

CREATE TABLE segments (
    id          uuid PRIMARY KEY,
    name        text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    filter      jsonb       NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    archived_at timestamptz
);
CREATE UNIQUE INDEX segments_name ON segments (name) WHERE archived_at IS NULL;

-- An import with its progress. The file lies in import_chunks, so that any host's worker can do it, and goes with its end.
CREATE TABLE imports (
    id             uuid PRIMARY KEY,
    file_name      text        NOT NULL,
    format         text        NOT NULL CHECK (format IN ('csv', 'json', 'ndjson')),
    default_region text,                 -- for numbers without country code
    consent_proof  text,                 -- evidence for every OPT_IN of the file; NULL: nothing closed is re-opened
    state          text        NOT NULL CHECK (state IN ('uploading', 'waiting', 'running', 'completed', 'failed')),
    error          text,                 -- why it failed
    actor          text        NOT NULL,
    size_bytes     bigint      NOT NULL DEFAULT 0,
    read_bytes     bigint      NOT NULL DEFAULT 0,
    rows           bigint      NOT NULL DEFAULT 0, -- read so far
    created        bigint      NOT NULL DEFAULT 0,
    changed        bigint      NOT NULL DEFAULT 0,
    unchanged      bigint      NOT NULL DEFAULT 0,
    duplicates     bigint      NOT NULL DEFAULT 0, -- the same number again; the last row won
    rejected       bigint      NOT NULL DEFAULT 0,
    applied_to     text,                 -- the last number applied, in order of numbers; where a taken over import goes on
    created_at     timestamptz NOT NULL,
    started_at     timestamptz,
    beat_at        timestamptz,          -- of the worker that does it; an old one means it died
    finished_at    timestamptz
);
CREATE INDEX imports_created ON imports (created_at);
CREATE TABLE import_chunks (
    import_id uuid    NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    number    integer NOT NULL,
    bytes     bytea   NOT NULL,
    PRIMARY KEY (import_id, number)
);
ALTER TABLE import_chunks ALTER COLUMN bytes SET STORAGE EXTERNAL; -- compressing costs more than it saves here
CREATE TABLE import_rejects (
    import_id uuid   NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    row       bigint NOT NULL,
    reason    text   NOT NULL,
    value     text   NOT NULL, -- the number, or the beginning of the row, as it was
    PRIMARY KEY (import_id, row)
);

------------------------------------------------------------------------------------------------------------------
-- messaging: our own messages beside the external ones
------------------------------------------------------------------------------------------------------------------

-- Number prefix → zones after libphonenumber, as phone_regions; the longest prefix decides.
CREATE TABLE phone_zones (
    prefix text PRIMARY KEY, -- digits after the plus
    zones  text[] NOT NULL
);
CREATE FUNCTION zones_of_phone(phone text) RETURNS TABLE (zones text[]) STABLE PARALLEL SAFE ROWS 1 LANGUAGE sql AS $$
    SELECT z.zones FROM phone_zones z
    WHERE z.prefix IN (substr(phone, 2, 1), substr(phone, 2, 2), substr(phone, 2, 3), substr(phone, 2, 4), substr(phone, 2, 5),
                       substr(phone, 2, 6), substr(phone, 2, 7), substr(phone, 2, 8), substr(phone, 2, 9), substr(phone, 2, 10))
    ORDER BY length(z.prefix) DESC LIMIT 1
$$;

-- An external message is known by its receipts alone. One of ours begins as a row (id, campaign_id, recipient_phone,
-- channel, sender, country, queued_at, in_reply_to), and everything after that comes from the log, from the sender's
-- outcomes and the provider's receipts. Still every column is a minimum or a maximum, so that order does not matter.
DROP VIEW delivery_receipts;
ALTER TABLE messages
    DROP COLUMN is_sent, DROP COLUMN failure_code, DROP COLUMN delivery_us, DROP COLUMN status;
ALTER TABLE messages RENAME COLUMN cohort_at TO first_seen_at;
DROP INDEX messages_cohort, messages_recipient;
ALTER TABLE messages
    ALTER COLUMN first_seen_at DROP NOT NULL, ALTER COLUMN first_status DROP NOT NULL,
    ALTER COLUMN last_status DROP NOT NULL, ALTER COLUMN last_seen_at DROP NOT NULL,
    ADD COLUMN queued_at   timestamptz, -- when it was made; NULL: external
    ADD COLUMN in_reply_to text,        -- SID of the inbound message an auto-reply answers
    ADD COLUMN answered_at timestamptz, -- the provider accepted or refused it
    ADD COLUMN skipped_at  timestamptz,
    ADD COLUMN skip_reason text,
    ADD COLUMN unsure_at   timestamptz, -- last time an attempt's outcome was not known
    ADD COLUMN requeued_at timestamptz; -- last time the provider turned out not to have it
ALTER TABLE messages
    -- The moment windows select by.
    ADD COLUMN cohort_at timestamptz GENERATED ALWAYS AS (CASE WHEN queued_at IS NULL THEN first_seen_at ELSE coalesce(answered_at, first_seen_at) END) STORED,
    ADD COLUMN status text NOT NULL GENERATED ALWAYS AS (CASE
        WHEN read_at IS NOT NULL THEN 'READ'
        WHEN delivered_at IS NOT NULL THEN 'DELIVERED'
        WHEN canceled_at <= coalesce(failed_at, 'infinity') THEN 'CANCELED'
        WHEN failed_at IS NOT NULL THEN status_name(failed_status)
        WHEN sent_at IS NOT NULL THEN 'SENT'
        WHEN early_status IS NOT NULL THEN status_name(early_status)
        WHEN skipped_at IS NOT NULL THEN 'SKIPPED'
        WHEN unsure_at > coalesce(requeued_at, '-infinity') THEN 'UNKNOWN'
        ELSE 'PENDING' END) STORED,
    -- The provider gave a SID; external: unless failed from first to last.
    ADD COLUMN is_sent boolean NOT NULL GENERATED ALWAYS AS (CASE WHEN queued_at IS NULL THEN NOT (first_status = 6 AND last_status = 6) ELSE provider_sid IS NOT NULL END) STORED,
    ADD COLUMN failure_code integer NOT NULL GENERATED ALWAYS AS (CASE
        WHEN failed_at IS NOT NULL AND read_at IS NULL AND delivered_at IS NULL AND (canceled_at <= failed_at) IS NOT TRUE
        THEN coalesce(error_code, 0) ELSE 0 END) STORED, -- 0: none
    -- From the provider's acceptance; external: from the first `sent`.
    ADD COLUMN delivery_us bigint GENERATED ALWAYS AS (CASE
        WHEN delivered_at >= CASE WHEN queued_at IS NULL THEN sent_at ELSE answered_at END
        THEN round(date_part('epoch', delivered_at - CASE WHEN queued_at IS NULL THEN sent_at ELSE answered_at END) * 1000000)::bigint END) STORED;
CREATE INDEX messages_cohort ON messages (cohort_at);
CREATE INDEX messages_recipient ON messages (recipient_phone, cohort_at);
CREATE INDEX messages_replies ON messages (in_reply_to) WHERE in_reply_to IS NOT NULL;
-- The rare kinds of a campaign's messages, found without reading all of it. On columns that are set once: an index on the
-- status would cost every update of a message its being HOT.
CREATE INDEX messages_failed ON messages (id) WHERE failed_at IS NOT NULL AND campaign_id IS NOT NULL;
CREATE INDEX messages_skipped ON messages (id) WHERE skipped_at IS NOT NULL AND campaign_id IS NOT NULL;
CREATE INDEX messages_unsure ON messages (id) WHERE unsure_at IS NOT NULL AND campaign_id IS NOT NULL;
CREATE VIEW delivery_receipts AS
    SELECT provider_sid AS message_sid,
           CASE status WHEN 'READ' THEN 'delivered' ELSE lower(status) END AS message_status,
           error_code, last_seen_at AS received_at, delivered_at, read_at
    FROM messages
    WHERE provider_sid IS NOT NULL;

-- The key under which a delivery in progress holds off the STOP of the same person, and a STOP the next delivery.
CREATE FUNCTION person_lock(phone text) RETURNS bigint IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN hashtextextended(phone, 5150);

------------------------------------------------------------------------------------------------------------------
-- campaigns: what is sent, to whom, when and how fast
------------------------------------------------------------------------------------------------------------------

CREATE TABLE templates (
    id                uuid PRIMARY KEY,
    name              text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    channel           text        NOT NULL CHECK (channel IN ('sms', 'whatsapp')),
    locale            text        NOT NULL, -- BCP 47
    body              text        NOT NULL, -- with {placeholder} or {placeholder|default}
    content_sid       text,                 -- an approved WhatsApp template
    content_variables jsonb       NOT NULL DEFAULT '{}', -- its variables: number → text with placeholders
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    archived_at       timestamptz
);
CREATE UNIQUE INDEX templates_name ON templates (name) WHERE archived_at IS NULL;

CREATE TABLE campaigns (
    id              uuid PRIMARY KEY,
    name            text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    segment_id      uuid        NOT NULL REFERENCES segments (id),
    template_id     uuid        NOT NULL REFERENCES templates (id),
    sender          text        NOT NULL, -- E.164, or a messaging service's SID
    rate_per_second integer     NOT NULL CHECK (rate_per_second BETWEEN 1 AND 10000),
    quiet_starts    time        NOT NULL DEFAULT '21:00', -- local time of the recipient; equal to quiet_ends: no window
    quiet_ends      time        NOT NULL DEFAULT '08:00',
    state           text        NOT NULL CHECK (state IN ('draft', 'scheduled', 'running', 'paused', 'completed', 'cancelled')),
    template        jsonb,                -- the template's content as it was at the start: later edits change nothing sent
    filter          jsonb,                -- the segment's filter as it was at the start
    created_by      text        NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    scheduled_at    timestamptz,          -- when it is to start
    started_at      timestamptz,
    finished_at     timestamptz,          -- completed or cancelled
    filled_to       text,                 -- the last number made a recipient so far
    filled_at       timestamptz,          -- all recipients have been made
    recipients      bigint      NOT NULL DEFAULT 0 -- made so far
);
CREATE INDEX campaigns_created ON campaigns (created_at);
CREATE INDEX campaigns_open ON campaigns (state) WHERE state IN ('scheduled', 'running', 'paused');

-- What is still to be handed over, one row per message; gone when the outcome is known. A claimed row carries its whole
-- decision, so that whoever finishes it, also after a crash, can write it into the audit log.
CREATE TABLE outbox (
    message_id      uuid PRIMARY KEY,
    campaign_id     uuid,                 -- NULL: an auto-reply
    recipient_phone text        NOT NULL,
    due_at          timestamptz NOT NULL,
    attempts        smallint    NOT NULL DEFAULT 0, -- calls begun
    defer_reason    text,                 -- why it is not due earlier
    body            text,                 -- of an auto-reply; of a claimed message: as handed over
    claimed_by      uuid,                 -- the process that is handing it over
    lease_until     timestamptz,
    handed_at       timestamptz,          -- the call began in this second of its campaign's pace
    unsure_since    timestamptz,          -- the call ended without an answer
    decision        jsonb
) WITH (fillfactor = 70);
CREATE INDEX outbox_due ON outbox (campaign_id, due_at, message_id) WHERE claimed_by IS NULL AND unsure_since IS NULL;
CREATE INDEX outbox_deferred ON outbox (campaign_id, defer_reason, due_at) WHERE defer_reason IS NOT NULL;
CREATE INDEX outbox_claimed ON outbox (lease_until) WHERE claimed_by IS NOT NULL;
CREATE INDEX outbox_unsure ON outbox (unsure_since) WHERE unsure_since IS NOT NULL;
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Messages of a campaign handed over in a second, shared by all workers; the limit is kept under this row's lock.
CREATE TABLE pace (
    campaign_id uuid        NOT NULL,
    second      timestamptz NOT NULL,
    taken       integer     NOT NULL,
    PRIMARY KEY (campaign_id, second)
) WITH (fillfactor = 50);

-- Until when nobody calls the provider, because it asked for that.
CREATE TABLE provider_pauses (
    provider     text PRIMARY KEY,
    paused_until timestamptz NOT NULL,
    reason       text        NOT NULL
);

CREATE TABLE prohibited_words (
    word       text PRIMARY KEY CHECK (word = lower(word) AND word <> ''), -- a word or a phrase, found on word boundaries
    created_at timestamptz NOT NULL
);

-- Stricter or other hours than a campaign's own, by calling code or area code; the longest prefix decides, and both the
-- rule's window and the campaign's hold.
CREATE TABLE quiet_hours_rules (
    prefix text PRIMARY KEY CHECK (prefix ~ '^[1-9][0-9]*$'), -- digits after the plus
    starts time NOT NULL,
    ends   time NOT NULL,
    reason text NOT NULL
);
INSERT INTO quiet_hours_rules (prefix, starts, ends, reason) VALUES ('1', '21:00', '08:00', 'TCPA');
INSERT INTO quiet_hours_rules (prefix, starts, ends, reason)
SELECT '1' || area, '20:00', '08:00', reason
FROM (VALUES
    ('Florida', ARRAY[239, 305, 321, 324, 352, 386, 407, 448, 561, 645, 656, 689, 727, 728, 754, 772, 786, 813, 850, 863, 904, 941, 954]),
    ('Oklahoma', ARRAY[405, 539, 572, 580, 918]),
    ('Washington', ARRAY[206, 253, 360, 425, 509, 564])
) AS states (reason, areas), unnest(areas) AS area;

-- Answers sent by themselves. A rule without words answers the intent; one with words answers a body that is one of them.
CREATE TABLE reply_rules (
    id                 uuid PRIMARY KEY,
    intent             text     NOT NULL CHECK (intent IN ('stop', 'help', 'start', 'order', 'general')),
    words              text[]   NOT NULL DEFAULT '{}', -- folded
    body               text     NOT NULL CHECK (length(body) BETWEEN 1 AND 1600),
    per_person_minutes integer  NOT NULL CHECK (per_person_minutes BETWEEN 0 AND 44640), -- at most one in so many
    is_enabled         boolean  NOT NULL DEFAULT true,
    created_at         timestamptz NOT NULL
);
CREATE TABLE reply_times (
    rule_id    uuid        NOT NULL REFERENCES reply_rules (id) ON DELETE CASCADE,
    phone_e164 text        NOT NULL,
    replied_at timestamptz NOT NULL,
    PRIMARY KEY (rule_id, phone_e164)
);
INSERT INTO reply_rules (id, intent, body, per_person_minutes, created_at) VALUES
    ('01900000-0000-8000-a000-000000000001', 'stop', 'You are unsubscribed and will get no more messages. Reply START to subscribe again.', 0, now()),
    ('01900000-0000-8000-a000-000000000002', 'help', 'You get these messages because you subscribed to them. Reply STOP to unsubscribe.', 60, now()),
    ('01900000-0000-8000-a000-000000000003', 'start', 'You are subscribed again. Reply STOP to unsubscribe, HELP for help.', 60, now());

-- Runs of the comparison with the provider's list.
CREATE TABLE reconciliations (
    id          uuid PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    unsure      integer NOT NULL DEFAULT 0, -- messages whose outcome was not known
    found       integer NOT NULL DEFAULT 0, -- of these: the provider has them
    requeued    integer NOT NULL DEFAULT 0, -- of these: it does not
    silent      integer NOT NULL DEFAULT 0, -- accepted messages without a final callback that were asked for
    closed      integer NOT NULL DEFAULT 0, -- of these: the provider knew more
    error       text
);
CREATE INDEX reconciliations_started ON reconciliations (started_at);

------------------------------------------------------------------------------------------------------------------
-- analytics
------------------------------------------------------------------------------------------------------------------

-- A campaign's messages by present status, without time. PENDING is campaigns.recipients less all of these.
CREATE TABLE campaign_rollups (
    campaign_id uuid   NOT NULL,
    status      text   NOT NULL,
    reason      text   NOT NULL, -- of SKIPPED; else ''
    messages    bigint NOT NULL,
    PRIMARY KEY (campaign_id, status, reason)
) WITH (fillfactor = 50);
