"""The parts of the engine, each with its numbers."""

from event_stream_engine.analytics.metric import AS_OF_NOW, HEALTH, READ, Metric, Subject, list_answers


def _measure(
    slug: str, name: str, unit: str, formula: str, *paths: str, reads: tuple[str, ...], note: str = ""
) -> Metric:
    answers = list_answers(HEALTH, *(f"parts.{path}" for path in paths))
    return Metric(slug, name, unit, formula, answers, reads, note=note, window=AS_OF_NOW, freshness=READ)


_NO_WORKER = "Unknown while no worker runs."

HEALTH_OF_PARTS = Subject(
    "health",
    "Health",
    "Which part of the engine is not all right, and by how much?",
    metrics=(
        _measure(
            "database_latency",
            "Latency of the database",
            "ms",
            "time of one small query, there and back",
            "database.figures.latency_ms",
            reads=("pg_stat_activity",),
        ),
        _measure(
            "database_connections_limit",
            "Most connections",
            "connections",
            "`max_connections` of the server",
            "database.figures.most_connections",
            reads=("pg_settings",),
        ),
        _measure(
            "processes_running",
            "Processes",
            "processes",
            "processes with a sign of life in the last 8 s",
            "web.figures.running",
            "worker.figures.running",
            reads=("processes",),
        ),
        _measure(
            "beat_age",
            "Age of the sign of life",
            "s",
            "time since the newest one of a kind",
            "web.figures.beat_age_seconds",
            "worker.figures.beat_age_seconds",
            reads=("processes",),
            note="Unknown while none of the kind runs.",
        ),
        _measure(
            "loop_silence",
            "Longest silent loop",
            "s",
            "time since that loop came round which is nearest to its limit, or beyond it",
            "loops.figures.silent_seconds",
            reads=("processes",),
            note=_NO_WORKER,
        ),
        _measure(
            "loop_limit",
            "Its limit",
            "s",
            "how long that loop may be silent",
            "loops.figures.limit_seconds",
            reads=("processes",),
            note=_NO_WORKER,
        ),
        _measure(
            "event_lag_events",
            "Event lag",
            "events",
            "events that are stored and not projected",
            "event_lag.figures.events",
            reads=("events", "log_cursors"),
            note="Counted up to 10,000.",
        ),
        _measure(
            "event_lag_seconds",
            "Age of the event lag",
            "s",
            "now − received of the oldest of them",
            "event_lag.figures.seconds",
            reads=("events", "log_cursors"),
        ),
        _measure(
            "oldest_unsent",
            "Oldest unsent message",
            "s",
            "now − due of the message that is due longest and not handed over",
            "unsent.figures.due_seconds",
            reads=("outbox", "pace"),
            note="Of a campaign that stands still, if there is one. Unknown while nothing waits.",
        ),
        _measure(
            "spool_events",
            "Events in the spool",
            "events",
            "events that wait on the disks of the web processes",
            "spool.figures.events",
            reads=("processes",),
        ),
        _measure(
            "spool_used",
            "Size of the spool",
            "MB",
            "bytes that they use",
            "spool.figures.used_mb",
            reads=("processes",),
        ),
        _measure(
            "spool_share",
            "Share of the spool’s limit",
            "%",
            "bytes of the fullest spool, of `ESE_SPOOL_LIMIT_MB`",
            "spool.figures.limit_share_percent",
            reads=("processes",),
        ),
        _measure(
            "dead_letters",
            "Dead letters",
            "events",
            "events that could not be projected, and are not resolved",
            "dead_letters.figures.events",
            reads=("dead_letters",),
        ),
        _measure(
            "unsealed_entries",
            "Entries not sealed",
            "entries",
            "entries of the audit trail behind the newest batch",
            "sealing.figures.entries",
            reads=("audit_log", "audit_batches"),
            note="Counted up to 100,000.",
        ),
        _measure(
            "sealing_lag",
            "Lag of sealing",
            "s",
            "age of the oldest of them",
            "sealing.figures.seconds",
            reads=("audit_log", "audit_batches"),
        ),
        _measure(
            "checking_lag",
            "Lag of the compliance check",
            "s",
            "age of the oldest decision that is not checked",
            "checking.figures.seconds",
            reads=("audit_log", "compliance_place"),
        ),
        _measure(
            "redis_latency",
            "Latency of Redis",
            "ms",
            "time of one `INFO memory`, there and back",
            "redis.figures.latency_ms",
            reads=("redis_state",),
            note="Unknown without `ESE_REDIS_URL`, and while it is away.",
        ),
    ),
)
