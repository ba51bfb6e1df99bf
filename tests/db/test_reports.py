"""Reports on a real database: when they are made, when they are made again and what they say then, by several workers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest

from event_stream_engine.infra.database import Connection, connect, snapshot, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Invalid, NotFound
from event_stream_engine.reporting import production
from event_stream_engine.reporting.daily import DailyReport, count_daily
from event_stream_engine.reporting.schedule import KEPT_UP_DAYS, READY_AFTER
from event_stream_engine.reporting.versions import find_daily, find_weekly, list_versions, load_daily
from event_stream_engine.reporting.weekly import count_weekly
from event_stream_engine.stream.log import append_events
from tests.engine import project_all
from tests.reports import happen, make_all, opened, send, send_campaign, tell

RIGA = ZoneInfo("Europe/Riga")
MONDAY = date(2026, 3, 2)
SUNDAY = date(2026, 3, 8)
NOON = datetime(2026, 3, 2, 10, tzinfo=UTC)  # in Riga
MIDNIGHT = datetime(2026, 3, 2, 22, tzinfo=UTC)  # the end of Monday there
READY = MIDNIGHT + READY_AFTER
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    async with opened(database_url, RIGA) as conn:
        yield conn


async def list_all(conn: Connection, kind: str = "daily") -> list[tuple[date, int]]:
    found = await list_versions(conn, kind, MONDAY - 100 * DAY, MONDAY + 100 * DAY)
    return [(one.last_day, one.version) for one in reversed(found)]


async def load_latest(conn: Connection, on: date = MONDAY) -> DailyReport:
    report = await find_daily(conn, on)
    assert report is not None
    return report


async def list_entries(conn: Connection) -> list[tuple[Any, ...]]:
    rows = await conn.execute(
        "SELECT action, subject, after FROM audit_log WHERE action LIKE 'report.%' ORDER BY id"
    )
    return await rows.fetchall()


async def test_a_day_is_reported_six_hours_after_it_is_over_and_only_once(
    conn: Connection, database_url: str, clock: SettableClock
) -> None:
    await send(conn, database_url, NOON, ["SM1", "SM2"])
    clock.set(READY - SECOND)
    assert await make_all(conn, RIGA, clock) == 0
    clock.set(READY)
    assert await make_all(conn, RIGA, clock) == 1
    assert await list_all(conn) == [(MONDAY, 1)]
    report = await load_latest(conn)
    assert (report.figures.counts.sent, report.frame.cut_off_at, report.frame.is_so_far) == (2, READY, False)
    assert await make_all(conn, RIGA, clock) == 0
    assert await list_entries(conn) == [
        ("report.made", "report:daily:2026-03-02", {"version": 1, "changed": []})
    ]


async def test_a_version_is_read_as_it_was_stored(
    conn: Connection, database_url: str, clock: SettableClock
) -> None:
    await send_campaign(conn, database_url, NOON, name="Spring", people=60, new=True, failed=9)
    clock.set(READY)
    async with snapshot(conn):
        counted = await production.count_next(conn, clock.now(), RIGA)
    assert counted is not None
    async with transaction(conn):
        assert await production.keep(conn, counted, clock.now())
    assert await load_latest(conn) == counted.report
    assert counted.report.top_campaigns
    assert counted.report.improvements


async def test_a_late_callback_makes_the_next_version_which_says_what_changed(
    conn: Connection, database_url: str, clock: SettableClock
) -> None:
    await send(conn, database_url, NOON, ["SM1"])
    await happen(conn, database_url, [tell(NOON + HOUR, "SM2", "sent")])
    clock.set(READY)
    await make_all(conn, RIGA, clock)
    await happen(conn, database_url, [tell(READY + HOUR, "SM2", "delivered")])
    clock.set(READY + 2 * HOUR)
    assert await make_all(conn, RIGA, clock) == 0, "a day is looked at once a day"
    clock.set(READY + DAY)
    await make_all(conn, RIGA, clock)
    report = await load_latest(conn)
    restated = report.frame.restated
    assert report.frame.version == 2
    assert restated is not None
    assert restated.reason == (
        "Changed since the cut-off of version 1, 3 March 2026 06:00: what comes late counts for the time it belongs to."
    )
    changes = {one.slug: (one.before, one.after) for one in restated.changes}
    assert changes["messages_delivered"] == (1, 2)
    assert changes["messages_in_flight"] == (1, 0)
    assert changes["delivery_rate"] == (50.0, 100.0)
    assert changes["delivered.2026-03-02T13:00:00+02:00"] == (0, 1)
    assert "messages_sent" not in changes
    first = await find_daily(conn, MONDAY, 1)
    assert first is not None
    assert first.figures.counts.delivered == 1, "what was told stays to be read"
    assert [entry[:2] for entry in await list_entries(conn)] == [
        ("report.made", "report:daily:2026-03-02"),
        ("report.restated", "report:daily:2026-03-02"),
        ("report.made", "report:daily:2026-03-03"),
    ]


async def test_the_same_figures_are_not_told_twice(
    conn: Connection, database_url: str, clock: SettableClock
) -> None:
    await send(conn, database_url, NOON, ["SM1"])
    clock.set(READY)
    await make_all(conn, RIGA, clock)
    await happen(conn, database_url, [tell(READY + HOUR, "SM1", "sent")])  # a repetition
    clock.set(READY + DAY)
    await make_all(conn, RIGA, clock)
    (only,) = await list_versions(conn, "daily", MONDAY, MONDAY)
    assert (only.version, only.cut_off_at, only.confirmed_at) == (1, READY, READY + DAY)


async def test_a_week_is_reported_with_its_sunday(
    conn: Connection, database_url: str, clock: SettableClock
) -> None:
    await send(conn, database_url, NOON, ["SM1"])
    clock.set(READY + 5 * DAY)
    await make_all(conn, RIGA, clock)
    assert await list_all(conn, "weekly") == []
    clock.set(READY + 6 * DAY)
    await make_all(conn, RIGA, clock)
    assert await list_all(conn, "weekly") == [(SUNDAY, 1)]
    week = await find_weekly(conn, SUNDAY)
    assert week is not None
    assert (week.frame.first, week.figures.counts.sent, week.calendar_week) == (MONDAY, 1, "2026-W10")
    await happen(conn, database_url, [tell(NOON, "SM2", "sent")])
    clock.set(READY + 7 * DAY)
    await make_all(conn, RIGA, clock)
    assert await list_all(conn, "weekly") == [(SUNDAY, 1), (SUNDAY, 2)]


async def test_after_an_absence_some_weeks_are_caught_up_the_oldest_first(
    conn: Connection, database_url: str, clock: SettableClock
) -> None:
    await send(conn, database_url, NOON, ["SM1"])
    clock.set(READY + 60 * DAY)
    await make_all(conn, RIGA, clock)
    days = [day for day, _ in await list_all(conn)]
    assert days == [MONDAY + (60 - back) * DAY for back in range(KEPT_UP_DAYS - 1, -1, -1)]
    assert len(await list_all(conn, "weekly")) == KEPT_UP_DAYS // 7
    written = await (
        await conn.execute("SELECT subject FROM audit_log WHERE action = 'report.made' ORDER BY id")
    ).fetchall()
    assert [text for (text,) in written if ":daily:" in text] == [f"report:daily:{day}" for day in days]


async def test_two_reporters_make_each_version_once(
    conn: Connection, database_url: str, clock: SettableClock
) -> None:
    await send(conn, database_url, NOON, ["SM1"])
    clock.set(READY)
    async with await connect(database_url, "test") as other:
        counted = []
        for one in (conn, other):
            async with snapshot(one):
                counted.append(await production.count_next(one, clock.now(), RIGA))
        assert counted[0] is not None
        assert counted[1] is not None
        async with transaction(conn):
            assert await production.keep(conn, counted[0], clock.now())
            second = asyncio.create_task(keep_alone(other, counted[1], clock.now()))
            await wait_for_lock(conn, second)
        assert not await second, "it waited for the first, and stored nothing"
    assert await list_all(conn) == [(MONDAY, 1)]
    assert len(await list_entries(conn)) == 1


async def keep_alone(conn: Connection, counted: production.Counted, now: datetime) -> bool:
    async with transaction(conn):
        return await production.keep(conn, counted, now)


async def wait_for_lock(conn: Connection, task: asyncio.Task[bool]) -> None:
    """Wait until the other connection waits for this one's transaction."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
    while not task.done() and not (await (await conn.execute(waiting)).fetchone() or (0,))[0]:
        await asyncio.sleep(0.01)


