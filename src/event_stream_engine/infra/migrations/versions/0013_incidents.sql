-- Incidents: what needs a person, who has it in hand, and what became of it.

-- The policy: what each severity means, and how soon somebody answers.
CREATE TABLE incident_severities (
    severity         text    PRIMARY KEY CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    meaning          text    NOT NULL CHECK (length(meaning) BETWEEN 1 AND 200),
    response_seconds integer NOT NULL CHECK (response_seconds BETWEEN 60 AND 2592000)
);
INSERT INTO incident_severities (severity, meaning, response_seconds) VALUES
    ('critical', 'System down or major functionality unavailable', 900),
    ('high', 'Significant performance degradation or feature impairment', 3600),
    ('medium', 'Minor performance issues or non-critical feature problems', 14400),
    ('low', 'Cosmetic issues or enhancement requests', 86400);

-- The policy: who is told when nobody has acknowledged.
CREATE TABLE escalation_steps (
    position      integer PRIMARY KEY CHECK (position BETWEEN 1 AND 10),
    name          text    NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    after_seconds jsonb   NOT NULL, -- by severity, from the start of the response clock; a severity left out never gets here
    contacts      jsonb   NOT NULL  -- [{"name", "channel_ids"}]
);
INSERT INTO escalation_steps (position, name, after_seconds, contacts) VALUES
    (1, 'On-call Engineer', '{"critical": 0, "high": 0, "medium": 0, "low": 0}', '[]'),
    (2, 'Technical Lead', '{"critical": 900, "high": 3600, "medium": 14400, "low": 86400}', '[]'),
    (3, 'Engineering Manager', '{"critical": 1800, "high": 7200, "medium": 28800, "low": 172800}', '[]'),
    (4, 'CTO', '{"critical": 2700, "high": 10800, "medium": 43200, "low": 259200}', '[]');

CREATE TABLE incidents (
    id              uuid        PRIMARY KEY,
    number          bigint      GENERATED ALWAYS AS IDENTITY UNIQUE, -- INC-0001
    title           text        NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    severity        text        NOT NULL REFERENCES incident_severities,
    state           text        NOT NULL CHECK (state IN ('open', 'acknowledged', 'mitigated', 'resolved')),
    version         integer     NOT NULL DEFAULT 1, -- raised by what two people could do against each other
    round           integer     NOT NULL DEFAULT 1, -- how often its escalation has begun
    grouping        text,                           -- alerts of one grouping share an open incident; NULL: opened by hand
    labels          jsonb       NOT NULL,           -- of the alert that opened it; routes match on them
    opened_at       timestamptz NOT NULL,
    opened_by       text        NOT NULL,           -- as in audit_log.actor
    clock_at        timestamptz NOT NULL,           -- the response clock runs from here …
    due_at          timestamptz NOT NULL,           -- … to here
    responded_at    timestamptz,                    -- the first acknowledgement of all
    acknowledged_at timestamptz,                    -- since it was opened or reopened
    mitigated_at    timestamptz,
    resolved_at     timestamptz,
    quiet_at        timestamptz,                    -- all of its alerts are over
    assignee_id     uuid,                           -- an operator
    summary         text        NOT NULL CHECK (length(summary) <= 20000),
    root_cause      text        NOT NULL DEFAULT '' CHECK (length(root_cause) <= 20000),
    follow_ups      text        NOT NULL DEFAULT '' CHECK (length(follow_ups) <= 20000),
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE UNIQUE INDEX incidents_grouping ON incidents (grouping) WHERE resolved_at IS NULL;
CREATE INDEX incidents_opened ON incidents (opened_at, id);
CREATE INDEX incidents_resolved ON incidents (resolved_at, id) WHERE resolved_at IS NOT NULL;
CREATE INDEX incidents_responded ON incidents (responded_at) WHERE responded_at IS NOT NULL;

-- What happened, append-only. Incidents and their timelines are never cleared: they are few, and the memory of a team.
CREATE TABLE incident_timeline (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id uuid        NOT NULL REFERENCES incidents,
    version     integer     NOT NULL, -- of the incident after it
    at          timestamptz NOT NULL,
    actor       text        NOT NULL, -- as in audit_log.actor
    kind        text        NOT NULL,
    before      text,
    after       text,
    text        text        NOT NULL CHECK (length(text) <= 20000)
);
CREATE INDEX incident_timeline_incident ON incident_timeline (incident_id, id);
CREATE TRIGGER incident_timeline_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON incident_timeline FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The alerts of an incident, as they were: rules change, and alerts are kept for a shorter time.
CREATE TABLE incident_alerts (
    incident_id    uuid             NOT NULL REFERENCES incidents,
    episode_id     uuid             NOT NULL,
    rule_id        uuid             NOT NULL,
    subject        text             NOT NULL, -- all, campaign:<id>, channel:<name>, country:<code>, host:<name>
    subject_name   text             NOT NULL,
    name           text             NOT NULL,
    severity       text             NOT NULL,
    metric         text             NOT NULL, -- slug of alerting/measures.py; '': not known
    comparison     text             NOT NULL, -- above, below
    value          double precision,
    threshold      double precision NOT NULL,
    window_seconds integer          NOT NULL, -- what the rule looks back on; 0: the whole campaign, or nothing
    fired_at       timestamptz      NOT NULL,
    resolved_at    timestamptz,
    PRIMARY KEY (incident_id, episode_id)
);
CREATE INDEX incident_alerts_episode ON incident_alerts (episode_id);

-- What is still to happen if nobody acknowledges. Position 0 is the end of the response time, others are steps.
CREATE TABLE incident_timers (
    incident_id uuid        NOT NULL REFERENCES incidents,
    position    integer     NOT NULL,
    due_at      timestamptz NOT NULL,
    PRIMARY KEY (incident_id, position)
);
CREATE INDEX incident_timers_due ON incident_timers (due_at);
