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

-- The audit trail keeps its transaction ids, which are part of the hashes. One batch seals what was not sealed yet and
-- says (until_xid 0) that from the next one on the order is this cluster's. The text is that of list_hashes in
-- audit/queries.sql.
INSERT INTO audit_batches (number, until_xid, until_id, rows, row_hashes, hash, sealed_at)
SELECT head.number + 1, '0', (SELECT max(id) FROM audit_log), rest.rows, rest.hashes,
       sha256(head.hash || int8send(head.number + 1) || rest.hashes), now()
FROM (SELECT number, until_xid, until_id, hash,
             coalesce((SELECT max(until_id) FROM audit_batches WHERE until_xid = '0'), -9223372036854775808) AS floor_id
      FROM (SELECT number, until_xid, until_id, hash FROM audit_batches
            UNION ALL SELECT 0, '0', -9223372036854775808, decode(repeat('00', 32), 'hex')) AS batches
      ORDER BY number DESC LIMIT 1) AS head,
     LATERAL (SELECT count(*) AS rows, coalesce(string_agg(sha256(convert_to(jsonb_build_array(
                         xid::text, id::text, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
                         actor, action, subject, before::text, after::text, request_id)::text, 'UTF8')), '' ORDER BY xid, id), '') AS hashes
              FROM audit_log WHERE (xid, id) > (head.until_xid, head.until_id) AND id > head.floor_id) AS rest
WHERE EXISTS (SELECT FROM audit_log);

-- What was handed over up to here counts as checked; what the check had still to come to, the last second or so, is not.
UPDATE compliance_place SET xid = '3', floor_id = (SELECT coalesce(max(id), 0) FROM audit_log);
UPDATE consent_ledger SET xid = NULL;

COMMIT;

VACUUM ANALYZE events;
