"""Webhooks from a file into the log: NDJSON lines of `received_at`, `path`, `form`, plain or gzipped.

The lines are staged first and appended in the order they were received, so that a shuffled file gives the same log: of
two copies of one event the earlier is kept.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.ingest.callbacks import KIND_BY_PATH, make_event
from event_stream_engine.kernel.clock import parse_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.stream.log import Event, append_events

SQL = load_queries(__package__)
_COPY = "COPY staged_events (line, received_at, event_type, dedupe_key, payload) FROM STDIN"
CHUNK_EVENTS = 5000
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
STAGE_EVERY_LINES = 2000


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that cannot be taken, by its number from 1."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Imported:
    lines: int
    accepted: int
    duplicate: int
    rejected: int


@dataclass(frozen=True, slots=True)
class _Staged:
    line: int
    received_at: datetime
    event_type: str
    dedupe_key: UUID
    payload: str


async def import_webhooks(
    conn: Connection,
    file: Path,
    *,
    source: UUID,
    now: datetime,
    on_reject: Callable[[Reject], None],
    on_read: Callable[[int], None],
    on_stored: Callable[[int, int], None],
) -> Imported:
    """Take a file into the log; what is there already changes nothing.

    `on_read` is told the bytes of the file read so far, `on_stored` the lines stored and staged.
    Errors: Invalid when the file cannot be read.
    """
    await SQL.create_staged_events.execute(conn)
    staged, rejected = await _stage(conn, file, on_reject, on_read)
    await SQL.index_staged_events.execute(conn)
    accepted = duplicate = done = 0
    place: dict[str, Any] = {"received_at": _BEGINNING, "line": 0}
    while chunk := await SQL.list_staged_events.many(conn, _Staged, {**place, "most": CHUNK_EVENTS}):
        events = [Event(row.received_at, row.event_type, row.dedupe_key, row.payload) for row in chunk]
        appended = await append_events(conn, events, source=source, counted_at=now, is_live=False)
        accepted, duplicate, done = (
            accepted + appended.accepted,
            duplicate + appended.duplicate,
            done + len(chunk),
        )
        place = {"received_at": chunk[-1].received_at, "line": chunk[-1].line}
        on_stored(done, staged)
    await SQL.drop_staged_events.execute(conn)
    return Imported(staged + rejected, accepted, duplicate, rejected)


async def _stage(
    conn: Connection, file: Path, on_reject: Callable[[Reject], None], on_read: Callable[[int], None]
) -> tuple[int, int]:
    staged = rejected = 0
    async with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
        for number, line, position in _read_lines(file):
            try:
                event = read_line(line)
            except Invalid as error:
                rejected += 1
                on_reject(Reject(number, str(error), line.decode("utf-8", "replace")))
                continue
            staged += 1
            await copy.write_row(
                (number, event.received_at, event.event_type, event.dedupe_key, event.payload)
            )
            if number % STAGE_EVERY_LINES == 0:
                on_read(position)
    return staged, rejected


def read_line(line: bytes) -> Event:
    """Read one line of the import format. Errors: Invalid with what is wrong with it."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise Invalid("no JSON object")
    path = fields.get("path")
    kind = KIND_BY_PATH.get(path) if isinstance(path, str) else None
    if kind is None:
        raise Invalid(f"path must be one of {', '.join(KIND_BY_PATH)}", "path")
    form = fields.get("form")
    if not isinstance(form, dict) or not form or not all(_is_value(value) for value in form.values()):
        raise Invalid("form must be an object of strings, or of lists of strings", "form")
    try:
        received_at = parse_instant(fields.get("received_at", ""))
    except (TypeError, ValueError, OverflowError) as error:
        raise Invalid(f"received_at: {error}", "received_at") from None
    return make_event(kind, form, received_at, None)


def _is_value(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _read_lines(file: Path) -> Iterator[tuple[int, bytes, int]]:
    """Yield number, text and position in the file for each line that is not blank."""
    try:
        with file.open("rb") as raw, gzip.open(raw) if file.suffix == ".gz" else nullcontext(raw) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, line.strip(), raw.tell()
    except (OSError, EOFError, zlib.error) as error:
        raise Invalid(f"{file} cannot be read: {error}") from error
