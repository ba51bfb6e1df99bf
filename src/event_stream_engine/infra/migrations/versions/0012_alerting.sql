-- Alerting: from a figure that crosses a line to somebody who knows, and back to quiet.

-- What is watched. A rule keeps what it measures (metric, scope, filter) for life; the rest may be changed.
CREATE TABLE alert_rules (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name            text             NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200), -- what an alert of it says
    metric          text             NOT NULL, -- slug of alerting/measures.py
    scope           text             NOT NULL CHECK (scope IN ('all', 'campaign', 'channel', 'country', 'host')),
    scope_filter    text             NOT NULL DEFAULT '', -- one campaign's id, one channel, country or host; '': each of them
    window_seconds  integer          CHECK (window_seconds BETWEEN 60 AND 604800), -- NULL: the metric has none, or the whole campaign
    comparison      text             NOT NULL CHECK (comparison IN ('above', 'below')),
    threshold       double precision NOT NULL,
    clear_threshold double precision NOT NULL, -- on the quiet side of threshold, or equal
    minimum_sample  integer          NOT NULL DEFAULT 0 CHECK (minimum_sample >= 0),
    for_seconds     integer          NOT NULL DEFAULT 0 CHECK (for_seconds BETWEEN 0 AND 86400),
    keep_seconds    integer          NOT NULL DEFAULT 0 CHECK (keep_seconds BETWEEN 0 AND 86400), -- clear for so long before it is over
    severity        text             NOT NULL CHECK (severity IN ('critical', 'warning', 'info')),
    labels          jsonb            NOT NULL DEFAULT '{}',
    inhibits        jsonb            NOT NULL DEFAULT '{}', -- alerts with all of these labels are not told while it fires; {}: none
    runbook_url     text             NOT NULL DEFAULT '',
    opens_incident  text             CHECK (opens_incident IN ('critical', 'high', 'medium', 'low')),
    action          text             CHECK (action IN ('pause_campaign', 'lower_rate')),
    action_percent  integer          CHECK (action_percent BETWEEN 1 AND 99), -- of lower_rate: what is left of the rate
    is_enabled      boolean          NOT NULL DEFAULT true,
    configuration   text             UNIQUE, -- key of the document's alert_configuration that is this rule's threshold
    created_at      timestamptz      NOT NULL DEFAULT now(),
    changed_at      timestamptz      NOT NULL DEFAULT now(),
    CHECK (CASE comparison WHEN 'above' THEN clear_threshold <= threshold ELSE clear_threshold >= threshold END),
    CHECK ((action = 'lower_rate') = (action_percent IS NOT NULL) OR action IS NULL AND action_percent IS NULL)
);

-- Where each subject of a rule stands, as of the last tick.
CREATE TABLE alert_states (
    rule_id      uuid             NOT NULL REFERENCES alert_rules (id) ON DELETE CASCADE,
    subject      text             NOT NULL, -- all, campaign:<id>, channel:<name>, country:<code>, host:<name>
    state        text             NOT NULL CHECK (state IN ('ok', 'pending', 'firing', 'acknowledged', 'resolved', 'no_data')),
    since        timestamptz      NOT NULL, -- in this state
    seen_at      timestamptz      NOT NULL, -- the last tick
    held_seconds double precision NOT NULL, -- pending: over the threshold; firing: clear again; only time that was watched counts
    silent_since timestamptz,               -- no value since
    value        double precision,          -- the last known one
    sample       bigint,
    reason       text             NOT NULL,
    PRIMARY KEY (rule_id, subject)
) WITH (fillfactor = 50);

