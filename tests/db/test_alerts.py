"""Alerts on a real database: from a figure that crosses a line to somebody who is told, and back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from event_stream_engine.alerting import episodes, evaluation, rules, silences
from event_stream_engine.alerting.measure import Measured, Question
from event_stream_engine.alerting.measures import MEASURES, measure
from event_stream_engine.alerting.rules import Draft, Rule
from event_stream_engine.alerting.state import Reading, Transition
from event_stream_engine.analytics.compliance_check import prepare_check
from event_stream_engine.audit.chain import seal_batch
from event_stream_engine.campaigns import campaigns
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest.callbacks import RECEIPT, make_event
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound
from event_stream_engine.monitoring import processes
from event_stream_engine.monitoring.processes import Process
from event_stream_engine.stream.log import append_events
from event_stream_engine.worker.auditor import audit_once
from event_stream_engine.worker.evaluator import tick
from tests.engine import project_all
from tests.hand_overs import check, decision, hand_over, list_messages, start
from tests.sending import OPERATOR, add_people

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TICK = timedelta(seconds=10)
LAG = Draft("Lag", "projector_lag_seconds", "all", "above", 60, 10, "critical")


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    """A connection to a database in which no rule is switched on and one channel is told of everything."""
    async with await connect(database_url, "test") as opened:
        await opened.execute("UPDATE alert_rules SET is_enabled = false")
        channel_id = uuid4()
        await opened.execute(
            "INSERT INTO notification_channels (id, name, kind, sealed_target, shown_target, is_enabled, created_at)"
            " VALUES (%s, 'people', 'apprise', 'x', 'x', true, %s)",
            (channel_id, NOON),
        )
        await opened.execute(
            "INSERT INTO notification_routes (id, position, severities, kinds, matchers, channel_id, fallback_after_seconds, group_wait_seconds, created_at)"
            " VALUES (%s, 1, '{}', '{}', '[]', %s, 0, 0, %s)",
            (uuid4(), channel_id, NOON),
        )
        yield opened


async def add(conn: Connection, draft: Draft = LAG) -> Rule:
    async with transaction(conn):
        return await rules.create_rule(conn, OPERATOR, draft, NOON)


async def evaluate(
    conn: Connection, rule: Rule, now: datetime, *values: float | None, subject: str = "all"
) -> list[Transition]:
    """Let a rule read one value; none: nothing was found."""
    readings = [Reading(subject, value, reason="away") for value in values]
    async with transaction(conn):
        return await evaluation.evaluate(conn, {rule.question: Measured(readings)}, now)


async def list_notices(conn: Connection) -> list[str]:
    rows = await conn.execute(
        "SELECT n.kind FROM notice_deliveries d JOIN notices n ON n.key = d.notice_key ORDER BY d.id"
    )
    return [kind for (kind,) in await rows.fetchall()]


async def fetch(conn: Connection, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    return await (await conn.execute(query, parameters)).fetchall()  # type: ignore[arg-type]


async def test_a_fire_and_its_end_are_told_once_each_with_events_in_the_log(conn: Connection) -> None:
    rule = await add(conn)
    assert await evaluate(conn, rule, NOON, 50) == []
    [fired] = await evaluate(conn, rule, NOON + TICK, 70)
    assert (fired.before, fired.after, fired.value, fired.threshold) == ("ok", "firing", 70, 60)
    assert await evaluate(conn, rule, NOON + 2 * TICK, 90) == []
    [resolved] = await evaluate(conn, rule, NOON + 3 * TICK, 5)
    assert (resolved.before, resolved.after, resolved.episode_id) == ("firing", "resolved", fired.episode_id)
    assert await list_notices(conn) == ["alert.fired", "alert.resolved"]
    events = await fetch(
        conn, "SELECT event_type, payload ->> 'Message', payload ->> 'Severity' FROM events ORDER BY id"
    )
    assert events == [("alert.fired", "Lag", "critical"), ("alert.resolved", "Lag", "critical")]
    episode = await episodes.load_episode(conn, "ALT001")
    assert (episode.peak, episode.value, episode.state) == (90, 5, "resolved")
    steps = [step.kind for step in await episodes.list_steps(conn, episode.id)]
    assert steps == ["fired", "told", "resolved"]


async def test_own_events_of_alerts_are_projected_without_dead_letters(
    conn: Connection, database_url: str
) -> None:
    rule = await add(conn)
    await evaluate(conn, rule, NOON, 70)
    assert await project_all(database_url) == 1
    assert await fetch(conn, "SELECT count(*) FROM dead_letters") == [(0,)]


async def test_two_evaluators_at_once_tell_once_for_each_step(conn: Connection, database_url: str) -> None:
    rule = await add(conn)
    async with await connect(database_url, "other") as other:
        for place, value in enumerate([70, 80, 5]):
            at = NOON + place * TICK
            both = await asyncio.gather(evaluate(conn, rule, at, value), evaluate(other, rule, at, value))
            assert sorted(len(found) for found in both) == ([0, 0] if value == 80 else [0, 1])
    assert await list_notices(conn) == ["alert.fired", "alert.resolved"]
    assert await fetch(conn, "SELECT count(*) FROM alert_episodes") == [(1,)]
    assert await fetch(conn, "SELECT count(*) FROM events") == [(2,)]


async def test_firing_without_data_stays_and_says_since_when(conn: Connection) -> None:
    rule = await add(conn)
    await evaluate(conn, rule, NOON, 70)
    for minutes in (1, 2, 60):
        assert await evaluate(conn, rule, NOON + timedelta(minutes=minutes), None) == []
    [episode] = await episodes.list_open(conn)
    assert episode.reason == "No data since 2026-03-02 12:00 UTC. away"
    steps = [step.kind for step in await episodes.list_steps(conn, episode.id)]
    assert steps == ["fired", "told", "no_data"]


async def test_a_source_that_cannot_be_read_is_no_data_of_its_rules_alone(conn: Connection) -> None:
    broken, sound = await add(conn), await add(conn, replace(LAG, name="Dead letters", metric="dead_letters"))
    await conn.execute("ALTER TABLE compliance_violations RENAME TO gone")
    question = Question("consent_missing", "all", 3600)
    found = await measure(conn, {broken.question, sound.question, question}, NOON)
    assert found[question].fault == "It could not be read: UndefinedTable."
    assert [reading.value for reading in found[sound.question].readings] == [0]
    async with transaction(conn):
        await evaluation.evaluate(conn, {broken.question: Measured((), fault="It could not be read.")}, NOON)
    assert await fetch(conn, "SELECT state, reason FROM alert_states WHERE rule_id = %s", broken.id) == [
        ("no_data", "It could not be read.")
    ]


async def test_it_is_told_again_every_four_hours_unless_somebody_has_it_in_hand(conn: Connection) -> None:
    rule = await add(conn)
    await evaluate(conn, rule, NOON, 70)
    for hours in (1, 3.9, 4, 5, 8):
        await evaluate(conn, rule, NOON + timedelta(hours=hours), 70)
    assert await list_notices(conn) == ["alert.fired", "alert.repeated", "alert.repeated"]
    async with transaction(conn):
        episode = await episodes.acknowledge(conn, OPERATOR, "ALT001", NOON + timedelta(hours=9))
    assert (episode.state, episode.acknowledged_by) == ("acknowledged", OPERATOR.name)
    await evaluate(conn, rule, NOON + timedelta(hours=20), 70)
    assert len(await list_notices(conn)) == 3
    [resolved] = await evaluate(conn, rule, NOON + timedelta(hours=21), 5)
    assert resolved.before == "acknowledged"
    assert (await list_notices(conn))[3:] == ["alert.resolved"]
    with pytest.raises(Conflict, match="is over since"):
        async with transaction(conn):
            await episodes.acknowledge(conn, OPERATOR, "ALT001", NOON)


async def test_a_silenced_alert_is_seen_but_not_told_until_the_silence_is_over(conn: Connection) -> None:
    rule = await add(conn)
    async with transaction(conn):
        silence_id = await silences.add_silence(
            conn,
            OPERATOR,
            {"rule": "Lag"},
            begins_at=NOON,
            ends_at=NOON + timedelta(hours=1),
            comment="Upgrade",
            now=NOON,
        )
    [fired] = await evaluate(conn, rule, NOON, 70)
    assert fired.opens_incident is None
    assert await list_notices(conn) == []
    [episode] = await episodes.list_open(conn)
    assert episode.held_back == "Silenced: Upgrade"
    async with transaction(conn):
        await silences.end_silence(conn, OPERATOR, silence_id, NOON + TICK)
    [told] = await evaluate(conn, rule, NOON + TICK, 70)
    assert (told.before, told.after) == ("firing", "firing")
    assert await list_notices(conn) == ["alert.fired"]


async def test_who_was_told_of_the_fire_is_told_of_its_end_also_during_a_silence(conn: Connection) -> None:
    rule = await add(conn)
    await evaluate(conn, rule, NOON, 70)
    async with transaction(conn):
        await silences.add_silence(
            conn,
            OPERATOR,
            {"severity": "critical"},
            begins_at=NOON,
            ends_at=NOON + timedelta(hours=1),
            comment="Night",
            now=NOON,
        )
    await evaluate(conn, rule, NOON + TICK, 5)
    await evaluate(conn, rule, NOON + 2 * TICK, 70)
    await evaluate(conn, rule, NOON + 3 * TICK, 5)
    assert await list_notices(conn) == ["alert.fired", "alert.resolved"]


async def test_what_follows_from_another_alert_is_told_when_that_is_over_and_it_still_fires(
    conn: Connection,
) -> None:
    cause = await add(
        conn,
        Draft(
            "Worker missing",
            "missing_workers",
            "all",
            "above",
            0,
            0,
            "critical",
            inhibits={"needs": "worker"},
        ),
    )
    effect = await add(conn, replace(LAG, labels={"needs": "worker"}))

    async def both(at: datetime, of_cause: float, of_effect: float) -> None:
        readings = {
            cause.question: Measured([Reading("all", of_cause)]),
            effect.question: Measured([Reading("all", of_effect)]),
        }
        async with transaction(conn):
            await evaluation.evaluate(conn, readings, at)

    await both(NOON, 1, 70)
    held = {episode.name: episode.held_back for episode in await episodes.list_open(conn)}
    assert held["Worker missing"] is None
    assert (held["Lag"] or "").startswith("Follows from ALT00")
    assert len(await list_notices(conn)) == 1
    await both(NOON + TICK, 0, 70)
    assert sorted(await list_notices(conn)) == ["alert.fired", "alert.fired", "alert.resolved"]


async def test_a_rule_that_is_switched_off_or_removed_ends_what_fires_by_it(conn: Connection) -> None:
    for place, end in enumerate(("off", "removed")):
        rule = await add(conn, replace(LAG, name=f"Lag {end}"))
        await evaluate(conn, rule, NOON, 70)
        async with transaction(conn):
            if end == "off":
                await rules.change_rule(conn, OPERATOR, rule.id, replace(rule.draft, is_enabled=False), NOON)
            else:
                await rules.delete_rule(conn, OPERATOR, rule.id, NOON)
        [resolved] = await evaluate(conn, rule, NOON + TICK)
        assert (resolved.after, resolved.reason) == ("resolved", "the rule was switched off or removed")
        assert len(await list_notices(conn)) == 2 * (place + 1)
        assert await fetch(conn, "SELECT count(*) FROM alert_states WHERE rule_id = %s", rule.id) == [(0,)]


async def deliver(
    conn: Connection,
    url: str,
    campaign_id: UUID,
    *,
    arrived: int,
    failed: int,
    at: datetime = NOON + timedelta(minutes=1),
) -> None:
    """Let a campaign's messages be handed over, and so many of them arrive and fail."""
    messages = await list_messages(conn, campaign_id)
    await hand_over(conn, *(decision(campaign_id, one, at) for one in messages))
    await project_all(url)
    await receive(conn, messages[:arrived], "delivered", at)
    await receive(conn, messages[arrived : arrived + failed], "undelivered", at)
    await project_all(url)


