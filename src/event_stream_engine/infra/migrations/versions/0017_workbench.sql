-- What people's own SQL may read: views under the names and columns of the document, and nothing else. Who may read them
-- is granted by workbench/readers.py, because the names of the logins hang on that of the database.
--
-- `reading` holds no number of a person. What does is there twice: `reading_numbers` shows numbers, `reading_masked`
-- stands a pseudonym in their place. No view needs `security_barrier`: none hides rows, and a query can name only what a
-- view gives out, so that a condition never gets to see the number behind a pseudonym. As barriers they would keep a join
-- from using an index.
CREATE SCHEMA reading;
CREATE SCHEMA reading_numbers;
CREATE SCHEMA reading_masked;

-- The key of the pseudonyms. It never leaves the database, and no login of people's queries may read it: numbers are so
-- few that anybody who had it could try them all.
CREATE TABLE masking_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    key      bytea   NOT NULL
);
INSERT INTO masking_key (key) VALUES (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

CREATE VIEW reading.campaigns AS
SELECT id, name, segment_id, template_id, sender, rate_per_second, quiet_starts, quiet_ends, state, created_by, created_at, updated_at, scheduled_at, started_at, finished_at, recipients
FROM public.campaigns;
COMMENT ON VIEW reading.campaigns IS 'Campaigns with their state; `recipients` are people of the segment when it started.';

CREATE VIEW reading.segments AS
SELECT id, name, created_at, updated_at, archived_at FROM public.segments;
COMMENT ON VIEW reading.segments IS 'Segments that campaigns are sent to.';

CREATE VIEW reading.templates AS
SELECT id, name, channel, locale, body, created_at, updated_at, archived_at FROM public.templates;
COMMENT ON VIEW reading.templates IS 'Texts that campaigns send.';

CREATE VIEW reading.delivery_receipts AS
SELECT message_sid, message_status, error_code, received_at, delivered_at, read_at FROM public.delivery_receipts;
COMMENT ON VIEW reading.delivery_receipts IS 'The latest receipt of each message; one that was read is `delivered` and has a `read_at`.';

CREATE VIEW reading.message_rollups AS
SELECT grain, slice, bucket, campaign_id, channel, country, sender, messages, sent, conflicts, replied, stopped, now_accepted, now_scheduled, now_queued, now_sending, now_sent, now_canceled, now_failed, now_undelivered, now_delivered, now_read
FROM public.message_rollups;
COMMENT ON VIEW reading.message_rollups IS 'Messages counted by minute, quarter, day and month. Choose one `grain` and one `slice`: 0 is all, 1 by campaign, 2 by channel, 4 by country, 8 by sender, 15 by all of them; of minutes there is 15 alone.';

CREATE VIEW reading.failure_rollups AS
SELECT grain, slice, bucket, campaign_id, channel, country, sender, error_code, failed, retried, retried_sent, retried_delivered FROM public.failure_rollups;
COMMENT ON VIEW reading.failure_rollups IS 'Failed messages by error code (0: none named), counted like `message_rollups`.';

CREATE VIEW reading.inbound_rollups AS
SELECT grain, bucket, channel, intent, messages, immediate, auto_replied FROM public.inbound_rollups;
COMMENT ON VIEW reading.inbound_rollups IS 'Incoming messages by channel and intent. Choose one `grain`.';

CREATE VIEW reading.consent_rollups AS
SELECT grain, bucket, from_state, to_state, source, transitions FROM public.consent_rollups;
COMMENT ON VIEW reading.consent_rollups IS 'Changes of consent by source. Choose one `grain`.';

CREATE VIEW reading.signup_rollups AS
SELECT grain, bucket, users FROM public.signup_rollups;
COMMENT ON VIEW reading.signup_rollups IS 'Users who are still there, by when they came. Choose one `grain`.';

CREATE VIEW reading.alert_episodes AS
SELECT id, number, rule_id, subject, subject_name, name, metric, severity, comparison, threshold, value, peak, reason, fired_at, acknowledged_at, resolved_at FROM public.alert_episodes;
COMMENT ON VIEW reading.alert_episodes IS 'Alerts that fired, from firing to resolved.';

CREATE VIEW reading.incidents AS
SELECT id, number, title, severity, state, opened_at, opened_by, due_at, responded_at, acknowledged_at, mitigated_at, resolved_at, summary, root_cause FROM public.incidents;
COMMENT ON VIEW reading.incidents IS 'Incidents with their response times.';

CREATE VIEW reading.pg_stat_user_indexes AS
SELECT relid, indexrelid, schemaname, relname AS tablename, indexrelname AS indexname, relname, indexrelname, idx_scan, idx_tup_read, idx_tup_fetch
FROM pg_catalog.pg_stat_user_indexes;
COMMENT ON VIEW reading.pg_stat_user_indexes IS 'How often each index was used, since the statistics of this server began.';

-- The extension shows a role only its own statements, so its owner asks for it. Texts are without strings and without
-- numbers of four digits or more: PostgreSQL leaves utility statements as they were written, and now and then another one.
CREATE FUNCTION reading.statement_statistics()
RETURNS TABLE (queryid bigint, query text, calls bigint, total_time double precision, mean_time double precision, min_time double precision, max_time double precision, rows bigint, shared_blks_hit bigint, shared_blks_read bigint, temp_blks_written bigint)
STABLE SECURITY DEFINER LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place text := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements');
BEGIN
    IF place IS NULL THEN
        RAISE EXCEPTION 'Statements are not counted here: the extension pg_stat_statements is missing. `ese doctor` says how to get it.' USING ERRCODE = 'undefined_object';
    END IF;
    RETURN QUERY EXECUTE format($f$
        SELECT s.queryid, regexp_replace(regexp_replace(s.query, '''(?:[^'']|'''')*(?:''|$)', '''…''', 'g'), '\m\d{4,}', '…', 'g'),
               s.calls, s.total_exec_time, s.mean_exec_time, s.min_exec_time, s.max_exec_time, s.rows, s.shared_blks_hit, s.shared_blks_read, s.temp_blks_written
        FROM %I.pg_stat_statements(true) s WHERE s.dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())$f$, place);
