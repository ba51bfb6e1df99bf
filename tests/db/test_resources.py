"""Samples of several processes and hosts become one figure of each host and one sum of all processes."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
from alembic import command

from event_stream_engine.infra import migrating
from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring import processes, resources
from event_stream_engine.monitoring.sampling import Sample

MB = 1024**2


async def add(
    conn: Connection,
    at: datetime,
    host: str,
    pid: int,
    *,
    kind: str = "web",
    cpu: float | None = None,
    **process: float,
) -> None:
    figures = {} if cpu is None else {"cpu_percent": cpu}
    await resources.add_sample(conn, UUID(int=pid), kind, at, Sample(host, pid, figures, process))


async def live(conn: Connection, at: datetime, host: str, pid: int, kind: str = "web") -> None:
    await conn.execute(
        "INSERT INTO processes (id, kind, host, pid, started_at, beat_at) VALUES (%s, %s, %s, %s, %s, %s)",
        (UUID(int=pid), kind, host, pid, at, at),
    )


async def test_nobody_who_measured_is_unknown_with_a_reason(database_url: str, clock: SettableClock) -> None:
    async with await connect(database_url, "test") as conn:
        found = await resources.load_utilization(conn, clock.now())
    assert (found.cpu_usage_percent, found.memory_usage_mb, found.disk_io_ops_sec) == (None, None, None)
    assert set(found.unknown.values()) == {resources.NOBODY}
    assert len(found.unknown) == 3


async def test_two_processes_that_sample_one_host_do_not_count_it_twice(
    database_url: str, clock: SettableClock
) -> None:
    at = clock.now()
    async with await connect(database_url, "test") as conn:
        for pid, kind, memory in ((1, "web", 100 * MB), (2, "worker", 60 * MB)):
            await live(conn, at, "one", pid, kind)
            for seconds, cpu in ((0, 20.0), (10, 40.0)):
                then = at + timedelta(seconds=seconds)
                await resources.add_sample(
                    conn,
                    UUID(int=pid),
                    kind,
                    then,
                    Sample(
                        "one",
                        pid,
                        {"cpu_percent": cpu, "disk_reads_per_second": 5, "disk_writes_per_second": 7},
                        {"memory_bytes": memory},
                    ),
                )
        found = await resources.load_utilization(conn, at + timedelta(seconds=11) - timedelta(seconds=8))
    assert found.cpu_usage_percent == 30
    assert found.memory_usage_mb == 160
    assert found.disk_io_ops_sec == 12
    assert found.unknown == {}


async def test_the_busiest_of_two_hosts_is_told_and_a_process_that_is_gone_uses_nothing(
    database_url: str, clock: SettableClock
) -> None:
    at = clock.now()
    async with await connect(database_url, "test") as conn:
        await live(conn, at, "one", 1)
        await live(conn, at, "two", 2)
        await live(conn, at - timedelta(seconds=40), "two", 3)
        await add(conn, at, "one", 1, cpu=10.0, memory_bytes=100 * MB)
        await add(conn, at, "two", 2, cpu=90.0, memory_bytes=50 * MB)
        await add(conn, at - timedelta(seconds=40), "two", 3, memory_bytes=500 * MB)
        found = await resources.load_utilization(conn, at)
    assert (found.cpu_usage_percent, found.memory_usage_mb) == (90, 150)


async def test_what_could_not_be_measured_is_unknown_with_its_reason(
    database_url: str, clock: SettableClock
) -> None:
    at = clock.now()
    async with await connect(database_url, "test") as conn:
        await live(conn, at, "one", 1)
        sample = Sample(
            "one",
            1,
            {},
            {"memory_bytes": MB},
            {"host.disk_reads_per_second": "this system does not tell what its disks do"},
        )
        await resources.add_sample(conn, UUID(int=1), "web", at, sample)
        found = await resources.load_utilization(conn, at)
    assert found.memory_usage_mb == 1
    assert found.unknown["disk_io_ops_sec"] == "this system does not tell what its disks do"
    assert found.unknown["cpu_usage_percent"] == resources.NOBODY


async def test_a_series_adds_up_processes_and_one_that_took_the_place_of_another_once(
    database_url: str, clock: SettableClock
) -> None:
    at = clock.now() - timedelta(minutes=10)
    async with await connect(database_url, "test") as conn:
        for tick in range(6):
            then = at + timedelta(seconds=10 * tick)
            await add(conn, then, "one", 1, cpu=10.0 * tick, memory_bytes=100 * MB, open_files_percent=1)
            pid, memory = (2, 50) if tick < 3 else (3, 70)
            await add(conn, then, "one", pid, kind="web", memory_bytes=memory * MB, open_files_percent=80)
        window = Window(clock.now() - timedelta(hours=1), clock.now())
        found = await resources.load_resources(
            conn, window, timedelta(minutes=5), ZoneInfo("UTC"), clock.now()
        )
    points = {(point.kind, point.metric): point for point in found.points}
    assert points["host", "cpu_percent"].mean == 25
    assert points["host", "cpu_percent"].peak == 50
    assert points["web", "memory_bytes"].mean == 160 * MB, "100 and, half a minute each, 50 and 70"
    assert points["web", "memory_bytes"].peak == 100 * MB
    assert points["web", "open_files_percent"].mean == 80
    assert {point.bin for point in found.points} == {at}
    assert {(use.kind, use.pid) for use in found.uses} == {("host", 0), ("web", 1), ("web", 2), ("web", 3)}


async def test_a_window_before_the_minutes_that_are_kept_is_told_by_quarter_hours(
    database_url: str, clock: SettableClock
) -> None:
    at = clock.now() - timedelta(days=30)
    async with await connect(database_url, "test") as conn:
        await add(conn, at, "one", 1, cpu=10.0)
        await resources.drop_old_resources(conn, clock.now())
        window = Window(at - timedelta(minutes=30), at + timedelta(minutes=30))
        found = await resources.load_resources(
            conn, window, timedelta(minutes=5), ZoneInfo("UTC"), clock.now()
        )
    assert [(point.metric, point.bin) for point in found.points] == [("cpu_percent", at)]
    assert len(found.bins) == 4


async def test_minutes_are_kept_for_days_and_quarter_hours_for_long(
    database_url: str, clock: SettableClock
) -> None:
    at = clock.now()
    async with await connect(database_url, "test") as conn:
        for age in (timedelta(days=500), timedelta(days=30), timedelta(0)):
            await add(conn, at - age, "one", 1, cpu=10.0)
        await resources.drop_old_resources(conn, at)
        left = await (
            await conn.execute("SELECT grain, count(*) FROM resource_rollups GROUP BY grain ORDER BY grain")
        ).fetchall()
    assert left == [("minute", 1), ("quarter", 2)]


async def test_uptime_counts_minutes_in_which_all_needed_processes_lived(
    database_url: str, clock: SettableClock
) -> None:
    at = clock.now().replace(minute=7, second=30)
    async with await connect(database_url, "test") as conn:
        for minute in range(20):
            for kind in processes.NEEDED_KINDS:
                if kind == "web" or minute not in (3, 4, 11):
                    now = at + timedelta(minutes=minute)
                    await processes.beat(conn, processes.Process(uuid4(), kind, now, now, 0))
        edges = [at - timedelta(minutes=2), at, at + timedelta(minutes=10), at + timedelta(minutes=20)]
        found = await processes.list_uptime(conn, edges)
        rows = await (await conn.execute("SELECT count(*) FROM uptime_quarters")).fetchone()
    assert [(one.minutes_up, one.minutes) for one in found] == [(8, 10), (9, 10)]
    assert rows == (4,)


def test_uptime_recorded_before_the_change_of_tables_is_kept(empty_database_url: str) -> None:
    with migrating._connected(empty_database_url) as connection:
        command.upgrade(migrating._config(connection), "0005_compliance")
    with psycopg.connect(empty_database_url) as conn:
        conn.execute(
            "INSERT INTO uptime_minutes SELECT minute, 'web' FROM generate_series('2026-03-02 11:58Z', '2026-03-02 12:16Z', interval '1 minute') AS minute"
        )
    migrating.migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("SET timezone = 'UTC'")
        rows = conn.execute("SELECT to_char(quarter, 'HH24:MI'), minutes FROM uptime_quarters ORDER BY 1")
        assert rows.fetchall() == [("11:45", 0b110000000000000), ("12:00", 0x7FFF), ("12:15", 0b11)]
