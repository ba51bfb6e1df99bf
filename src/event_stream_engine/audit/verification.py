"""Verifying the chain against the rows, and its batches against the anchors kept outside.

Rows and batches are both read in pages and merged by place, so that memory is bounded by a page and the largest batch.
No transaction spans the pages: what is sealed does not change, and a long one would hold up the vacuum.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from event_stream_engine.audit.anchors import Anchor
from event_stream_engine.audit.chain import (
    BEFORE_THE_FIRST,
    FIRST_ID,
    HASH_BYTES,
    LAST_ID,
    SQL,
    Head,
    RowHash,
    find_head,
    hash_batch,
    list_hashes,
)
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.clock import format_instant

PAGE_ROWS = 10_000
PAGE_BATCHES = 50
MOST_FAULTS = 100
_BEHIND_ALL = (str(2**64 - 1), LAST_ID)


@dataclass(frozen=True, slots=True)
class Fault:
    """One sign of damage. `kind`: edited, deleted, inserted (rows); broken, missing (batches); cut, rewritten (anchors)."""

    kind: str
    batch: int
    row_id: int | None
    text: str


@dataclass(slots=True)
class Verdict:
    """What was verified. `faults` are the first ones in the order of the chain, `fault_count` counts all."""

    head: Head | None
    batches: int = 0
    rows: int = 0
    anchors: int = 0
    fault_count: int = 0
    faults: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        self.fault_count += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)


@dataclass(frozen=True, slots=True)
class _Batch:
    number: int
    until_xid: str
    until_id: int
    rows: int
    row_hashes: bytes
    hash: bytes
    sealed_at: datetime

    @property
    def is_restart(self) -> bool:
        return self.until_xid == "0"


@dataclass(frozen=True, slots=True)
class _Restart:
    number: int
    until_id: int


async def verify_chain(
    conn: Connection, anchors: Iterator[Anchor], on_progress: Callable[[Verdict], None]
) -> Verdict:
    """Compare every sealed row with its hash, every batch with the one before it, and the chain with the anchors.

    `on_progress` is told after each batch. What was sealed after the start is not looked at.
    """
    verdict = Verdict(await find_head(conn))
    head = verdict.head
    anchor = next(anchors, None)
    if head is not None:
        rows = _Rows(conn, head, await SQL.list_restarts.many(conn, _Restart))
        before, expected = BEFORE_THE_FIRST, 1
        async for batch in _list_batches(conn, head.number):
            is_behind_gap = batch.number != expected
            if is_behind_gap:
                gap = f"{expected}" if batch.number == expected + 1 else f"{expected} to {batch.number - 1}"
                verdict.add(Fault("missing", expected, None, f"Batch {gap} of the chain is gone."))
            elif hash_batch(before, batch.number, batch.row_hashes) != batch.hash:
                text = (
                    f"Batch {batch.number} does not follow from the one before it: the chain was edited here."
                )
                verdict.add(Fault("broken", batch.number, None, text))
            found = await rows.take(batch)
            if is_behind_gap:  # the rows of the gap come first, and nothing is left to compare them with
                found = found[max(0, len(found) - len(batch.row_hashes) // HASH_BYTES) :]
            for fault in _compare(batch, found):
                verdict.add(fault)
            while anchor is not None and anchor.number <= batch.number:
                if anchor.number == batch.number and anchor.hash != batch.hash:
                    verdict.add(_rewritten(anchor))
                verdict.anchors += 1
                anchor = next(anchors, None)
            verdict.batches += 1
            verdict.rows += len(found)
            before, expected = batch.hash, batch.number + 1
            on_progress(verdict)
    last = None
    while anchor is not None:
        last, anchor = anchor, next(anchors, None)
        verdict.anchors += 1
    newest = await find_head(conn)
    if last is not None and last.number > (newest.number if newest else 0):
        verdict.add(_cut(last, newest))
    return verdict


async def _list_batches(conn: Connection, last: int) -> AsyncIterator[_Batch]:
    after = FIRST_ID
    while page := await SQL.list_batches.many(
        conn, _Batch, {"after": after, "to": last, "most": PAGE_BATCHES}
    ):
        for batch in page:
            yield batch
        after = page[-1].number


class _Rows:
    """The rows in the order of the chain: one cluster's after the other's, each by (xid, id)."""

    def __init__(self, conn: Connection, head: Head, restarts: Sequence[_Restart]) -> None:
        self._conn = conn
        self._head_place = (head.until_xid, head.until_id)
        self._ceilings = [restart.until_id for restart in restarts]
        self._floor = FIRST_ID
        self._place = ("0", FIRST_ID)
        self._page: Sequence[RowHash] = ()
        self._used = 0

    async def take(self, batch: _Batch) -> list[RowHash]:
        """Return the rows up to where a batch ends; of a restart all that are left of the cluster before it."""
        until = None if batch.is_restart else (int(batch.until_xid), batch.until_id)
        taken: list[RowHash] = []
        while self._used < len(self._page) or await self._read():
            row = self._page[self._used]
            if until is not None and (row.xid, row.id) > until:
                break
            taken.append(row)
            self._used += 1
        if batch.is_restart:
            self._floor, self._place = batch.until_id, ("0", batch.until_id)
            self._ceilings.pop(0)
        return taken

    async def _read(self) -> bool:
        """Read the next page of this cluster's rows; the last one's only as far as the head."""
        self._page = await list_hashes(
            self._conn,
            after=self._place,
            until=_BEHIND_ALL if self._ceilings else self._head_place,
            ids=(self._floor, self._ceilings[0] if self._ceilings else LAST_ID),
            most=PAGE_ROWS,
        )
        self._used = 0
        if self._page:
            self._place = (str(self._page[-1].xid), self._page[-1].id)
        return bool(self._page)


def _compare(batch: _Batch, found: Sequence[RowHash]) -> Iterator[Fault]:
    """Walk along the sealed hashes and the rows, and say where they part."""
    hashes = batch.row_hashes
    sealed = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
    if sealed == [row.hash for row in found]:
        return
    known, there = set(sealed), {row.hash for row in found}
    name = f"batch {batch.number}, sealed at {format_instant(batch.sealed_at)}"
    i = j = 0
    while i < len(found) or j < len(sealed):
        row = found[i] if i < len(found) else None
        is_foreign = row is not None and row.hash not in known
        is_lost = j < len(sealed) and sealed[j] not in there
        if row is not None and is_lost and is_foreign:
            yield Fault("edited", batch.number, row.id, f"Row {row.id} was edited ({name}).")
            i, j = i + 1, j + 1
        elif is_lost:
            between = _describe_neighbours(found, i)
            yield Fault("deleted", batch.number, None, f"A row {between} was deleted ({name}).")
            j += 1
        elif row is not None and is_foreign:
            yield Fault("inserted", batch.number, row.id, f"Row {row.id} was inserted later ({name}).")
            i += 1
        else:
            i, j = i + 1, j + 1


def _describe_neighbours(found: Sequence[RowHash], at: int) -> str:
    after = f"after row {found[at - 1].id}" if at > 0 else ""
    before = f"before row {found[at].id}" if at < len(found) else ""
    return " and ".join(part for part in (after, before) if part) or "of a batch of which none is left"


def _rewritten(anchor: Anchor) -> Fault:
    text = (
        f"Batch {anchor.number} has another hash than the one anchored at {format_instant(anchor.at)}:"
        " the chain was written anew here or before."
    )
    return Fault("rewritten", anchor.number, None, text)


def _cut(anchor: Anchor, newest: Head | None) -> Fault:
    number = newest.number if newest else 0
    text = (
        f"The chain ends with batch {number}, but batch {anchor.number} was anchored at {format_instant(anchor.at)}:"
        " its tail was cut, or the database was set back to an earlier state."
    )
    return Fault("cut", number + 1, None, text)
