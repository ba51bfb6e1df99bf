"""Exports: one instant, one effect, whoever is killed; nobody gets what their role may not see."""

import asyncio
import csv
import gzip
import io
import json
import os
import signal
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

from event_stream_engine.access.roles import Role
from event_stream_engine.audit.trails import list_of_subject
from event_stream_engine.exports import jobs
from event_stream_engine.exports.making import ClaimLost, Parts, _Stored
from event_stream_engine.exports.orders import Order, Progress, narrow_to_window
from event_stream_engine.exports.reading import write_statement
from event_stream_engine.exports.sets import SETS
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SettableClock, SystemClock
from event_stream_engine.kernel.errors import Conflict, Denied, Invalid
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.kernel.windows import Window
from event_stream_engine.worker.packer import PRESS_ENVIRONMENT
from tests.exports import ROOM_BYTES, SOMEBODY, add_messages, ask, load_stored, make_next
from tests.sending import add_people

HOUR = timedelta(hours=1)


def an_hour_before(clock: SettableClock) -> dict[str, Any]:
    return narrow_to_window(Window(clock.now() - HOUR, clock.now()))


def read_peak_kilobytes(pid: int) -> int:
    """Return the most memory a process ever had, 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def read_csv(stored: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress(stored).decode(), newline="")))


@pytest.mark.parametrize("name", SETS)
async def test_columns_of_a_set_are_those_of_its_query(database_url: str, name: str) -> None:
    async with await connect(database_url, "test") as conn:
        window = {"since": "2026-03-02T00:00:00Z", "until": "2026-03-03T00:00:00Z"}
        filters = {key: value for key, value in window.items() if key in SETS[name].filters}
        cursor = await conn.execute(write_statement(conn, SETS[name], filters))
        assert cursor.description is not None
        assert [column.name for column in cursor.description] == [
            column.name for column in SETS[name].columns
        ]


async def test_window_is_half_open_and_rows_come_in_order(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        await add_messages(conn, 5000, clock.now())
        asked = await ask(database_url, Order("messages", "csv", an_hour_before(clock), True), clock)
        made = await make_next(database_url, clock)
        assert (made.id, made.state, made.rows, made.as_of) == (asked.id, "completed", 3600, clock.now())
        rows = read_csv(await load_stored(conn, made))
        expected = await (
            await conn.execute(
                "SELECT provider_sid, recipient_phone, status FROM messages WHERE cohort_at >= %s AND cohort_at < %s ORDER BY cohort_at",
                (clock.now() - HOUR, clock.now()),
            )
        ).fetchall()
    assert [(row["message_sid"], row["recipient_phone"], row["status"]) for row in rows] == expected
    assert rows[-1]["cohort_at"] == "2026-03-02T11:59:59Z"
    assert [row["delivery_seconds"] for row in rows].count("2.5") == 1200


async def test_all_formats_tell_the_same(database_url: str, clock: SettableClock, tmp_path: Path) -> None:
    async with await connect(database_url, "test") as conn:
        await add_messages(conn, 1000, clock.now())
        files = {}
        for file_format in ("csv", "ndjson", "parquet"):
            await ask(database_url, Order("messages", file_format, an_hour_before(clock), True), clock)
            made = await make_next(database_url, clock)
            stored = await load_stored(conn, made)
            assert len(stored) == made.stored_bytes
            content = stored if file_format == "parquet" else gzip.decompress(stored)
            assert len(content) == made.file_bytes
            files[file_format] = tmp_path / made.file_name
            files[file_format].write_bytes(content)
    columns = "id::text, recipient_phone, status, error_code, epoch(cohort_at::timestamptz), delivery_seconds"
    found = [
        duckdb.sql(f"SELECT {columns} FROM {reader}").fetchall()
        for reader in (
            f"read_csv('{files['csv']}', all_varchar = false, types = {{'recipient_phone': 'VARCHAR'}})",
            f"read_json('{files['ndjson']}')",
            f"read_parquet('{files['parquet']}')",
        )
    ]
    assert len(found[0]) == 999
    assert found[0] == found[1] == found[2]


async def test_numbers_are_masked_unless_they_are_asked_for(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        await add_messages(conn, 100, clock.now())
        await ask(database_url, Order("messages", "csv", an_hour_before(clock)), clock, Role.viewer)
        made = await make_next(database_url, clock)
        rows = read_csv(await load_stored(conn, made))
        phones = await (
            await conn.execute("SELECT recipient_phone FROM messages ORDER BY cohort_at")
        ).fetchall()
    assert [row["recipient_phone"] for row in rows] == [mask_phone(phone) for (phone,) in phones[:-1]]


@pytest.mark.parametrize(
    ("order", "needed"),
    [
        (Order("messages", "csv", {}, True), "operator"),
        (Order("users", "csv"), "operator"),
        (Order("consent", "csv"), "operator"),
        (Order("audit", "csv"), "operator"),
    ],
)
async def test_viewer_gets_neither_numbers_nor_people(
    database_url: str, clock: SettableClock, order: Order, needed: str
) -> None:
    with pytest.raises(Denied, match=needed):
        await ask(database_url, order, clock, Role.viewer)


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (Order("secrets", "csv"), "set"),
        (Order("messages", "doc"), "format"),
        (Order("messages", "csv", {"intent": "stop"}), "intent"),
    ],
)
async def test_order_that_makes_no_sense_names_its_field(
    database_url: str, clock: SettableClock, order: Order, field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await ask(database_url, order, clock)
    assert caught.value.field == field


async def test_people_are_exported_with_their_attributes(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        await add_people(conn, 3, clock.now())
        await conn.execute('UPDATE users SET attributes = \'{"name": "=HYPERLINK(1)"}\'')
        await ask(database_url, Order("users", "ndjson", {"consent": "OPT_IN"}, True), clock)
        stored = await load_stored(conn, await make_next(database_url, clock))
    rows = [json.loads(line) for line in gzip.decompress(stored).splitlines()]
    assert rows[0]["phone_e164"] == "+14152000000"
    assert rows[0]["attributes"] == {"name": "=HYPERLINK(1)"}
    assert len(rows) == 3


async def test_trail_tells_who_took_what_but_no_number(database_url: str, clock: SettableClock) -> None:
    filters = {"phone": "+14155550100"}
    asked = await ask(database_url, Order("users", "csv", filters), clock)
    await make_next(database_url, clock)
    async with await connect(database_url, "test") as conn:
        async with transaction(conn):
            await jobs.open_download(conn, SOMEBODY, asked.id, clock.now())
        trail = await list_of_subject(conn, f"export:{asked.id}", 9)
    assert [entry.action for entry in trail] == ["export.downloaded", "export.completed", "export.asked"]
    assert "+1415" not in repr(trail)
    assert trail[-1].after is not None
    assert trail[-1].after["filters"] == {"search": True}


async def test_worker_that_was_given_up_for_lost_cannot_spoil_the_file(
    database_url: str, clock: SettableClock
) -> None:
    async with await connect(database_url, "test") as conn:
        await add_messages(conn, 100, clock.now())
        await ask(database_url, Order("messages", "csv", an_hour_before(clock)), clock)
        lost = await jobs.claim_next(conn, clock.now())
        assert lost is not None
        zombie, half = _Stored(conn, lost, clock, 10**9), Parts(is_compressed=False)
        await zombie.add([b"half of a file"], half, Progress(clock.now(), 100, 50))
        assert await jobs.claim_next(conn, clock.now()) is None
        clock.advance(jobs.SILENCE + timedelta(seconds=1))
        made = await make_next(database_url, clock)
        assert (made.state, made.attempts, made.rows) == ("completed", 2, 99)
        with pytest.raises(ClaimLost):
            await zombie.add([b"the rest"], half, Progress(clock.now(), 100, 100))
        await jobs.end(conn, lost, clock.now(), error="late")
        assert (await jobs.load_export(conn, made.id)).state == "completed"
        assert len(read_csv(await load_stored(conn, made))) == 99


async def test_export_that_never_ends_is_given_up(database_url: str, clock: SettableClock) -> None:
    asked = await ask(database_url, Order("messages", "csv", an_hour_before(clock)), clock)
    async with await connect(database_url, "test") as conn:
        for _ in range(jobs.MOST_ATTEMPTS):
            assert await jobs.claim_next(conn, clock.now()) is not None
            clock.advance(jobs.SILENCE + timedelta(seconds=1))
        assert await jobs.claim_next(conn, clock.now()) is None
        failed = await jobs.load_export(conn, asked.id)
    assert failed.state == "failed"
    assert failed.error is not None
    assert "3 times" in failed.error


async def test_cancelled_export_stops_and_leaves_nothing(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        await ask(database_url, Order("messages", "csv", an_hour_before(clock)), clock)
        claimed = await jobs.claim_next(conn, clock.now())
        assert claimed is not None
        parts = Parts(is_compressed=False)
        await _Stored(conn, claimed, clock, 10**9).add([b"x"], parts, Progress(clock.now(), 1))
        async with transaction(conn):
            cancelled = await jobs.cancel(conn, SOMEBODY, claimed.id, clock.now())
        assert (cancelled.state, cancelled.stored_bytes) == ("cancelled", 0)
        assert await load_stored(conn, cancelled) == b""
        with pytest.raises(ClaimLost):
            await _Stored(conn, claimed, clock, 10**9).add([b"y"], parts, Progress(clock.now(), 1))
        with pytest.raises(Conflict, match="cancelled"):
            await jobs.cancel(conn, SOMEBODY, claimed.id, clock.now())


async def test_file_goes_when_it_expires_and_its_row_much_later(
    database_url: str, clock: SettableClock
) -> None:
    async with await connect(database_url, "test") as conn:
        await ask(database_url, Order("messages", "csv", an_hour_before(clock)), clock)
        made = await make_next(database_url, clock)
        assert made.expires_at == clock.now() + jobs.KEPT
        await jobs.clear_old(conn, clock.now())
        assert await load_stored(conn, made)
        clock.advance(jobs.KEPT)
        with pytest.raises(Conflict, match="no file"):
            await jobs.open_download(conn, SOMEBODY, made.id, clock.now())
        await jobs.clear_old(conn, clock.now())
        assert await load_stored(conn, made) == b""
        assert (await jobs.load_export(conn, made.id)).state == "expired"
        clock.advance(jobs.HISTORY)
        await jobs.clear_old(conn, clock.now())
        assert await jobs.list_exports(conn, 9) == []


async def test_files_together_keep_to_their_limit(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        await add_messages(conn, 1000, clock.now())
    await ask(database_url, Order("messages", "parquet", an_hour_before(clock)), clock)
    made = await make_next(database_url, clock, limit_bytes=1000)
    assert made.state == "failed"
    assert made.error is not None
    assert "ESE_EXPORTS_LIMIT_MB" in made.error
    await ask(database_url, Order("messages", "parquet", an_hour_before(clock)), clock)
    made = await make_next(database_url, clock)
    assert made.state == "completed"
    async with await connect(database_url, "test") as conn, transaction(conn):
        with pytest.raises(Conflict, match="ESE_EXPORTS_LIMIT_MB"):
            await jobs.ask(conn, SOMEBODY, Role.admin, made.order, clock.now(), limit_bytes=made.stored_bytes)


async def test_too_many_rows_for_a_spreadsheet_are_told(
    database_url: str, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("event_stream_engine.exports.files.MOST_XLSX_ROWS", 10)
    async with await connect(database_url, "test") as conn:
        await add_messages(conn, 20, clock.now())
    await ask(database_url, Order("messages", "xlsx", an_hour_before(clock)), clock)
    made = await make_next(database_url, clock)
    assert made.state == "failed"
    assert made.error is not None
    assert "parquet" in made.error


async def test_killed_half_way_it_begins_anew_and_its_memory_stays_flat(database_url: str) -> None:
    clock, rows = SystemClock(), 250_000
    now = clock.now()
    order = {"url": database_url, "queries_url": database_url, "secret_key": "x", "limit_bytes": ROOM_BYTES}
    told = json.dumps(order).encode() + b"\n"

    async def start_press() -> asyncio.subprocess.Process:
        press = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "event_stream_engine.worker.press"),
            stdin=asyncio.subprocess.PIPE,
            env=os.environ | PRESS_ENVIRONMENT,
        )
        assert press.stdin is not None
        press.stdin.write(told)
        return press

    async with await connect(database_url, "test") as conn:
        await add_messages(conn, rows, now)
        window = narrow_to_window(Window(now - timedelta(days=30), now + HOUR))
        asked = await ask(database_url, Order("messages", "csv", window, True), clock)

        async def load() -> jobs.Export:
            return await jobs.load_export(conn, asked.id)

        killed = await start_press()
        async with asyncio.timeout(60):
            while not 0 < (await load()).rows < rows:
                assert killed.returncode is None
                await asyncio.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        await killed.wait()
        half = await load()
        assert half.state == "running"
        assert 0 < half.rows < rows
        await conn.execute("UPDATE exports SET beat_at = beat_at - %s", (2 * jobs.SILENCE,))
        press, peak = await start_press(), 0
        while press.returncode is None:
            peak = max(peak, read_peak_kilobytes(press.pid))
            await asyncio.sleep(0.02)
        assert press.returncode == 0
        whole = await load()
        assert (whole.state, whole.attempts, whole.rows) == ("completed", 2, rows)
        found = read_csv(await load_stored(conn, whole))
        assert len({UUID(row["id"]) for row in found}) == len(found) == rows
        assert whole.file_bytes > 40_000_000
        assert 0 < peak < 200 * 1024


async def test_rows_are_of_one_instant(database_url: str, clock: SettableClock) -> None:
    """A message that changes while the file is written shows as it was at the beginning."""
    async with await connect(database_url, "test") as conn, await connect(database_url, "test") as reading:
        await add_messages(conn, 60_000, clock.now())
        window = narrow_to_window(Window(clock.now() - timedelta(days=3), clock.now() + HOUR))
        await ask(database_url, Order("messages", "csv", window, True), clock)
        claimed = await jobs.claim_next(conn, clock.now())
        assert claimed is not None
        from event_stream_engine.exports.packing import pack

        sink, changed = Parts(is_compressed=False), 0

        async def change(done: Progress) -> None:
            nonlocal changed
            if done.rows and not changed:
                cursor = await conn.execute(
                    "UPDATE messages SET read_at = now() WHERE delivered_at IS NOT NULL"
                )
                changed = cursor.rowcount

        packed = await pack(reading, claimed.order, sink, clock=clock, on_progress=change)
    assert changed == 20_000
    assert packed.rows == 60_000
    assert b'"READ"' not in b"".join(sink.finish())
