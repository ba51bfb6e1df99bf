import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.stream.log import Event
from event_stream_engine.stream.spool import Spool

LIMIT = 1024 * 1024


def make_events(*numbers: int) -> list[Event]:
    at = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)
    return [Event(at, "receipt.received", UUID(int=n), f'{{"Body":"é👍 {n}"}}') for n in numbers]


def numbers_of(taken: list[tuple[int, Event]]) -> list[int]:
    return [event.dedupe_key.int for _, event in taken]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool(tmp_path, LIMIT)) as spool:
        yield spool


def damage(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


def read_quarantined(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [payload for (payload,) in db.execute("SELECT payload FROM quarantined ORDER BY id")]


def test_what_was_put_is_taken_oldest_first_until_it_is_removed(spool: Spool) -> None:
    events = make_events(3, 1, 2)
    spool.put(events)
    assert [event for _, event in spool.take(2)] == events[:2]
    taken = spool.take(10)
    assert [event for _, event in taken] == events
    spool.remove([number for number, _ in taken[:2]])
    assert [event for _, event in spool.take(10)] == events[2:]
    assert spool.count_events() == 1


def test_a_restart_finds_what_was_put(tmp_path: Path) -> None:
    for _ in range(2):
        with closing(Spool(tmp_path, LIMIT)) as spool:
            spool.put(make_events(1))
    with closing(Spool(tmp_path, LIMIT)) as spool:
        assert numbers_of(spool.take(9)) == [1, 1]


@pytest.mark.parametrize(
    "flip",
    [
        "payload = replace(payload, '2', '3')",
        "payload = CAST(CAST(payload AS BLOB) || X'ff' AS TEXT)",
        "payload = CAST(payload AS BLOB)",
        "received_at = NULL",
        "dedupe_key = 'text'",
        "checksum = X''",
    ],
)
def test_a_damaged_row_is_quarantined_and_the_rest_is_taken(spool: Spool, flip: str) -> None:
    spool.put(make_events(1, 2, 3))
    damage(spool.path, f"UPDATE spooled SET {flip} WHERE id = 2")
    assert numbers_of(spool.take(9)) == [1, 3]
    assert spool.count_events() == 2
    with closing(sqlite3.connect(spool.path)) as db:
        assert db.execute("SELECT count(*) FROM quarantined").fetchone() == (1,)


def test_a_row_number_that_comes_again_can_be_quarantined_again(spool: Spool) -> None:
    for turn in ("first", "second"):
        spool.put(make_events(1))
        damage(spool.path, f"UPDATE spooled SET payload = '{turn}'")
        assert spool.take(9) == []
    assert read_quarantined(spool.path) == ["first", "second"]


def test_a_full_spool_refuses_and_takes_again_once_drained(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, 64 * 1024)) as spool:
        put = 0

        def put_until_refused() -> None:
            nonlocal put
            while put < 10_000:
                spool.put(make_events(*range(put, put + 100)))
                put += 100

        with pytest.raises(Unavailable, match="ESE_SPOOL_LIMIT_MB"):
            put_until_refused()
        assert put > 0
        assert spool.count_events() == put
        spool.remove([number for number, _ in spool.take(10_000)])
        spool.put(make_events(1))


def test_a_disk_that_refuses_is_unavailable_whatever_is_asked(spool: Spool) -> None:
    spool.put(make_events(1))
    damage(spool.path, "DROP TABLE spooled")
    for ask in (
        lambda: spool.put(make_events(2)),
        lambda: spool.take(1),
        spool.count_events,
        lambda: spool.remove([1]),
    ):
        with pytest.raises(Unavailable):
            ask()


def test_two_processes_own_two_files(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, LIMIT)) as one, closing(Spool(tmp_path, LIMIT)) as other:
        one.put(make_events(1))
        other.put(make_events(2))
        assert one.path != other.path
        assert (numbers_of(one.take(9)), numbers_of(other.take(9))) == ([1], [2])


def leave_an_orphan(folder: Path, *numbers: int) -> Path:
    """Leave the file of a second process that is gone, with these events."""
    with closing(Spool(folder, LIMIT)), closing(Spool(folder, LIMIT)) as orphan:
        orphan.put(make_events(*numbers))
        return orphan.path