async def receive(conn: Connection, messages: list[UUID], status: str, at: datetime) -> None:
    forms = [
        {"MessageSid": f"SM{one.hex}", "MessageStatus": status, "To": "+14152000000", "From": "+14155238886"}
        for one in messages
    ]
    events = [make_event(RECEIPT, form, at + TICK, None) for form in forms]
    async with transaction(conn):
        await append_events(conn, events, source=UUID(int=1), counted_at=at)


async def use(conn: Connection, name: str) -> Rule:
    """Switch one of the rules that come with the engine on."""
    await conn.execute("UPDATE alert_rules SET is_enabled = true WHERE name = %s", (name,))
    [rule] = [rule for rule in await rules.list_rules(conn) if rule.name == name]
    return rule


async def measure_and_evaluate(conn: Connection, now: datetime) -> list[Transition]:
    readings = await evaluation.measure_rules(conn, now)
    async with transaction(conn):
        return await evaluation.evaluate(conn, readings, now)


async def test_the_documents_example_fires_at_88_5_and_its_recovery_resolves_it(
    conn: Connection, database_url: str
) -> None:
    await use(conn, "Campaign delivery rate below threshold")
    campaign_id = await start(conn, 200)
    await deliver(conn, database_url, campaign_id, arrived=177, failed=0)
    # What is in flight for less than ten minutes counts neither way.
    assert await measure_and_evaluate(conn, NOON + timedelta(minutes=5)) == []
    [fired] = await measure_and_evaluate(conn, NOON + timedelta(minutes=12))
    assert (fired.name, fired.value, fired.threshold) == (
        "Campaign delivery rate below threshold",
        88.5,
        90.0,
    )
    assert (fired.severity, fired.subject) == ("warning", f"campaign:{campaign_id}")
    assert fired.labels["campaign_name"] == "Spring"
    await receive(
        conn, (await list_messages(conn, campaign_id))[177:190], "delivered", NOON + timedelta(minutes=13)
    )
    await project_all(database_url)
    moved = [
        transition
        for seconds in range(0, 120, 10)
        for transition in await measure_and_evaluate(conn, NOON + timedelta(minutes=14, seconds=seconds))
    ]
    assert [(one.after, one.value) for one in moved] == [("resolved", 95.0)]


