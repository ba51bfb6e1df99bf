"""Figures of campaigns over HTTP, against counts over the raw rows of a campaign that really was sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from event_stream_engine.campaigns import campaigns
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock, format_instant
from event_stream_engine.worker.runner import run_once
from tests.document import OBJECTS, find_faults, list_nulls
from tests.engine import Engine
from tests.sending import OPERATOR, add_campaign, add_people, fill_outbox
from tests.sent_campaigns import answer_campaign, send_campaign
from tests.web.test_api import happen, inbound

DATA = Path(__file__).parents[1] / "data"
DOCUMENT = {"campaign_performance": OBJECTS["campaign_performance"]}
API = "/api/v1/analytics"
CLOCK = SystemClock()
DAYS = timedelta(days=3)


@dataclass(slots=True)
class Sent:
    """A campaign that has ended, and what its messages have in the raw table."""

    engine: Engine
    id: UUID

    async def count(self, condition: str) -> int:
        query = f"SELECT count(*) FROM messages WHERE campaign_id = %s AND {condition}"
        [(found,)] = await self.engine.rows(query, self.id)
        return int(found)

    async def performance(self) -> dict[str, Any]:
        return await self.engine.get(f"{API}/campaigns/{self.id}/performance")


@pytest.fixture
async def sent(engine: Engine) -> Sent:
    campaign_id = await send_campaign(engine, "Spring", 120)
    await answer_campaign(engine, campaign_id)
    return Sent(engine, campaign_id)


async def test_every_figure_of_a_sent_campaign_is_a_count_over_its_rows(sent: Sent) -> None:
    answer = await sent.performance()
    found = answer["campaign_performance"]
    summary, times = found["execution_summary"], found["timing_analysis"]
    assert {name: summary[name] for name in summary if "percent" not in name and "minutes" not in name} == {
        "total_recipients": await sent.count("true"),
        "messages_attempted": await sent.count("answered_at IS NOT NULL"),
        "messages_sent": await sent.count("provider_sid IS NOT NULL"),
        "messages_delivered": await sent.count("delivered_at IS NOT NULL"),
        "messages_failed": await sent.count("failed_at IS NOT NULL"),
        "messages_skipped": await sent.count("skipped_at IS NOT NULL"),
        "messages_pending": 0,
        "delivery_unknown": 0,
    }
    by_status = await sent.engine.rows(
        "SELECT status, count(*)::int FROM messages WHERE campaign_id = %s GROUP BY 1", sent.id
    )
    assert {name: count for name, count in found["performance_breakdown"].items() if count} == dict(by_status)
    [(seconds, average, fastest, slowest)] = await sent.engine.rows(
        "SELECT array_agg(d ORDER BY d), avg(d), min(d), max(d) FROM (SELECT extract(epoch FROM delivered_at - answered_at)::float8 AS d"
        " FROM messages WHERE campaign_id = %s AND delivered_at IS NOT NULL) AS taken",
        sent.id,
    )
    assert times["measured_messages"] == len(seconds)
    assert times["average_delivery_time_seconds"] == pytest.approx(average, abs=0.001)
    assert times["fastest_delivery_seconds"] == pytest.approx(fastest, abs=1e-6)
    assert times["slowest_delivery_seconds"] == pytest.approx(slowest, abs=1e-6)
    for name, value in times["delivery_time_percentiles"].items():
        rank = -(-len(seconds) * int(name[1:]) // 100)
        assert value == pytest.approx(seconds[rank - 1], rel=0.011)
    [(minutes,)] = await sent.engine.rows(
        "SELECT extract(epoch FROM max(coalesce(skipped_at, answered_at)) - min(c.started_at))::float8 / 60"
        " FROM messages m JOIN campaigns c ON c.id = m.campaign_id WHERE campaign_id = %s",
        sent.id,
    )
    assert summary["execution_duration_minutes"] == pytest.approx(minutes, abs=0.006)
    delivered = await sent.count("delivered_at IS NOT NULL")
    assert answer["rates"]["read_rate_percent"]["numerator"] == await sent.count("read_at IS NOT NULL")
    assert (
        answer["rates"]["reply_rate_percent"]["numerator"] == await sent.count("replied_at IS NOT NULL") > 0
    )
    assert answer["rates"]["reply_rate_percent"]["denominator"] == delivered
    assert answer["opt_outs"]["messages_stopped"] == await sent.count("stopped_at IS NOT NULL") > 0
    assert answer["skipped_by_reason"] == {"consent_stop": await sent.count("skipped_at IS NOT NULL")}


async def test_errors_have_class_resolution_and_what_trying_again_brought(sent: Sent) -> None:
    errors = (await sent.performance())["error_analysis"]
    for code, row in errors["error_breakdown"].items():
        assert row["count"] == await sent.count(f"failure_code = {code}")
        assert row["class"]
        assert row["resolution"]
    assert sum(row["percentage"] for row in errors["error_breakdown"].values()) == pytest.approx(
        100, abs=0.02
    )
    assert errors["retries"]["30001"]["retried"] == await sent.count("postponed_code = 30001") > 0
    assert errors["retries"]["30001"]["sent"] == await sent.count(
        "postponed_code = 30001 AND provider_sid IS NOT NULL"
    )
    assert errors["retries"]["30001"]["delivered"] == await sent.count(
        "postponed_code = 30001 AND delivered_at IS NOT NULL"
    )


async def test_figures_of_one_answer_agree_with_each_other(sent: Sent) -> None:
    answer = await sent.performance()
    found = answer["campaign_performance"]
    summary = found["execution_summary"]
    assert sum(found["performance_breakdown"].values()) == summary["total_recipients"]
    histogram = answer["delivery_time_histogram"]
    assert sum(one["messages"] for one in histogram) == found["timing_analysis"]["measured_messages"]
    assert histogram[-1]["cumulative_percent"] == 100
    for dimension in ("country", "channel", "sender"):
        parts = answer[f"by_{dimension}"]
        assert sum(part["messages_sent"] for part in parts) == summary["messages_sent"]
        assert sum(part["messages_delivered"] for part in parts) == summary["messages_delivered"]
        assert all(
            part["low_percent"] <= part["delivery_rate_percent"] <= part["high_percent"] for part in parts
        )
    assert {part["country"] for part in answer["by_country"]} == {"US", "CA"}
    delivery = await sent.engine.get(f"{API}/delivery", campaign_id=str(sent.id))
    for name in ("messages_sent", "messages_delivered", "messages_failed", "delivery_rate_percent"):
        assert delivery["execution_summary"][name] == summary[name]
    assert delivery["timing_analysis"] == found["timing_analysis"]


async def test_answer_has_the_documents_keys_and_types(sent: Sent) -> None:
    answer = await sent.performance()
    assert (
        find_faults(DOCUMENT["campaign_performance"], answer["campaign_performance"], "campaign_performance")
        == []
    )
    assert list_nulls(answer["campaign_performance"], "campaign_performance") == []


async def test_draft_has_zeros_and_null_rates_with_reasons(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        campaign_id = await add_campaign(conn, CLOCK.now())
    answer = await engine.get(f"{API}/campaigns/{campaign_id}/performance")
    found = answer["campaign_performance"]
    assert set(found["performance_breakdown"].values()) == {0}
    assert find_faults(DOCUMENT["campaign_performance"], found, "campaign_performance") == []
    figures = {name: value for name, value in answer.items() if name not in ("unknown", "campaign", "rates")}
    for null in list_nulls(figures, ""):
        assert any(f"{null[1:]}.".startswith(f"{named}.") for named in answer["unknown"]), (
            f"{null} has no reason"
        )
    assert answer["campaign_performance"]["execution_summary"]["total_recipients"] == 0
    assert (answer["by_country"], answer["delivery_time_histogram"]) == ([], [])


async def test_running_campaign_has_no_duration_yet_and_counts_who_waits(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        await add_people(conn, 5, CLOCK.now())
        campaign_id = await add_campaign(conn, CLOCK.now())
        await fill_outbox(conn, campaign_id, CLOCK.now())
    answer = await engine.get(f"{API}/campaigns/{campaign_id}/performance")
    found = answer["campaign_performance"]
    assert found["performance_breakdown"]["PENDING"] == found["execution_summary"]["total_recipients"] == 5
    assert found["execution_summary"]["execution_duration_minutes"] is None
    assert "goes on" in answer["unknown"]["campaign_performance.execution_summary.execution_duration_minutes"]


async def test_cancelled_campaign_lasts_until_its_last_message_was_denied(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        await add_people(conn, 5, CLOCK.now())
        campaign_id = await add_campaign(conn, CLOCK.now())
        await fill_outbox(conn, campaign_id, CLOCK.now() - timedelta(minutes=30))
        async with transaction(conn):
            await campaigns.cancel_campaign(conn, OPERATOR, campaign_id, CLOCK.now())
        while await run_once(conn, CLOCK):
            pass
    await engine.project()
    answer = await engine.get(f"{API}/campaigns/{campaign_id}/performance")
    minutes = answer["campaign_performance"]["execution_summary"]["execution_duration_minutes"]
    assert minutes == pytest.approx(30, abs=0.5)
    assert answer["skipped_by_reason"] == {"campaign_cancelled": 5}


async def test_wrong_questions_are_refused_with_what_is_wrong(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        one, other = [str(await add_campaign(conn, CLOCK.now())) for _ in range(2)]
    missing = str(uuid4())
    questions: Sequence[tuple[str, int, str | None]] = (
        (f"/campaigns/{missing}/performance", 404, None),
        (f"/campaigns/{one}/performance?country=US", 422, "country"),
        ("/campaigns/none/performance", 422, "campaign_id"),
        ("/compare", 422, "campaign_id"),
        (f"/compare?campaign_id={one}", 422, "campaign_id"),
        (f"/compare?campaign_id={one}&campaign_id={one}", 422, "campaign_id"),
        (f"/compare?campaign_id={one}&campaign_id={missing}", 404, None),
        (f"/compare?campaign_id={one}&campaign_id={other}&period=24h", 422, "period"),
        ("/compare?" + "&".join(f"campaign_id={uuid4()}" for _ in range(5)), 422, "campaign_id"),
        ("/effectiveness?period=1y", 422, "period"),
        ("/effectiveness?segment=x", 422, "segment"),
        ("/funnel?since=2026-03-02&until=2026-03-01", 422, "since"),
        ("/opt-outs?until=soon", 422, "until"),
    )
    for path, status, field in questions:
        answer = await engine.client.get(API + path)
        assert answer.status_code == status, (path, answer.text)
        if field:
            assert answer.json()["field"].split(".")[0] == field, path


async def test_compared_rates_have_intervals_and_say_where_they_overlap(sent: Sent) -> None:
    engine = sent.engine
    async with await connect(engine.url, "test") as conn:
        draft = await add_campaign(conn, CLOCK.now(), name="Draft")
    answer = await engine.client.get(f"{API}/compare", params={"campaign_id": [str(sent.id), str(draft)]})
    body = answer.json()
    mine, nothing = body["campaigns"]
    performance = await sent.performance()
    assert (mine["campaign_name"], mine["messages_sent"]) == ("Spring", await sent.count("is_sent"))
    rate = mine["rates"]["delivery_rate_percent"]
    assert {name: rate[name] for name in performance["rates"]["delivery_rate_percent"]} == performance[
        "rates"
    ]["delivery_rate_percent"]
    assert nothing["rates"]["delivery_rate_percent"]["percent"] is None
    assert body["unknown"]["campaigns.1.rates.delivery_rate_percent"]
    [pair] = body["pairs"]
    assert pair["campaign_ids"] == [str(sent.id), str(draft)]
    assert set(pair["intervals_overlap"].values()) == {None}


async def test_opt_outs_are_attributed_to_campaign_and_template(sent: Sent) -> None:
    engine = sent.engine
    now = datetime.now(UTC)
    await happen(engine, inbound(now, "IN1", "STOP", From="+14155559999"))
    ends = {
        "since": format_instant(now - DAYS),
        "until": format_instant(now + DAYS),
    }  # its answers are yet to come
    answer = await engine.get(f"{API}/opt-outs", **ends)
    stopped = await sent.count("stopped_at IS NOT NULL")
    [row] = answer["by_campaign"]
    assert (row["campaign_id"], row["messages_stopped"]) == (str(sent.id), stopped)
    assert row["messages_sent"] == await sent.count("is_sent")
    [template] = answer["by_template"]
    assert template["template_name"] == row["template_name"]
    assert template["messages_stopped"] == stopped
    [(transitions,)] = await engine.rows(
        "SELECT count(*) FROM consent_history(ARRAY(SELECT phone_e164 FROM consent_ledger)) WHERE state_before <> state_after AND state_after = 'STOP'"
    )
    assert answer["opt_outs"]["stop_transitions"] == transitions
    assert answer["opt_outs"]["not_attributed"] == transitions - stopped == 1