END $$;
CREATE VIEW reading.pg_stat_statements AS
SELECT queryid, query, calls, total_time, mean_time, min_time, max_time, rows, shared_blks_hit, shared_blks_read, temp_blks_written, total_time AS total_exec_time, mean_time AS mean_exec_time
FROM reading.statement_statistics();
COMMENT ON VIEW reading.pg_stat_statements IS 'Statements of this database with how often they ran and how long they took, in milliseconds.';

CREATE VIEW reading_numbers.users AS
SELECT phone_e164, attributes, consent_state, created_at, country, timezone, updated_at FROM public.users;
CREATE VIEW reading_numbers.messages AS
SELECT id, campaign_id, recipient_phone, channel, sender, country, provider_sid, status, error_code, queued_at, answered_at, first_seen_at, sent_at, delivered_at, read_at, failed_at, canceled_at, skipped_at, skip_reason, replied_at, stopped_at, last_seen_at, cohort_at, is_sent, is_conflict, delivery_us, in_reply_to
FROM public.messages;
CREATE VIEW reading_numbers.inbound_events AS
SELECT id, message_sid, from_phone, to_phone, channel, body, received_at, keyword, intent, is_immediate, is_auto_replied FROM public.inbound_events;
CREATE VIEW reading_numbers.consent_ledger AS
SELECT id, phone_e164, occurred_at, recorded_at, action, source, message_sid, evidence, actor FROM public.consent_ledger;

-- `+1••••34·9f86d081884c7d65`: the first and the last of a number, and 64 bits of a keyed hash, so that two people are
-- never taken for one: joins and groups by a masked number count as with the number itself. The planner puts the
-- expression in the place of the call.
CREATE FUNCTION reading_masked.pseudonym(phone text, key bytea) RETURNS text STABLE LANGUAGE sql
RETURN left(phone, 2) || '••••' || right(phone, 2) || '·' || left(encode(sha256(key || convert_to(phone, 'UTF8')), 'hex'), 16);

CREATE VIEW reading_masked.users AS
SELECT reading_masked.pseudonym(phone_e164, (SELECT key FROM public.masking_key)) AS phone_e164,
       attributes, consent_state, created_at, country, timezone, updated_at
FROM public.users;
CREATE VIEW reading_masked.messages AS
SELECT id, campaign_id,
       reading_masked.pseudonym(recipient_phone, (SELECT key FROM public.masking_key)) AS recipient_phone,
       channel, sender, country, provider_sid, status, error_code, queued_at, answered_at, first_seen_at, sent_at, delivered_at, read_at, failed_at, canceled_at, skipped_at, skip_reason, replied_at, stopped_at, last_seen_at, cohort_at, is_sent, is_conflict, delivery_us, in_reply_to
FROM public.messages;
CREATE VIEW reading_masked.inbound_events AS
SELECT id, message_sid,
       reading_masked.pseudonym(from_phone, (SELECT key FROM public.masking_key)) AS from_phone,
       to_phone, channel, body, received_at, keyword, intent, is_immediate, is_auto_replied
FROM public.inbound_events;
CREATE VIEW reading_masked.consent_ledger AS
SELECT id,
       reading_masked.pseudonym(phone_e164, (SELECT key FROM public.masking_key)) AS phone_e164,
       occurred_at, recorded_at, action, source, message_sid, evidence, actor
FROM public.consent_ledger;

DO $$
DECLARE what text[];
BEGIN
    FOREACH what SLICE 1 IN ARRAY ARRAY[
        ['users', 'People with their consent and attributes.'],
        ['messages', 'One row per message, external ones too. `delivery_us` is microseconds from sent to delivered; windows select by `cohort_at`.'],
        ['inbound_events', 'Incoming messages with what they mean.'],
        ['consent_ledger', 'What people said about consent, when and how.']
    ] LOOP
        EXECUTE format('COMMENT ON VIEW reading_numbers.%I IS %L', what[1], what[2]);
        EXECUTE format('COMMENT ON VIEW reading_masked.%I IS %L', what[1], what[2] || ' Numbers are masked, and still tell people apart.');
    END LOOP;
END $$;