async def test_a_campaign_whose_messages_are_mostly_in_flight_is_no_sample_yet(
    conn: Connection, database_url: str
) -> None:
    await use(conn, "Campaign delivery rate below threshold")
    campaign_id = await start(conn, 200)
    await deliver(conn, database_url, campaign_id, arrived=40, failed=40)
    assert await measure_and_evaluate(conn, NOON + timedelta(minutes=1)) == []
    [fired] = await measure_and_evaluate(conn, NOON + timedelta(minutes=12))
    assert fired.value == 20


async def test_every_campaign_is_measured_by_one_query_and_its_rule_ends_with_it(
    conn: Connection, database_url: str
) -> None:
    rule = await use(conn, "Campaign delivery rate below threshold")
    await add_people(conn, 100, NOON)
    both = [await start(conn, name=name) for name in ("One", "Two")]
    for campaign_id in both:
        await deliver(conn, database_url, campaign_id, arrived=50, failed=50)
    found = (await evaluation.measure_rules(conn, NOON + timedelta(minutes=2)))[rule.question]
    assert {reading.subject: reading.value for reading in found.readings} == {
        f"campaign:{one}": 50 for one in both
    }
    assert len(await measure_and_evaluate(conn, NOON + timedelta(minutes=2))) == 2
    await conn.execute("UPDATE campaigns SET state = 'completed', finished_at = %s", (NOON,))
    moved = await measure_and_evaluate(conn, NOON + timedelta(hours=73))
    assert {one.reason for one in moved} == {"the campaign ended more than 72 h ago"}


