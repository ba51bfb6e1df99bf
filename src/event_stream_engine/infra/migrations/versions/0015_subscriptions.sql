-- Who gets the reports of days and weeks, and by which channel; what a mail shows of a notice.

CREATE TABLE report_subscriptions (
    id            uuid        PRIMARY KEY,
    kind          text        NOT NULL CHECK (kind IN ('daily', 'weekly')),
    operator_id   uuid        NOT NULL REFERENCES operators,
    channel_id    uuid        NOT NULL REFERENCES notification_channels,
    with_restated boolean     NOT NULL, -- also what late callbacks change afterwards
    created_at    timestamptz NOT NULL,
    UNIQUE (operator_id, channel_id, kind)
);

ALTER TABLE notices ADD COLUMN html text NOT NULL DEFAULT '';