async def keep_and_die(conn: Connection, counted: production.Counted, now: datetime) -> None:
    async with transaction(conn):
        await production.keep(conn, counted, now)
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_a_report_waits_for_the_projector(
    conn: Connection, database_url: str, clock: SettableClock
) -> None:
    await send(conn, database_url, NOON, ["SM1"])
    clock.set(READY)
    await append_events(conn, [tell(READY - HOUR, "SM1", "read")], source=uuid4(), counted_at=READY)
    assert await make_all(conn, RIGA, clock) == 0
    await project_all(database_url)
    assert await make_all(conn, RIGA, clock) == 1
    assert (await load_latest(conn)).figures.counts.now_read == 1


async def test_a_reporter_that_dies_before_its_commit_leaves_the_report_due(
    conn: Connection, database_url: str, clock: SettableClock
) -> None:
    await send(conn, database_url, NOON, ["SM1"])
    clock.set(READY)
    async with await connect(database_url, "test") as dying:
        async with snapshot(dying):
            counted = await production.count_next(dying, clock.now(), RIGA)
        assert counted is not None
        with pytest.raises(psycopg.OperationalError):
            await keep_and_die(dying, counted, clock.now())
    assert await list_all(conn) == []
    assert await list_entries(conn) == []
    assert await make_all(conn, RIGA, clock) == 1
    assert await list_all(conn) == [(MONDAY, 1)]