def test_the_file_of_a_process_that_is_gone_is_adopted(tmp_path: Path) -> None:
    path = leave_an_orphan(tmp_path, 1, 2)
    with closing(Spool(tmp_path, LIMIT)) as spool:
        assert spool.path != path
        assert numbers_of(spool.take(9)) == [1, 2]
    assert not path.exists()


def test_damaged_and_quarantined_rows_of_an_orphan_are_kept_too(tmp_path: Path) -> None:
    path = leave_an_orphan(tmp_path, 1, 2, 3)
    damage(path, "INSERT INTO quarantined SELECT * FROM spooled WHERE id = 1")
    damage(path, "DELETE FROM spooled WHERE id = 1")
    damage(path, "UPDATE spooled SET payload = 'flipped' WHERE id = 2")
    with closing(Spool(tmp_path, LIMIT)) as spool:
        assert numbers_of(spool.take(9)) == [3]
        assert read_quarantined(spool.path) == [make_events(1)[0].payload, "flipped"]


def test_orphans_beyond_the_limit_do_not_block_the_start(tmp_path: Path) -> None:
    with (
        closing(Spool(tmp_path, LIMIT)) as one,
        closing(Spool(tmp_path, LIMIT)) as two,
        closing(Spool(tmp_path, LIMIT)) as three,
    ):
        for spool in (one, two, three):
            spool.put(make_events(*range(500)))
    with closing(Spool(tmp_path, 1)) as spool:
        assert spool.count_events() == 1500


def test_the_file_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, LIMIT)) as living:
        living.put(make_events(1))
        with closing(Spool(tmp_path, LIMIT)) as spool:
            assert spool.count_events() == 0
        assert living.count_events() == 1


def fill(folder: Path, count: int) -> Path:
    with closing(Spool(folder, LIMIT)) as spool:
        spool.put(make_events(*range(count)))
        return spool.path


def test_a_torn_file_is_set_aside_and_its_readable_rows_are_saved(tmp_path: Path) -> None:
    path = fill(tmp_path, 400)
    content = bytearray(path.read_bytes())
    middle = len(content) // 8192 * 4096
    content[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    with closing(Spool(tmp_path, LIMIT)) as spool:
        saved = numbers_of(spool.take(1000))
        spool.put(make_events(1000))
    assert 100 < len(saved) < 400
    assert len(set(saved)) == len(saved)
    assert set(saved) < set(range(400))
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


@pytest.mark.parametrize("content", [b"", b"no database at all" * 500])
def test_a_file_that_is_no_database_does_not_block_the_start(tmp_path: Path, content: bytes) -> None:
    fill(tmp_path, 1).write_bytes(content)
    with closing(Spool(tmp_path, LIMIT)) as spool:
        spool.put(make_events(1))
        assert numbers_of(spool.take(9)) == [1]


@pytest.mark.parametrize("place", [0, 16, 28, 44, 47, 56, 59, 100, 105])
def test_a_flipped_header_does_not_block_the_start(tmp_path: Path, place: int) -> None:
    path = fill(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    with closing(Spool(tmp_path, LIMIT)) as spool:
        assert numbers_of(spool.take(9)) in ([], [0])
        spool.put(make_events(1))


def test_a_disk_that_is_in_trouble_is_no_reason_to_set_a_good_file_aside(tmp_path: Path) -> None:
    path = fill(tmp_path, 3)
    obstacle = Path(f"{path}-wal")
    obstacle.mkdir()
    (obstacle / "x").touch()
    with pytest.raises(Unavailable):
        Spool(tmp_path, LIMIT)
    (obstacle / "x").unlink()
    obstacle.rmdir()
    with closing(Spool(tmp_path, LIMIT)) as spool:
        assert numbers_of(spool.take(9)) == [0, 1, 2]


def test_a_file_that_somebody_holds_is_not_taken_for_damaged(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, LIMIT)) as spool:
        spool.put(make_events(1))
    with closing(sqlite3.connect(tmp_path / "spool-0.db", isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="locked"):
            Spool(tmp_path, LIMIT)
    assert not list(tmp_path.glob("*damaged*"))
    with closing(Spool(tmp_path, LIMIT)) as spool:
        assert numbers_of(spool.take(9)) == [1]
