-- name: list_severities :many
-- for: the policy
-- out: severity, meaning, response_seconds
-- note: always four rows
SELECT severity, meaning, response_seconds FROM incident_severities;

-- name: list_steps :many
-- for: the policy
-- out: name, after_seconds and contacts (JSON)
-- note: positions are 1, 2, … without gaps
SELECT name, after_seconds, contacts FROM escalation_steps ORDER BY position;

-- name: list_channels :many
-- for: the channels a contact can be told by
-- out: id, name, is_enabled
-- note: also switched off ones: whoever switches one off for an hour keeps the policy
SELECT id, name, is_enabled FROM notification_channels WHERE removed_at IS NULL ORDER BY lower(name);

-- name: lock_policy :exec
-- for: two people who change the policy at once: the second waits, and then sees the first one's
-- note: readers do not wait
SELECT FROM incident_severities WHERE severity = 'critical' FOR UPDATE;

-- name: change_severities :exec
-- for: a changed policy
-- in: severity, meaning text[], response_seconds integer[] of equal length
-- note: under lock_policy
UPDATE incident_severities s SET meaning = given.meaning, response_seconds = given.response_seconds
FROM unnest(%(severity)s::text[], %(meaning)s::text[], %(response_seconds)s::integer[]) AS given (severity, meaning, response_seconds)
WHERE s.severity = given.severity;

-- name: delete_steps :exec
-- for: a changed policy
-- note: under lock_policy; ten rows at most, so that replacing beats comparing
DELETE FROM escalation_steps;

-- name: add_steps :exec
-- for: a changed policy
-- in: name, after_seconds, contacts text[] (JSON) of equal length, in order
-- note: under lock_policy
INSERT INTO escalation_steps (position, name, after_seconds, contacts)
SELECT position, name, after_seconds::jsonb, contacts::jsonb
FROM unnest(%(name)s::text[], %(after_seconds)s::text[], %(contacts)s::text[]) WITH ORDINALITY AS given (name, after_seconds, contacts, position);

-- name: add_incident :maybe
-- for: an incident that opens
-- in: id, title, severity, grouping (NULL: by hand), labels (JSON), now, opened_by, due_at, summary
-- out: id; no row when an incident of this grouping is open
-- index: incidents_grouping
-- note: the index decides between two who open one at once
INSERT INTO incidents (id, title, severity, state, grouping, labels, opened_at, opened_by, clock_at, due_at, summary)
VALUES (%(id)s, %(title)s, %(severity)s, 'open', %(grouping)s, %(labels)s::jsonb, %(now)s, %(opened_by)s, %(now)s, %(due_at)s, %(summary)s)
ON CONFLICT (grouping) WHERE resolved_at IS NULL DO NOTHING
RETURNING id;

-- name: find_incident :maybe
-- for: one incident
-- in: id
-- out: its columns, assignee_name (NULL: nobody), alerts and open_alerts counted
-- index: incidents, operators and incident_alerts primary keys
-- note: see list_incidents
SELECT i.id, i.number, i.title, i.severity, i.state, i.version, i.round, i.grouping, i.labels, i.opened_at, i.opened_by, i.clock_at, i.due_at, i.responded_at,
       i.acknowledged_at, i.mitigated_at, i.resolved_at, i.quiet_at, i.assignee_id, o.name AS assignee_name, i.summary, i.root_cause, i.follow_ups,
       a.alerts, a.open_alerts
FROM incidents i
LEFT JOIN operators o ON o.id = i.assignee_id
CROSS JOIN LATERAL (SELECT count(*) AS alerts, count(*) FILTER (WHERE resolved_at IS NULL) AS open_alerts FROM incident_alerts WHERE incident_id = i.id) AS a
WHERE i.id = %(id)s;

-- name: find_incident_id :maybe
-- for: an incident by the number people say
-- in: number
-- out: id
-- index: incidents (number)
-- note: INC-0007 is number 7
SELECT id FROM incidents WHERE number = %(number)s;

-- name: lock_incident :maybe
-- for: a change of one incident
-- in: id
-- out: id
-- index: incidents primary key
-- note: everybody locks the incident before its timers and alerts; whoever waited reads it anew
SELECT id FROM incidents WHERE id = %(id)s FOR UPDATE;

