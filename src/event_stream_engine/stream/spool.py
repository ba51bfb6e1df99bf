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
from functools import partial
from pathlib import Path
from uuid import UUID

from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.stream.log import Event

_logger = logging.getLogger(__name__)
_MOST_OWNERS = 64
# A full disk, a missing right or somebody who looks at the file damages nothing.
_DISK_TROUBLES = frozenset(
    (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
    )
)
_COLUMNS = "received_at, event_type, dedupe_key, payload, checksum"
_INSERT = f"INSERT INTO spooled ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)"
_SELECT = f"SELECT id, {_COLUMNS} FROM spooled ORDER BY id"


def _checksum(received_at: str, event_type: str, dedupe_key: bytes, payload: str) -> bytes:
    text = "\x1f".join((received_at, event_type, dedupe_key.hex(), payload))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(f"The spool cannot be used: {error}. Check disk space and rights.") from error


class Spool:
    """One process's spool file. Not to be shared between threads at the same time.

    Errors: Unavailable, of every method, when the disk refuses.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.limit_bytes = limit_bytes
        self._lock, self.path = _own_file(folder)
        try:
            self._db = _open_or_set_aside(self.path)
        except BaseException:
            self._lock.close()
            raise
        self.used_bytes = self._measure()
        self._adopt_orphans(folder)
        for made in (folder, folder.parent):  # the names themselves must survive a power cut
            _sync_folder(made)

    def close(self) -> None:
        self._db.close()
        self._lock.close()

    @_refusing()
    def count_events(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM spooled").fetchone()[0])

    @_refusing()
    def put(self, events: Sequence[Event]) -> None:
        """Store events durably. Errors: Unavailable also when the spool is full."""
        rows = [
            (event.received_at.isoformat(), event.event_type, event.dedupe_key.bytes, event.payload)
            for event in events
        ]
        self.used_bytes = self._measure()
        if self.used_bytes > self.limit_bytes:
            raise Unavailable("The spool is full: bring the database back or raise ESE_SPOOL_LIMIT_MB.")
        with self._db:
            self._db.executemany(_INSERT, [(*row, _checksum(*row)) for row in rows])
        self.used_bytes = self._measure()

    @_refusing()
    def take(self, most: int) -> list[tuple[int, Event]]:
        """Return the oldest events with their row numbers; what fails its checksum is quarantined, not returned."""
        taken: list[tuple[int, Event]] = []
        damaged: list[int] = []
        for number, *row in self._db.execute(f"{_SELECT} LIMIT ?", (most,)).fetchall():
            event = _event_of(*row)
            if event is None:
                damaged.append(number)
            else:
                taken.append((number, event))
        if damaged:
            self.quarantine(damaged, "their checksum is wrong")
        return taken

    @_refusing()
    def quarantine(self, numbers: Sequence[int], reason: str) -> None:
        """Keep events that can never be delivered in a table of their own, for a person to look at."""
        _logger.error("%s spooled events go to table quarantined of %s: %s", len(numbers), self.path, reason)
        with self._db:
            for number in numbers:
                # Without the id, which SQLite gives out again once its row is gone.
                self._db.execute(
                    f"INSERT INTO quarantined ({_COLUMNS}) SELECT {_COLUMNS} FROM spooled WHERE id = ?",
                    (number,),
                )
                self._db.execute("DELETE FROM spooled WHERE id = ?", (number,))

    @_refusing()
    def remove(self, numbers: Sequence[int]) -> None:
        with self._db:
            self._db.executemany("DELETE FROM spooled WHERE id = ?", [(number,) for number in numbers])
        self.used_bytes = self._measure()

    def _measure(self) -> int:
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _adopt_orphans(self, folder: Path) -> None:
        for path in sorted(folder.glob("spool-*.db")):
            lock = _try_lock(path)
            if lock is None:  # ours, or that of another living process
                continue
            with lock:
                try:
                    self._adopt(path)
                    _logger.info("took over %s of a process that is gone", path)
                except Unavailable as error:  # it waits for the next start; this one must not fail for it
                    _logger.error("%s cannot be taken over: %s", path, error)

    @_refusing()
    def _adopt(self, path: Path) -> None:
        _open_or_set_aside(path).close()
        self._db.execute("ATTACH DATABASE ? AS orphan", (str(path),))
        try:
            with self._db:
                for table in ("spooled", "quarantined"):
                    self._db.execute(
                        f"INSERT INTO main.{table} ({_COLUMNS}) SELECT {_COLUMNS} FROM orphan.{table} ORDER BY id"
                    )
        finally:
            self._db.execute("DETACH DATABASE orphan")
        for suffix in ("-wal", "-shm", ""):
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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, timeout=1)
    # A flipped bit that leaves no UTF-8 is for the checksum to find, not for the driver to stop at.
    db.text_factory = partial(str, encoding="utf-8", errors="replace")
    return db


def _open(path: Path) -> sqlite3.Connection:
    db = _connect(path)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # the answer to the provider follows this write
        columns = "id INTEGER PRIMARY KEY, received_at TEXT, event_type TEXT, dedupe_key BLOB, payload TEXT, checksum BLOB"
        db.execute(f"CREATE TABLE IF NOT EXISTS spooled ({columns})")
        db.execute(f"CREATE TABLE IF NOT EXISTS quarantined ({columns})")
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
    except BaseException:
        db.close()
        raise
    return db


@_refusing()
def _open_or_set_aside(path: Path) -> sqlite3.Connection:
    """Open a spool file; a torn one is set aside and what can still be read of it is carried over."""
    try:
        return _open(path)
    except sqlite3.DatabaseError as error:
        # Not by class: a flipped bit in the header is an OperationalError too. The low byte is the kind of error.
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _DISK_TROUBLES:
            raise
        damaged = path.with_suffix(f".damaged-{time.time_ns()}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{damaged}{suffix}")
        db = _open(path)
        with db:
            saved = db.executemany(_INSERT, _salvage(damaged)).rowcount
        _logger.error(
            "spool file %s is damaged (%s): %s events saved, the file is kept as %s",
            path,
            error,
            max(saved, 0),
            damaged,
        )
        return db


def _salvage(path: Path) -> Iterator[tuple[object, ...]]:
    """Read row by row from both ends of a damaged file until it refuses."""
    seen: set[int] = set()
    for order in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_connect(path)) as db:
            for number, *row in db.execute(f"{_SELECT} {order}"):
                if number not in seen and _event_of(*row) is not None:
                    seen.add(number)
                    yield tuple(row)


def _event_of(
    received_at: str, event_type: str, dedupe_key: bytes, payload: str, checksum: bytes
) -> Event | None:
    try:
        if _checksum(received_at, event_type, dedupe_key, payload) != checksum:
            return None
        return Event(datetime.fromisoformat(received_at), event_type, UUID(bytes=dedupe_key), payload)
    except (TypeError, ValueError, AttributeError):
        return None
