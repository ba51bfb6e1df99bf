-- Queries that people keep, share and have run for them.

CREATE TABLE saved_queries (
    id          uuid        PRIMARY KEY,
    name        text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    description text        NOT NULL DEFAULT '' CHECK (length(description) <= 2000),
    sql         text        NOT NULL CHECK (length(sql) BETWEEN 1 AND 50000),
    parameters  jsonb       NOT NULL DEFAULT '[]', -- [{"name", "type", "default"}], in the order they are asked for
    chart       jsonb,                             -- {"kind", "x", "y"}; NULL: none
    owner       text,                              -- as in audit_log.actor; NULL: shipped, and never changed
    owner_name  text,
    is_shared   boolean     NOT NULL DEFAULT false,
    version     integer     NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    changed_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((owner IS NULL) = (owner_name IS NULL)),
    CHECK (owner IS NOT NULL OR is_shared)
);
CREATE UNIQUE INDEX saved_queries_name ON saved_queries (owner, lower(name)) NULLS NOT DISTINCT;

-- What a query said, as of each version that changed its text or its parameters.
CREATE TABLE saved_query_versions (
    query_id        uuid        NOT NULL REFERENCES saved_queries ON DELETE CASCADE,
    version         integer     NOT NULL,
    sql             text        NOT NULL,
    parameters      jsonb       NOT NULL,
    changed_by_name text        NOT NULL,
    changed_at      timestamptz NOT NULL,
    PRIMARY KEY (query_id, version)
);

-- The numbers that alert rules ask saved queries for, as last read.
CREATE TABLE query_readings (
    query_id      uuid             PRIMARY KEY REFERENCES saved_queries ON DELETE CASCADE,
    claimed_until timestamptz,                 -- a worker reads it now
    read_at       timestamptz,                 -- NULL: not yet
    value         double precision,            -- NULL: none could be read …
    reason        text             NOT NULL DEFAULT '' -- … because
);
ALTER TABLE alert_rules DROP CONSTRAINT alert_rules_scope_check;
ALTER TABLE alert_rules ADD CONSTRAINT alert_rules_scope_check CHECK (scope IN ('all', 'campaign', 'channel', 'country', 'host', 'query'));

-- When a saved query is run by itself, and by which channel its result is told.
CREATE TABLE query_schedules (
    id            uuid        PRIMARY KEY,
    query_id      uuid        NOT NULL REFERENCES saved_queries ON DELETE CASCADE,
    given         jsonb       NOT NULL DEFAULT '{}', -- values of parameters by name; others have their default
    weekday       integer     CHECK (weekday BETWEEN 1 AND 7), -- ISO, 1 is Monday; NULL: every day
    runs_at       time        NOT NULL,              -- in the zone of the workspace
    channel_id    uuid        NOT NULL REFERENCES notification_channels,
    is_enabled    boolean     NOT NULL DEFAULT true,
    owner         text        NOT NULL,              -- as in audit_log.actor
    owner_name    text        NOT NULL,
    created_at    timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    claimed_until timestamptz                        -- a worker runs it now
);
CREATE INDEX query_schedules_due ON query_schedules (due_at) WHERE is_enabled;
CREATE INDEX query_schedules_query ON query_schedules (query_id);

-- What came of it. One row for each time that was due.
CREATE TABLE query_runs (
    schedule_id   uuid             NOT NULL REFERENCES query_schedules ON DELETE CASCADE,
    due_at        timestamptz      NOT NULL,
    ran_at        timestamptz      NOT NULL,
    query_version integer          NOT NULL,
    reason        text             NOT NULL DEFAULT '', -- why it failed; '': it did not
    duration_ms   double precision,
    row_count     integer,
    is_truncated  boolean          NOT NULL DEFAULT false,
    csv           text,                                  -- the result as it can be fetched, whole rows up to a limit
    PRIMARY KEY (schedule_id, due_at)
);
CREATE INDEX query_runs_ran ON query_runs (ran_at);

