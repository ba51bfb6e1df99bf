"""Figures of capacity: present use, where it goes, what would be if."""

from event_stream_engine.analytics.metric import AS_OF_NOW, READ, Metric, Note, Subject, list_answers

_ENDPOINT = "/api/v1/insights/capacity"
_SECTION = "Capacity Planning"
_USE = "capacity_metrics.current_utilization"
_AHEAD = "capacity_metrics.projected_growth.3_month_projection"
_WEEK = "the last 7 full local days, or those since the first message when they are fewer"
_HISTORY = "up to 26 weeks of full days"
_MESSAGES, _SIGNUPS, _SIZES = ("message_rollups",), ("signup_rollups",), ("database_rollups",)
_LOG = ("table_rollups", "database_marks")
_LOADS = (
    "pool_rollups",
    "resource_rollups",
    "pipeline_rollups",
    "intake_counts",
    "database_disk",
    "database_marks",
    "redis_state",
)


def _present(
    slug: str,
    name: str,
    unit: str,
    formula: str,
    *paths: str,
    reads: tuple[str, ...],
    note: str = "",
    window: str = _WEEK,
) -> Metric:
    section = _SECTION if paths[0].startswith(_USE) else ""
    return Metric(
        slug,
        name,
        unit,
        formula,
        list_answers(_ENDPOINT, *paths),
        reads,
        section,
        note=note,
        window=window,
        freshness=READ,
    )


def _projected(
    slug: str,
    name: str,
    unit: str,
    formula: str,
    *,
    key: str,
    reads: tuple[str, ...],
    note: str = "",
) -> Metric:
    places = (f"{_AHEAD}.{key}", f"intervals.{key}.low", f"intervals.{key}.high")
    return Metric(
        slug,
        name,
        unit,
        formula,
        list_answers(_ENDPOINT, *places),
        reads,
        _SECTION,
        note=note,
        window=_HISTORY,
        freshness=READ,
    )


def _what_if(
    slug: str, name: str, unit: str, formula: str, *, key: str, reads: tuple[str, ...], note: str = ""
) -> Metric:
    return Metric(
        f"what_if_{slug}",
        name,
        unit,
        formula,
        list_answers(_ENDPOINT, f"what_if.{key}"),
        reads,
        note=note,
        window=_WEEK,
        freshness=READ,
    )


