"""The kinds of file: what they are called, how they are served. Without the library that writes them, which the web
does not need."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """`is_compressed`: its parts are stored with gzip, because it does not compress itself. `is_typed`: it has dates."""

    slug: str
    name: str
    media_type: str
    is_compressed: bool
    is_typed: bool


FORMATS = {
    one.slug: one
    for one in (
        Format("csv", "CSV", "text/csv; charset=utf-8", True, False),
        Format("ndjson", "NDJSON", "application/x-ndjson", True, False),
        Format("parquet", "Parquet", "application/vnd.apache.parquet", False, True),
        Format(
            "xlsx", "Excel", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", False, True
        ),
    )
}
