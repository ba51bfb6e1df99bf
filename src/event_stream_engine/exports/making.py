"""An export made by a worker: its file goes into the database in parts, with the progress, under the claim."""

import zlib
from dataclasses import asdict, dataclass

import psycopg
from psycopg.errors import QueryCanceled

from event_stream_engine.exports import jobs
from event_stream_engine.exports.formats import FORMATS
from event_stream_engine.exports.jobs import Export
from event_stream_engine.exports.orders import Progress
from event_stream_engine.exports.packing import pack
from event_stream_engine.exports.query_results import pack_query
from event_stream_engine.exports.sets import SAVED_QUERY
from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import Conflict, Invalid, Unavailable
from event_stream_engine.workbench.readers import Readers

SQL = load_queries(__package__)
PART_BYTES = 4 * 1024 * 1024


class ClaimLost(Exception):
    """The export was cancelled, or another worker has begun it anew."""


class Parts:
    """A sink that compresses, if wanted, and cuts what it gets into parts."""

    def __init__(self, *, is_compressed: bool) -> None:
        self.file_bytes = 0
        self.stored_bytes = 0
        self._zip = (
            zlib.compressobj(1, wbits=31) if is_compressed else None
        )  # gzip; level 1 keeps up with the reading
        self._buffer = bytearray()

    def write(self, data: bytes) -> int:
        self.file_bytes += len(data)
        self._buffer += self._zip.compress(data) if self._zip else data
        return len(data)

    def flush(self) -> None:
        """Whoever writes a file calls this; parts are cut by size alone."""

    closed = False

    def close(self) -> None:
        """As `flush`: the end is told by `finish`."""

    def take(self) -> list[bytes]:
        """Return the parts that are full."""
        full = []
        while len(self._buffer) >= PART_BYTES:
            full.append(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]
        return full

    def finish(self) -> list[bytes]:
        """Return what is left, at the end."""
        if self._zip:
            self._buffer += self._zip.flush()
        return [*self.take(), *([bytes(self._buffer)] if self._buffer else [])]


async def make(
    reading: Connection,
    storing: Connection,
    readers: Readers,
    claimed: Export,
    clock: Clock,
    *,
    limit_bytes: int,
) -> None:
    """Make the file of an export that this worker has claimed, and end it one way or the other.

    `readers` run people's SQL, `reading` everything else.
    Errors: those of the connection; the export is then begun anew when it has been silent for long enough.
    """
    parts = Parts(is_compressed=FORMATS[claimed.format].is_compressed)
    stored = _Stored(storing, claimed, clock, limit_bytes)

    async def tell(progress: Progress) -> None:
        await stored.add(parts.take(), parts, progress)

    try:
        if claimed.set_name == SAVED_QUERY.slug:
            packed = await pack_query(readers, claimed.order, parts, clock=clock, on_progress=tell)
        else:
            packed = await pack(reading, claimed.order, parts, clock=clock, on_progress=tell)
        await stored.add(parts.finish(), parts, packed)
    except ClaimLost:
        return
    except (Invalid, Conflict, Unavailable) as error:
        await jobs.end(storing, claimed, clock.now(), error=str(error))
    except QueryCanceled:
        await jobs.end(storing, claimed, clock.now(), error="Reading it took longer than an hour. Narrow it.")
    except psycopg.DataError as error:
        await jobs.end(
            storing, claimed, clock.now(), error=f"The database refused: {error.diag.message_primary}"
        )
    else:
        await jobs.end(storing, claimed, clock.now())


@dataclass(frozen=True, slots=True)
class _Told:
    held: bool
    stored: int


class _Stored:
    """The parts that are in the database."""

    def __init__(self, conn: Connection, claimed: Export, clock: Clock, limit_bytes: int) -> None:
        self._conn, self._claimed, self._clock, self._limit_bytes = conn, claimed, clock, limit_bytes
        self._number = 0

    async def add(self, parts: list[bytes], file: Parts, progress: Progress) -> None:
        """Errors: ClaimLost; Conflict when all files together get too large."""
        file.stored_bytes += sum(map(len, parts))
        told = {
            "id": self._claimed.id,
            "claim_id": self._claimed.claim_id,
            "now": self._clock.now(),
            "file_bytes": file.file_bytes,
            "stored_bytes": file.stored_bytes,
        }
        async with transaction(self._conn):
            found = await SQL.tell_progress.one(self._conn, _Told, told | asdict(progress))
            if not found.held:
                raise ClaimLost
            if found.stored > self._limit_bytes:
                raise Conflict(
                    "With this file all exports would be larger than ESE_EXPORTS_LIMIT_MB. Narrow it, delete others, or raise the limit."
                )
            for part in parts:
                values = {"id": self._claimed.id, "number": self._number, "bytes": part}
                await SQL.insert_part.execute(self._conn, values)
                self._number += 1
