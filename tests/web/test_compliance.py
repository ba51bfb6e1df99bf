"""Compliance over HTTP: figures, the rows behind them, the page, and refused questions."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.analytics.compliance_check import prepare_check
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from tests.engine import Engine
from tests.hand_overs import check, consent, decision, hand_over, hand_over_undecided, list_messages, start
from tests.web.test_room_pages import load_page

HOSTILE = '"><script>alert(1)</script>'
VIOLATIONS = "/api/v1/compliance/violations"


async def happen(engine: Engine, people: int = 12) -> UUID:
    """Hand over to everybody in one second, an hour ago: one had said STOP, the limit was 10."""
    at = (datetime.now(UTC) - timedelta(hours=1)).replace(microsecond=0)
    async with await connect(engine.url, "test") as conn:
        await prepare_check(conn)
        campaign_id = await start(conn, people, at, name=f"Spring {HOSTILE}", rate=10)
        await consent(conn, "+14152000003", "stop", at - timedelta(minutes=1))
        await hand_over(
            conn, *(decision(campaign_id, one, at) for one in await list_messages(conn, campaign_id))
        )
        await check(conn)
    return campaign_id


async def test_figures_and_the_rows_behind_them_agree(engine: Engine) -> None:
    campaign_id = await happen(engine)
    answer = await engine.get("/api/v1/compliance")
    metrics = answer["compliance_metrics"]
    assert metrics == {
        "consent_verification": {
            "total_messages_sent": 12,
            "consent_verified_count": 11,
            "consent_missing_count": 1,
            "compliance_rate": 91.67,
        },
        "quiet_hours_compliance": {
            "messages_during_quiet_hours": 0,
            "messages_in_unknown_time_zones": 0,
            "messages_rescheduled": 0,
            "compliance_rate": 100.0,
        },
        "rate_limit_adherence": {
            "rate_limit_violations": 1,
            "seconds_sending": 1,
            "average_send_rate": 12.0,
            "peak_send_rate": 12,
            "compliance_status": "poor",
        },
        "audit_trail_completeness": {
            "events_logged": 24,
            "missing_audit_entries": 0,
            "audit_coverage": 100.0,
        },
    }
    assert answer["rates"]["compliance_metrics.consent_verification.compliance_rate"] == {
        "numerator": 11,
        "denominator": 12,
    }
    assert answer["unknown"] == {}
    assert answer["oldest_unchecked_at"] is None
    found = (await engine.get(VIOLATIONS))["items"]
    assert sorted(one["kind"] for one in found) == ["consent", "rate"]
    [one] = (await engine.get(VIOLATIONS, kind="consent"))["items"]
    assert one["recipient"] == "+1 415 ••• ••03"
    assert one["campaign_id"] == str(campaign_id)
    assert one["evidence"]["state"] == "STOP"
    assert "2000003" not in str(found)


async def test_campaign_is_a_filter_and_an_unknown_one_is_not_found(engine: Engine) -> None:
    campaign_id = await happen(engine)
    whole, part = (
        await engine.get("/api/v1/compliance"),
        await engine.get("/api/v1/compliance", campaign_id=str(campaign_id)),
    )
    assert part["compliance_metrics"] == whole["compliance_metrics"]
    assert (whole["auto_replies"]["handed_over"], part["auto_replies"]) == (0, None)
    for path in ("/api/v1/compliance", VIOLATIONS, "/compliance"):
        answer = await engine.client.get(path, params={"campaign_id": str(uuid4())})
        assert answer.status_code == 404, path


async def test_pages_of_violations_hold_each_once(engine: Engine) -> None:
    at = datetime.now(UTC) - timedelta(hours=1)
    async with await connect(engine.url, "test") as conn:
        await prepare_check(conn)
        campaign_id = await start(conn, 7, at)
        await hand_over_undecided(conn, campaign_id, at)
        await check(conn)
    seen: list[dict[str, Any]] = []
    parameters = {"kind": "decision_missing", "limit": "3"}
    while True:
        answer = await engine.get(VIOLATIONS, **parameters)
        seen += answer["items"]
        if answer["next_cursor"] is None:
            break
        parameters["cursor"] = answer["next_cursor"]
    assert len({one["message_id"] for one in seen}) == len(seen) == 7


async def test_a_question_that_is_not_understood_is_refused_by_name(engine: Engine) -> None:
    for path, parameters, field in (
        ("/api/v1/compliance", {"campaign_id": "1"}, "campaign_id"),
        ("/api/v1/compliance", {"kind": "consent"}, "kind"),
        (VIOLATIONS, {"kind": "other"}, "kind"),
        (VIOLATIONS, {"limit": "0"}, "limit"),
        (VIOLATIONS, {"cursor": "x"}, "cursor"),
        (VIOLATIONS, {"period": "2d"}, "period"),
        (VIOLATIONS, {"country": "US"}, "country"),
    ):
        answer = await engine.client.get(path, params=parameters)
        assert (answer.status_code, answer.json()["field"]) == (422, field), (path, parameters)


async def test_recheck_is_for_operators_is_audited_and_names_a_wrong_window(engine: Engine) -> None:
    await happen(engine)
    now = datetime.now(UTC)
    body = {"since": (now - timedelta(hours=2)).isoformat(), "until": now.isoformat()}
    await engine.rows("DELETE FROM consent_ledger WHERE phone_e164 = '+14152000005' RETURNING id")
    answer = await engine.client.post("/api/v1/compliance/recheck", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["rechecked"] == 12
    assert answer.json()["compliance_metrics"]["consent_verification"]["consent_verified_count"] == 10
    [(actor,)] = await engine.rows("SELECT actor FROM audit_log WHERE action = 'compliance.rechecked'")
    assert actor.startswith("key:")
    assert "12 hand-overs of" in (await load_page(engine, "/compliance")).text
    for wrong, field in (
        ({"since": body["until"], "until": body["since"]}, "since"),
        (body | {"until": "2026-03-02T00:00:00"}, "until"),
    ):
        answer = await engine.client.post("/api/v1/compliance/recheck", json=wrong)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, "viewer", Role.viewer, SystemClock().now())).key
    viewer = {"authorization": f"Bearer {key}"}
    answer = await engine.anonymous.post("/api/v1/compliance/recheck", json=body, headers=viewer)
    assert answer.status_code == 403
    answer = await engine.anonymous.get("/compliance", headers=viewer | {"accept": "text/html"})
    assert answer.status_code == 200
    assert "data-method" not in answer.text


async def test_page_without_data_teaches_the_next_step(engine: Engine) -> None:
    page = await load_page(engine, "/compliance")
    assert "Nothing was handed over in this period" in page.text
    assert "ese work" in page.text
    assert page.refused == []
    assert len(page.ids) == len(set(page.ids))
    assert page.refers_to <= set(page.ids)


async def test_page_shows_figures_evidence_and_no_number(engine: Engine) -> None:
    campaign_id = await happen(engine)
    for address in (
        "/compliance",
        "/compliance?period=7d&kind=rate",
        f"/compliance?campaign_id={campaign_id}",
        "/compliance?kind=event_missing",
    ):
        page = await load_page(engine, address)
        assert page.refused == [], address
        assert len(page.ids) == len(set(page.ids)), address
        assert page.refers_to <= set(page.ids), address
        assert HOSTILE not in page.text, address
        assert "2000003" not in page.text, address
    text = (await load_page(engine, "/compliance")).text
    assert "91.67" in text
    assert "The ledger says STOP since" in text
    assert "12 in one second, the limit is 10" in text
    assert "+1 415 ••• ••03" in text


async def test_rows_of_the_page_come_by_pages(engine: Engine) -> None:
    at = datetime.now(UTC) - timedelta(hours=1)
    async with await connect(engine.url, "test") as conn:
        await prepare_check(conn)
        campaign_id = await start(conn, 30, at)
        await hand_over_undecided(conn, campaign_id, at)
        await check(conn)
    page = (await load_page(engine, "/compliance?kind=decision_missing")).text
    address = page.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    following = (await load_page(engine, address)).text
    assert "5 shown" in following
    assert "First page" in following