-- name: lock_open :maybe
-- for: the open incident of a grouping
-- in: grouping
-- out: id
-- index: incidents_grouping
-- note: an incident that somebody resolves at this moment is waited for, and then is none
SELECT id FROM incidents WHERE grouping = %(grouping)s AND resolved_at IS NULL FOR UPDATE;

-- name: list_incidents :many
-- for: incidents, newest first, from behind a place on
-- in: states, severities text[] (NULL: any), before_at, before_id (NULL: from the newest), limit
-- out: as find_incident
-- index: incidents_opened
-- note: walks the index backwards; filters keep few of few
SELECT i.id, i.number, i.title, i.severity, i.state, i.version, i.round, i.grouping, i.labels, i.opened_at, i.opened_by, i.clock_at, i.due_at, i.responded_at,
       i.acknowledged_at, i.mitigated_at, i.resolved_at, i.quiet_at, i.assignee_id, o.name AS assignee_name, i.summary, i.root_cause, i.follow_ups,
       a.alerts, a.open_alerts
FROM incidents i
LEFT JOIN operators o ON o.id = i.assignee_id
CROSS JOIN LATERAL (SELECT count(*) AS alerts, count(*) FILTER (WHERE resolved_at IS NULL) AS open_alerts FROM incident_alerts WHERE incident_id = i.id) AS a
WHERE (%(states)s::text[] IS NULL OR i.state = ANY (%(states)s)) AND (%(severities)s::text[] IS NULL OR i.severity = ANY (%(severities)s))
  AND (%(before_at)s::timestamptz IS NULL OR (i.opened_at, i.id) < (%(before_at)s, %(before_id)s::uuid))
ORDER BY i.opened_at DESC, i.id DESC
LIMIT %(limit)s;

-- name: list_possible_assignees :many
-- for: who can have an incident in hand
-- out: id, name
-- note: a viewer can change nothing, and whoever is switched off has left
SELECT id, name FROM operators WHERE disabled_at IS NULL AND role <> 'viewer' ORDER BY lower(name), id;

-- name: move_incident :exec
-- for: where an incident stands
-- in: id and the columns of lifecycle.Standing, quiet_at
-- index: incidents primary key
-- note: under lock_incident; whatever else somebody had seen is out of date from now on
UPDATE incidents
SET version = version + 1, state = %(state)s, severity = %(severity)s, round = %(round)s, clock_at = %(clock_at)s, due_at = %(due_at)s,
    responded_at = %(responded_at)s, acknowledged_at = %(acknowledged_at)s, mitigated_at = %(mitigated_at)s, resolved_at = %(resolved_at)s
WHERE id = %(id)s;

-- name: assign_incident :exec
-- for: who has it in hand
-- in: id, assignee_id (NULL: nobody)
-- index: incidents primary key
-- note: under lock_incident
UPDATE incidents SET version = version + 1, assignee_id = %(assignee_id)s WHERE id = %(id)s;

-- name: write_report :exec
-- for: what people write for the report
-- in: id, summary, root_cause, follow_ups
-- index: incidents primary key
-- note: under lock_incident
UPDATE incidents SET version = version + 1, summary = %(summary)s, root_cause = %(root_cause)s, follow_ups = %(follow_ups)s WHERE id = %(id)s;

-- name: note_quiet :exec
-- for: whether all of its alerts are over
-- in: id, quiet_at (NULL: one fires)
-- index: incidents primary key
-- note: under lock_incident; no new version: it takes nothing back that a person decides
UPDATE incidents SET quiet_at = %(quiet_at)s WHERE id = %(id)s;

-- name: add_happenings :exec
-- for: rows of timelines
-- in: incident_id uuid[], version integer[], kind, text, before, after text[] of equal length; actor, now
-- note: in order of the arrays, so that ids are in order too
INSERT INTO incident_timeline (incident_id, version, at, actor, kind, before, after, text)
SELECT incident_id, version, %(now)s, %(actor)s, kind, before, after, text
FROM unnest(%(incident_id)s::uuid[], %(version)s::integer[], %(kind)s::text[], %(text)s::text[], %(before)s::text[], %(after)s::text[]) WITH ORDINALITY
     AS given (incident_id, version, kind, text, before, after, place)
