"""What works: the document's two analytic queries as printed, and the endpoints that give their figures from roll-ups."""

from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from event_stream_engine.analytics import funnel
from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from tests.engine import Engine
from tests.sending import add_campaign
from tests.sent_campaigns import answer_campaign, send_campaign
from tests.web.test_api import happen, inbound, receipt

API = "/api/v1/analytics"
CLOCK = SystemClock()
DATA = Path(__file__).parents[1] / "data"


def read_sql(name: str) -> str:
    return (DATA / f"{name}.sql").read_text("utf-8")


async def send_two_campaigns(engine: Engine) -> None:
    for name, people, first in (("Spring", 60, 0), ("Summer", 31, 1000)):
        await answer_campaign(engine, await send_campaign(engine, name, people, first))


async def test_effectiveness_equals_the_documents_query_as_printed(engine: Engine) -> None:
    await send_two_campaigns(engine)
    async with await connect(engine.url, "test") as conn:
        await add_campaign(conn, CLOCK.now(), name="Draft")
    expected = await engine.rows(read_sql("campaign_roi_analysis"))
    answer = await engine.get(f"{API}/effectiveness")
    rows = answer["campaign_effectiveness"]
    keys = ("campaign_name", "segment_name", "messages_sent", "delivered", "delivery_rate")
    assert [tuple(row[key] for key in keys) for row in rows] == [
        (*row[:4], float(row[4])) for row in expected
    ]
    assert {row["campaign_name"] for row in rows} == {"Spring", "Summer"}
    for kind in ("segment", "template"):
        grouped = answer[f"by_{kind}"]
        assert sum(row["messages_sent"] for row in grouped) == sum(row["messages_sent"] for row in rows)
        assert [row["delivery_rate"] for row in grouped] == [row["delivery_rate"] for row in rows]


async def test_rates_that_end_in_a_half_are_rounded_as_the_document_does(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        campaign_id = await add_campaign(conn, CLOCK.now())
        await conn.execute("UPDATE campaigns SET recipients = 800 WHERE id = %s", (campaign_id,))
        await conn.execute("INSERT INTO campaign_rollups VALUES (%s, 'DELIVERED', '', 1)", (campaign_id,))
    [row] = (await engine.get(f"{API}/effectiveness"))["campaign_effectiveness"]
    assert row["delivery_rate"] == 0.13


async def load_people(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Return for each consent state its people: messages, answers, messaged, delivered, read, replied to a delivered one."""
    people: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    messages: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    answers: dict[str, int] = defaultdict(int)
    for phone, *facts in await engine.rows(
        "SELECT recipient_phone, cohort_at, delivered_at, read_at, CASE WHEN delivered_at IS NOT NULL THEN replied_at END FROM messages"
    ):
        messages[phone].append(tuple(facts))
    for (phone,) in await engine.rows("SELECT from_phone FROM inbound_events"):
        answers[phone] += 1
    for phone, state in await engine.rows("SELECT phone_e164, consent_state FROM users"):
        mine = messages[phone]
        steps = [any(facts[place] is not None for facts in mine) for place in range(4)]
        people[state].append((len(mine), answers[phone], *steps))
    return people


async def test_funnel_counts_each_side_per_person_before_joining(engine: Engine) -> None:
    await send_two_campaigns(engine)
    [(phone,)] = await engine.rows("SELECT from_phone FROM inbound_events ORDER BY 1 LIMIT 1")
    await happen(engine, inbound(CLOCK.now(), "IN7", "and another thing", From=phone))
    answer = await engine.get(f"{API}/funnel")
    people = await load_people(engine)
    assert [row["consent_state"] for row in answer["user_engagement_funnel"]] == sorted(people)
    for row in answer["user_engagement_funnel"]:
        mine = people[row["consent_state"]]
        messages, answers = (sum(one[place] for one in mine) for place in (0, 1))
        assert row["users"] == len(mine)
        assert row["avg_messages_received"] == pytest.approx(messages / len(mine), abs=0.0001)
        assert row["avg_responses"] == pytest.approx(answers / len(mine), abs=0.0001)
        assert row["engagement_rate"] == pytest.approx(answers / messages * 100, abs=0.01)
    everybody = [one for rows in people.values() for one in rows]
    journey = {step["step"]: step["users"] for step in answer["journey"]}
    assert journey == {
        "subscribed": len(everybody),
        **{
            step: sum(one[place] for one in everybody)
            for place, step in enumerate(("messaged", "delivered", "read", "replied"), start=2)
        },
    }
    assert journey["replied"] > 0
    assert answer["journey"][0]["percent_of_subscribed"] == 100


async def test_documents_funnel_runs_as_printed_and_multiplies_what_ours_counts_once(engine: Engine) -> None:
    await send_two_campaigns(engine)
    printed = await engine.rows(read_sql("user_engagement_funnel"))
    ours = (await engine.get(f"{API}/funnel"))["user_engagement_funnel"]
    assert {(row[0], row[1]) for row in printed} == {(row["consent_state"], row["users"]) for row in ours}


async def test_empty_windows_have_zero_counts_and_a_reason(engine: Engine) -> None:
    funnel_answer = await engine.get(f"{API}/funnel")
    assert funnel_answer["user_engagement_funnel"] == []
    assert {step["users"] for step in funnel_answer["journey"]} == {0}
    assert funnel_answer["unknown"]["journey"]
    effectiveness = await engine.get(f"{API}/effectiveness")
    assert (effectiveness["campaign_effectiveness"], effectiveness["by_segment"]) == ([], [])
    opt_outs = await engine.get(f"{API}/opt-outs")
    assert opt_outs["opt_outs"]["opt_out_rate_percent"] is None
    assert opt_outs["unknown"]["opt_outs.opt_out_rate_percent"]


async def test_funnel_that_takes_too_long_is_given_up_with_what_to_do(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await connect(engine.url, "test") as conn:
        await conn.execute(
            "INSERT INTO users (phone_e164, consent_state, created_at, updated_at)"
            " SELECT '+1415' || 2000000 + n, 'OPT_IN', now(), now() FROM generate_series(1, 20000) AS n"
        )
    monkeypatch.setattr(funnel, "LONGEST_MS", 1)
    answer = await engine.client.get(f"{API}/funnel")
    assert answer.status_code == 503
    assert "shorter period" in answer.json()["detail"]


async def test_a_stop_counts_also_when_it_answers_a_message_that_failed_at_once(engine: Engine) -> None:
    at, person = CLOCK.now() - timedelta(minutes=30), "+14155551239"
    await happen(engine, receipt(at, "SM90", "failed", To=person, ErrorCode="21211"))
    await happen(engine, inbound(at + timedelta(minutes=1), "SM91", "STOP", From=person, To="+447776105348"))
    answer = await engine.get(f"{API}/opt-outs")
    assert (answer["opt_outs"]["messages_stopped"], answer["opt_outs"]["messages_sent"]) == (1, 0)
    assert answer["by_campaign"] == answer["by_template"] == []