@pytest.mark.parametrize(("action", "percent"), [("pause_campaign", None), ("lower_rate", 25)])
async def test_an_action_is_done_once_an_episode_and_audited(
    conn: Connection, database_url: str, action: str, percent: int | None
) -> None:
    rule = await use(conn, "Campaign delivery rate below threshold")
    async with transaction(conn):
        await rules.change_rule(
            conn, OPERATOR, rule.id, replace(rule.draft, action=action, action_percent=percent), NOON
        )
    campaign_id = await start(conn, 60, rate=100)
    await deliver(conn, database_url, campaign_id, arrived=30, failed=30)
    for minutes in (2, 3, 4):
        await measure_and_evaluate(conn, NOON + timedelta(minutes=minutes))
    [(state, rate)] = await fetch(conn, "SELECT state, rate_per_second FROM campaigns")
    assert (state, rate) == (("paused", 100) if percent is None else ("running", 25))
    acted = await fetch(conn, "SELECT actor, after ->> 'done' FROM audit_log WHERE action = 'alert.acted'")
    assert acted == [("engine:alerting", action)]
    [episode] = await episodes.list_open(conn)
    steps = await episodes.list_steps(conn, episode.id)
    assert [step.kind for step in steps] == ["fired", "action", "told"]


async def test_a_lowered_rate_makes_no_violation_of_the_seconds_before_it(
    conn: Connection, database_url: str
) -> None:
    await prepare_check(conn)
    campaign_id = await start(conn, 8, rate=5)
    messages = await list_messages(conn, campaign_id)
    await hand_over(conn, *(decision(campaign_id, one, NOON) for one in messages[:4]))
    async with transaction(conn):
        await campaigns.lower_rate(conn, OPERATOR, campaign_id, 40, NOON + timedelta(seconds=1))
    await hand_over(conn, *(decision(campaign_id, one, NOON + timedelta(seconds=5)) for one in messages[4:]))
    await check(conn)
    found = await fetch(
        conn, "SELECT at, evidence ->> 'limit' FROM compliance_violations WHERE kind = 'rate'"
    )
    assert found == [(NOON + timedelta(seconds=5), "2")]


