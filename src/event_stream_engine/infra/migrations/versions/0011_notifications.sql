-- Notifications: whom to tell, by which way, and what is still to be told.

CREATE TABLE notification_channels (
    id            uuid        PRIMARY KEY,
    name          text        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('apprise', 'alertmanager')),
    sealed_target bytea, -- encrypted, because it holds passwords and tokens; NULL once the channel is removed
    shown_target  text        NOT NULL, -- the same without what is secret
    is_enabled    boolean     NOT NULL,
    created_at    timestamptz NOT NULL,
    removed_at    timestamptz, -- kept as long as its history
    -- One worker at a time sends to a channel: that keeps the order, and nothing goes out twice.
    claim_id      uuid,
    lease_until   timestamptz,
    failing_since timestamptz, -- the first failure since the last success
    refresh_at    timestamptz, -- Alertmanager forgets a firing alert that is not sent anew
    CHECK ((sealed_target IS NULL) = (removed_at IS NOT NULL))
);
CREATE UNIQUE INDEX notification_channels_name ON notification_channels (lower(name)) WHERE removed_at IS NULL;

-- Every route that matches tells its channel; empty sets match everything.
CREATE TABLE notification_routes (
    id                     uuid        PRIMARY KEY,
    position               integer     NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED,
    severities             text[]      NOT NULL,
    kinds                  text[]      NOT NULL,
    matchers               jsonb       NOT NULL, -- [{"label", "value", "is_regex"}], all of which must match
    channel_id             uuid        NOT NULL REFERENCES notification_channels,
    fallback_id            uuid        REFERENCES notification_channels,
    fallback_after_seconds integer     NOT NULL CHECK (fallback_after_seconds BETWEEN 0 AND 86400),
    group_wait_seconds     integer     NOT NULL CHECK (group_wait_seconds BETWEEN 0 AND 3600),
    created_at             timestamptz NOT NULL,
    CHECK (fallback_id <> channel_id)
);

-- What is told, once for all channels. No number of a person stands in it unmasked.
CREATE TABLE notices (
    key        uuid        PRIMARY KEY,
    kind       text        NOT NULL,
    severity   text        NOT NULL,
    labels     jsonb       NOT NULL,
    episode_id uuid,
    title      text        NOT NULL,
    body       text        NOT NULL,
    facts      jsonb       NOT NULL, -- [[name, value]], in order
    path       text        NOT NULL,
    at         timestamptz NOT NULL
);
CREATE INDEX notices_episode ON notices (episode_id, at) WHERE episode_id IS NOT NULL;
CREATE INDEX notices_at ON notices (at);

-- A notice on its way to a channel: the outbox, and afterwards the history.
CREATE TABLE notice_deliveries (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notice_key  uuid        NOT NULL REFERENCES notices ON DELETE CASCADE,
    channel_id  uuid        NOT NULL REFERENCES notification_channels,
    group_key   text        NOT NULL, -- what waits for one channel under one key goes out as one message
    state       text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    queued_at   timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL, -- when it is given up
    attempts    integer     NOT NULL DEFAULT 0,
    ended_at    timestamptz,
    fallback_id uuid        REFERENCES notification_channels,
    fallback_at timestamptz, -- when the fallback is told, if this one has failed until then
    passed_at   timestamptz, -- when it was
    UNIQUE (notice_key, channel_id),
    CHECK ((state = 'waiting') = (ended_at IS NULL))
);
CREATE INDEX notice_deliveries_waiting ON notice_deliveries (channel_id, due_at) WHERE state = 'waiting';
CREATE INDEX notice_deliveries_fallback ON notice_deliveries (fallback_at)
    WHERE fallback_id IS NOT NULL AND passed_at IS NULL AND state <> 'delivered';
CREATE INDEX notice_deliveries_channel ON notice_deliveries (channel_id, id);

CREATE TABLE notice_attempts (
    delivery_id bigint      NOT NULL REFERENCES notice_deliveries ON DELETE CASCADE,
    number      integer     NOT NULL,
    at          timestamptz NOT NULL,
    took_ms     integer     NOT NULL,
    result      text        NOT NULL CHECK (result IN ('delivered', 'postponed', 'refused')),
    answer      text        NOT NULL CHECK (length(answer) <= 300),
    PRIMARY KEY (delivery_id, number)
);

-- The canary: one event a minute that goes the whole way of a webhook and counts as none. Kept for a day.
CREATE TABLE canary_rollups (
    minute      timestamptz PRIMARY KEY,
    received_at timestamptz NOT NULL,
    applied_at  timestamptz NOT NULL
);

-- The dead-man's switch: whichever worker moves tried_at pings.
CREATE TABLE deadman_pings (
    only_row  boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    tried_at  timestamptz NOT NULL,
    pinged_at timestamptz, -- the last one that was taken
    fault     text         -- of the last one, if it was not
);
INSERT INTO deadman_pings (tried_at) VALUES ('-infinity');
