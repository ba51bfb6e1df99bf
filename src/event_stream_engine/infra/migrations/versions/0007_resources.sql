-- What processes tell of themselves: loops, resources, health; uptime kept for good.

-- What a process measures of itself and of its host every ten seconds, by minute and by quarter-hour. Several processes
-- sample the same host; sum and count make one mean of it.
CREATE TABLE resource_rollups (
    grain  text             NOT NULL CHECK (grain IN ('minute', 'quarter')),
    bucket timestamptz      NOT NULL,
    host   text             NOT NULL,
    kind   text             NOT NULL CHECK (kind IN ('host', 'web', 'worker')),
    pid    integer          NOT NULL, -- 0: the host
    metric text             NOT NULL,
    count  integer          NOT NULL,
    sum    double precision NOT NULL,
    peak   double precision NOT NULL,
    PRIMARY KEY (grain, bucket, host, kind, pid, metric)
) WITH (fillfactor = 70);

ALTER TABLE processes
    ADD COLUMN version     text,
    ADD COLUMN provider    text,        -- who this process hands messages to; NULL: nobody
    ADD COLUMN spool_bytes bigint NOT NULL DEFAULT 0, -- of the file on disk
    ADD COLUMN spool_limit_bytes bigint, -- beyond it webhooks are refused
    ADD COLUMN spooled_since timestamptz, -- since when something waits there
    ADD COLUMN loops       jsonb NOT NULL DEFAULT '{}', -- name of a loop: when it last came round
    ADD COLUMN limits      jsonb NOT NULL DEFAULT '{}'; -- cores, memory and files it may use, whose limit each is, and why a figure is unknown

-- The minutes of a quarter-hour in which a process of this kind gave a sign of life, as bits. Ten years are 700,000 rows.
CREATE TABLE uptime_quarters (
    quarter timestamptz NOT NULL,
    kind    text        NOT NULL,
    minutes integer     NOT NULL, -- bit n: minute n of the quarter-hour
    PRIMARY KEY (quarter, kind)
) WITH (fillfactor = 70);
INSERT INTO uptime_quarters (quarter, kind, minutes)
SELECT date_bin('15 minutes', minute, 'epoch'), kind, bit_or(1 << (extract(minute FROM minute AT TIME ZONE 'UTC')::integer % 15))
FROM uptime_minutes GROUP BY 1, 2;
DROP TABLE uptime_minutes;

-- What was last found of Redis, where one is configured; whoever measures last writes it.
CREATE TABLE redis_state (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    measured_at  timestamptz NOT NULL,
    memory_bytes bigint,
    latency_ms   double precision,
    fault        text,                -- why it could not be measured
    since        timestamptz NOT NULL -- when it last came or went
);
