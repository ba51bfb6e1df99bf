-- Exits: counters that never fall, for whoever scrapes us, and keys that may read nothing else.

-- What projected batches added, for ever. A figure may fall, when a failed message is delivered after all or a late
-- callback corrects a time; to a scraper a counter that falls is an engine that began anew at 0, so here only what a batch
-- adds is counted. Written by the projector alone.
CREATE TABLE projected_totals (
    name  text   NOT NULL, -- the counter, or `…_sketch` and `…_microseconds` of a distribution
    label text   NOT NULL, -- error code, intent, states with '>' between them, place of a sketch; '': there is none
    total bigint NOT NULL,
    PRIMARY KEY (name, label)
) WITH (fillfactor = 50);

-- The rows of intake_counts that are no longer kept by the minute, added up.
CREATE TABLE intake_totals (
    event_type text   NOT NULL,
    outcome    text   NOT NULL,
    events     bigint NOT NULL,
    PRIMARY KEY (event_type, outcome)
);

ALTER TABLE api_keys DROP CONSTRAINT api_keys_role_check,
    ADD CONSTRAINT api_keys_role_check CHECK (role IN ('metrics', 'viewer', 'operator', 'admin'));
