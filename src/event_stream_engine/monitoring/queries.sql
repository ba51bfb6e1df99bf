-- name: add_batch :exec
-- for: how long live webhooks took from receipt to effect
-- in: rows of log_batch
-- index: pipeline_rollups primary key
-- note: measured inside the transaction that makes the effect, by the database's clock; a clock that ran ahead counts 0
INSERT INTO pipeline_rollups AS r (minute, events, microseconds, slowest)
SELECT date_trunc('minute', clock_timestamp()), count(*), sum(age), max(age)
FROM (SELECT greatest(0, extract(epoch FROM clock_timestamp() - received_at) * 1000000)::bigint AS age FROM log_batch WHERE is_live) AS aged
HAVING count(*) > 0
ON CONFLICT (minute) DO UPDATE
SET events = r.events + excluded.events, microseconds = r.microseconds + excluded.microseconds, slowest = greatest(r.slowest, excluded.slowest);