ORDER BY place;

-- name: list_happenings :many
-- for: the timeline of an incident, or what happened since somebody looked
-- in: incident_id, version
-- out: id, version, at, actor, actor_name (NULL: the engine, or gone), kind, before, after, text
-- index: incident_timeline_incident, operators and api_keys primary keys
-- note: a timeline is read by people, so it is short
SELECT t.id, t.version, t.at, t.actor, coalesce(o.name, k.name) AS actor_name, t.kind, t.before, t.after, t.text
FROM incident_timeline t
LEFT JOIN operators o ON t.actor = 'operator:' || o.id
LEFT JOIN api_keys k ON t.actor = 'key:' || k.id
WHERE t.incident_id = %(incident_id)s AND t.version > %(version)s
ORDER BY t.id;

-- name: has_person :one
-- for: whether a person ever did something about an incident
-- in: incident_id
-- out: has_person
-- index: incident_timeline_incident
-- note: the engine's parts are the actors engine:…; the command line is a person
SELECT EXISTS (SELECT FROM incident_timeline WHERE incident_id = %(incident_id)s AND (actor NOT LIKE 'engine:%%' OR actor = 'engine:cli')) AS has_person;

-- name: add_alerts :many
-- for: alerts that belong to an incident
-- in: incident_id; episode_id, rule_id uuid[], subject, name, severity text[], value, threshold double precision[], fired_at timestamptz[] of equal length
-- out: name, subject_name, value, threshold of those it did not have
-- index: incident_alerts, alert_episodes and alert_rules primary keys
-- note: under lock_incident
INSERT INTO incident_alerts (incident_id, episode_id, rule_id, subject, subject_name, name, severity, metric, comparison, value, threshold, window_seconds, fired_at)
SELECT %(incident_id)s, g.episode_id, g.rule_id, g.subject, coalesce(e.subject_name, g.subject), g.name, g.severity, coalesce(e.metric, ''),
       coalesce(e.comparison, 'above'), g.value, g.threshold,
       coalesce(r.window_seconds, 0), g.fired_at
FROM unnest(%(episode_id)s::uuid[], %(rule_id)s::uuid[], %(subject)s::text[], %(name)s::text[], %(severity)s::text[], %(value)s::double precision[],
            %(threshold)s::double precision[], %(fired_at)s::timestamptz[]) AS g (episode_id, rule_id, subject, name, severity, value, threshold, fired_at)
LEFT JOIN alert_episodes e ON e.id = g.episode_id
LEFT JOIN alert_rules r ON r.id = g.rule_id
ON CONFLICT (incident_id, episode_id) DO NOTHING
RETURNING name, subject_name, value, threshold;

-- name: list_incidents_of_alerts :many
-- for: the incidents that alerts belong to
-- in: episode_id uuid[]
-- out: id
-- index: incident_alerts_episode
-- note: ordered, so that two who lock several do it in the same order
SELECT DISTINCT incident_id AS id FROM incident_alerts WHERE episode_id = ANY (%(episode_id)s::uuid[]) AND resolved_at IS NULL ORDER BY 1;

-- name: list_names_of_alert :many
-- for: the incidents an alert belongs to or belonged to, for its page
-- in: episode_id
-- out: id, number, title, state; the newest first
-- index: incident_alerts_episode and incidents primary key
-- note: almost always one
SELECT i.id, i.number, i.title, i.state FROM incident_alerts a JOIN incidents i ON i.id = a.incident_id WHERE a.episode_id = %(episode_id)s ORDER BY i.opened_at DESC;

-- name: end_alerts :many
-- for: alerts of an incident that are over
-- in: incident_id; episode_id uuid[]; now
-- out: name, subject_name, value, threshold
-- index: incident_alerts primary key
-- note: under lock_incident
UPDATE incident_alerts SET resolved_at = %(now)s
WHERE incident_id = %(incident_id)s AND episode_id = ANY (%(episode_id)s::uuid[]) AND resolved_at IS NULL
RETURNING name, subject_name, value, threshold;