async def test_days_of_another_zone_are_a_restatement_that_says_so(
    conn: Connection, database_url: str, clock: SettableClock
) -> None:
    await send(conn, database_url, MIDNIGHT + HOUR, ["SM1"])  # Tuesday in Riga, Monday in London
    await send(conn, database_url, NOON, ["SM2"])
    clock.set(READY)
    await make_all(conn, RIGA, clock)
    clock.set(READY + DAY + 3 * HOUR)
    await make_all(conn, ZoneInfo("Europe/London"), clock)
    report = await load_latest(conn)
    assert report.frame.zone == "Europe/London"
    assert report.frame.restated is not None
    assert (
        report.frame.restated.reason
        == "Days are those of Europe/London now; in version 1 they were those of Europe/Riga."
    )
    assert report.figures.counts.sent == 2


async def test_a_day_without_a_version_is_counted_on_asking(conn: Connection, database_url: str) -> None:
    await send(conn, database_url, NOON, ["SM1"])
    now = READY + 90 * DAY
    report = await load_daily(conn, now, RIGA, MONDAY)
    assert (report.frame.version, report.frame.cut_off_at, report.figures.counts.sent) == (None, now, 1)
    with pytest.raises(NotFound, match="no version 2 of the daily report of 2026-03-02"):
        await load_daily(conn, now, RIGA, MONDAY, 2)


@pytest.mark.parametrize(
    ("on", "message"),
    [
        (MONDAY + DAY, "2026-03-03 is in the future: it is 2026-03-02 in Europe/Riga"),
        (MONDAY - DAY, "Of 2026-03-01 nothing is known: records begin on 2026-03-02"),
    ],
)
async def test_the_future_and_what_was_before_all_records_are_refused(
    conn: Connection, database_url: str, on: date, message: str
) -> None:
    await send(conn, database_url, NOON, ["SM1"])
    with pytest.raises(Invalid, match=message) as refused:
        await count_daily(conn, MIDNIGHT - SECOND, RIGA, on)
    assert refused.value.field == "date"


