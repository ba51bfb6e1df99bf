-- Compliance, checked anew from raw rows: what was handed over, and what of it should not have been.

-- Entries from now on carry their transaction, so that a late one finds the hand-overs it puts in another light. Entries
-- that are there already were known before anything was checked.
ALTER TABLE consent_ledger ADD COLUMN xid xid8;
ALTER TABLE consent_ledger ALTER COLUMN xid SET DEFAULT pg_current_xact_id();
CREATE INDEX consent_ledger_commit_order ON consent_ledger (xid) WHERE xid IS NOT NULL;

-- Few rows among very many: what a place's quiet hours were at a moment follows from the changes after it.
CREATE INDEX audit_log_quiet_rules ON audit_log (at)
    WHERE action IN ('quiet_hours_rule.created', 'quiet_hours_rule.changed', 'quiet_hours_rule.deleted');

-- How far the check has come: everything of transactions up to this one is checked.
CREATE TABLE compliance_place (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    xid      xid8   NOT NULL,
    floor_id bigint NOT NULL -- audit rows up to this id were ordered by another cluster, see after-restore.sql
);
INSERT INTO compliance_place (xid, floor_id)
SELECT '0', coalesce(max(until_id), 0) FROM audit_batches WHERE until_xid = '0';

-- What was found, each once, with its evidence. No number of a person: the message has it.
CREATE TABLE compliance_violations (
    id          uuid        NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('consent', 'quiet_hours', 'zone_unknown', 'rate', 'decision_missing', 'event_missing')),
    at          timestamptz NOT NULL, -- when it was handed over; rate: the second
    campaign_id uuid        NOT NULL, -- all zeros: an auto-reply
    message_id  uuid        NOT NULL, -- all zeros: rate
    evidence    jsonb       NOT NULL,
    found_at    timestamptz NOT NULL,
    PRIMARY KEY (kind, campaign_id, message_id, at)
);
CREATE UNIQUE INDEX compliance_violations_place ON compliance_violations (at, id);
CREATE INDEX compliance_violations_message ON compliance_violations (message_id);

-- Calls to the provider by the second they began in, and the same by quarter-hour and by day of UTC. The columns of a
-- quarter are those of its seconds added up, but for the peak; those of a day are of its quarters.
CREATE TABLE compliance_rollups (
    grain         text        NOT NULL CHECK (grain IN ('second', 'quarter', 'day')),
    bucket        timestamptz NOT NULL,
    campaign_id   uuid        NOT NULL, -- all zeros: auto-replies
    handed_over   bigint      NOT NULL,
    seconds       bigint      NOT NULL, -- in which anything was handed over
    peak          bigint      NOT NULL, -- the most in one second
    rescheduled   bigint      NOT NULL, -- messages that quiet hours put off for the first time
    logged        bigint      NOT NULL, -- decisions and outcome events that were found
    unconsented   bigint      NOT NULL DEFAULT 0,
    quiet         bigint      NOT NULL DEFAULT 0,
    zone_unknown  bigint      NOT NULL DEFAULT 0,
    over_limit    bigint      NOT NULL DEFAULT 0, -- seconds
    missing       bigint      NOT NULL DEFAULT 0, -- decisions and outcome events that were not found
    PRIMARY KEY (grain, bucket, campaign_id)
) WITH (fillfactor = 70);

-- The clock on somebody's wall, by this database's own time zones and not the sender's; NULL when it does not know the zone.
CREATE FUNCTION wall_clock(at timestamptz, zone text) RETURNS time STABLE LANGUAGE plpgsql AS $$
BEGIN
    RETURN (at AT TIME ZONE zone)::time;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN NULL;
END $$;

-- Whether a clock stands in [starts, ends), over midnight when it ends before it starts; equal: never.
CREATE FUNCTION is_within_hours(clock time, starts time, ends time) RETURNS boolean IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN CASE WHEN starts <= ends THEN clock >= starts AND clock < ends ELSE clock >= starts OR clock < ends END;

-- How the call of a decision ended, and when it began: what its last delivery step says. One row, for a decision without
-- a delivery with an empty outcome.
CREATE FUNCTION delivery_of(decision jsonb, noted_at timestamptz) RETURNS TABLE (outcome text, handed_at timestamptz) STABLE PARALLEL SAFE ROWS 1 LANGUAGE sql AS $$
    SELECT coalesce((array_agg(s.step ->> 'outcome' ORDER BY s.place DESC))[1], ''),
           coalesce((max(s.step ->> 'handed_at'))::timestamptz, noted_at)
    FROM jsonb_array_elements(decision -> 'steps') WITH ORDINALITY AS s (step, place)
    WHERE s.step ->> 'step' = 'delivery'
$$;
