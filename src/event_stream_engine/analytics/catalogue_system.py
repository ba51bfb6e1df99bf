"""Figures of the engine itself."""

from event_stream_engine.analytics.metric import AS_OF_NOW, DASHBOARD, READ, Answer, Metric, Note, Subject

_SECTION = "System Health Monitoring"
_LAST_MINUTES = "the last 5 minutes"
_NOT_YET = "Unknown in this version: requests are not measured yet."


def _unmeasured(slug: str, name: str, unit: str, formula: str, *, path: str, window: str) -> Metric:
    answers = (Answer(DASHBOARD, f"performance_metrics.{path}"),)
    return Metric(
        slug, name, unit, formula, answers, (), _SECTION, note=_NOT_YET, window=window, freshness=READ
    )


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
        Note("Event lag", "warning: events wait, the oldest for more than 30 s."),
        Note("Web, Workers", "failed: none gave a sign of life in the last 15 s."),
        Note("Spool", "warning: events wait on disk."),
        Note("Dead letters", "warning: there are unresolved ones."),
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
            ("uptime_minutes",),
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
            (Answer(DASHBOARD, "system_health.database_connections"),),
            ("pg_stat_activity",),
            _SECTION,
            window=AS_OF_NOW,
            freshness=READ,
        ),
        Metric(
            "redis_memory",
            "Memory of Redis",
            "MB",
            "memory that Redis uses",
            (Answer(DASHBOARD, "system_health.redis_memory_usage_mb"),),
            (),
            _SECTION,
            note="Unknown: this engine needs no Redis.",
            window=AS_OF_NOW,
            freshness=READ,
        ),
        Metric(
            "webhook_processing_time",
            "Processing of webhooks",
            "ms",
            "mean of applied − received of live webhooks",
            (Answer(DASHBOARD, "performance_metrics.webhook_processing_time_ms"),),
            ("pipeline_rollups",),
            _SECTION,
            note="Unknown without any.",
            window=_LAST_MINUTES,
        ),
        _unmeasured(
            "average_response_time",
            "Average response time",
            "ms",
            "mean time of a request",
            path="average_response_time_ms",
            window=_LAST_MINUTES,
        ),
        _unmeasured(
            "requests_per_minute",
            "Requests a minute",
            "requests",
            "requests of the last full minute",
            path="requests_per_minute",
            window="the last full minute",
        ),
        _unmeasured(
            "request_error_rate",
            "Error rate of requests",
            "%",
            "answers with 5xx / all answers",
            path="error_rate_percent",
            window=_LAST_MINUTES,
        ),
    ),
)
