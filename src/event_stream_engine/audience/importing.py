"""Imports of people: the file uploaded in chunks, its rows staged by COPY, applied in chunks of numbers.

A staged file is applied in the order of numbers, so that of a number's rows the last one wins and an import that was
killed goes on where it was: rows are staged anew, numbers up to `applied_to` are done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import IO
from uuid import UUID, uuid4

from event_stream_engine.audience import changes, consent
from event_stream_engine.audience.import_files import (
    FORMATS,
    Person,
    RejectedRow,
    make_normaliser,
    read_people,
)
from event_stream_engine.audit.entries import Actor, Entry, make_hash_pads, record
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound

SQL = load_queries(__package__)
STAGED_ROWS = 20_000
APPLIED_PEOPLE = 20_000  # half a second: an open transaction holds up the projector
LARGEST_FILE_BYTES = 512 * 1024 * 1024
SILENCE = timedelta(seconds=60)  # of a worker, after which another takes its import over
LONGEST_UPLOAD = timedelta(hours=24)
Progress = Callable[["Import"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Import:
    """An import with its progress. Counts are rows; `created`, `changed` and `unchanged` are people."""

    id: UUID
    file_name: str
    format: str
    default_region: str | None
    consent_proof: str | None
    state: str
    error: str | None
    actor: str
    size_bytes: int
    read_bytes: int
    rows: int
    created: int
    changed: int
    unchanged: int
    duplicates: int
    rejected: int
    applied_to: str | None
    created_at: datetime
    started_at: datetime | None
    beat_at: datetime | None
    finished_at: datetime | None


async def create_import(
    conn: Connection,
    actor: Actor,
    now: datetime,
    *,
    file_name: str,
    file_format: str,
    default_region: str | None = None,
    consent_proof: str | None = None,
) -> Import:
    """Make an import whose file is yet to come. Errors: Invalid."""
    if file_format not in FORMATS:
        raise Invalid(f"{file_format!r} is no format; use one of {', '.join(FORMATS)}.", "format")
    make_normaliser(default_region)
    proof = (consent_proof or "").strip() or None
    if proof is not None and len(proof) > 1000:
        raise Invalid("The proof of consent takes at most 1,000 characters.", "consent_proof")
    import_id = uuid4()
    await SQL.create_import.execute(
        conn,
        {
            "id": import_id,
            "file_name": file_name[:200].replace("\0", ""),
            "format": file_format,
            "default_region": default_region,
            "consent_proof": proof,
            "actor": actor.name,
            "now": now,
        },
    )
    after = {"file_name": file_name[:200], "consent_proof": proof}
    await record(conn, actor, Entry(now, "import.started", f"import:{import_id}", after=after))
    return await load_import(conn, import_id)


async def append_chunk(conn: Connection, import_id: UUID, number: int, content: bytes) -> None:
    """Store the next piece of the file. Errors: Invalid when the file is too large."""
    if await SQL.append_import_chunk.value(
        conn, {"id": import_id, "number": number, "bytes": content, "most": LARGEST_FILE_BYTES}
    ):
        return
    raise Invalid(
        f"A file may have {LARGEST_FILE_BYTES // 1024**2} MB. Split it, or use `ese import users`.", "file"
    )


async def finish_upload(conn: Connection, import_id: UUID) -> Import:
    """Hand a file that is complete to the worker."""
    await SQL.finish_upload.execute(conn, {"id": import_id})
    return await load_import(conn, import_id)


async def load_import(conn: Connection, import_id: UUID) -> Import:
    """Return an import. Errors: NotFound."""
    found = await SQL.find_import.maybe(conn, Import, {"id": import_id})
    if found is None:
        raise NotFound("There is no such import.")
    return found


async def list_imports(
    conn: Connection, most: int, before: tuple[datetime, UUID] | None = None
) -> list[Import]:
    """Return imports, newest first, from behind a place (created_at, id) on."""
    at, import_id = before or (None, None)
    return await SQL.list_imports.many(conn, Import, {"most": most, "before_at": at, "before_id": import_id})


async def list_rejects(conn: Connection, import_id: UUID, after: int, most: int) -> list[RejectedRow]:
    """Return rejected rows in the order of the file, from behind a row on."""
    return await SQL.list_rejects.many(conn, RejectedRow, {"id": import_id, "after": after, "most": most})


async def claim_next(conn: Connection, now: datetime) -> Import | None:
    """Take the next import that waits, or that its worker has left; None when there is none."""
    return await SQL.claim_import.maybe(conn, Import, {"now": now, "silent_since": now - SILENCE})


async def count_waiting(conn: Connection, now: datetime) -> int:
    """Return how many imports `claim_next` would give."""
    count: int = await SQL.count_waiting_imports.value(conn, {"silent_since": now - SILENCE})
    return count


async def begin_local(conn: Connection, import_id: UUID, size_bytes: int, now: datetime) -> Import:
    """Begin an import whose file this process has itself."""
    await SQL.begin_local_import.execute(conn, {"id": import_id, "size_bytes": size_bytes, "now": now})
    return await load_import(conn, import_id)


async def copy_file(conn: Connection, import_: Import, file: IO[bytes]) -> None:
    """Write an uploaded file into a local one. Errors: Conflict when it is not in the database."""
    number, size = 0, 0
    while (
        chunk := await SQL.find_import_chunk.value(conn, {"id": import_.id, "number": number})
    ) is not None:
        size += file.write(chunk)
        number += 1
    if size != import_.size_bytes:
        raise Conflict(
            "The file is no longer there, because the import was made on the command line. Run it again."
        )
    file.seek(0)


async def run_import(
    conn: Connection,
    import_: Import,
    file: IO[bytes],
    *,
    secret_key: str,
    clock: Clock,
    on_progress: Progress,
) -> Import:
    """Read and apply a file, and return the import as it ended, failed or completed.

    `conn` is the import's own: it holds the staged rows.
    """
    actor = Actor(import_.actor)
    try:
        await _prepare(conn)
        await _stage(conn, import_, file, clock, on_progress)
        await _apply(conn, import_, secret_key, clock, on_progress)
    except (Invalid, Conflict) as error:
        await fail_import(conn, import_, str(error), clock.now())
    else:
        await _finish(conn, import_, actor, clock.now())
    return await load_import(conn, import_.id)


async def give_up_uploads(conn: Connection, now: datetime) -> None:
    """End uploads that broke off long ago, and remove what came of their files."""
    await SQL.give_up_uploads.execute(conn, {"until": now - LONGEST_UPLOAD, "now": now})


async def fail_import(conn: Connection, import_: Import, reason: str, now: datetime) -> None:
    """End an import that cannot be done."""
    async with transaction(conn):
        await SQL.end_import.execute(conn, {"id": import_.id, "state": "failed", "error": reason, "now": now})
        entry = Entry(now, "import.failed", f"import:{import_.id}", after={"error": reason})
        await record(conn, Actor(import_.actor), entry)


async def _finish(conn: Connection, import_: Import, actor: Actor, now: datetime) -> None:
    async with transaction(conn):
        await SQL.end_import.execute(
            conn, {"id": import_.id, "state": "completed", "error": None, "now": now}
        )
        ended = await load_import(conn, import_.id)
        counts = ("rows", "created", "changed", "unchanged", "duplicates", "rejected")
        after = {name: getattr(ended, name) for name in counts}
        await record(conn, actor, Entry(now, "import.completed", f"import:{import_.id}", after=after))


async def _prepare(conn: Connection) -> None:
    await consent.prepare_connection(conn)
    for query in (
        SQL.drop_import_rows,
        SQL.create_import_rows,
        SQL.create_import_lines,
        SQL.create_import_batch,
        SQL.create_import_done,
    ):
        await query.execute(conn)


@dataclass(frozen=True, slots=True)
class _Read:
    """The next rows of a file as COPY takes them, those that are no person, and how far the file is read."""

    lines: bytes
    rejected: list[RejectedRow]
    rows: int
    read_bytes: int


async def _stage(
    conn: Connection, import_: Import, file: IO[bytes], clock: Clock, on_progress: Progress
) -> None:
    people, rows = read_people(file, import_.format, import_.default_region), 0
    # Read on one core while the database stores on the other.
    reading = asyncio.create_task(asyncio.to_thread(_read_on, people, file))
    try:
        while (batch := await reading).rows:
            reading = asyncio.create_task(asyncio.to_thread(_read_on, people, file))
            rows += batch.rows
            await _store_rows(conn, import_, batch, rows, clock.now())
            await on_progress(await load_import(conn, import_.id))
    finally:
        await asyncio.wait({reading})  # the file is the caller's, who closes it
    await SQL.index_import_rows.execute(conn)
    await SQL.analyze_import_rows.execute(conn)
    await SQL.tell_import_duplicates.execute(conn, {"id": import_.id, "now": clock.now()})


def _read_on(people: Iterator[Person | RejectedRow], file: IO[bytes]) -> _Read:
    batch = list(islice(people, STAGED_ROWS))
    lines = "".join(_write_lines([row for row in batch if isinstance(row, Person)])).encode()
    return _Read(lines, [row for row in batch if isinstance(row, RejectedRow)], len(batch), file.tell())


async def _store_rows(conn: Connection, import_: Import, batch: _Read, rows: int, now: datetime) -> None:
    async with transaction(conn):
        async with conn.cursor().copy(
            "COPY import_lines (row, phone, consent, timezone, attributes) FROM STDIN"
        ) as copy:
            await copy.write(batch.lines)
        await SQL.stage_import_lines.execute(conn)
        await _reject(conn, import_, batch.rejected)
        told = {"id": import_.id, "rows": rows, "read_bytes": batch.read_bytes, "now": now}
        await SQL.tell_import_read.execute(conn, told)


def _write_lines(people: Sequence[Person]) -> Iterator[str]:
    for person in people:
        consent_state, zone = person.consent or r"\N", person.timezone or r"\N"
        attributes = person.attributes.replace("\\", "\\\\")
        yield f"{person.row}\t{person.phone}\t{consent_state}\t{zone}\t{attributes}\n"


async def _reject(conn: Connection, import_: Import, rows: Sequence[RejectedRow]) -> None:
    if rows:
        await SQL.insert_rejects.execute(
            conn,
            {
                "id": import_.id,
                "row": [row.row for row in rows],
                "reason": [row.reason for row in rows],
                "value": [row.value for row in rows],
            },
        )


async def _apply(
    conn: Connection, import_: Import, secret_key: str, clock: Clock, on_progress: Progress
) -> None:
    actor = Actor(import_.actor)
    inner, outer = make_hash_pads(secret_key)
    evidence = f"{import_.consent_proof or 'without proof'} ({import_.file_name})"
    while True:
        async with transaction(conn):
            now = clock.now()
            known = {"id": import_.id, "now": now}
            place = await load_import(conn, import_.id)
            people = await SQL.fill_import_batch.execute(
                conn,
                known
                | {
                    "after": place.applied_to or "",
                    "most": APPLIED_PEOPLE,
                    "proof": import_.consent_proof is not None,
                },
            )
            if not people:
                return
            await SQL.advance_import.execute(conn, known)
            await SQL.hold_suppressions.execute(conn)
            people -= await SQL.reject_suppressed.execute(conn, known | {"inner": inner, "outer": outer})
            people -= await SQL.reject_countryless.execute(conn, known)
            closing = await SQL.list_closing.many(conn, _Phone)
            await consent.hold_off_deliveries(conn, [one.phone for one in closing])
            changed = 0
            if await SQL.insert_people.execute(conn, known) < people:
                await SQL.lock_known_people.execute(conn)
                await SQL.place_entries.execute(conn, known)
                changed = await SQL.update_people.execute(conn, known)
            written = await SQL.insert_import_ledger.one(
                conn,
                _Written,
                known | {"actor": actor.name, "evidence": evidence},
            )
            await SQL.note_import_users.execute(conn, known)
            await SQL.note_import_consent.execute(conn, known)
            await changes.publish(conn, now)
            await SQL.count_applied.execute(conn, known | {"changed": changed})
            if written.entries:
                after = {"consent_changes": written.entries, "ledger_sha256": written.digest}
                await record(conn, actor, Entry(now, "consent.imported", f"import:{import_.id}", after=after))
        await on_progress(await load_import(conn, import_.id))


@dataclass(frozen=True, slots=True)
class _Written:
    entries: int
    digest: str | None


@dataclass(frozen=True, slots=True)
class _Phone:
    phone: str