async def test_violations_that_are_found_fire(conn: Connection) -> None:
    await use(conn, "Messages were sent without consent")
    await use(conn, "A campaign sends faster than its limit")
    await prepare_check(conn)
    await add_people(conn, 2, NOON)
    campaign_id = await start(conn, rate=1)
    both = await list_messages(conn, campaign_id)
    await hand_over(conn, *(decision(campaign_id, one, NOON) for one in both))
    await check(conn)
    fired = {(one.name, one.subject, one.value) for one in await measure_and_evaluate(conn, NOON + TICK)}
    assert fired == {
        ("Messages were sent without consent", "all", 2),
        ("A campaign sends faster than its limit", f"campaign:{campaign_id}", 1),
    }


async def test_silence_of_the_provider_counts_only_while_messages_wait_for_their_first_callback(
    conn: Connection, database_url: str
) -> None:
    rule = await use(conn, "No callbacks while messages are in flight")
    assert await read_value(conn, rule, NOON) == 0
    campaign_id = await start(conn, 3)
    messages = await list_messages(conn, campaign_id)
    await hand_over(conn, *(decision(campaign_id, one, NOON) for one in messages))
    await project_all(database_url)
    assert await read_value(conn, rule, NOON + timedelta(minutes=12)) == pytest.approx(12, abs=0.1)
    await receive(conn, messages[:1], "sent", NOON + timedelta(minutes=12))
    await project_all(database_url)
    assert await read_value(conn, rule, NOON + timedelta(minutes=14)) == pytest.approx(1, abs=1.1)
    await receive(conn, messages[1:], "sent", NOON + timedelta(minutes=15))
    await project_all(database_url)
    assert await read_value(conn, rule, NOON + timedelta(minutes=40)) == 0


async def test_a_process_that_fell_silent_is_missing_until_another_takes_its_place(conn: Connection) -> None:
    rule = await use(conn, "A worker is missing")
    assert await read_value(conn, rule, NOON) == 1
    for place, (began, beat) in enumerate([(0, 30), (0, 0)]):
        process = Process(
            UUID(int=place + 1), "worker", NOON + timedelta(seconds=began), NOON + timedelta(seconds=beat), 0
        )
        await processes.beat(conn, process)
    assert await read_value(conn, rule, NOON + timedelta(seconds=35)) == 1
    later = NOON + timedelta(seconds=40)
    await processes.beat(conn, Process(UUID(int=3), "worker", later, later, 0))
    assert await read_value(conn, rule, later) == 0


async def test_damage_of_the_audit_trail_fires(
    conn: Connection, clock: SettableClock, tmp_path: Path
) -> None:
    await use(conn, "Faults in the audit trail")
    await start(conn, 2)
    while await seal_batch(conn, NOON) is None:
        await asyncio.sleep(0.01)
    await audit_once(conn, tmp_path / "anchors", clock, asyncio.Event())
    assert await measure_and_evaluate(conn, NOON) == []
    await conn.execute("ALTER TABLE audit_log DISABLE TRIGGER ALL")
    await conn.execute("UPDATE audit_log SET actor = 'operator:other'")
    await audit_once(conn, tmp_path / "anchors", clock, asyncio.Event())
    [fired] = await measure_and_evaluate(conn, NOON + TICK)
    assert fired.name == "Faults in the audit trail"


async def read_value(conn: Connection, rule: Rule, now: datetime) -> float | None:
    [reading] = (await measure(conn, [rule.question], now))[rule.question].readings
    return reading.value


