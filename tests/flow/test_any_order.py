"""Any order and any repetition of callbacks gives the figures of a recount from the definitions."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_stream_engine.analytics import rollups
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest.callbacks import make_event
from event_stream_engine.kernel.clock import SystemClock, format_instant
from event_stream_engine.stream.log import append_events
from event_stream_engine.worker.projector import open_projector, run_once
from event_stream_engine.worker.recount import Difference, recount
from tests.engine import LIVE, Engine, make_settings, project_all, running_engine
from tests.flow.reference import Figures, Inbound, Receipt, count_figures

BEGIN = datetime(2026, 3, 1, 22, tzinfo=UTC)
PHONES = ["+14155551234", "+447776105348", "+94771234567", "+12065550000", "+999123456789"]
BODIES = [
    "STOP",
    " stop ",
    "Yes",
    "START",
    "unstop",
    "help",
    "Where is my order?",
    "reorder? no",
    "opt  out",
    "hello",
    "YES",
]
TABLES = (
    "events, messages, inbound_events, users, consent_ledger, message_rollups, failure_rollups, duration_rollups, inbound_rollups,"
    " inbound_hour_rollups, consent_rollups, signup_rollups, user_rollups, attribute_rollups, sender_sketches, dead_letters, intake_counts, pipeline_rollups"
)

# Half a day across midnight; in microseconds, so that windows cut minutes and quarter-hours.
moments = st.integers(0, 12 * 3600 * 1_000_000).map(lambda us: BEGIN + timedelta(microseconds=us))
# Close together most of the time: messages and answers within minutes of each other.
near = st.integers(0, 900 * 1_000_000).map(lambda us: BEGIN + timedelta(hours=2, microseconds=us))
statuses = st.sampled_from(
    ["queued", "sending", "sent", "delivered", "read", "failed", "undelivered", "canceled"]
)


@st.composite
def receipts_of_a_message(draw: st.DrawFn) -> list[Receipt]:
    sid, to = f"SM{draw(st.integers(0, 10**9)):032x}", draw(st.sampled_from(PHONES))
    found = draw(
        st.lists(st.tuples(near | moments, statuses), min_size=1, max_size=5, unique_by=lambda one: one[1])
    )
    codes = st.sampled_from([None, 30003, 30007, 21610])
    return [
        Receipt(at, sid, status, draw(codes) if status in ("failed", "undelivered") else None, to)
        for at, status in found
    ]


messages = st.lists(receipts_of_a_message(), max_size=7, unique_by=lambda history: history[0].sid)
answers = st.lists(
    st.tuples(near | moments, st.sampled_from(PHONES[:3]), st.sampled_from(BODIES)),
    max_size=9,
    unique_by=lambda one: one[0].replace(microsecond=0),
)


@dataclass(frozen=True, slots=True)
class Workbench:
    """One engine for all examples, which empty its tables: starting one for each would take longer than the test."""

    runner: asyncio.Runner
    engine: Engine
    conn: Connection
    projector: Connection


@pytest.fixture
def workbench(database_url: str, tmp_path: Path) -> Iterator[Workbench]:
    stack = AsyncExitStack()

    async def open_all() -> tuple[Engine, Connection, Connection]:
        engine = running_engine(database_url, make_settings(tmp_path), SystemClock())
        return (
            await stack.enter_async_context(engine),
            await stack.enter_async_context(await connect(database_url, "test")),
            await stack.enter_async_context(await open_projector(database_url)),
        )

    with asyncio.Runner() as runner:
        yield Workbench(runner, *runner.run(open_all()))
        runner.run(stack.aclose())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=messages, answers=answers, window=st.tuples(near | moments, near | moments), data=st.data())
def test_any_order_and_repetition_gives_the_figures_of_a_recount(
    workbench: Workbench,
    *,
    messages: list[list[Receipt]],
    answers: list[tuple[Any, ...]],
    window: tuple[datetime, datetime],
    data: st.DataObject,
) -> None:
    receipts = [receipt for history in messages for receipt in history]
    inbound = [
        Inbound(at, f"IN{number:032x}", sender, body) for number, (at, sender, body) in enumerate(answers)
    ]
    webhooks = [*receipts, *inbound]
    repeats = data.draw(st.lists(st.sampled_from(webhooks), max_size=6)) if webhooks else []
    delivered = data.draw(st.permutations(webhooks + repeats))
    groups = data.draw(st.lists(st.integers(1, 9), min_size=len(delivered), max_size=len(delivered)))
    # After so many groups the days are over: what comes then comes late.
    over_after = data.draw(st.integers(0, len(groups) + 1))
    workbench.runner.run(deliver(workbench, delivered, groups, over_after))
    assert workbench.runner.run(find_differences(workbench.engine.url)) == []
    for since, until in (sorted(window), [BEGIN - timedelta(days=1), BEGIN + timedelta(days=2)]):
        if since < until:
            figures = workbench.runner.run(read_figures(workbench.engine, since, until))
            assert_equal(figures, count_figures(receipts, inbound, since, until))


async def find_differences(url: str) -> list[Difference]:
    return await recount(url, repair=False, on_progress=lambda _: None, secret_key=LIVE.secret_key)


async def deliver(workbench: Workbench, webhooks: list[Any], groups: list[int], over_after: int) -> None:
    """Append the webhooks in groups of these sizes, project a part of what waits after each, and once settle the days."""
    await workbench.conn.execute(f"TRUNCATE {TABLES}")
    await workbench.conn.execute("UPDATE rollup_settings SET days_until = '-infinity'")
    await workbench.conn.execute("UPDATE log_cursors SET xid = '0', id = 0, events = 0")
    for number, size in enumerate(groups):
        if number == over_after:
            await settle_days(workbench.projector, BEGIN + timedelta(days=40))
        group, webhooks = webhooks[:size], webhooks[size:]
        if group:
            await append(workbench.conn, group)
            await run_once(workbench.projector, LIVE, size)
    await project_all(workbench.engine.url, 5)


async def settle_days(projector: Connection, now: datetime) -> None:
    is_settled = True
    while is_settled:
        async with transaction(projector):
            is_settled = await rollups.settle_day(projector, now)


async def append(conn: Connection, webhooks: list[Any]) -> None:
    events = []
    for webhook in webhooks:
        if isinstance(webhook, Receipt):
            form = {
                "MessageSid": webhook.sid,
                "MessageStatus": webhook.status,
                "To": webhook.to,
                "From": "+14155238886",
            }
            if webhook.error_code:
                form["ErrorCode"] = str(webhook.error_code)
            events.append(make_event("receipt", form, webhook.at, None))
        else:
            form = {
                "MessageSid": webhook.sid,
                "Body": webhook.body,
                "From": f"whatsapp:{webhook.sender}",
                "To": "+14155238886",
            }
            events.append(make_event("inbound", form, webhook.at, None))
    await append_events(conn, events, source=uuid4(), counted_at=BEGIN, is_live=False)


async def read_figures(engine: Engine, since: datetime, until: datetime) -> dict[str, Any]:
    window = {"since": format_instant(since), "until": format_instant(until)}
    return {
        name: await engine.get(f"/api/v1/analytics/{name}", **window)
        for name in ("delivery", "errors", "inbound", "consent")
    }


def assert_equal(answers: dict[str, Any], expected: Figures) -> None:
    delivery, analysis = answers["delivery"], answers["errors"]["error_analysis"]
    assert {
        name: count for name, count in delivery["performance_breakdown"].items() if count
    } == expected.by_status
    assert delivery["execution_summary"]["messages_sent"] == expected.sent
    assert delivery["conflicts"] == expected.conflicts
    times, seconds = delivery["timing_analysis"], sorted(expected.delivery_seconds)
    assert times["measured_messages"] == len(seconds)
    if seconds:
        assert times["fastest_delivery_seconds"] == pytest.approx(seconds[0], abs=1e-6)
        assert times["slowest_delivery_seconds"] == pytest.approx(seconds[-1], abs=1e-6)
        assert times["average_delivery_time_seconds"] == pytest.approx(sum(seconds) / len(seconds), abs=2e-3)
        for percent in (50, 75, 90, 95, 99):
            exact = seconds[ceil(percent / 100 * len(seconds)) - 1]
            assert times["delivery_time_percentiles"][f"p{percent}"] == pytest.approx(
                exact, rel=0.0101, abs=2e-3
            )
    assert {code: row["count"] for code, row in analysis["error_breakdown"].items()} == expected.errors
    assert {
        row["country"]: row["error_count"] for row in analysis["top_error_countries"]
    } == expected.countries
    inbound = answers["inbound"]
    assert {intent: count for intent, count in inbound["by_intent"].items() if count} == expected.by_intent
    assert inbound["inbound_analytics"]["volume_metrics"]["unique_senders"] == len(expected.senders)
    assert inbound["inbound_analytics"]["response_patterns"]["immediate_responses"] == expected.immediate
    consent = answers["consent"]["consent_analytics"]
    assert (consent["stop_users"], consent["opt_in_users"]) == (
        expected.users["STOP"],
        expected.users["OPT_IN"],
    )