CAPACITY = Subject(
    "capacity",
    "Capacity",
    "Will it be enough: what is used at present, where it goes in three months, and what would be if?",
    notes=(
        Note(
            "Projection",
            "The trend of Theil and Sen over the means of whole weeks, with the season of the week; three months are 91 days. With "
            "fewer than 28 full days nothing is projected. Of a longer history the last 26 weeks are used.",
        ),
        Note(
            "Interval",
            "What comes lies in it in 9 of 10 cases, as long as the future is like the past: a straight trend, and weeks that "
            "stray from it as they have so far. No new customer, no season of the year is in it.",
        ),
        Note("Megabytes", "A megabyte is a million bytes, a gigabyte a thousand million."),
        Note(
            "Disk",
            "The file system of PostgreSQL’s data directory, seen by a process of the engine on the same host. Tablespaces and a "
            "write-ahead log elsewhere are not in it.",
        ),
    ),
    metrics=(
        _present(
            "daily_message_volume",
            "Messages a day",
            "messages",
            "messages sent / days",
            f"{_USE}.daily_message_volume",
            reads=_MESSAGES,
        ),
        _present(
            "peak_hourly_rate",
            "Busiest hour",
            "messages",
            "most messages sent in one hour",
            f"{_USE}.peak_hourly_rate",
            reads=_MESSAGES,
            note="Hours of the workspace’s clock; `peak_hour_at` says which.",
        ),
        _present(
            "capacity_database_growth",
            "Growth of the database a day",
            "MB",
            "growth of the size / days",
            f"{_USE}.database_growth_mb_day",
            reads=_SIZES,
            note="Unknown in the first day.",
            window="the last 7 days, or since the first look when that is shorter",
        ),
        _present(
            "storage_usage",
            "Disk used",
            "%",
            "all but what is free for PostgreSQL / size of its disk",
            f"{_USE}.storage_usage_percent",
            reads=("database_disk",),
            note="Unknown when no process of the engine runs on PostgreSQL’s host.",
            window=AS_OF_NOW,
        ),
        _projected(
            "projected_daily_volume",
            "Messages a day in three months",
            "messages",
            "mean of a day in the thirteenth week ahead, by trend",
            key="daily_volume",
            reads=_MESSAGES,
        ),
        _projected(
            "projected_storage",
            "Size of the database in three months",
            "GB",
            "size now + 91 days of growth, by trend",
            key="storage_needs_gb",
            reads=_SIZES,
            note="Of the database alone, with indexes; the disk must hold the write-ahead log, too.",
        ),
        Metric(
            "disk_full",
            "Disk full",
            "text",
            "first day on which the growth reaches what is free, by trend and by the high end of its interval",
            list_answers(_ENDPOINT, "storage.full_on", "storage.full_on_at_earliest", "what_if.disk_full_on"),
            (*_SIZES, "database_disk"),
            note="Unknown where the disk is not seen, the history too short, or the day more than a year ahead.",
            window=_HISTORY,
            freshness=READ,
        ),
        _projected(
            "projected_users",
            "Users who come in three months",
            "users",
            "sum of signups of 91 days, by trend",
            key="additional_users",
            reads=_SIGNUPS,
            note="Of those who come and stay; the largest and the smallest week do not bend it, as that of an import.",
        ),
        _present(
            "projection_interval",
            "Level of intervals",
            "%",
            "how often what comes lies in them",
            "interval_percent",
            reads=_MESSAGES,
            window=_HISTORY,
        ),
        _present(
            "disk_of_database",
            "Disk of the database",
            "bytes",
            "size of the file system, and what is free on it for PostgreSQL",
            "storage.disk_total_bytes",
            "storage.disk_free_bytes",
            reads=("database_disk",),
            window=AS_OF_NOW,
        ),
        _present(
            "capacity_sizes",
            "Sizes",
            "bytes",
            "size on disk, with indexes",
            "storage.database_bytes",
            "tables.*.size_bytes",
            reads=("pg_database_size", "database_marks"),
            window=AS_OF_NOW,
        ),
        _present(
            "capacity_table_growth",
            "Growth of a table a day",
            "bytes",
            "growth of the size / days",
            "tables.*.growth_bytes_per_day",
            reads=("table_rollups",),
            note="Unknown in the first day.",
            window="the last 7 days, or since the first look when that is shorter",
        ),
        Metric(
            "scaling_recommendations",
            "What to scale",
            "text",
            "what follows from a figure that has reached its limit, each named with it",
            list_answers(_ENDPOINT, "capacity_metrics.projected_growth.scaling_recommendations.*"),
            _LOADS,
            _SECTION,
            note="None when nothing is near its limit.",
            window="the last 7 days",
            freshness=READ,
        ),
        _present(
            "scaling_cause",
            "Cause of a piece of advice",
            "as its unit says",
            "the figure that reached a limit, and the limit",
            "scaling.*.value",
            "scaling.*.limit",
            reads=_LOADS,
            window="the last 7 days",
        ),
        _present(
            "capacity_history",
            "History",
            "messages, users or bytes",
            "messages sent and users who came on a local day; size of the database at the end of a day in UTC",
            "history.*.messages",
            "history.*.new_users",
            "history.*.database_bytes",
            reads=(*_MESSAGES, *_SIGNUPS, *_SIZES),
            window=_HISTORY,
        ),
        _present(
            "capacity_ahead",
            "Days ahead",
            "messages or bytes",
            "trend + season of the week, with the ends of the interval of a single day",
            *(
                f"ahead.*.{what}.{end}"
                for what in ("messages", "database_bytes")
                for end in ("value", "low", "high")
            ),
            reads=(*_MESSAGES, *_SIZES),
            window=_HISTORY,
        ),
        _what_if(
            "volume", "Times the messages", "times", "what was asked for", key="volume_factor", reads=()
        ),
        _what_if(
            "retention", "Days of the log kept", "days", "what was asked for", key="retention_days", reads=()
        ),
        _what_if(
            "daily_volume",
            "Messages a day then",
            "messages",
            "messages a day * volume",
            key="daily_volume",
            reads=_MESSAGES,
        ),
        _what_if(
            "peak",
            "Busiest hour then",
            "messages",
            "busiest hour * volume",
            key="peak_hourly_rate",
            reads=_MESSAGES,
        ),
        _what_if(
            "senders",
            "Senders then",
            "senders",
            "what was asked for, or the senders that had messages",
            key="senders",
            reads=_MESSAGES,
        ),
        _what_if(
            "sender_rate",
            "Messages a second of each sender",
            "messages",
            "busiest hour then / 3600 / senders",
            key="sender_rate_per_second",
            reads=_MESSAGES,
            note="Mean of the busiest hour; compare it with what the provider sends from one sender.",
        ),
        _what_if(
            "growth",
            "Growth of the database then",
            "MB",
            "growth a day, of tables that grow with messages times volume, less what of the log is dropped each day",
            key="database_growth_mb_day",
            reads=(*_SIZES, "table_rollups"),
        ),
        _what_if(
            "processor",
            "Processor of the busiest host then",
            "%",
            "what one quarter-hour of twenty exceeds * volume",
            key="processor_percent",
            reads=("resource_rollups",),
            note="At most that: what the processor does without messages is multiplied, too.",
        ),
        _what_if(
            "log",
            "Log kept",
            "bytes",
            "growth of the log a day * volume * days kept",
            key="log_bytes",
            reads=_LOG,
            note="This version never drops a day of the log: it says what that would be worth.",
        ),
        _what_if(
            "log_freed",
            "Log freed",
            "bytes",
            "size of the days of the log that are older",
            key="log_freed_bytes",
            reads=_LOG,
        ),
    ),
)