async def test_every_rule_that_comes_with_the_engine_is_valid_and_can_be_measured(
    conn: Connection, clock: SettableClock
) -> None:
    seeded = await rules.list_rules(conn)
    for rule in seeded:
        assert rule.metric in MEASURES, rule.name
        await rules.check_draft(conn, rule.draft, rule.id)
    await conn.execute("UPDATE alert_rules SET is_enabled = true")
    found = await evaluation.measure_rules(conn, NOON)
    assert {question: one.fault for question, one in found.items() if one.fault} == {}
    await tick(conn, clock)
    assert await fetch(conn, "SELECT ticked_at, took_ms > 0 FROM evaluator_ticks") == [(clock.now(), True)]


async def test_thresholds_of_the_configuration_are_those_of_their_rules_and_audited(conn: Connection) -> None:
    document = {
        "error_rate_threshold": 5.0,
        "response_time_threshold_ms": 1000.0,
        "delivery_rate_threshold": 90.0,
        "disk_usage_threshold": 85.0,
    }
    assert await rules.load_configuration(conn) == document
    async with transaction(conn):
        changed = await rules.change_configuration(conn, OPERATOR, {"delivery_rate_threshold": 95}, NOON)
    assert changed == document | {"delivery_rate_threshold": 95.0}
    [rule] = [
        rule for rule in await rules.list_rules(conn) if rule.configuration == "delivery_rate_threshold"
    ]
    assert rule.clear_threshold == pytest.approx(95 * 91 / 90)
    [(before, after)] = await fetch(
        conn,
        "SELECT before ->> 'threshold', after ->> 'threshold' FROM audit_log WHERE action = 'alert_rule.changed'",
    )
    assert (float(before), float(after)) == (90, 95)
    for faulty in ({"delivery_rate_threshold": 101}, {"disk_usage_threshold": 0}, {"other": 1}):
        with pytest.raises(Invalid) as raised:
            await rules.change_configuration(conn, OPERATOR, faulty, NOON)
        assert raised.value.field == next(iter(faulty))
    with pytest.raises(Conflict, match="Switch it off instead"):
        async with transaction(conn):
            await rules.delete_rule(conn, OPERATOR, rule.id, NOON)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": " "}),
        ("name", {"name": "Message error rate above threshold"}),
        ("metric", {"metric": "luck"}),
        ("scope", {"scope": "country"}),
        ("scope_filter", {"scope_filter": "US"}),
        ("window_seconds", {"window_seconds": 300}),
        ("window_seconds", {"metric": "delivery_rate"}),
        ("minimum_sample", {"minimum_sample": 5}),
        ("comparison", {"comparison": "near"}),
        ("threshold", {"threshold": float("nan")}),
        ("clear_threshold", {"clear_threshold": 61}),
        ("for_seconds", {"for_seconds": -1}),
        ("severity", {"severity": "bad"}),
        ("labels", {"labels": {"Team": "x"}}),
        ("inhibits", {"inhibits": {"needs": ""}}),
        ("runbook_url", {"runbook_url": "javascript:alert(1)"}),
        ("opens_incident", {"opens_incident": "warning"}),
        ("action", {"action": "pause_campaign"}),
        ("action_percent", {"action_percent": 50}),
    ],
)
async def test_what_no_rule_can_be_is_refused_with_the_field(
    conn: Connection, field: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(Invalid) as raised:
        await rules.check_draft(conn, replace(LAG, **changes))
    assert raised.value.field == field


async def test_a_rule_keeps_what_it_measures(conn: Connection) -> None:
    rule = await add(conn)
    with pytest.raises(Invalid) as raised:
        await rules.change_rule(conn, OPERATOR, rule.id, replace(rule.draft, metric="dead_letters"), NOON)
    assert raised.value.field == "metric"
    with pytest.raises(NotFound):
        await rules.load_rule(conn, uuid4())


async def test_what_was_over_long_ago_is_forgotten(conn: Connection) -> None:
    rule = await add(conn)
    await evaluate(conn, rule, NOON, 70)
    await evaluate(conn, rule, NOON + TICK, 5)
    await evaluation.clear_away(conn, NOON + timedelta(days=399))
    assert await fetch(conn, "SELECT count(*) FROM alert_episodes") == [(1,)]
    await evaluation.clear_away(conn, NOON + timedelta(days=401))
    assert await fetch(conn, "SELECT count(*) FROM alert_steps") == [(0,)]