-- name: list_alerts :many
-- for: the alerts of an incident
-- in: incident_id
-- out: as stored, with number and peak of the episode as long as it is kept
-- index: incident_alerts and alert_episodes primary keys
-- note: LEFT JOIN, because episodes are cleared before incidents
SELECT a.episode_id, a.rule_id, a.subject, a.subject_name, a.name, a.severity, a.metric, a.comparison, a.value, a.threshold, a.window_seconds,
       a.fired_at, a.resolved_at, e.number, e.peak
FROM incident_alerts a
LEFT JOIN alert_episodes e ON e.id = a.episode_id
WHERE a.incident_id = %(incident_id)s
ORDER BY a.fired_at, a.name, a.subject;

-- name: plan_timers :exec
-- for: what is due when, in place of what was planned before
-- in: incident_id; position integer[], due_at timestamptz[] of equal length
-- index: incident_timers primary key
-- note: under lock_incident. The deletion is a statement of its own before this one
INSERT INTO incident_timers (incident_id, position, due_at)
SELECT %(incident_id)s, position, due_at FROM unnest(%(position)s::integer[], %(due_at)s::timestamptz[]) AS given (position, due_at);

-- name: clear_timers :many
-- for: an incident that nobody has to be told of any more, or that is planned anew
-- in: incident_id
-- out: position: what had not happened yet
-- index: incident_timers primary key
-- note: under lock_incident
DELETE FROM incident_timers WHERE incident_id = %(incident_id)s RETURNING position;

-- name: take_due_timers :many
-- for: what is due now
-- in: now, limit
-- out: incident_id, position, due_at
-- index: incident_timers_due, incidents primary key
-- note: the incident is locked first, as everywhere. One that somebody changes at this moment is left for the next turn; a timer
--       that a committed acknowledgement took away meanwhile is gone, so nobody is told for nothing. What is returned is deleted,
--       so that no clock that steps back tells anybody twice.
WITH held AS MATERIALIZED (
    SELECT id FROM incidents
    WHERE id IN (SELECT incident_id FROM incident_timers WHERE due_at <= %(now)s ORDER BY due_at LIMIT %(limit)s)
    FOR UPDATE SKIP LOCKED
)
DELETE FROM incident_timers t USING held
WHERE t.incident_id = held.id AND t.due_at <= %(now)s
RETURNING t.incident_id, t.position, t.due_at;

-- name: list_timers :many
-- for: what happens next if nobody acknowledges
-- in: incident_id
-- out: position, due_at
-- index: incident_timers primary key
-- note: eleven rows at most
SELECT position, due_at FROM incident_timers WHERE incident_id = %(incident_id)s ORDER BY due_at, position;

-- name: count_incidents :many
-- for: how soon incidents are answered and how long they last
-- in: since, until; now
-- out: severity (NULL: all), open (as of now), opened, acknowledged and resolved (in the window), mtta_… and mttr_… (seconds), responses, in_time
-- index: incidents_opened, incidents_responded, incidents_resolved
-- note: responses and in_time are of incidents opened in the window whose clock has ended: acknowledged, or past its time
SELECT severity,
       count(*) FILTER (WHERE resolved_at IS NULL) AS open,
       count(*) FILTER (WHERE is_opened) AS opened,
       count(*) FILTER (WHERE is_acknowledged) AS acknowledged,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds_to_acknowledge) FILTER (WHERE is_acknowledged) AS mtta_seconds,
       avg(seconds_to_acknowledge) FILTER (WHERE is_acknowledged) AS mtta_mean_seconds,
       count(*) FILTER (WHERE is_resolved) AS resolved,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds_to_resolve) FILTER (WHERE is_resolved) AS mttr_seconds,
       avg(seconds_to_resolve) FILTER (WHERE is_resolved) AS mttr_mean_seconds,
       count(*) FILTER (WHERE is_opened AND (acknowledged_at IS NOT NULL OR coalesce(resolved_at, %(now)s) > due_at)) AS responses,
       count(*) FILTER (WHERE is_opened AND acknowledged_at <= due_at) AS in_time
