-- Exports: what was asked for, and the files until they expire.

CREATE TABLE exports (
    id             uuid        PRIMARY KEY,
    set_name       text        NOT NULL,
    format         text        NOT NULL CHECK (format IN ('csv', 'ndjson', 'parquet', 'xlsx')),
    filters        jsonb       NOT NULL, -- parameters of the set's query; those left out are NULL
    shows_numbers  boolean     NOT NULL, -- false: phone numbers are masked
    actor          text        NOT NULL, -- as in audit_log
    state          text        NOT NULL CHECK (state IN ('waiting', 'running', 'completed', 'failed', 'cancelled', 'expired')),
    error          text,                 -- of a failed one
    attempts       integer     NOT NULL DEFAULT 0,
    claim_id       uuid,                 -- whose work counts: a worker that was given up for lost has an older one
    estimated_rows bigint,               -- as the planner sees it
    rows           bigint      NOT NULL DEFAULT 0,
    file_bytes     bigint      NOT NULL DEFAULT 0,
    stored_bytes   bigint      NOT NULL DEFAULT 0, -- of its parts; CSV and NDJSON are stored compressed
    as_of          timestamptz,          -- the instant of all its rows
    created_at     timestamptz NOT NULL,
    started_at     timestamptz,
    beat_at        timestamptz,          -- sign of life of the worker that makes it
    finished_at    timestamptz,
    expires_at     timestamptz           -- when the file goes
);
CREATE INDEX exports_created ON exports (created_at, id);
CREATE INDEX exports_open ON exports (created_at, id) WHERE state IN ('waiting', 'running');
CREATE INDEX exports_expiry ON exports (expires_at) WHERE state = 'completed';

-- The files, in pieces, so that any worker may write and any web process may read them.
CREATE TABLE export_parts (
    export_id uuid    NOT NULL REFERENCES exports ON DELETE CASCADE,
    number    integer NOT NULL,
    bytes     bytea   NOT NULL,
    PRIMARY KEY (export_id, number)
);
ALTER TABLE export_parts ALTER COLUMN bytes SET STORAGE EXTERNAL; -- they are compressed already