-- From the fire to its end. A row keeps what its rule said, because rules are changed and deleted.
CREATE TABLE alert_episodes (
    id              uuid PRIMARY KEY,
    number          bigint           GENERATED ALWAYS AS IDENTITY UNIQUE, -- ALT001
    rule_id         uuid             NOT NULL, -- of a rule that may be gone
    subject         text             NOT NULL,
    subject_name    text             NOT NULL, -- of a campaign; else as subject
    name            text             NOT NULL,
    metric          text             NOT NULL,
    severity        text             NOT NULL,
    labels          jsonb            NOT NULL,
    comparison      text             NOT NULL,
    threshold       double precision NOT NULL,
    value           double precision,          -- the last known one
    peak            double precision NOT NULL, -- the worst
    reason          text             NOT NULL,
    runbook_url     text             NOT NULL,
    fired_at        timestamptz      NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,                      -- as in audit_log.actor
    resolved_at     timestamptz,
    told_at         timestamptz,               -- last time a notice was queued; NULL: nobody was told so far
    told_count      integer          NOT NULL DEFAULT 0,
    held_back       text                       -- why nobody is told at present: a silence or another alert
);
CREATE UNIQUE INDEX alert_episodes_open ON alert_episodes (rule_id, subject) WHERE resolved_at IS NULL;
CREATE INDEX alert_episodes_fired ON alert_episodes (fired_at);
CREATE INDEX alert_episodes_resolved ON alert_episodes (resolved_at) WHERE resolved_at IS NOT NULL;

-- What happened in an episode, in order.
CREATE TABLE alert_steps (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    episode_id uuid        NOT NULL REFERENCES alert_episodes (id) ON DELETE CASCADE,
    at         timestamptz NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('fired', 'told', 'held_back', 'no_data', 'acknowledged', 'action', 'resolved')),
    actor      text,                 -- of what a person did
    text       text        NOT NULL
);
CREATE INDEX alert_steps_episode ON alert_steps (episode_id, id);

-- Alerts with all of these labels are not told in [begins_at, ends_at); with a schedule only within its hours.
CREATE TABLE silences (
    id         uuid PRIMARY KEY,
    matchers   jsonb       NOT NULL CHECK (matchers <> '{}'),
    begins_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL CHECK (ends_at > begins_at),
    schedule   jsonb,               -- weekdays (0: Monday), starts, ends, timezone
    comment    text        NOT NULL CHECK (length(comment) BETWEEN 1 AND 2000),
    author     text        NOT NULL, -- as in audit_log.actor
    created_at timestamptz NOT NULL
);
CREATE INDEX silences_ends ON silences (ends_at);

-- The last tick. Its row is the lock that makes one tick of all that are attempted at once.
CREATE TABLE evaluator_ticks (
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    ticked_at timestamptz NOT NULL,
    took_ms   double precision NOT NULL
);
INSERT INTO evaluator_ticks (ticked_at, took_ms) VALUES ('-infinity', 0);

-- What was found of late, also what is old.
CREATE INDEX compliance_violations_found ON compliance_violations (kind, found_at);

-- What the last whole verification of the audit trail found.
CREATE TABLE audit_verdicts (
    only_row     boolean          PRIMARY KEY DEFAULT true CHECK (only_row),
    verified_at  timestamptz      NOT NULL,
    took_seconds double precision NOT NULL,
    rows         bigint           NOT NULL,
    faults       bigint           NOT NULL,
    first_fault  text
);

