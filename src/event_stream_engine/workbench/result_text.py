"""Results as text: CSV that a spreadsheet opens as data and not as formulas, and the first rows for a message."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from event_stream_engine.kernel.cells import make_cell_safe
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.workbench.running import Column

SHOWN_ROWS = 20
SHOWN_CHARACTERS = 60  # of a value in a message


def write_value(value: Any) -> str:
    """Write a value as a program reads it; no value is an empty text."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime() if value.tzinfo is not None:
            return format_instant(value)
        case Decimal():
            return f"{value:f}"
        case _:
            return str(value)


def write_csv(columns: Sequence[Column], rows: Sequence[Sequence[Any]], most_bytes: int) -> tuple[str, bool]:
    """Write whole rows up to a size; return the text, and whether all of them are in it."""
    lines = [_write_row([column.name for column in columns])]
    size = len(lines[0].encode())
    for row in rows:
        line = _write_row(row)
        size += len(line.encode())
        if size > most_bytes:
            return "".join(lines), False
        lines.append(line)
    return "".join(lines), True


def write_lines(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> str:
    """Write the first rows for people, a line each."""
    lines = [" | ".join(column.name for column in columns)]
    for row in rows[:SHOWN_ROWS]:
        lines.append(" | ".join(_shorten(write_value(one)) for one in row))
    if len(rows) > SHOWN_ROWS:
        lines.append(f"… and {len(rows) - SHOWN_ROWS:,} more")
    return "\n".join(lines)


def _write_row(row: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(
        make_cell_safe(one) if isinstance(one, str) else write_value(one) for one in row
    )
    return line.getvalue()


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
