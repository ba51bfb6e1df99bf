-- To be run once after a logical restore (pg_restore), before the engine starts. Why: backup-and-restore.md.
-- What had been projected gets xid 1, what was still waiting gets xid 2; a cluster gives out no id below 3.
BEGIN;

UPDATE events e
SET xid = CASE WHEN (e.xid, e.id) <= (c.xid, c.id) THEN '1'::xid8 ELSE '2'::xid8 END
FROM log_cursors c
WHERE c.reader = 'projector';

UPDATE log_cursors
SET xid = '1', id = (SELECT coalesce(max(id), 0) FROM events WHERE xid = '1'::xid8)
WHERE reader = 'projector';

DELETE FROM log_cursors WHERE reader <> 'projector';

COMMIT;

VACUUM ANALYZE events;
