"""Figures of tables, indexes and sessions, and what figures of the database have in common."""

from event_stream_engine.analytics.metric import AS_OF_NOW, READ, REQUESTED, Answer, Metric

_DATABASE = "/api/v1/monitoring/database"
_STATEMENTS, _TABLES, _INDEXES, _ACTIVITY = (
    f"{_DATABASE}/{part}" for part in ("statements", "tables", "indexes", "activity")
)
TABLE_ROLLUPS = "table_rollups"
BY_THE_MINUTE = "looked at once a minute"
BEATS = "told every few seconds"


def list_places(paths: tuple[str, ...]) -> tuple[Answer, ...]:
    """Return the answers of paths; one that names a list is answered by that list's own endpoint."""
    lists = {
        "statements": _STATEMENTS,
        "tables": _TABLES,
        "indexes": _INDEXES,
        "verdicts": _INDEXES,
        "sessions": _ACTIVITY,
    }
    return tuple(Answer(lists.get(path.partition(".")[0], _DATABASE), path) for path in paths)


def counted(
    slug: str, name: str, unit: str, formula: str, *paths: str, reads: str, section: str = "", note: str = ""
) -> Metric:
    return Metric(
        slug,
        name,
        unit,
        formula,
        list_places(paths),
        (reads,),
        section,
        note=note,
        window=REQUESTED,
        freshness=BY_THE_MINUTE,
    )


def ratio(
    slug: str,
    name: str,
    *paths: str,
    numerator: str,
    denominator: str,
    reads: str,
    section: str = "",
    note: str = "",
    formula: str = "",
    window: str = REQUESTED,
) -> Metric:
    return Metric(
        slug,
        name,
        "%",
        formula or f"{numerator} / {denominator}",
        list_places(paths),
        (reads,),
        section,
        numerator,
        denominator,
        note,
        window,
        BY_THE_MINUTE if window == REQUESTED else READ,
    )


def measured(
    slug: str,
    name: str,
    unit: str,
    formula: str,
    *paths: str,
    reads: str,
    section: str = "",
    note: str = "",
    freshness: str = READ,
) -> Metric:
    return Metric(
        slug,
        name,
        unit,
        formula,
        list_places(paths),
        (reads,),
        section,
        note=note,
        window=AS_OF_NOW,
        freshness=freshness,
    )


RELATIONS = (
    measured(
        "table_rows",
        "Rows",
        "rows",
        "rows by PostgreSQL’s estimate: living, or dead and not yet cleared",
        "tables.*.rows",
        "tables.*.dead_rows",
        reads="pg_stat_user_tables",
    ),
    ratio(
        "dead_rows",
        "Dead rows",
        "tables.*.dead_percent",
        numerator="dead rows",
        denominator="all rows",
        reads="pg_stat_user_tables",
        window=AS_OF_NOW,
    ),
    measured(
        "table_partitions",
        "Partitions",
        "partitions",
        "partitions of a table, 0 when it has none",
        "tables.*.partitions",
        reads="pg_class",
    ),
    measured(
        "table_bloat",
        "Bloat",
        "bytes",
        "size of the table − size that its rows need",
        "tables.*.bloat_bytes",
        reads="pg_stats",
        note="An estimate by the planner’s statistics: rows by the mean width of their columns. Indexes are not in it.",
    ),
    counted(
        "table_reads",
        "Reads of a table",
        "scans",
        "reads as a whole, and reads by an index",
        "tables.*.table_scans",
        "tables.*.index_scans",
        reads=TABLE_ROLLUPS,
    ),
    counted(
        "rows_per_table_scan",
        "Rows a scan",
        "rows",
        "rows read by table scans / table scans",
        "tables.*.rows_per_table_scan",
        reads=TABLE_ROLLUPS,
        note="A table of 10,000 rows or more “may lack an index” when 10 or more scans read as many rows each, and they are more "
        "than 5 % of its reads.",
    ),
    counted(
        "rows_changed",
        "Rows changed",
        "rows",
        "rows inserted, updated (in place: without work for indexes) and deleted",
        "tables.*.rows_inserted",
        "tables.*.rows_updated",
        "tables.*.rows_updated_in_place",
        "tables.*.rows_deleted",
        reads=TABLE_ROLLUPS,
    ),
    measured(
        "index_scans",
        "Uses of an index",
        "scans",
        "scans since PostgreSQL’s statistics began, and those of the last 30 days that we saw",
        "indexes.*.scans",
        "indexes.*.scans_30_days",
        reads="pg_stat_user_indexes",
        note="“Unused” needs both to be 0 and at least 7 days of looking. Indexes that hold a rule of the data are never unused.",
    ),
    measured(
        "session_time",
        "Time of a session",
        "s",
        "since its statement, and since its transaction, began",
        "sessions.*.query_seconds",
        "sessions.*.transaction_seconds",
        reads="pg_stat_activity",
        note="Long: 5 s or more.",
    ),
    measured(
        "session_depth",
        "Place in a queue",
        "sessions",
        "how many sessions, one behind the other, it waits for",
        "sessions.*.depth",
        reads="pg_stat_activity",
    ),
)
