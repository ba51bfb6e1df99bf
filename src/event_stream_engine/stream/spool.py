"""Where webhooks wait on disk while PostgreSQL is away: SQLite, WAL, every write on the disk before it is acknowledged.

A web process owns one file of the spool folder by a lock on it; files that a dead process left behind are adopted by
the next that starts. Blocking: call it from a thread.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.stream.log import Event

_logger = logging.getLogger(__name__)
_MOST_OWNERS = 64
_INSERT = (
    "INSERT INTO spooled (received_at, event_type, dedupe_key, payload, checksum) VALUES (?, ?, ?, ?, ?)"
)
_SELECT = "SELECT id, received_at, event_type, dedupe_key, payload, checksum FROM spooled ORDER BY id"


def _checksum(received_at: str, event_type: str, dedupe_key: bytes, payload: str) -> bytes:
    text = "\x1f".join((received_at, event_type, dedupe_key.hex(), payload))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Spool:
    """One process's spool file. Not to be shared between threads at the same time."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._limit_bytes = limit_bytes
        self._lock, self.path = _own_file(folder)
        self._db = _open_or_set_aside(self.path)
        self._adopt_orphans(folder)

    def close(self) -> None:
        self._db.close()
        self._lock.close()

    def count_events(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM spooled").fetchone()[0])

    def put(self, events: Sequence[Event]) -> None:
        """Store events durably. Errors: Unavailable when the spool is full or the disk refuses."""
        rows = [
            (event.received_at.isoformat(), event.event_type, event.dedupe_key.bytes, event.payload)
            for event in events
        ]
        try:
            if self._used_bytes() > self._limit_bytes:
                raise Unavailable("The spool is full: bring the database back or raise ESE_SPOOL_LIMIT_MB.")
            with self._db:
                self._db.executemany(_INSERT, [(*row, _checksum(*row)) for row in rows])
        except sqlite3.Error as error:
            raise Unavailable(
                f"The spool cannot be written: {error}. Check disk space and rights."
            ) from error

    def take(self, most: int) -> list[tuple[int, Event]]:
        """Return the oldest events with their row numbers; what fails its checksum is quarantined, not returned."""
        taken: list[tuple[int, Event]] = []
        damaged: list[int] = []
        for number, event in _read_rows(self._db, most):
            if event is None:
                damaged.append(number)
            else:
                taken.append((number, event))
        if damaged:
            self.quarantine(damaged, "their checksum is wrong")
        return taken

    def quarantine(self, numbers: Sequence[int], reason: str) -> None:
        """Keep events that can never be delivered in a table of their own, for a person to look at."""
        _logger.error("%s spooled events go to table quarantined of %s: %s", len(numbers), self.path, reason)
        with self._db:
            for number in numbers:
                self._db.execute("INSERT INTO quarantined SELECT * FROM spooled WHERE id = ?", (number,))
                self._db.execute("DELETE FROM spooled WHERE id = ?", (number,))

    def remove(self, numbers: Sequence[int]) -> None:
        with self._db:
            self._db.executemany("DELETE FROM spooled WHERE id = ?", [(number,) for number in numbers])

    def _used_bytes(self) -> int:
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _adopt_orphans(self, folder: Path) -> None:
        for path in sorted(folder.glob("spool-*.db")):
            if path == self.path:
                continue
            lock = _try_lock(path)
            if lock is None:
                continue
            with lock:
                orphan = _open_or_set_aside(path)
                events = [event for _, event in _read_rows(orphan, -1) if event is not None]
                orphan.close()
                if events:
                    self.put(events)
                    _logger.warning("took over %s spooled events of a process that is gone", len(events))
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{path}{suffix}").unlink(missing_ok=True)


class _Lock:
    """An exclusive lock beside a spool file; gone with its process, however that ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.close()


def _try_lock(path: Path) -> _Lock | None:
    # The lock file is never removed: removing it would let two processes lock two files of one name.
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return _Lock(descriptor)


def _own_file(folder: Path) -> tuple[_Lock, Path]:
    for number in range(_MOST_OWNERS):
        path = folder / f"spool-{number}.db"
        lock = _try_lock(path)
        if lock is not None:
            return lock, path
    raise Unavailable(f"All {_MOST_OWNERS} spool files in {folder} are in use.")


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, timeout=1)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # the answer to the provider follows this write
    columns = "id INTEGER PRIMARY KEY, received_at TEXT, event_type TEXT, dedupe_key BLOB, payload TEXT, checksum BLOB"
    db.execute(f"CREATE TABLE IF NOT EXISTS spooled ({columns})")
    db.execute(f"CREATE TABLE IF NOT EXISTS quarantined ({columns})")
    if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        db.close()
        raise sqlite3.DatabaseError("quick_check failed")
    return db


def _open_or_set_aside(path: Path) -> sqlite3.Connection:
    """Open a spool file; a torn one is set aside and what can still be read of it is carried over."""
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        damaged = path.with_suffix(f".damaged-{time.time_ns()}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{damaged}{suffix}")
        db = _open(path)
        saved = 0
        for row in _salvage(damaged):
            with db:
                db.execute(_INSERT, row)
            saved += 1
        _logger.error(
            "spool file %s is damaged (%s): %s events saved, the file is kept as %s",
            path,
            error,
            saved,
            damaged,
        )
        return db


def _salvage(path: Path) -> Iterator[tuple[object, ...]]:
    """Read row by row from both ends of a damaged file until it refuses."""
    seen: set[int] = set()
    for order in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as db:
            for number, *row in db.execute(f"{_SELECT} {order}"):
                if number not in seen and _event_of(*row) is not None:
                    seen.add(number)
                    yield tuple(row)


def _read_rows(db: sqlite3.Connection, most: int) -> Iterator[tuple[int, Event | None]]:
    for number, *row in db.execute(f"{_SELECT} LIMIT ?", (most,)).fetchall():
        yield number, _event_of(*row)


def _event_of(
    received_at: str, event_type: str, dedupe_key: bytes, payload: str, checksum: bytes
) -> Event | None:
    try:
        if _checksum(received_at, event_type, dedupe_key, payload) != checksum:
            return None
        return Event(datetime.fromisoformat(received_at), event_type, UUID(bytes=dedupe_key), payload)
    except (TypeError, ValueError, AttributeError):
        return None
