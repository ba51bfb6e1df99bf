-- name: add_notices :exec
-- for: what is told, once for all channels
-- in: key uuid[], kind, severity, labels (JSON), title, body, facts (JSON), path text[], episode_id uuid[], at timestamptz[], of equal length
-- index: notices primary key
-- note: ordered by key, so that two evaluators wait for each other instead of locking each other out
INSERT INTO notices (key, kind, severity, labels, episode_id, title, body, facts, path, at)
SELECT key, kind, severity, labels::jsonb, episode_id, title, body, facts::jsonb, path, at
FROM unnest(%(key)s::uuid[], %(kind)s::text[], %(severity)s::text[], %(labels)s::text[], %(episode_id)s::uuid[],
            %(title)s::text[], %(body)s::text[], %(facts)s::text[], %(path)s::text[], %(at)s::timestamptz[])
     AS given (key, kind, severity, labels, episode_id, title, body, facts, path, at)
ORDER BY key
ON CONFLICT (key) DO NOTHING;

-- name: queue_deliveries :exec
-- for: notices on their way to channels
-- in: key uuid[], group_key text[] of equal length; named uuid[] (NULL: by the routes)
-- out: row count
-- index: notices primary key and (episode_id, at), notice_deliveries (notice_key, channel_id)
-- note: told locks the deliveries of the episode's earlier notices against handing over to a fallback meanwhile: whoever
--       comes second sees what the first did, so a fallback that heard of the fire hears of its end. Regular expressions
--       are matched here, because PostgreSQL's need no backtracking: no pattern can hold up a worker. What waits for the
--       channel of the same episode gives its group, so that both go out together and in order.
WITH given AS (
    SELECT n.*, g.group_key
    FROM unnest(%(key)s::uuid[], %(group_key)s::text[]) AS g (key, group_key) JOIN notices n USING (key)
), told AS MATERIALIZED (
    SELECT g.key, d.channel_id, d.fallback_id, d.fallback_at - d.queued_at AS fallback_after, d.passed_at
    FROM given g
    JOIN notices e ON e.episode_id = g.episode_id AND e.key <> g.key
    JOIN notice_deliveries d ON d.notice_key = e.key
    WHERE g.kind LIKE '%%.resolved'
    FOR SHARE OF d
), matching AS (
    SELECT g.key, r.position, r.channel_id, r.fallback_id, make_interval(secs => r.fallback_after_seconds) AS fallback_after,
           make_interval(secs => r.group_wait_seconds) AS group_wait
    FROM given g CROSS JOIN notification_routes r
    WHERE (r.severities = '{}' OR g.severity = ANY (r.severities))
      AND (r.kinds = '{}' OR g.kind = ANY (r.kinds))
      AND NOT EXISTS (
          SELECT FROM jsonb_to_recordset(r.matchers) AS m (label text, value text, is_regex boolean)
          WHERE CASE WHEN m.is_regex THEN coalesce(g.labels ->> m.label, '') !~ ('^(?:' || m.value || ')$')
                     ELSE coalesce(g.labels ->> m.label, '') <> m.value END)
), chosen (key, rank, channel_id, fallback_id, fallback_after, group_wait) AS (
    SELECT key, 0, channel_id, fallback_id, fallback_after, interval '0' FROM told
    UNION ALL
    SELECT key, 0, fallback_id, NULL, NULL, interval '0' FROM told WHERE passed_at IS NOT NULL
    UNION ALL
    SELECT g.key, 1, c.id, NULL, NULL, interval '0'
    FROM given g JOIN notification_channels c ON c.id = ANY (%(named)s::uuid[])
    UNION ALL
    SELECT m.key, 2 + m.position, CASE WHEN c.is_enabled THEN m.channel_id ELSE m.fallback_id END,
           CASE WHEN c.is_enabled THEN m.fallback_id END, CASE WHEN c.is_enabled THEN m.fallback_after END, m.group_wait
    FROM matching m JOIN given g USING (key) JOIN notification_channels c ON c.id = m.channel_id
    WHERE %(named)s::uuid[] IS NULL AND g.kind NOT LIKE '%%.resolved'
    UNION ALL
    SELECT g.key, 2, c.id, NULL, NULL, interval '0'
    FROM given g CROSS JOIN notification_channels c
    WHERE %(named)s::uuid[] IS NULL AND g.kind NOT LIKE '%%.resolved' AND NOT EXISTS (SELECT FROM notification_routes)
)
INSERT INTO notice_deliveries (notice_key, channel_id, group_key, queued_at, due_at, fallback_id, fallback_at)
SELECT DISTINCT ON (g.at, g.key, c.id) g.key, c.id, coalesce(w.group_key, g.group_key), g.at, g.at + chosen.group_wait,
       chosen.fallback_id, CASE WHEN chosen.fallback_id IS NOT NULL THEN g.at + chosen.fallback_after END
FROM chosen
JOIN given g USING (key)
JOIN notification_channels c ON c.id = chosen.channel_id AND c.is_enabled AND c.removed_at IS NULL
LEFT JOIN LATERAL (
    SELECT d.group_key
    FROM notices e JOIN notice_deliveries d ON d.notice_key = e.key AND d.channel_id = c.id AND d.state = 'waiting'
    WHERE e.episode_id = g.episode_id
    ORDER BY d.id LIMIT 1) AS w ON true
ORDER BY g.at, g.key, c.id, chosen.rank
ON CONFLICT (notice_key, channel_id) DO NOTHING;