-- What is watched from the first day: the document's list, and what keeps an engine honest beside it.
INSERT INTO alert_rules (name, metric, scope, window_seconds, comparison, threshold, clear_threshold, minimum_sample, for_seconds, keep_seconds, severity, opens_incident, labels, inhibits, configuration) VALUES
    ('Message error rate above threshold',          'message_error_rate',         'all',      900,   'above', 5,    4,    50,  0,   300, 'critical', 'high',     '{"area": "messages"}', '{}', 'error_rate_threshold'),
    ('Campaign delivery rate below threshold',      'delivery_rate',              'campaign', NULL,  'below', 90,   91,   50,  0,   60,  'warning',  'medium',   '{"area": "messages", "needs": "projector"}', '{}', 'delivery_rate_threshold'),
    ('Opt-out rate above threshold',                'message_opt_out_rate',       'all',      86400, 'above', 1,    0.8,  200, 0,   900, 'warning',  NULL,       '{"area": "messages"}', '{}', NULL),
    ('Messages are filtered by carriers',           'error_30007_share',          'all',      3600,  'above', 1,    0.8,  100, 0,   900, 'warning',  'medium',   '{"area": "messages"}', '{}', NULL),
    ('The provider has suspended the account',      'error_30002',                'all',      900,   'above', 0,    0,    0,   0,   900, 'critical', 'critical', '{"area": "messages"}', '{}', NULL),
    ('No callbacks while messages are in flight',   'callback_silence_minutes',   'all',      NULL,  'above', 10,   1,    0,   0,   60,  'critical', 'high',     '{"area": "messages", "needs": "projector"}', '{}', NULL),
    ('Messages were sent without consent',          'consent_missing',            'all',      3600,  'above', 0,    0,    0,   0,   0,   'critical', 'high',     '{"area": "compliance"}', '{}', NULL),
    ('Messages were sent inside quiet hours',       'quiet_hours_violations',     'all',      3600,  'above', 0,    0,    0,   0,   0,   'critical', 'high',     '{"area": "compliance"}', '{}', NULL),
    ('A campaign sends faster than its limit',      'rate_limit_violations',      'campaign', 3600,  'above', 0,    0,    0,   0,   0,   'warning',  'medium',   '{"area": "compliance"}', '{}', NULL),
    ('Faults in the audit trail',                   'audit_faults',               'all',      NULL,  'above', 0,    0,    0,   0,   0,   'critical', 'critical', '{"area": "compliance"}', '{}', NULL),
    ('The audit trail is not sealed',               'audit_unsealed_seconds',     'all',      NULL,  'above', 300,  60,   0,   60,  60,  'warning',  NULL,       '{"area": "compliance", "needs": "worker"}', '{}', NULL),
    ('API response time above threshold',           'average_response_time',      'all',      300,   'above', 1000, 800,  20,  60,  300, 'warning',  NULL,       '{"area": "engine"}', '{}', 'response_time_threshold_ms'),
    ('Webhook processing is slow',                  'webhook_processing_seconds', 'all',      300,   'above', 30,   10,   0,   0,   60,  'critical', 'high',     '{"area": "engine", "needs": "projector"}', '{}', NULL),
    ('Events wait for the projector',               'projector_lag_seconds',      'all',      NULL,  'above', 60,   10,   0,   30,  60,  'critical', 'high',     '{"area": "engine", "needs": "worker"}', '{"needs": "projector"}', NULL),
    ('Webhooks wait on disk',                       'spooled_events',             'all',      NULL,  'above', 0,    0,    0,   30,  60,  'warning',  'medium',   '{"area": "engine"}', '{}', NULL),
    ('Events could not be projected',               'dead_letters',               'all',      NULL,  'above', 0,    0,    0,   0,   0,   'warning',  NULL,       '{"area": "engine"}', '{}', NULL),
    ('A worker is missing',                         'missing_workers',            'all',      NULL,  'above', 0,    0,    0,   30,  30,  'critical', 'high',     '{"area": "engine"}', '{"needs": "worker"}', NULL),
    ('A web process is missing',                    'missing_web',                'all',      NULL,  'above', 0,    0,    0,   30,  30,  'critical', 'high',     '{"area": "engine"}', '{}', NULL),
    ('Alerts are evaluated late',                   'evaluation_lag_seconds',     'all',      NULL,  'above', 60,   30,   0,   0,   300, 'warning',  NULL,       '{"area": "engine"}', '{}', NULL),
    ('CPU usage above threshold',                   'host_cpu_percent',           'host',     300,   'above', 80,   70,   0,   300, 300, 'warning',  NULL,       '{"area": "host"}', '{}', NULL),
    ('Memory usage above threshold',                'host_memory_percent',        'host',     300,   'above', 85,   80,   0,   300, 300, 'warning',  NULL,       '{"area": "host"}', '{}', NULL),
    ('Disk usage above threshold',                  'disk_usage_percent',         'host',     300,   'above', 85,   80,   0,   60,  300, 'critical', 'high',     '{"area": "host"}', '{}', 'disk_usage_threshold'),
    ('The connection pool is exhausted',            'pool_waiting',               'all',      NULL,  'above', 0,    0,    0,   30,  120, 'critical', 'high',     '{"area": "database"}', '{}', NULL),
    ('Requests got no database connection',         'pool_timeouts',              'all',      300,   'above', 0,    0,    0,   0,   120, 'critical', 'high',     '{"area": "database"}', '{}', NULL);
