"""The spool: what was put is there for the next process, whatever became of this one or of its file."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.stream.log import Event
from event_stream_engine.stream.spool import Spool

LIMIT_BYTES = 10_000_000
PUT_AND_BE_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.unit.test_spool import Spool, make_events
spools = [Spool(Path(sys.argv[1]), 10_000_000) for _ in range(2)]
for number, spool in enumerate(spools):
    spool.put(make_events(number * 10, 10))
os.kill(os.getpid(), signal.SIGKILL)
"""


def make_events(first: int, count: int) -> list[Event]:
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    return [
        Event(at, "receipt.received", UUID(int=number), f'{{"number": {number}}}')
        for number in range(first, first + count)
    ]


def count_rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@contextmanager
def opened(folder: Path, limit_bytes: int = LIMIT_BYTES) -> Iterator[Spool]:
    with closing(Spool(folder, limit_bytes)) as spool:
        yield spool


def damage_payload(path: Path, number: int) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE spooled SET payload = 'x' WHERE payload = ?", (f'{{"number": {number}}}',))


def test_events_come_back_as_they_were_put_and_only_until_they_are_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.put(make_events(0, 5))
        taken = spool.take(3)
        assert [event for _, event in taken] == make_events(0, 3)
        spool.remove([number for number, _ in taken])
    with opened(tmp_path) as spool:
        assert [event for _, event in spool.take(10)] == make_events(3, 2)


def test_a_killed_process_leaves_its_events_to_the_next(tmp_path: Path) -> None:
    path = os.pathsep.join(("src", ".", os.environ.get("PYTHONPATH", "")))
    killed = subprocess.run(
        [sys.executable, "-c", PUT_AND_BE_KILLED, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )
    assert killed.returncode == -9
    with opened(tmp_path) as spool:
        assert [event for _, event in spool.take(100)] == make_events(0, 20)
        assert [path.name for path in tmp_path.glob("*.db")] == [spool.path.name]


def test_the_file_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as one:
        one.put(make_events(0, 3))
        with opened(tmp_path) as other:
            assert other.path != one.path
            assert other.count_events() == 0
        assert one.count_events() == 3


def test_a_full_spool_refuses_until_something_is_removed(tmp_path: Path) -> None:
    with opened(tmp_path, 40_000) as spool:
        put = 0

        def put_more() -> None:
            nonlocal put
            while put < 10_000:
                spool.put(make_events(put, 10))
                put += 10

        with pytest.raises(Unavailable, match="ESE_SPOOL_LIMIT_MB"):
            put_more()
        assert spool.count_events() == put
        spool.remove([number for number, _ in spool.take(put)])
        spool.put(make_events(0, 1))


def test_more_than_the_limit_is_taken_over_all_the_same(tmp_path: Path) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        first.put(make_events(0, 500))
        second.put(make_events(500, 500))
    with opened(tmp_path, 1000) as spool:
        assert spool.count_events() == 1000


def test_a_damaged_row_is_quarantined_and_stays_so_when_the_file_is_taken_over(tmp_path: Path) -> None:
    with opened(tmp_path), opened(tmp_path) as spool:
        for _ in range(2):  # SQLite gives the row's number out again
            spool.put(make_events(0, 2))
            damage_payload(spool.path, 1)
            taken = spool.take(10)
            assert [event for _, event in taken] == make_events(0, 1)
            spool.remove([number for number, _ in taken])
    with opened(tmp_path) as spool:
        assert not spool.take(10)
        assert count_rows(spool.path, "quarantined") == 2


def test_a_torn_file_is_set_aside_and_what_can_be_read_of_it_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.put(make_events(0, 2000))
        path = spool.path
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = os.urandom(8192)
    path.write_bytes(content)
    with opened(tmp_path) as spool:
        events = [event for _, event in spool.take(10_000)]
        assert 1000 < len(events) < 2000
        assert set(events) <= set(make_events(0, 2000))
        spool.put(make_events(5000, 1))
    assert len(list(tmp_path.glob("spool-0.damaged-*"))) == 1


def test_a_file_that_cannot_be_opened_is_not_taken_for_damaged(tmp_path: Path) -> None:
    (tmp_path / "spool-0.db").mkdir()
    for _ in range(2):
        with pytest.raises(Unavailable, match="Check disk space and rights"):
            Spool(tmp_path, LIMIT_BYTES)
    assert not list(tmp_path.glob("*damaged*"))
