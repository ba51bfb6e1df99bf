-- Recommendations: what the engine advises, what people make of it, what came of it.

-- One row from the first sight of an advice to its end. While it is followed, there is one for each key.
CREATE TABLE recommendations (
    id           uuid             PRIMARY KEY DEFAULT gen_random_uuid(),
    key          text             NOT NULL, -- kind and subject: the same advice has the same key in every look
    kind         text             NOT NULL, -- slug of insights/recommendations.py
    state        text             NOT NULL CHECK (state IN ('open', 'dismissed', 'taken', 'gone')),
    content      jsonb            NOT NULL, -- title, text, figures, evidence, action, measure; no number, no name of a person
    gain         double precision,          -- expected, messages in 30 days; NULL: not known, or not in messages
    opened_at    timestamptz      NOT NULL,
    found_at     timestamptz      NOT NULL, -- by the last look that found it
    seen_at      timestamptz,               -- somebody opened it first
    seen_by      text,                      -- as in audit_log.actor
    decided_at   timestamptz,               -- dismissed or taken
    decided_by   text,
    reason       text,                      -- of the dismissal
    done         text,                      -- what the action did
    measured_at  timestamptz,
    outcome      jsonb,                     -- what came of it, see insights/aftermath.py
    ended_at     timestamptz,               -- no longer followed
    CHECK ((state IN ('dismissed', 'taken')) <= (decided_at IS NOT NULL AND decided_by IS NOT NULL))
);
CREATE UNIQUE INDEX recommendations_followed ON recommendations (key) WHERE ended_at IS NULL;
CREATE INDEX recommendations_decided ON recommendations (decided_at) WHERE decided_at IS NOT NULL;
CREATE INDEX recommendations_ended ON recommendations (ended_at) WHERE ended_at IS NOT NULL;

-- The last look of each kind: what was compared, also where nothing came of it.
CREATE TABLE recommendation_looks (
    kind      text             PRIMARY KEY,
    looked_at timestamptz      NOT NULL,
    took_ms   double precision NOT NULL,
    compared  integer          NOT NULL, -- things held against each other
    found     integer          NOT NULL,
    text      text             NOT NULL, -- what was looked at and not recommended, or why it could not be looked at
    failed    boolean          NOT NULL
);

-- Failed messages by time, also those of others. Both columns are set once, so that it costs only messages that fail.
CREATE INDEX messages_failed_cohort ON messages (cohort_at) WHERE failed_at IS NOT NULL;

-- Numbers that cannot be reached are not written to either, on the channel that said so, until they write themselves.
ALTER TABLE suppressions DROP CONSTRAINT suppressions_reason_check, DROP CONSTRAINT suppressions_pkey;
ALTER TABLE suppressions
    ADD COLUMN channel text NOT NULL DEFAULT '', -- '': every channel
    ADD COLUMN source  text,                     -- what suppressed it, so that it can be undone: recommendation:<id>
    ADD CONSTRAINT suppressions_reason_check CHECK (reason IN ('erased', 'unreachable')),
    ADD CONSTRAINT suppressions_pkey PRIMARY KEY (phone_hash, channel);
CREATE INDEX suppressions_source ON suppressions (source) WHERE source IS NOT NULL;
