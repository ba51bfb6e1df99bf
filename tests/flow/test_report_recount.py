"""The reports of random histories equal a recount in plain Python, which groups raw rows by their local date.

What the raw rows are is worked out by the oracle (`tests/flow/oracle.py`) from the log; days, hours, weeks, rates, growth and
trends are worked out here. Neither shares code with the engine.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.messaging import deliveries
from event_stream_engine.worker.projector import open_projector, run_once
from tests.engine import LIVE, Engine, make_settings, project_all, running_engine
from tests.flow.histories import SPAN_US, History, histories
from tests.flow.oracle import Oracle, export_rows
from tests.flow.test_oracle import (
    CAMPAIGNS,
    Workbench,
    add_campaigns,
    empty,
    make_steps,
    order_statements,
    settle_days,
    take,
)

# With the begin of a history that has most of its traffic three days and five hours later.
CALENDARS = {
    "23 hours": ("America/New_York", datetime(2026, 3, 5, 2, tzinfo=UTC)),  # 8 March, 07:00 UTC
    "25 hours, end of a month": ("America/New_York", datetime(2026, 10, 29, 1, tzinfo=UTC)),  # 1 November, 06:00 UTC
    "24 and a half hours": ("Australia/Lord_Howe", datetime(2026, 4, 1, 10, tzinfo=UTC)),  # 4 April, 15:00 UTC
    "leap day, off by a quarter": ("Asia/Kathmandu", datetime(2028, 2, 26, 13, tzinfo=UTC)),  # 29 February, 18:15 UTC
    "week 53, turn of the year": ("UTC", datetime(2026, 12, 31, 18, 45, tzinfo=UTC)),  # Sunday, 3 January 2027, 24:00
}  # fmt: skip
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTES = SPAN_US // 60_000_000


@pytest.fixture(params=CALENDARS.values(), ids=CALENDARS.keys())
def laid(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path, clock: SettableClock
) -> Iterator[tuple[Workbench, datetime]]:
    """One engine for all examples, and where their histories begin."""
    zone, begin = request.param
    stack = AsyncExitStack()

    async def open_all() -> tuple[Engine, SettableClock, Connection, Connection]:
        chosen = make_settings(tmp_path, TIMEZONE=zone)
        engine = await stack.enter_async_context(running_engine(database_url, chosen, clock))
        conn = await stack.enter_async_context(await connect(database_url, "test"))
        await deliveries.prepare_queueing(conn)
        await add_campaigns(conn, clock.now())
        return engine, clock, conn, await stack.enter_async_context(await open_projector(database_url))

    with asyncio.Runner() as runner:
        yield Workbench(runner, *runner.run(open_all())), begin
        runner.run(stack.aclose())


@dataclass(frozen=True, slots=True)
class Message:
    at: datetime
    status: str
    is_sent: bool
    is_replied: bool
    is_stopped: bool
    code: int
    seconds: float | None

    @property
    def is_delivered(self) -> bool:
        return self.status in ("DELIVERED", "READ")

    @property
    def is_failed(self) -> bool:
        return self.status in ("FAILED", "UNDELIVERED")


@dataclass(frozen=True, slots=True)
class Recount:
    """What happened, as rows; `up`: minutes in which both kinds of process were alive, of those since `minutes_since`."""

    zone: ZoneInfo
    messages: Sequence[Message]
    users: Sequence[datetime]
    opt_outs: Sequence[datetime]
    inbound: Sequence[datetime]
    transitions: Sequence[datetime]
    campaigns: Sequence[datetime]
    up: Sequence[datetime]
    minutes_since: datetime

    def day_of(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    @property
    def begins_on(self) -> date:
        seen = [
            *(one.at for one in self.messages),
            *self.users,
            *self.inbound,
            *self.transitions,
            self.minutes_since,
        ]
        return self.day_of(min(seen))

    def within(self, instants: Sequence[datetime], first: date, last: date) -> int:
        return sum(first <= self.day_of(at) <= last for at in instants)

    def chosen(self, first: date, last: date) -> list[Message]:
        return [one for one in self.messages if first <= self.day_of(one.at) <= last]


def read_recount(oracle: Oracle, up: Sequence[datetime], minutes_since: datetime) -> Recount:
    def instants(query: str) -> list[datetime]:
        return [to_instant(us) for (us,) in oracle.rows(query)]

    rows = oracle.rows(
        "SELECT cohort_at, status, is_sent, is_delivered AND replied_at IS NOT NULL, stopped_at IS NOT NULL, code, delivery"
        " FROM messages LEFT JOIN answered USING (sid) WHERE cohort_at IS NOT NULL"
    )
    changed = "SELECT seen_at FROM consent WHERE before <> after"
    return Recount(
        oracle.zone,
        [Message(to_instant(at), *flags, None if us is None else us / 1e6) for at, *flags, us in rows],
        instants("SELECT created_at FROM users"),
        instants(f"{changed} AND after IN ('OPT_OUT', 'STOP')"),
        instants("SELECT seen_at FROM inbound"),
        instants(changed),
        instants("SELECT started_at FROM campaigns WHERE started_at IS NOT NULL"),
        up,
        minutes_since,
    )


def to_instant(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


@settings(
    max_examples=2, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)  # fmt: skip
@given(
    history=histories(len(CAMPAIGNS)),
    silent=st.lists(st.tuples(st.sampled_from(["web", "worker"]), st.integers(0, MINUTES), st.integers(1, 600)), max_size=4),
    data=st.data(),
)  # fmt: skip
def test_reports_of_random_histories_equal_the_recount(
    laid: tuple[Workbench, datetime],
    history: History,
    silent: list[tuple[str, int, int]],
    data: st.DataObject,
) -> None:
    workbench, begin = laid
    steps = order_statements(data.draw(st.permutations(make_steps(history, begin))))
    settled = data.draw(st.integers(0, len(steps)))
    as_of = begin + timedelta(microseconds=SPAN_US) + 3 * DAY

    async def compare() -> None:
        engine, projector = workbench.engine, workbench.projector
        await empty(workbench.conn, history, begin)
        for number, part in enumerate((steps[:settled], steps[settled:])):
            await take(workbench, part, begin)
            while await run_once(projector, LIVE, 5000):
                pass
            await project_all(engine.url)
            await settle_days(projector, begin + (4 if number == 0 else 8) * DAY)
        workbench.clock.set(as_of)
        up, minutes_since = await beat(
            workbench.conn, begin, silent
        )  # the engine itself is alive by this clock, too
        with tempfile.TemporaryDirectory() as folder:
            await export_rows(workbench.conn, Path(folder))
            oracle = Oracle(Path(folder), engine.settings.timezone, as_of)
        try:
            recount = read_recount(oracle, up, minutes_since)
        finally:
            oracle.close()
        day, last = recount.begins_on, recount.day_of(as_of)
        while day < last:
            assert_daily(await engine.get("/api/v1/reports/daily", date=day.isoformat()), recount, day)
            day += DAY
        for ending in (last - DAY, last - 4 * DAY, sunday_before(last)):
            assert_weekly(await engine.get("/api/v1/reports/weekly", ending=str(ending)), recount, ending)

    workbench.runner.run(compare())


async def beat(
    conn: Connection, begin: datetime, silent: Sequence[tuple[str, int, int]]
) -> tuple[list[datetime], datetime]:
    """Let both kinds of process be alive all the time but for the silent minutes; return when both were, and since when."""
    since = begin.replace(second=0, microsecond=0)
    alive = {kind: {since + timedelta(minutes=n) for n in range(MINUTES)} for kind in ("web", "worker")}
    for kind, first, length in silent:
        alive[kind] -= {since + timedelta(minutes=n) for n in range(first, first + length)}
    await conn.execute("TRUNCATE uptime_quarters")
    for kind, minutes in alive.items():
        await conn.execute(
            "INSERT INTO uptime_quarters (quarter, kind, minutes) SELECT date_bin('15 minutes', at, 'epoch'), %s,"
            " bit_or(1 << (extract(minute FROM at AT TIME ZONE 'UTC')::integer %% 15)) FROM unnest(%s::timestamptz[]) AS at GROUP BY 1",
            (kind, sorted(minutes)),
        )
    return sorted(alive["web"] & alive["worker"]), min(alive["web"] | alive["worker"])


def sunday_before(day: date) -> date:
    return day - DAY * day.isoweekday()


def assert_daily(answer: dict[str, Any], recount: Recount, day: date) -> None:
    messages = recount.chosen(day, day)
    assert (answer["report_type"], answer["date"]) == ("daily_performance", day.isoformat())
    assert answer["summary"] == {
        "campaigns_executed": recount.within(recount.campaigns, day, day),
        "total_messages_sent": sum(one.is_sent for one in messages),
        "delivery_rate": rate(messages, "is_delivered", "is_sent"),
        "error_rate": rate(messages, "is_failed"),
        "new_users_added": recount.within(recount.users, day, day),
        "opt_out_requests": recount.within(recount.opt_outs, day, day),
    }
    assert_alike(answer, recount, day, day)
    # Hours follow each other from midnight on, and add up to the day.
    since, until = (datetime.fromisoformat(answer["window"][end]) for end in ("since", "until"))
    assert recount.day_of(since) == day == recount.day_of(until - timedelta(microseconds=1))
    assert recount.day_of(since - timedelta(microseconds=1)) == day - DAY
    assert recount.day_of(until) == day + DAY
    hours = [datetime.fromisoformat(one["at"]) for one in answer["hours"]]
    assert hours == [since + timedelta(hours=n) for n in range(-(-(until - since) // timedelta(hours=1)))]
    for one, at in zip(answer["hours"], hours, strict=True):
        assert datetime.fromisoformat(one["local"]) == at
        inside = [message for message in messages if at <= message.at < at + timedelta(hours=1)]
        assert_step(one, inside)
    assert sum(one["sent"] for one in answer["hours"]) == answer["summary"]["total_messages_sent"]
    before = answer["compared_with"]
    assert (before is None) == (day - DAY < recount.begins_on)
    if before is not None:
        assert_comparison(before, messages, recount.chosen(day - DAY, day - DAY))


def assert_weekly(answer: dict[str, Any], recount: Recount, ending: date) -> None:
    first = ending - 6 * DAY
    messages, earlier = recount.chosen(first, ending), recount.chosen(first - 7 * DAY, first - DAY)
    sent, delivered = (sum(getattr(one, name) for one in messages) for name in ("is_sent", "is_delivered"))
    assert answer["report_period"] == f"{first} to {ending}"
    year, week, weekday = ending.isocalendar()
    assert answer["calendar_week"] == (f"{year}-W{week:02d}" if weekday == 7 else None)
    users, users_before = (
        sum(recount.day_of(at) <= day for at in recount.users) for day in (ending, first - DAY)
    )
    metrics = answer["weekly_metrics"]
    assert metrics["total_messages"] == sent
    assert metrics["delivery_rate_avg"] == rate(messages, "is_delivered", "is_sent")
    assert answer["users"] == {"at_begin": users_before, "at_end": users}
    assert_signed(metrics["user_growth"], users, users_before)
    grades = ((0.95, "excellent"), (0.9, "good"), (0.8, "fair"), (0, "poor"))
    grade = next(name for least, name in grades if delivered >= least * sent)
    assert metrics["campaign_performance"] == (grade if sent else None)
    minutes = [recount.minutes_since + timedelta(minutes=n) for n in range(20 * 1440)]
    measured = sum(first <= recount.day_of(at) <= ending for at in minutes)
    up = recount.within(recount.up, first, ending)
    assert answer["uptime"] == {"minutes_up": up, "minutes": measured}
    assert metrics["system_uptime"] == (f"{100 * up / measured:.2f}%" if measured else None)
    assert_alike(answer, recount, first, ending)
    assert len(answer["days"]) == 7
    for number, one in enumerate(answer["days"]):
        day = first + number * DAY
        assert datetime.fromisoformat(one["local"]).date() == day
        assert_step(one, recount.chosen(day, day))
    is_compared = first - 7 * DAY >= recount.begins_on
    assert (answer["compared_with"] is not None) == is_compared
    for name, part, whole in (
        ("delivery_rate_trend", "is_delivered", "is_sent"),
        ("error_rate_trend", "is_failed", ""),
        ("user_engagement_trend", "is_replied", "is_delivered"),
    ):
        now, before = (exact_rate(of, part, whole) for of in (messages, earlier))
        assert_signed(answer["trends"][name], now, before if is_compared else None)
    if is_compared:
        assert_comparison(answer["compared_with"], messages, earlier)


def assert_alike(answer: dict[str, Any], recount: Recount, first: date, last: date) -> None:
    """Assert what both kinds of report have."""
    messages = recount.chosen(first, last)
    assert answer["performance_breakdown"] == Counter(one.status for one in messages)
    failed = Counter(str(one.code or "no_code") for one in messages if one.is_failed)
    assert {code: row["count"] for code, row in answer["failures"].items()} == failed
    assert answer["inbound_messages"] == recount.within(recount.inbound, first, last)
    for name, part, whole in (
        ("delivery_rate_percent", "is_delivered", "is_sent"),
        ("error_rate_percent", "is_failed", ""),
        ("reply_rate_percent", "is_replied", "is_delivered"),
        ("opt_out_rate_percent", "is_stopped", "is_sent"),
    ):
        found = answer["rates"][name]
        whole_count = len(messages) if not whole else sum(getattr(one, whole) for one in messages)
        assert (found["numerator"], found["denominator"]) == (
            sum(getattr(one, part) for one in messages),
            whole_count,
        )
    seconds = sorted(one.seconds for one in messages if one.seconds is not None)
    times = answer["timing_analysis"]
    assert times["measured_messages"] == len(seconds)
    if seconds:
        assert times["fastest_delivery_seconds"] == pytest.approx(seconds[0], abs=0.000501)
        assert times["slowest_delivery_seconds"] == pytest.approx(seconds[-1], abs=0.000501)
        median = max(seconds[-(-len(seconds) // 2) - 1], 0.001)
        assert times["delivery_time_percentiles"]["p50"] == pytest.approx(
            median, abs=0.01 * median + 0.000501
        )


def assert_step(step: Mapping[str, Any], messages: Sequence[Message]) -> None:
    assert (step["sent"], step["delivered"], step["failed"]) == (
        sum(one.is_sent for one in messages),
        sum(one.is_delivered for one in messages),
        sum(one.is_failed for one in messages),
    )


def assert_comparison(compared: Mapping[str, Any], now: Sequence[Message], before: Sequence[Message]) -> None:
    figures = {one["slug"]: one for one in compared["figures"]}
    for when, messages in (("now", now), ("before", before)):
        assert figures["total_messages_sent"][when] == sum(one.is_sent for one in messages)
        assert figures["delivery_rate"][when] == rate(messages, "is_delivered", "is_sent")
        assert figures["error_rate"][when] == rate(messages, "is_failed")


def exact_rate(messages: Sequence[Message], part: str, whole: str = "") -> float | None:
    denominator = len(messages) if not whole else sum(getattr(one, whole) for one in messages)
    return sum(getattr(one, part) for one in messages) / denominator if denominator else None


def rate(messages: Sequence[Message], part: str, whole: str = "") -> Any:
    """The rate in percent to two decimals; half a step is no difference."""
    exact = exact_rate(messages, part, whole)
    return None if exact is None else pytest.approx(100 * exact, abs=0.005001)


def assert_signed(text: str | None, now: float | None, before: float | None) -> None:
    """Assert a relative change written with its sign and one decimal at most."""
    assert (text is None) == (now is None or not before)
    if text is not None and now is not None and before:
        change = 100 * (now - before) / before
        assert float(text.rstrip("%")) == pytest.approx(change, abs=0.05001)
        assert text == "0%" or text[0] in "+-"
