"""Figures of exports: how far a file is and how large it gets."""

from event_stream_engine.analytics.metric import AS_OF_NOW, Answer, Metric, Note, Subject

EXPORTS_LIST = "/api/v1/exports"


def _metric(slug: str, name: str, unit: str, formula: str, note: str = "") -> Metric:
    answers = (Answer(EXPORTS_LIST, f"items.*.{slug.removeprefix('export_')}"),)
    return Metric(
        slug,
        name,
        unit,
        formula,
        answers,
        ("exports",),
        note=note,
        window=AS_OF_NOW,
        freshness="every megabyte that is read, at least every 2 s",
    )


EXPORTS = Subject(
    "exports",
    "Exports",
    "How far a file is and how large it gets.",
    notes=(
        Note(
            "One instant",
            "All rows of a file are of the same instant, `as_of`. One whose worker was lost begins anew, so its figures fall back to 0.",
        ),
    ),
    metrics=(
        _metric("export_rows", "Rows written", "rows", "rows in the file so far"),
        _metric(
            "export_estimated_rows",
            "Rows expected",
            "rows",
            "rows the planner of PostgreSQL expects",
            "From its statistics, before anything is read; filters on several columns at once can mislead it.",
        ),
        _metric(
            "export_rows_per_second",
            "Rows a second",
            "rows",
            "rows written, by the seconds since the worker began",
        ),
        _metric("export_file_bytes", "Size of the file", "bytes", "bytes of the file so far"),
        _metric(
            "export_stored_bytes",
            "Size in the database",
            "bytes",
            "bytes of its parts in `export_parts`",
            "CSV and NDJSON are stored compressed. Without a file it is 0.",
        ),
    ),
)