FROM (
    SELECT severity, acknowledged_at, resolved_at, due_at,
           date_part('epoch', responded_at - opened_at) AS seconds_to_acknowledge, date_part('epoch', resolved_at - opened_at) AS seconds_to_resolve,
           opened_at >= %(since)s AND opened_at < %(until)s AS is_opened,
           responded_at >= %(since)s AND responded_at < %(until)s AS is_acknowledged,
           resolved_at >= %(since)s AND resolved_at < %(until)s AS is_resolved
    FROM incidents
    WHERE resolved_at IS NULL OR opened_at >= %(since)s AND opened_at < %(until)s OR responded_at >= %(since)s AND responded_at < %(until)s
       OR resolved_at >= %(since)s AND resolved_at < %(until)s) AS counted
GROUP BY GROUPING SETS ((severity), ());

-- name: find_beginning :one
-- for: when an incident really began
-- in: incident_id
-- out: an instant, NULL without alerts
-- index: incident_alerts and campaigns primary keys
-- note: a rule without a window looks at a campaign as a whole
SELECT min(CASE WHEN a.window_seconds > 0 THEN a.fired_at - make_interval(secs => a.window_seconds) ELSE least(a.fired_at, c.started_at) END)
FROM incident_alerts a
LEFT JOIN campaigns c ON a.subject = 'campaign:' || c.id
WHERE a.incident_id = %(incident_id)s;

-- name: count_affected :many
-- for: the messages that alerts are about, by campaign
-- in: since, until; slice (with campaign and all that is asked for); is_all, campaign_ids, channels, countries: any of them
-- out: id (zeros: of no campaign), name, messages, delivered, failed
-- index: as analytics count_messages
-- note: one condition for all alerts, so that a message two of them are about counts once
SELECT r.campaign_id AS id, c.name, sum(r.messages)::bigint AS messages, sum(r.now_delivered + r.now_read)::bigint AS delivered,
       sum(r.now_failed + r.now_undelivered)::bigint AS failed
FROM message_counts(%(since)s, %(until)s, %(slice)s, 'month') AS r
LEFT JOIN campaigns c ON c.id = r.campaign_id
WHERE %(is_all)s OR r.campaign_id = ANY (%(campaign_ids)s::uuid[]) OR r.channel = ANY (%(channels)s::text[]) OR r.country = ANY (%(countries)s::text[])
GROUP BY r.campaign_id, c.name
HAVING sum(r.messages) > 0
ORDER BY failed DESC, messages DESC, r.campaign_id;

-- name: count_failed_recipients :one
-- for: the people to whom a message failed
-- in: since, until; is_all, campaign_ids, channels, countries: any of them
-- out: count
-- index: messages_cohort
-- note: the caller has seen from the roll-ups that there are not too many messages
SELECT count(DISTINCT m.recipient_phone) AS count
FROM messages m
WHERE m.cohort_at >= %(since)s AND m.cohort_at < %(until)s AND m.status IN ('FAILED', 'UNDELIVERED')
  AND (%(is_all)s OR m.campaign_id = ANY (%(campaign_ids)s::uuid[]) OR m.channel = ANY (%(channels)s::text[]) OR m.country = ANY (%(countries)s::text[]));

-- name: list_failed_messages :many
-- for: the messages that failed, by pages
-- in: as count_failed_recipients; before_at, before_id (NULL: from the newest); most
-- out: id, campaign_id, recipient_phone, status, error_code, cohort_at
-- index: messages_cohort
-- note: walks the index backwards
SELECT m.id, m.campaign_id, m.recipient_phone, m.status, m.error_code, m.cohort_at
FROM messages m
WHERE m.cohort_at >= %(since)s AND m.cohort_at < %(until)s AND m.status IN ('FAILED', 'UNDELIVERED')
  AND (%(is_all)s OR m.campaign_id = ANY (%(campaign_ids)s::uuid[]) OR m.channel = ANY (%(channels)s::text[]) OR m.country = ANY (%(countries)s::text[]))
  AND (%(before_at)s::timestamptz IS NULL OR (m.cohort_at, m.id) < (%(before_at)s, %(before_id)s::uuid))
ORDER BY m.cohort_at DESC, m.id DESC
LIMIT %(most)s;
