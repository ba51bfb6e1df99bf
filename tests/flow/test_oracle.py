"""Every figure of the API equals the oracle's, which counts raw rows with code of its own: `tests/flow/oracle.py`."""

import asyncio
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_stream_engine.analytics import rollups
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SettableClock, format_instant
from event_stream_engine.kernel.formats import format_figure, format_number
from event_stream_engine.messaging import deliveries
from event_stream_engine.stream.log import Event, append_events, append_own_events
from event_stream_engine.worker.projector import open_projector, run_once
from event_stream_engine.worker.recount import recount
from tests.engine import LIVE, Engine, make_settings, project_all, running_engine
from tests.flow.histories import (
    SENDERS,
    SPAN_US,
    History,
    Statement,
    histories,
    instants,
    make_outcome,
    make_webhook,
    name_inbound,
)
from tests.flow.oracle import INTENTS, Counts, Oracle, Times, export_rows, wilson

ZONES = ["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]
# Three days before a change of clocks or a month's end, with most of the traffic around it.
BEGINS = [
    datetime(2026, 3, 5, 2, tzinfo=UTC),  # New York: 8 March, 07:00 UTC
    datetime(2026, 10, 29, 1, tzinfo=UTC),  # New York: 1 November, 06:00 UTC, and a month's end
    datetime(2026, 4, 1, 10, tzinfo=UTC),  # Lord Howe: 4 April, 15:00 UTC
    datetime(2026, 9, 30, 10, 30, tzinfo=UTC),  # Lord Howe: 3 October, 15:30 UTC
    datetime(2026, 3, 28, 19, tzinfo=UTC),  # midnight of the 1st of April, UTC
    datetime(2026, 3, 28, 13, 15, tzinfo=UTC),  # the same in Kathmandu
]
TABLES = (
    "events, messages, inbound_events, users, consent_ledger, message_rollups, failure_rollups, duration_rollups, inbound_rollups,"
    " inbound_hour_rollups, consent_rollups, signup_rollups, user_rollups, attribute_rollups, sender_sketches, campaign_rollups,"
    " dead_letters, intake_counts, pipeline_rollups"
)
TEMPLATES, CAMPAIGNS = [UUID(int=n) for n in (11, 12, 13)], [UUID(int=n) for n in (21, 22, 23)]
PARTS = {"channel": ["sms", "whatsapp"], "country": ["US", "CA", "GB", "LK"], "sender": SENDERS}
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
DOCUMENTED = ("DELIVERED", "SENT", "FAILED", "UNDELIVERED")


@dataclass(frozen=True, slots=True, repr=False)
class Workbench:
    """One engine for all examples, which empty its tables."""

    runner: asyncio.Runner
    engine: Engine
    clock: SettableClock
    conn: Connection
    projector: Connection


@pytest.fixture(params=ZONES)
def workbench(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path, clock: SettableClock
) -> Iterator[Workbench]:
    stack = AsyncExitStack()

    async def open_all() -> tuple[Engine, SettableClock, Connection, Connection]:
        chosen = make_settings(tmp_path, TIMEZONE=request.param)
        engine = await stack.enter_async_context(running_engine(database_url, chosen, clock))
        conn = await stack.enter_async_context(await connect(database_url, "test"))
        await deliveries.prepare_queueing(conn)
        await add_campaigns(conn, clock.now())
        return engine, clock, conn, await stack.enter_async_context(await open_projector(database_url))

    with asyncio.Runner() as runner:
        yield Workbench(runner, *runner.run(open_all()))
        runner.run(stack.aclose())


async def add_campaigns(conn: Connection, now: datetime) -> None:
    """Add three campaigns, two of them with one template, and a template that nobody uses."""
    await conn.execute("INSERT INTO segments VALUES (%s, 'Everybody', '{}', %s, %s)", (UUID(int=1), now, now))
    for number, template in enumerate(TEMPLATES):
        await conn.execute(
            "INSERT INTO templates (id, name, channel, locale, body, created_at, updated_at) VALUES (%s, %s, 'sms', 'en', 'Hi', %s, %s)",
            (template, f"Template {number}", now, now),
        )
    for number, campaign in enumerate(CAMPAIGNS):
        await conn.execute(
            "INSERT INTO campaigns (id, name, segment_id, template_id, sender, rate_per_second, state, created_by, created_at,"
            " updated_at, started_at) VALUES (%s, %s, %s, %s, '+14155238886', 1, %s, 'operator:ana', %s, %s, %s)",
            (campaign, f"Campaign {number}", UUID(int=1), TEMPLATES[number // 2], ("running", "paused", "completed")[number], now, now, now),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """A window in microseconds of the history, and filters."""

    since: int
    until: int
    filters: Mapping[str, str]


# Also windows of weeks and months, whose series have steps of days, weeks and months.
_reaches = st.sampled_from([0, 0, 0, 30 * SPAN_US])
_filters = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in PARTS.items()}
    | {"campaign_id": st.sampled_from([str(one) for one in CAMPAIGNS]), "template_id": st.sampled_from([str(one) for one in TEMPLATES])},
)  # fmt: skip
questions = (
    st.tuples(instants, instants, _reaches, _filters)
    .filter(lambda drawn: drawn[0] != drawn[1])
    .map(lambda drawn: Question(min(drawn[:2]) - drawn[2], max(drawn[:2]), drawn[3]))
)


@settings(
    max_examples=7, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)  # fmt: skip
@given(
    history=histories(len(CAMPAIGNS)),
    begin=st.sampled_from(BEGINS),
    asked=st.lists(questions, min_size=1, max_size=3),
    late_hours=st.integers(0, 120),
    data=st.data(),
)
def test_every_figure_equals_the_oracles(
    workbench: Workbench,
    *,
    history: History,
    begin: datetime,
    asked: list[Question],
    late_hours: int,
    data: st.DataObject,
) -> None:
    steps = make_steps(history, begin)
    repeats = data.draw(st.lists(st.sampled_from(steps), max_size=5)) if steps else []
    shuffled = order_statements(data.draw(st.permutations(steps + repeats)))
    size = data.draw(st.integers(4, 20))
    # After so many steps days are over, once for a part of them: what comes then comes late. Then minutes are dropped.
    settled = data.draw(st.tuples(st.integers(0, len(shuffled)), st.integers(0, len(shuffled))))
    dropped = data.draw(st.none() | st.integers(0, len(shuffled)))
    is_recounted = data.draw(st.integers(0, 2)) == 0
    as_of = begin + timedelta(microseconds=4 * SPAN_US // 3, hours=late_hours)

    async def compare() -> None:
        engine, zone = workbench.engine, workbench.engine.settings.timezone
        await empty(workbench.conn, history, begin)
        for number in range(0, len(shuffled) + 1, size):
            span = range(number, number + size)
            for half, place in enumerate(settled):
                if place in span:
                    await settle_days(workbench.projector, begin + timedelta(days=(3, 40)[half]))
            if dropped in span:
                async with transaction(workbench.projector):
                    await rollups.drop_old_minutes(
                        workbench.projector, begin + timedelta(days=3) + rollups.MINUTES_KEPT
                    )
            await take(workbench, shuffled[number : number + size], begin)
            await run_once(workbench.projector, LIVE, size)
        await project_all(engine.url, 20)
        if is_recounted:
            assert (
                await recount(
                    engine.url, repair=False, on_progress=lambda _: None, secret_key=LIVE.secret_key
                )
                == []
            )
        workbench.clock.set(as_of)
        with tempfile.TemporaryDirectory() as folder:
            await export_rows(workbench.conn, Path(folder))
            oracle = Oracle(Path(folder), zone, as_of)
        try:
            for number, campaign in enumerate(CAMPAIGNS):
                path = f"/api/v1/analytics/campaigns/{campaign}/performance"
                assert_performance(await engine.get(path), oracle, str(campaign), f"Campaign {number}")
            for question in asked:
                since, until = (begin + timedelta(microseconds=us) for us in (question.since, question.until))
                await ask(engine, oracle, since, until, question.filters)
        finally:
            oracle.close()

    workbench.runner.run(compare())


Step = tuple[str, Any]


def make_steps(history: History, begin: datetime) -> list[Step]:
    """Return the history as single steps: webhooks, events of our sender, calls of the API."""
    steps: list[Step] = []
    for message in history.messages:
        for told in message.told:
            own = make_outcome(message, told, begin) if message.id else None
            steps.append(("own", own) if own else ("webhook", make_webhook((message, told), 0, begin)))
    steps += [("webhook", make_webhook(one, number, begin)) for number, one in enumerate(history.inbound)]
    return steps + [("statement", one) for one in history.statements]


def order_statements(steps: Sequence[Step]) -> list[Step]:
    """Webhooks come in any order, but our own clock goes on: leave the places of statements, and put these in order."""
    statements = iter(sorted((what for kind, what in steps if kind == "statement"), key=lambda one: one.at))
    return [(kind, next(statements) if kind == "statement" else what) for kind, what in steps]


async def empty(conn: Connection, history: History, begin: datetime) -> None:
    """Begin anew, with the messages of our own queued."""
    await conn.execute(f"TRUNCATE {TABLES}")
    await conn.execute("UPDATE rollup_settings SET days_until = '-infinity', minutes_since = '-infinity'")
    await conn.execute("UPDATE log_cursors SET xid = '0', id = 0, events = 0")
    async with transaction(conn):
        for message in history.messages:
            if message.id:
                answers = None if message.answers is None else name_inbound(message.answers)
                await conn.execute(
                    "INSERT INTO new_messages SELECT %(id)s, %(campaign)s, %(phone)s, %(channel)s, %(sender)s,"
                    " (SELECT country FROM phone_country(%(phone)s)), %(at)s, %(answers)s",
                    {
                        "id": message.id,
                        "campaign": None if message.campaign is None else CAMPAIGNS[message.campaign],
                        "phone": message.phone,
                        "channel": message.channel,
                        "sender": message.sender,
                        "at": begin,
                        "answers": answers,
                    },
                )
        await deliveries.queue_messages(conn)
        await conn.execute(
            "UPDATE campaigns c SET created_at = %(begin)s, started_at = %(begin)s, finished_at = CASE state WHEN 'completed' THEN %(end)s END,"
            " recipients = (SELECT count(*) FROM messages m WHERE m.campaign_id = c.id)",
            {"begin": begin, "end": begin + timedelta(microseconds=SPAN_US)},
        )


async def take(workbench: Workbench, steps: Sequence[Step], begin: datetime) -> None:
    events: dict[str, list[Event]] = {"webhook": [], "own": []}
    for kind, what in steps:
        if kind == "statement":
            workbench.clock.set(begin + timedelta(microseconds=what.at))
            await state(workbench.engine, what)
        else:
            events[kind].append(what)
    if events["webhook"]:
        await append_events(
            workbench.conn, events["webhook"], source=uuid4(), counted_at=begin, is_live=False
        )
    async with transaction(workbench.conn):
        await append_own_events(workbench.conn, events["own"])


async def state(engine: Engine, statement: Statement) -> None:
    """Make a person, or state what is known of their consent; what is closed stays closed (409)."""
    consent = {"state": statement.state, "evidence": "form", "proved": statement.is_proved}
    given: dict[str, Any] = {"attributes": dict(statement.attributes)}
    given |= {"consent": consent} if statement.state else {}
    made = await engine.client.post("/api/v1/users", json={"phone_e164": statement.phone, **given})
    if made.status_code == 409 and statement.state:
        made = await engine.client.post(f"/api/v1/users/{statement.phone}/consent", json=consent)
    assert made.status_code in (201, 409), made.text


async def settle_days(projector: Connection, now: datetime) -> None:
    is_settled = True
    while is_settled:
        async with transaction(projector):
            is_settled = await rollups.settle_day(projector, now)


async def ask(
    engine: Engine, oracle: Oracle, since: datetime, until: datetime, filters: Mapping[str, str]
) -> None:
    """Compare every answer for a window, with and without filters."""
    window = {"since": format_instant(since), "until": format_instant(until)}
    for chosen in {tuple(filters.items()), ()}:
        asked = window | dict(chosen)
        delivery = await engine.get("/api/v1/analytics/delivery", **asked)
        assert_delivery(delivery, oracle, since, until, dict(chosen))
        errors = await engine.get("/api/v1/analytics/errors", **asked)
        assert_errors(errors, oracle, since, until, dict(chosen))
    for channel in (None, "sms", "whatsapp"):
        of_channel = {"channel": channel} if channel else {}
        inbound = await engine.get("/api/v1/analytics/inbound", **window, **of_channel)
        assert_inbound(inbound, oracle, since, until, channel)
    consent = await engine.get("/api/v1/analytics/consent", **window)
    assert_consent(consent, oracle, since, until)
    for name, assert_equal in (
        ("demographics", assert_demographics),
        ("effectiveness", assert_effectiveness),
        ("funnel", assert_funnel),
        ("opt-outs", assert_opt_outs),
    ):
        assert_equal(await engine.get(f"/api/v1/analytics/{name}", **window), oracle, since, until)
    dashboard = await engine.get("/api/v1/monitoring/dashboard", **window)
    assert_dashboard(dashboard, oracle, since, until)
    page = await engine.client.get("/monitoring", params=window)
    unfiltered = await engine.get("/api/v1/analytics/delivery", **window)
    assert_page(page.text, dashboard, unfiltered)


def percent(numerator: int, denominator: int) -> Any:
    """The rate to two decimals; half a step is no difference."""
    return pytest.approx(numerator * 100 / denominator, abs=0.005001) if denominator else None


def assert_delivery(
    answer: dict[str, Any], oracle: Oracle, since: datetime, until: datetime, filters: Mapping[str, str]
) -> None:
    counts = oracle.count(since, until, filters)
    assert answer["performance_breakdown"] == dict.fromkeys(DOCUMENTED, 0) | counts.by_status
    assert answer["execution_summary"] == {
        "total_recipients": counts.attempted,
        "messages_attempted": counts.attempted,
        "messages_sent": counts.sent,
        "messages_delivered": counts.delivered,
        "messages_failed": counts.failed,
        "delivery_unknown": counts.unknown,
        "delivery_rate_percent": percent(counts.delivered, counts.sent),
        "error_rate_percent": percent(counts.failed, counts.attempted),
        "execution_duration_minutes": None,
    }
    assert answer["conflicts"] == counts.conflicts
    assert_rates(answer["rates"], counts)
    assert answer["by_channel"] == oracle.count_by("channel", since, until, filters)
    assert_times(answer["timing_analysis"], oracle.times("delivery", since, until, filters))
    for stage in ("queue", "carrier"):
        assert_times(answer["stages"][stage], oracle.times(stage, since, until, filters))
    assert sum(answer["performance_breakdown"].values()) == answer["execution_summary"]["total_recipients"]


def assert_rates(rates: Mapping[str, Mapping[str, Any]], counts: Counts) -> None:
    expected = {
        "delivery_rate_percent": (counts.delivered, counts.sent),
        "error_rate_percent": (counts.failed, counts.attempted),
        "read_rate_percent": (counts.by_status.get("READ", 0), counts.delivered),
        "reply_rate_percent": (counts.replied, counts.delivered),
        "opt_out_rate_percent": (counts.stopped, counts.sent),
    }
    for name, (numerator, denominator) in expected.items():
        assert_rate(rates[name], numerator, denominator)
        assert_interval(rates[name], numerator, denominator)


def assert_interval(rate: Mapping[str, Any], numerator: int, denominator: int) -> None:
    low, high = wilson(numerator, denominator) or (None, None)
    assert (rate["low_percent"], rate["high_percent"]) == (
        pytest.approx(low, abs=0.005001),
        pytest.approx(high, abs=0.005001),
    )


def assert_rate(rate: Mapping[str, Any], numerator: int, denominator: int) -> None:
    assert (rate["numerator"], rate["denominator"]) == (numerator, denominator)


def assert_times(answer: Mapping[str, Any], times: Times) -> None:
    assert answer["measured_messages"] == len(times.seconds)
    percentiles = answer["delivery_time_percentiles"]
    if not times.seconds:
        assert set(percentiles.values()) == {None}
        return
    assert answer["average_delivery_time_seconds"] == pytest.approx(times.average, abs=0.000501)
    assert answer["fastest_delivery_seconds"] == pytest.approx(times.seconds[0], abs=1e-9)
    assert answer["slowest_delivery_seconds"] == pytest.approx(times.seconds[-1], abs=1e-9)
    for name, value in percentiles.items():
        # What is shorter than a millisecond counts as one; the answer has three decimals.
        exact = max(times.percentile(int(name[1:])), 0.001)
        assert value == pytest.approx(exact, abs=0.01 * exact + 0.000501), name


def assert_errors(
    answer: dict[str, Any],
    oracle: Oracle,
    since: datetime,
    until: datetime,
    filters: Mapping[str, str],
) -> None:
    counts = oracle.count(since, until, filters)
    analysis = answer["error_analysis"]
    by_code = oracle.count_by("code", since, until, filters, "is_failed")
    breakdown = {str(code) if code else "no_code": count for code, count in by_code.items()}
    assert {code: row["count"] for code, row in analysis["error_breakdown"].items()} == breakdown
    for row in analysis["error_breakdown"].values():
        assert row["percentage"] == percent(row["count"], counts.failed)
        assert row["description"]
        assert row["resolution"]
    if breakdown:
        shares = sum(row["percentage"] for row in analysis["error_breakdown"].values())
        assert shares == pytest.approx(100, abs=0.005001 * len(breakdown))
    countries = oracle.count_by("coalesce(country, 'unknown')", since, until, filters, "is_failed")
    assert {row["country"]: row["error_count"] for row in analysis["top_error_countries"]} == countries
    before = oracle.count(since - (until - since), since, filters).failed
    is_less, is_more = counts.failed < 0.95 * before, counts.failed > 1.05 * before
    trend = "decreasing" if is_less else "increasing" if is_more else "stable"
    assert analysis["error_trends"] == {"last_24h": counts.failed, "previous_24h": before, "trend": trend}
    assert answer["messages_failed"] == counts.failed
    retries = oracle.retries(since, until, filters)
    assert {
        name: (row["retried"], row["sent"], row["delivered"]) for name, row in analysis["retries"].items()
    } == {str(code) if code else "no_code": row for code, row in retries.items()}


def assert_inbound(
    answer: dict[str, Any], oracle: Oracle, since: datetime, until: datetime, channel: str | None
) -> None:
    expected = oracle.inbound(since, until, channel)
    volume = answer["inbound_analytics"]["volume_metrics"]
    assert volume["total_inbound_24h"] == expected.total
    senders = answer["unique_senders"]
    low, high = senders["interval_95"]
    assert low <= expected.senders <= high
    if until - since <= timedelta(hours=24):
        assert senders["is_exact"]
        assert low == high == senders["count"]
    assert volume["unique_senders"] == senders["count"]
    per_sender = volume["messages_per_user_avg"]
    assert per_sender == (
        pytest.approx(expected.total / senders["count"], abs=0.005001) if expected.senders else None
    )
    week = answer["by_weekday_and_hour"]
    assert {
        (day, hour): count for day, hours in enumerate(week) for hour, count in enumerate(hours) if count
    } == expected.by_weekday_and_hour
    assert answer["unanswered_help_requests"] == expected.unanswered_help
    assert [{name: point[name] for name in INTENTS} for point in answer["series"]] == oracle.inbound_by_bin(
        oracle.bins(since, until), since, until, channel
    )
    most = max(expected.by_hour.values(), default=0)
    hour = min((hour for hour, count in expected.by_hour.items() if count == most), default=None)
    assert volume["peak_volume"] == most
    assert volume["peak_hour"] == (None if hour is None else f"{hour:02d}:00-{(hour + 1) % 24:02d}:00")
    assert answer["by_intent"] == expected.by_intent
    assert {day: counts for day, counts in answer["by_day"].items() if counts} == expected.by_day
    content = answer["inbound_analytics"]["content_analysis"]
    assert sum(content.values()) == expected.total
    assert content["stop_commands"] == expected.by_intent["stop"]
    assert answer["inbound_analytics"]["response_patterns"] == {
        "immediate_responses": expected.immediate,
        "delayed_responses": expected.total - expected.immediate,
        "auto_reply_triggered": expected.auto_replied,
    }


def assert_consent(answer: dict[str, Any], oracle: Oracle, since: datetime, until: datetime) -> None:
    users, consent = oracle.users(), answer["consent_analytics"]
    total = sum(users.values())
    assert answer["total_users"] == total
    rates = {}
    for name in ("opt_in", "opt_out", "stop", "unknown"):
        assert consent[f"{name}_users"] == users.get(name.upper(), 0)
        rates[f"{name}_rate"] = percent(users.get(name.upper(), 0), total)
    del rates["unknown_rate"]
    assert consent["consent_rates"] == rates
    for state in ("OPT_IN", "OPT_OUT", "STOP"):
        assert answer["transitions"][state] == oracle.transitions(since, until, [state])
    today, yesterday = oracle.opt_outs(until)
    trend = "improving" if today < yesterday else "worsening" if today > yesterday else "stable"
    assert consent["consent_trends"] == {
        "daily_opt_outs": {"today": today, "yesterday": yesterday, "trend": trend},
        "stop_commands_24h": oracle.inbound(since, until).by_intent["stop"],
    }


def assert_demographics(answer: dict[str, Any], oracle: Oracle, since: datetime, until: datetime) -> None:
    found, total = answer["user_demographics"], sum(oracle.users().values())
    for attribute in ("city", "tier"):
        counts = dict(found[f"by_{attribute}"])
        assert sum(counts.values()) == total
        assert counts.pop("other") == 0
        expected = oracle.users_by(attribute)
        assert counts.pop("unknown") == expected.pop(None, 0)
        assert counts == expected
    now, before = oracle.signups(since, until), oracle.signups(since - (until - since), since)
    trends = found["signup_trends"]
    assert (trends["last_30_days"], trends["previous_30_days"]) == (now, before)
    growth = trends["growth_rate"]
    assert (growth is None) == (before == 0)
    if growth is not None:
        assert float(growth.rstrip("%")) == pytest.approx((now - before) * 100 / before, abs=0.05001)


def assert_dashboard(answer: dict[str, Any], oracle: Oracle, since: datetime, until: datetime) -> None:
    users, counts = oracle.users(), oracle.count(since, until, {})
    before = oracle.count(since - (until - since), since, {})
    total = sum(users.values())
    health = answer["system_health"]
    assert health["active_campaigns"] == oracle.running_campaigns()
    assert (health["total_users"], health["opted_in_users"]) == (total, users.get("OPT_IN", 0))
    assert health["opted_out_users"] == users.get("OPT_OUT", 0) + users.get("STOP", 0)
    kpis = {kpi["slug"]: kpi for kpi in answer["kpis"]}
    assert kpis["active_campaigns"]["value"] == oracle.running_campaigns()
    assert kpis["total_users"]["value"] == total
    assert kpis["opt_in_rate"]["value"] == percent(users.get("OPT_IN", 0), total)
    assert_rate(kpis["opt_in_rate"], users.get("OPT_IN", 0), total)
    assert kpis["message_volume"]["value"] == counts.sent
    change = kpis["message_volume"]["change"]
    assert change == (
        pytest.approx((counts.sent - before.sent) * 100 / before.sent, abs=0.05001) if before.sent else None
    )
    assert kpis["delivery_rate"]["value"] == percent(counts.delivered, counts.sent)
    assert_rate(kpis["delivery_rate"], counts.delivered, counts.sent)
    bins = oracle.bins(since, until)
    inside = oracle.sent_by_bin(bins, since, until)
    assert kpis["message_volume"]["points"] == [sent for sent, _ in inside]
    assert kpis["delivery_rate"]["points"] == [percent(delivered, sent) for sent, delivered in inside]
    past = oracle.users_at(bins)
    assert kpis["total_users"]["points"] == [*(count for count, _ in past), total]
    assert kpis["opt_in_rate"]["points"] == [
        *(percent(opted_in, count) for count, opted_in in past),
        percent(users.get("OPT_IN", 0), total),
    ]


def assert_performance(answer: dict[str, Any], oracle: Oracle, campaign: str, name: str) -> None:
    found, mine = answer["campaign_performance"], {"campaign_id": campaign}
    counts, rows = oracle.count(*ALWAYS, mine), oracle.campaign(campaign)
    assert (found["campaign_id"], found["campaign_name"]) == (campaign, name)
    assert found["performance_breakdown"] == dict.fromkeys(DOCUMENTED, 0) | rows.by_status
    minutes = rows.seconds and rows.seconds / 60
    assert found["execution_summary"] == {
        "total_recipients": sum(rows.by_status.values()),
        "messages_attempted": counts.attempted,
        "messages_sent": counts.sent,
        "messages_delivered": counts.delivered,
        "messages_failed": counts.failed,
        "messages_skipped": rows.by_status.get("SKIPPED", 0),
        "messages_pending": rows.by_status.get("PENDING", 0),
        "delivery_unknown": counts.unknown,
        "delivery_rate_percent": percent(counts.delivered, counts.sent),
        "error_rate_percent": percent(counts.failed, counts.attempted),
        "execution_duration_minutes": None if minutes is None else pytest.approx(minutes, abs=0.005001),
    }
    assert answer["skipped_by_reason"] == rows.skipped_by_reason
    assert_rates(answer["rates"], counts)
    assert_times(found["timing_analysis"], oracle.times("delivery", *ALWAYS, mine))
    for stage in ("queue", "carrier"):
        assert_times(answer["stages"][stage], oracle.times(stage, *ALWAYS, mine))
    for part in PARTS:
        expected = oracle.count_by(f"coalesce({part}, 'unknown')", *ALWAYS, mine)
        assert {row[part]: row["messages_attempted"] for row in answer[f"by_{part}"]} == expected
    histogram = answer["delivery_time_histogram"]
    assert sum(one["messages"] for one in histogram) == found["timing_analysis"]["measured_messages"]


def assert_effectiveness(answer: dict[str, Any], oracle: Oracle, since: datetime, until: datetime) -> None:
    for by, listed in (
        ("campaign", "campaign_effectiveness"),
        ("segment", "by_segment"),
        ("template", "by_template"),
    ):
        expected = oracle.effectiveness(by, since, until)
        assert {
            row[f"{by}_id"]: (row["messages_sent"], row["delivered"]) for row in answer[listed]
        } == expected
        for row in answer[listed]:
            assert row["delivery_rate"] == percent(row["delivered"], row["messages_sent"])
            assert_interval(row, row["delivered"], row["messages_sent"])


def assert_funnel(answer: dict[str, Any], oracle: Oracle, since: datetime, until: datetime) -> None:
    expected = oracle.funnel(since, until)
    assert {row["consent_state"] for row in answer["user_engagement_funnel"]} == set(expected)
    for row in answer["user_engagement_funnel"]:
        users, messages, answers, *steps = expected[row["consent_state"]]
        assert row["users"] == users
        assert row["avg_messages_received"] == pytest.approx(messages / users, abs=0.00005001)
        assert row["avg_responses"] == pytest.approx(answers / users, abs=0.00005001)
        assert row["engagement_rate"] == percent(answers, messages)
        assert [row[name] for name in ("messaged", "delivered", "read", "replied")] == steps
    totals = [sum(row[place] for row in expected.values()) for place in (0, 3, 4, 5, 6)]
    assert [step["users"] for step in answer["journey"]] == totals


def assert_opt_outs(answer: dict[str, Any], oracle: Oracle, since: datetime, until: datetime) -> None:
    assert answer["opt_outs"]["stop_transitions"] == oracle.transitions(since, until, ["STOP"])
    for by in ("campaign", "template"):
        expected = oracle.opt_outs_by(f"{by}_id", since, until)
        found = {
            row[f"{by}_id"]: (row["messages_stopped"], row["messages_sent"]) for row in answer[f"by_{by}"]
        }
        assert found == expected
    counts = oracle.count(since, until, {})
    assert (answer["opt_outs"]["messages_stopped"], answer["opt_outs"]["messages_sent"]) == (
        counts.stopped,
        counts.sent,
    )


def assert_page(page: str, dashboard: dict[str, Any], delivery: dict[str, Any]) -> None:
    """The same figure in two answers and on the page is one number, as of one moment."""
    assert dashboard["as_of"] == delivery["as_of"]
    kpis, summary = {kpi["slug"]: kpi for kpi in dashboard["kpis"]}, delivery["execution_summary"]
    assert kpis["message_volume"]["value"] == summary["messages_sent"]
    assert kpis["delivery_rate"]["value"] == summary["delivery_rate_percent"]
    for slug, kpi in kpis.items():
        shown = re.search(rf'id="figure-{slug}".*?<p class="value">([^<]*)', page, re.DOTALL)
        assert shown is not None, slug
        assert shown[1] == format_figure(kpi["value"], kpi["unit"]), slug
    legend = re.search(r'id="volume-legend".*?</ul>', page, re.DOTALL)
    assert legend is not None
    breakdown = delivery["performance_breakdown"]
    in_flight = ("ACCEPTED", "SCHEDULED", "QUEUED", "SENDING", "SENT")
    assert re.findall(r"<b>([^<]*)</b>", legend[0]) == [
        format_number(summary["messages_delivered"]),
        format_number(sum(breakdown.get(status, 0) for status in in_flight)),
        format_number(summary["messages_failed"]),
    ]
