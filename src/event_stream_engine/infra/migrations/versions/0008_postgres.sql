-- The database watched: what PostgreSQL counts since its start, kept as differences by minute, quarter-hour and day.

-- When it was looked at, and what could not be counted since the look before. Minutes without a loss are forgotten soon.
CREATE TABLE database_snapshots (
    minute   timestamptz PRIMARY KEY, -- one look in each, whoever takes it
    taken_at timestamptz NOT NULL,
    since    timestamptz,             -- the look before; NULL: the first, which is never forgotten
    losses   jsonb       NOT NULL DEFAULT '[]'
);
CREATE INDEX database_snapshots_losses ON database_snapshots (minute) WHERE losses <> '[]';

-- What PostgreSQL's counters stood at when it was last looked at: exactly the rows that were there then, so that one that
-- was forgotten and comes back is a new one.
CREATE TABLE database_marks (
    kind       text        NOT NULL CHECK (kind IN ('server', 'statements', 'statement', 'table', 'index')),
    id         bigint      NOT NULL, -- oid or query id
    owner      oid         NOT NULL, -- of a statement: who runs it; else 0
    began_at   timestamptz,          -- when the counters began, where PostgreSQL tells
    counters   bigint[]    NOT NULL,
    sizes      bigint[],             -- bytes of a table: all, its indexes, its rows; of an index: all
    fastest_ns bigint,
    slowest_ns bigint,
    PRIMARY KEY (kind, id, owner)
) WITH (fillfactor = 70);

-- By how much counters have grown: all they stand at when they began anew in between, which is seen by their beginning or
-- by one that fell. Never negative, and never counted twice.
CREATE FUNCTION counted_since(counters bigint[], began_at timestamptz, before bigint[], began_before timestamptz)
    RETURNS bigint[] IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
    SELECT CASE WHEN before IS NULL OR began_at IS DISTINCT FROM began_before OR bool_or(pair.stands < pair.stood)
                THEN counters ELSE array_agg(pair.stands - pair.stood ORDER BY pair.place) END
    FROM unnest(counters, before) WITH ORDINALITY AS pair (stands, stood, place)
$$;

CREATE TABLE database_rollups (
    grain         text        NOT NULL CHECK (grain IN ('minute', 'quarter', 'day')),
    bucket        timestamptz NOT NULL,
    commits       bigint      NOT NULL,
    rollbacks     bigint      NOT NULL,
    blocks_hit    bigint      NOT NULL,
    blocks_read   bigint      NOT NULL,
    temp_bytes    bigint      NOT NULL,
    deadlocks     bigint      NOT NULL,
    wal_bytes     bigint      NOT NULL, -- of the whole server
    bytes         bigint      NOT NULL, -- size at the end of the bucket
    PRIMARY KEY (grain, bucket)
) WITH (fillfactor = 70);

-- Partitions count as their table.
CREATE TABLE table_rollups (
    grain          text        NOT NULL CHECK (grain IN ('minute', 'quarter', 'day')),
    bucket         timestamptz NOT NULL,
    relation       text        NOT NULL,
    seq_scans      bigint      NOT NULL,
    seq_rows       bigint      NOT NULL,
    index_scans    bigint      NOT NULL,
    inserted       bigint      NOT NULL,
    updated        bigint      NOT NULL,
    hot_updated    bigint      NOT NULL,
    deleted        bigint      NOT NULL,
    blocks_hit     bigint      NOT NULL, -- of table and its oversized values
    blocks_read    bigint      NOT NULL,
    index_hit      bigint      NOT NULL, -- blocks of all its indexes
    index_read     bigint      NOT NULL,
    bytes          bigint      NOT NULL, -- with indexes, when it was last looked at
    PRIMARY KEY (grain, bucket, relation)
) WITH (fillfactor = 70);

CREATE TABLE index_rollups (
    grain       text        NOT NULL CHECK (grain IN ('minute', 'quarter', 'day')),
    bucket      timestamptz NOT NULL,
    relation    text        NOT NULL,
    scans       bigint      NOT NULL,
    rows_read   bigint      NOT NULL,
    blocks_hit  bigint      NOT NULL,
    blocks_read bigint      NOT NULL,
    PRIMARY KEY (grain, bucket, relation)
) WITH (fillfactor = 70);

-- The most expensive statements of each look; 0 stands for all others, among them those of other users.
CREATE TABLE statement_rollups (
    grain        text        NOT NULL CHECK (grain IN ('minute', 'quarter', 'day')),
    bucket       timestamptz NOT NULL,
    statement_id bigint      NOT NULL,
    calls        bigint      NOT NULL,
    total_ns     bigint      NOT NULL,
    rows         bigint      NOT NULL,
    blocks_hit   bigint      NOT NULL,
    blocks_read  bigint      NOT NULL,
    read_ns      bigint      NOT NULL, -- waiting for the disk; 0 without track_io_timing
    temp_blocks  bigint      NOT NULL, -- written
    fastest_ns   bigint      NOT NULL,
    slowest_ns   bigint      NOT NULL,
    PRIMARY KEY (grain, bucket, statement_id)
) WITH (fillfactor = 70);

-- Each statement's text once, normalised by PostgreSQL, without literals, cut.
CREATE TABLE statement_texts (
    statement_id bigint PRIMARY KEY,
    text         text        NOT NULL,
    seen_at      timestamptz NOT NULL
);

-- A web process's pool of connections: what its counters stand at, and what they counted by minute.
CREATE TABLE pool_states (
    process_id uuid PRIMARY KEY,
    noted_at   timestamptz NOT NULL,
    size       integer     NOT NULL,
    idle       integer     NOT NULL,
    largest    integer     NOT NULL,
    waiting    integer     NOT NULL, -- requests in its queue
    counters   bigint[]    NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE pool_rollups (
    minute     timestamptz NOT NULL,
    process_id uuid        NOT NULL, -- so that two never wait for each other's row
    requests   bigint      NOT NULL,
    waited     bigint      NOT NULL, -- requests that had to wait
    wait_ms    bigint      NOT NULL,
    failed     bigint      NOT NULL, -- requests that got no connection: timeout or full queue
    lost       bigint      NOT NULL, -- connections found dead or not made
    PRIMARY KEY (minute, process_id)
) WITH (fillfactor = 50);
