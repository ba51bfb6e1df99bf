"""Figures of the engine itself."""

from event_stream_engine.analytics.metric import (
    APPLICATION,
    AS_OF_NOW,
    DASHBOARD,
    HEALTH,
    READ,
    Answer,
    Metric,
    Note,
    Subject,
)

_USED = "application_performance.resource_utilization"
_NOW = "the last full minute and the running one"
_SAMPLED = "every 10 seconds"
_SECTION = "System Health Monitoring"


SYSTEM = Subject(
    "system",
    "System",
    "Is the engine itself all right?",
    notes=(
        Note(
            "Health",
            "`health` of the dashboard lists the parts of the engine, each `ok`, `warning` or `failed`.",
        ),
        Note("Database", "warning: more than 80 % of the server’s connections are in use by this database."),
        Note("Web, Workers", "failed: none gave a sign of life in the last 8 s. warning: two versions run."),
        Note(
            "Worker loops",
            "failed: one has not come round for its limit (projector 30 s, sender and sealer 1 min, runner and checker "
            "2 min, others longer).",
        ),
        Note("Event lag", "warning: events wait, the oldest for more than 30 s."),
        Note(
            "Oldest unsent",
            "warning: a message has been due for more than a minute, and of its campaign nothing was handed over meanwhile.",
        ),
        Note("Spool", "warning: events wait on disk. failed: 90 % of `ESE_SPOOL_LIMIT_MB` are used."),
        Note("Dead letters", "warning: there are unresolved ones."),
        Note("Provider", "warning: no worker has credentials."),
        Note("Audit trail, Compliance check", "warning: more than a minute behind."),
        Note("Redis", "warning: it is configured and does not answer. The engine goes on without it."),
        Note("Notifications", "warning: a channel fails; failed: all do."),
        Note(
            "Dead-man's switch",
            "failed: no ping was taken within two minutes, or none is sent because events do not get through.",
        ),
    ),
    metrics=(
        Metric(
            "system_uptime",
            "Uptime, 7 days",
            "%",
            "minutes up / minutes since the first",
            (Answer(DASHBOARD, "kpis.system_uptime.value"),),
            ("uptime_quarters",),
            "Key Performance Indicators (KPIs)",
            "full minutes in which both a web process and a worker gave a sign of life",
            "full minutes of the last 7 days",
            note="The minutes before the first that was ever recorded do not count.",
            window="the last 7 days, whatever period is chosen",
            freshness="by the minute",
        ),
        Metric(
            "system_uptime_hours",
            "Hours since ready",
            "h",
            "time since both web and worker were last there",
            (Answer(DASHBOARD, "system_health.system_uptime_hours"),),
            ("processes",),
            _SECTION,
            note="Unknown while one is missing.",
            window=AS_OF_NOW,
            freshness=READ,
        ),
        Metric(
            "database_connections",
            "Database connections",
            "connections",
            "client connections to this database",
            (
                Answer(DASHBOARD, "system_health.database_connections"),
                Answer(HEALTH, "parts.database.figures.connections"),
            ),
            ("pg_stat_activity",),
            _SECTION,
            window=AS_OF_NOW,
            freshness=READ,
        ),
        Metric(
            "redis_memory",
            "Memory of Redis",
            "MB",
            "memory that Redis uses (`used_memory`)",
            (
                Answer(DASHBOARD, "system_health.redis_memory_usage_mb"),
                Answer(HEALTH, "parts.redis.figures.memory_mb"),
            ),
            ("redis_state",),
            _SECTION,
            note="Unknown without `ESE_REDIS_URL`, and while it is away.",
            window=AS_OF_NOW,
            freshness="every 10 s",
        ),
        Metric(
            "cpu_usage",
            "Processor",
            "%",
            "processor time used / processor time there is, of the busiest host",
            (Answer(APPLICATION, f"{_USED}.cpu_usage_percent"),),
            ("resource_rollups",),
            "Application Performance",
            "processor time used",
            "processor time there is",
            window=_NOW,
            freshness=_SAMPLED,
        ),
        Metric(
            "memory_usage",
            "Memory",
            "MB",
            "memory of all processes of the engine",
            (Answer(APPLICATION, f"{_USED}.memory_usage_mb"),),
            ("resource_rollups",),
            "Application Performance",
            note="Of the database server it is not known.",
            window=_NOW,
            freshness=_SAMPLED,
        ),
        Metric(
            "disk_operations",
            "Disk operations a second",
            "operations",
            "reads and writes a second of all hosts",
            (Answer(APPLICATION, f"{_USED}.disk_io_ops_sec"),),
            ("resource_rollups",),
            "Application Performance",
            window=_NOW,
            freshness=_SAMPLED,
        ),
    ),
)
