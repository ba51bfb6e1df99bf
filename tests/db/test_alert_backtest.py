"""Rules tried on the past: the same state machine over what the roll-ups have kept."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from event_stream_engine.alerting.backtest import try_rule
from event_stream_engine.alerting.rules import Draft
from event_stream_engine.infra.database import Connection, connect
from tests.db.test_alerts import NOON, deliver
from tests.engine import project_all
from tests.hand_overs import start

RATE = Draft(
    "Rate", "delivery_rate", "all", "below", 90, 90, "warning", window_seconds=900, minimum_sample=20
)
LATER = NOON + timedelta(days=3)


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url, "test") as opened:
        yield opened


async def campaign(conn: Connection, url: str, name: str, at: datetime, *, arrived: int, failed: int) -> None:
    people = 0 if name == "Good" else arrived + failed
    campaign_id = await start(conn, people, at, name=name)
    await deliver(conn, url, campaign_id, arrived=arrived, failed=failed, at=at + timedelta(minutes=1))
    await project_all(url)


async def test_rates_would_have_fired_for_as_long_as_nothing_better_was_known(
    conn: Connection, database_url: str
) -> None:
    """One campaign arrives by half, an hour later another one arrives."""
    await campaign(conn, database_url, "Bad", NOON, arrived=20, failed=20)
    await campaign(conn, database_url, "Good", NOON + timedelta(hours=1), arrived=40, failed=0)
    found = await try_rule(conn, RATE, LATER)
    assert found.reason is None
    [period] = found.periods
    assert (period.subject_name, period.peak) == ("all traffic", 50)
    assert period.fired_at == NOON + timedelta(minutes=15)
    assert period.resolved_at == NOON + timedelta(hours=1, minutes=15)
    assert {point.value for point in found.points} == {None, 50, 100}
    assert (found.until, found.until - found.since) == (LATER, timedelta(days=14))

    by_campaign = replace(RATE, scope="campaign", window_seconds=None, clear_threshold=91)
    found = await try_rule(conn, by_campaign, NOON + timedelta(days=7))
    [period] = found.periods
    assert (period.subject_name, period.peak) == ("Bad", 50)
    followed = (period.resolved_at or LATER) - period.fired_at
    assert followed == pytest.approx(timedelta(hours=72), abs=timedelta(minutes=30))
    assert found.subjects == 2

    assert (await try_rule(conn, replace(RATE, minimum_sample=100), LATER)).periods == []


async def test_a_metric_without_history_says_so(conn: Connection) -> None:
    found = await try_rule(conn, Draft("Spool", "spooled_events", "all", "above", 0, 0, "warning"), LATER)
    assert found.reason == "No history is kept of this metric: Events on disk."


async def test_violations_and_webhooks_have_a_history(conn: Connection) -> None:
    await conn.execute(
        "INSERT INTO pipeline_rollups (grain, stage, bucket, events, microseconds, slowest, dead, sketch) VALUES ('quarter', 'applied', %s, 1, 1, 40e6, 0, '{}')",
        (NOON,),
    )
    slow = Draft("Slow", "webhook_processing_seconds", "all", "above", 30, 10, "critical", window_seconds=300)
    [period] = (await try_rule(conn, slow, LATER)).periods
    assert (period.fired_at, period.peak, period.resolved_at) == (NOON + timedelta(minutes=15), 40, None)
    await conn.execute(
        "INSERT INTO compliance_violations (id, kind, at, campaign_id, message_id, evidence, found_at)"
        " VALUES (gen_random_uuid(), 'consent', %(at)s, gen_random_uuid(), gen_random_uuid(), '{}', %(at)s)",
        {"at": NOON},
    )
    consent = Draft("Consent", "consent_missing", "all", "above", 0, 0, "critical", window_seconds=3600)
    [period] = (await try_rule(conn, consent, LATER)).periods
    assert (period.resolved_at or NOON) - period.fired_at == timedelta(hours=1)
