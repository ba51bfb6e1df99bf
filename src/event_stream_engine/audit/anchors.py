"""Anchors: the heads of the chain, noted where whoever can write the database cannot.

A chain that was cut or written anew from some batch on is sound in itself. Only a head that somebody kept elsewhere
tells. The file is one JSON object a line, {"number": …, "hash": …, "at": …}, numbers ascending.
"""

import heapq
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.errors import Invalid, NotFound

FILE_NAME = "audit-anchors.ndjson"
_LONGEST_LINE_BYTES = 512


@dataclass(frozen=True, slots=True)
class Anchor:
    number: int
    hash: bytes
    at: datetime


def append_anchor(file: Path, anchor: Anchor) -> None:
    """Add an anchor to a file; when this returns it is on disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    is_new = not file.exists()
    with file.open("ab") as lines:
        lines.write(format_anchor(anchor).encode() + b"\n")
        lines.flush()
        os.fsync(lines.fileno())
    if is_new:
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def format_anchor(anchor: Anchor) -> str:
    value = {"number": anchor.number, "hash": anchor.hash.hex(), "at": format_instant(anchor.at)}
    return orjson.dumps(value).decode()


def find_last_anchor(file: Path) -> Anchor | None:
    """Return the newest whole anchor of a file; None when there is none."""
    try:
        with file.open("rb") as lines:
            lines.seek(0, os.SEEK_END)
            lines.seek(max(0, lines.tell() - 2 * _LONGEST_LINE_BYTES))
            tail = lines.read().split(b"\n")[:-1]  # what follows the last line end was torn by a crash
    except FileNotFoundError:
        return None
    for line in reversed(tail):
        if (anchor := _parse(line)) is not None:
            return anchor
    return None


def read_anchors(files: Sequence[Path]) -> Iterator[Anchor]:
    """Yield the anchors of all files by number, reading line by line.

    Errors: NotFound; Invalid naming the line that is none.
    """
    return heapq.merge(*(_read(file) for file in files), key=lambda anchor: anchor.number)


def _read(file: Path) -> Iterator[Anchor]:
    try:
        lines = file.open("rb")
    except OSError as error:
        raise NotFound(f"The anchors {file} cannot be read: {error.strerror}.") from None
    with lines:
        last = 0
        for place, line in enumerate(lines, 1):
            anchor = _parse(line)
            if anchor is None:
                if not line.endswith(b"\n") or not line.strip():
                    continue  # torn by a crash, or empty
                raise Invalid(
                    f"{file}, line {place} is no anchor. Take the file from where it was shipped to."
                )
            if anchor.number < last:
                raise Invalid(
                    f"{file}, line {place}: batch {anchor.number} was anchored after batch {last}. The database was set"
                    " back to an earlier state: split the file before this line and verify with the later part."
                )
            last = anchor.number
            yield anchor


def _parse(line: bytes) -> Anchor | None:
    try:
        value = orjson.loads(line)
        return Anchor(int(value["number"]), bytes.fromhex(value["hash"]), parse_instant(value["at"]))
    except (ValueError, TypeError, KeyError):
        return None
