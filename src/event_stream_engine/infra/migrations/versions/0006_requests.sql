-- Requests of all web processes, measured, and the pipeline of webhooks with its stages.

------------------------------------------------------------------------------------------------------------------
-- monitoring: requests
------------------------------------------------------------------------------------------------------------------

-- Requests by when they were received: by 5 s ('tick'), minute, quarter-hour and local day, and all there ever were
-- ('total', at -infinity). Beside the rows of each route there is one of all together, with an empty route, method and
-- class: a series of percentiles then reads one sketch a bucket. Days come about when they are settled.
CREATE TABLE request_rollups (
    grain        text        NOT NULL CHECK (grain IN ('tick', 'minute', 'quarter', 'day', 'total')),
    bucket       timestamptz NOT NULL,
    route        text        NOT NULL, -- the template, never the path that was asked for
    method       text        NOT NULL,
    status_class text        NOT NULL, -- '1xx' … '5xx'; 'none': it ended without an answer
    requests     bigint      NOT NULL,
    failed       bigint      NOT NULL, -- of these, answered with 5xx
    microseconds bigint      NOT NULL, -- their sum
    fastest      bigint      NOT NULL, -- exact, microseconds
    slowest      bigint      NOT NULL,
    sketch       bigint[]    NOT NULL, -- see sketch_of; down to a microsecond
    PRIMARY KEY (grain, bucket, route, method, status_class)
) WITH (fillfactor = 70);

-- All requests there ever were: they only grow, as counters must.
CREATE VIEW request_totals AS
    SELECT route, method, status_class, requests, microseconds, sketch
    FROM request_rollups
    WHERE grain = 'total' AND route <> '';

-- One row: the calendar by which requests are counted by local days, and the start of the first that is not settled.
CREATE TABLE request_days (
    is_only    boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    calendar   text        NOT NULL,
    days_until timestamptz NOT NULL
);
INSERT INTO request_days (calendar, days_until) VALUES ('', '-infinity');

------------------------------------------------------------------------------------------------------------------
-- monitoring: the pipeline of webhooks
------------------------------------------------------------------------------------------------------------------

-- Live webhooks by the stage they came to: 'stored' (committed to log or spool, so the request was answered) and
-- 'applied' (projected). Their times count from receipt.
ALTER TABLE pipeline_rollups RENAME COLUMN minute TO bucket;
ALTER TABLE pipeline_rollups
    DROP CONSTRAINT pipeline_rollups_pkey,
    ADD COLUMN grain  text     NOT NULL DEFAULT 'minute' CHECK (grain IN ('minute', 'quarter', 'total')),
    ADD COLUMN stage  text     NOT NULL DEFAULT 'applied' CHECK (stage IN ('stored', 'applied')),
    ADD COLUMN dead   bigint   NOT NULL DEFAULT 0,    -- applied: those that could not be, beside `events`
    ADD COLUMN sketch bigint[] NOT NULL DEFAULT '{}', -- see sketch_of; down to a microsecond
    ADD PRIMARY KEY (grain, stage, bucket);
ALTER TABLE pipeline_rollups
    ALTER COLUMN grain DROP DEFAULT, ALTER COLUMN stage DROP DEFAULT, ALTER COLUMN dead DROP DEFAULT, ALTER COLUMN sketch DROP DEFAULT;
INSERT INTO pipeline_rollups (grain, stage, bucket, events, dead, microseconds, slowest, sketch)
SELECT 'quarter', 'applied', bucket_of('quarter', bucket), sum(events), 0, sum(microseconds), max(slowest), '{}'::bigint[] FROM pipeline_rollups GROUP BY 3
UNION ALL
SELECT 'total', 'applied', '-infinity'::timestamptz, sum(events), 0, sum(microseconds), max(slowest), '{}'::bigint[] FROM pipeline_rollups HAVING count(*) > 0;