async def test_a_day_that_the_calendar_skipped_is_refused(database_url: str) -> None:
    apia = ZoneInfo("Pacific/Apia")
    async with opened(database_url, apia) as conn:
        await send(conn, database_url, datetime(2011, 12, 29, 12, tzinfo=UTC), ["SM1"])
        with pytest.raises(Invalid, match="There was no 2011-12-30 in Pacific/Apia"):
            await count_daily(conn, NOON, apia, date(2011, 12, 30))


LENGTHS = [
    ("America/New_York", date(2026, 3, 8), 23),
    ("America/New_York", date(2026, 11, 1), 25),
    ("Australia/Lord_Howe", date(2026, 4, 5), 25),  # the last of half an hour
    ("Asia/Kathmandu", date(2028, 2, 29), 24),
    ("America/Sao_Paulo", date(2018, 11, 4), 23),  # begins at one o'clock
]


async def test_days_have_the_hours_that_the_clocks_gave_them(conn: Connection, database_url: str) -> None:
    for name, day, hours in LENGTHS:
        zone = ZoneInfo(name)
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone).astimezone(UTC)
        edges = (noon - 12 * HOUR, noon, noon + 11.5 * HOUR)
        inside = [at for at in edges if at.astimezone(zone).date() == day]
        for at in edges:
            await send(conn, database_url, at, [f"SM{int(at.timestamp())}"])
        report = await count_daily(conn, noon + 3 * DAY, zone, day)
        assert len(report.hours) == hours, name
        assert sum(one.sent for one in report.hours) == report.figures.counts.sent == len(inside), name


async def test_best_campaigns_and_improvements_name_the_rows_behind_them(
    conn: Connection, database_url: str
) -> None:
    good = await send_campaign(conn, database_url, NOON, name="Spring", people=60, new=True)
    bad = await send_campaign(
        conn, database_url, NOON + HOUR, name="Autumn", people=60, new=False, failed=20, seconds=900
    )
    report = await count_daily(conn, MIDNIGHT, RIGA, MONDAY)
    assert [(one.id, one.delivery.percent) for one in report.top_campaigns] == [(good, 100.0), (bad, 66.67)]
    assert report.figures.campaigns_executed == 2
    found = {one.kind: one for one in report.improvements}
    assert [one.messages for one in report.improvements] == sorted(
        (one.messages for one in report.improvements), reverse=True
    )
    slow = found["delivery_time"]
    assert slow.text.startswith(
        f"Reduce delivery time for Campaign ID {bad} (“Autumn”): half of its messages took up to "
    )
    assert slow.path == f"/campaigns/{bad}"
    assert (slow.messages, slow.rows[0][:2], slow.rows[1][:2]) == (36, ("Autumn", 40), ("all others", 60))
    code = found["error_code"]
    assert code.text.startswith(
        "Address error code 30003 occurrences: 20 messages, 100.0 % of those that failed."
    )
    assert (code.messages, code.columns, code.rows) == (
        20,
        ("campaign", "failed", "share_percent"),
        (("Autumn", 20, 100.0),),
    )
    lost = found["campaign_delivery"]
    assert (lost.messages, lost.rows) == (20, (("Autumn", 40, 60, 66.67), ("all others", 60, 60, 100.0)))


async def test_a_report_reads_roll_ups_and_never_the_messages(conn: Connection, database_url: str) -> None:
    await send_campaign(conn, database_url, NOON, name="Spring", people=40, new=True, failed=9)
    scanned = "SELECT relname FROM pg_stat_xact_user_tables WHERE seq_scan + coalesce(idx_scan, 0) > 0"
    for kind in ("daily", "weekly"):
        # Counted since the connection's begin, so each has one of its own.
        async with await connect(database_url, "test") as fresh, snapshot(fresh):
            if kind == "daily":
                await count_daily(fresh, READY, RIGA, MONDAY)
            else:
                await count_weekly(fresh, READY + 6 * DAY, RIGA, SUNDAY)
            read = {name for (name,) in await (await fresh.execute(scanned)).fetchall()}
        assert "message_rollups" in read
        assert not read & {"messages", "inbound_events", "users", "consent_ledger"}
        assert not [name for name in read if name.startswith("events")]