-- Shipped: the texts of the document, as they are printed, and some of ours.
INSERT INTO saved_queries (id, name, description, sql, parameters, chart, is_shared) VALUES
    ('cceec5b0-e9d7-5376-a195-22385a34a34e', 'Consent states of users',
     'How many users there are in each consent state, and their share.',
     $sql$-- User consent state distribution
SELECT 
    consent_state,
    COUNT(*) as user_count,
    ROUND(COUNT(*) * 100.0 / (SELECT COUNT(*) FROM users), 2) as percentage
FROM users 
GROUP BY consent_state;$sql$, '[]', '{"kind": "bar", "x": "consent_state", "y": ["user_count"]}', true),
    ('c851cfc2-3776-57c2-bddb-a0ea70bf2b5c', 'Slowest statements of the database',
     'The ten statements about users or campaigns that took the most time in all, as `pg_stat_statements` counts them.',
     $sql$-- Query performance analysis
SELECT 
    query,
    calls,
    total_time,
    mean_time,
    rows
FROM pg_stat_statements 
WHERE query LIKE '%users%' OR query LIKE '%campaigns%'
ORDER BY total_time DESC 
LIMIT 10;$sql$, '[]', NULL, true),
    ('b97854cf-c8ff-5c5e-a471-c6926a6bed9c', 'Campaign ROI analysis',
     'Messages, deliveries and delivery rate of the campaigns of the last 30 days, by segment.',
     $sql$-- Campaign effectiveness by segment
SELECT 
    c.name as campaign_name,
    s.name as segment_name,
    COUNT(m.id) as messages_sent,
    COUNT(CASE WHEN dr.message_status = 'delivered' THEN 1 END) as delivered,
    ROUND(
        COUNT(CASE WHEN dr.message_status = 'delivered' THEN 1 END) * 100.0 / COUNT(m.id), 
        2
    ) as delivery_rate
FROM campaigns c
JOIN segments s ON c.segment_id = s.id
JOIN messages m ON c.id = m.campaign_id
LEFT JOIN delivery_receipts dr ON m.provider_sid = dr.message_sid
WHERE c.created_at >= CURRENT_DATE - INTERVAL '30 days'
GROUP BY c.id, c.name, s.name
ORDER BY delivery_rate DESC;$sql$, '[]', '{"kind": "bar", "x": "campaign_name", "y": ["delivery_rate"]}', true),
    ('8662dd86-55cb-54f1-9627-9af284947fd1', 'User engagement funnel, as the document has it',
     'It joins messages and answers before it counts, so somebody with 10 messages and 3 answers counts as 30 of each, and averages and rate come out too high. “User engagement funnel, counted once” is right.',
     $sql$-- User journey analysis
WITH user_journey AS (
    SELECT 
        u.phone_e164,
        u.created_at as signup_date,
        COUNT(m.id) as messages_received,
        COUNT(ie.id) as responses_sent,
        u.consent_state
    FROM users u
    LEFT JOIN messages m ON u.phone_e164 = m.recipient_phone
    LEFT JOIN inbound_events ie ON u.phone_e164 = ie.from_phone
    WHERE u.created_at >= CURRENT_DATE - INTERVAL '90 days'
    GROUP BY u.phone_e164, u.created_at, u.consent_state
)
SELECT 
    consent_state,
    COUNT(*) as users,
    AVG(messages_received) as avg_messages_received,
    AVG(responses_sent) as avg_responses,
    ROUND(AVG(responses_sent) / NULLIF(AVG(messages_received), 0) * 100, 2) as engagement_rate
FROM user_journey
GROUP BY consent_state;$sql$, '[]', NULL, true),
    ('5a592e38-e0e4-5249-bdcc-a0ff855129e7', 'User engagement funnel, counted once',
     'Messages and answers of the people made users in the last 90 days. Each side is counted by person before the two are joined, so nothing is multiplied.',
     $sql$-- User journey, each side counted by person before joining
WITH sent AS (
    SELECT recipient_phone, COUNT(*) AS messages FROM messages GROUP BY recipient_phone
), answered AS (
    SELECT from_phone, COUNT(*) AS responses FROM inbound_events GROUP BY from_phone
), user_journey AS (
    SELECT u.consent_state, COALESCE(s.messages, 0) AS messages_received, COALESCE(a.responses, 0) AS responses_sent
    FROM users u
    LEFT JOIN sent s ON s.recipient_phone = u.phone_e164
    LEFT JOIN answered a ON a.from_phone = u.phone_e164
    WHERE u.created_at >= CURRENT_DATE - INTERVAL '90 days'
)
SELECT
    consent_state,
    COUNT(*) AS users,
    ROUND(AVG(messages_received), 2) AS avg_messages_received,
    ROUND(AVG(responses_sent), 2) AS avg_responses,
    ROUND(AVG(responses_sent) / NULLIF(AVG(messages_received), 0) * 100, 2) AS engagement_rate
FROM user_journey
GROUP BY consent_state
ORDER BY users DESC$sql$, '[]', '{"kind": "bar", "x": "consent_state", "y": ["avg_messages_received", "avg_responses"]}', true),
    ('376490a8-b8f1-53cd-a5f9-b459d046bf6b', 'Index usage',
     'Indexes that were read fewer than 100 times since the statistics began.',
     $sql$-- Index usage analysis
SELECT 
    schemaname,
    tablename,
    indexname,
    idx_scan,
    idx_tup_read,
    idx_tup_fetch
FROM pg_stat_user_indexes
WHERE idx_scan < 100
ORDER BY idx_scan ASC;$sql$, '[]', NULL, true),
    ('ce0fe30d-7570-55ae-8ff7-c3890db7a198', 'Messages by day',
     'Messages of each day that is over, by what has become of them until now.',
     $sql$SELECT bucket AS day, sent, now_delivered + now_read AS delivered, now_failed + now_undelivered AS failed
FROM message_rollups
WHERE grain = 'day' AND slice = 0 AND bucket >= CURRENT_DATE - CAST(:days AS integer)
ORDER BY day$sql$, '[{"name": "days", "type": "integer", "default": 30}]', '{"kind": "bar", "x": "day", "y": ["delivered", "failed"]}', true),
    ('235a766a-ce95-5e08-ac10-528534b4736a', 'Failures by error code',
     'The error codes that messages of the last days failed with, the most frequent first.',
     $sql$SELECT CASE error_code WHEN 0 THEN 'none named' ELSE CAST(error_code AS text) END AS error_code, SUM(failed) AS failed
FROM failure_rollups
WHERE grain = 'day' AND slice = 0 AND bucket >= CURRENT_DATE - CAST(:days AS integer)
GROUP BY error_code
ORDER BY failed DESC$sql$, '[{"name": "days", "type": "integer", "default": 30}]', '{"kind": "bar", "x": "error_code", "y": ["failed"]}', true),
    ('766f22cc-0d39-55a7-85a5-cedc5cbe5985', 'Opt-outs by campaign',
     'Campaigns whose messages were answered with STOP most often, of those that sent at least so many.',
     $sql$SELECT c.name AS campaign_name, SUM(r.sent) AS sent, SUM(r.stopped) AS stopped,
       ROUND(SUM(r.stopped) * 100.0 / NULLIF(SUM(r.sent), 0), 2) AS opt_out_rate
FROM message_rollups r
JOIN campaigns c ON c.id = r.campaign_id
WHERE r.grain = 'day' AND r.slice = 1 AND r.bucket >= CURRENT_DATE - 90
GROUP BY c.id, c.name
HAVING SUM(r.sent) >= :at_least
ORDER BY opt_out_rate DESC, sent DESC$sql$, '[{"name": "at_least", "type": "integer", "default": 100}]', '{"kind": "bar", "x": "campaign_name", "y": ["opt_out_rate"]}', true),
    ('a4f4c9f3-af76-54fb-93ea-c9e3684c6133', 'Incoming messages of the last hour',
     'One number, so that an alert rule can watch it.',
     $sql$SELECT COUNT(*) AS messages FROM inbound_events WHERE received_at >= now() - INTERVAL '1 hour'$sql$, '[]', NULL, true);
