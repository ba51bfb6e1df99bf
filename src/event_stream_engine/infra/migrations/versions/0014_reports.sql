-- Reports of days and weeks, each version as it was known at its cut-off. Never cleared: a version takes some
-- kilobytes, there is another only when figures have changed, and what somebody was told must be found again.
CREATE TABLE report_versions (
    kind         text        NOT NULL CHECK (kind IN ('daily', 'weekly')),
    last_day     date        NOT NULL,           -- the day; of a week its last day
    version      integer     NOT NULL CHECK (version >= 1),
    zone         text        NOT NULL,           -- in which it is a day
    cut_off_at   timestamptz NOT NULL,           -- as of when its figures are
    confirmed_at timestamptz NOT NULL,           -- when they were last found to be still the same
    body         jsonb       NOT NULL,           -- all of the report, with definitions, and why it was restated
    PRIMARY KEY (kind, last_day, version)
);
