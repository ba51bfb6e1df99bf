"""The pages of Campaigns and Audience as a browser gets them, on a real engine."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from tests.engine import ACCOUNT_SID, Engine
from tests.web.test_monitoring_page import Page

HOSTILE = '"><script>alert(1)</script>'
PHONE = "+14155551234"
ADDRESSES = (
    "/campaigns",
    "/campaigns?state=running",
    "/campaigns/new",
    "/campaigns/templates",
    "/campaigns/templates/new",
    "/campaigns/replies",
    "/audience",
    "/audience?consent=OPT_IN&country=US&search=ada",
    "/audience/figures",
    "/audience/figures?period=7d",
    "/inbound",
    "/inbound?period=24h&channel=sms&intent=help",
    "/performance",
    "/performance?period=90d",
    "/audience/segments",
    "/audience/segments/new",
    "/audience/imports",
    "/performance/database",
    "/performance/database?period=7d",
    "/alerts",
    "/alerts/rules",
    "/alerts/rules/new",
    "/settings",
    "/incidents",
    "/incidents?severity=high&period=7d",
    "/settings/escalation",
    "/insights/capacity",
    "/insights/capacity?volume_factor=2&drain_recipients=1000",
    "/reports",
    "/reports/subscriptions",
    "/reports/exports",
    "/reports/exports?set=users&search=ada",
    "/reports/exports?set=recipients",
    "/reports/exports?set=inbound&since=2026-03-01T00:00:00Z&intent=help",
)
FOR_OPERATORS = ("/campaigns/new", "/campaigns/templates/new", "/audience/segments/new")


async def load_page(engine: Engine, address: str) -> Page:
    answer = await engine.client.get(address, headers={"accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


async def post(engine: Engine, address: str, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = await engine.client.post(f"/api/v1{address}", json=body)
    assert answer.status_code in (200, 201), answer.text
    made: dict[str, Any] = answer.json()
    return made


async def make_person(engine: Engine) -> str:
    consent = {"state": "OPT_IN", "evidence": f"signed {HOSTILE}"}
    person = {"phone_e164": PHONE, "attributes": {"first_name": HOSTILE, HOSTILE: "x"}, "consent": consent}
    return str((await post(engine, "/users", person))["id"])


async def make_campaign(engine: Engine) -> str:
    everybody = {"name": f"All {HOSTILE}", "filter": {"and": []}}
    segment = await post(engine, "/segments", everybody)
    template = await post(
        engine, "/templates", {"name": f"Words {HOSTILE}", "channel": "sms", "body": f"Hi {HOSTILE}"}
    )
    draft = {
        "name": f"Sale {HOSTILE}",
        "segment_id": segment["id"],
        "template_id": template["id"],
        "sender": "+14155238886",
    }
    return str((await post(engine, "/campaigns", draft))["id"])


@pytest.fixture
async def viewer(engine: Engine) -> httpx.AsyncClient:
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, "viewer", Role.viewer, SystemClock().now())).key
    engine.anonymous.headers["authorization"] = f"Bearer {key}"
    return engine.anonymous


async def test_pages_are_whole_and_hold_nothing_a_strict_policy_refuses(engine: Engine) -> None:
    for address in ADDRESSES:
        page = await load_page(engine, address)
        assert page.refused == [], address
        assert len(page.ids) == len(set(page.ids)), address
        assert page.refers_to <= set(page.ids), address


async def test_pages_send_whoever_is_not_signed_in_to_the_sign_in(engine: Engine) -> None:
    await load_page(engine, "/campaigns")
    for address in ADDRESSES:
        answer = await engine.anonymous.get(address, headers={"accept": "text/html"})
        assert answer.status_code == 303, address
        assert answer.headers["location"].startswith("/sign-in?next="), address


async def test_forms_for_changes_are_for_operators(viewer: httpx.AsyncClient) -> None:
    for address in FOR_OPERATORS:
        answer = await viewer.get(address, headers={"accept": "text/html"})
        assert answer.status_code == 403, address
        assert "operator" in answer.text


async def test_viewer_finds_no_button_that_changes_anything(
    engine: Engine, viewer: httpx.AsyncClient
) -> None:
    person, campaign = await make_person(engine), await make_campaign(engine)
    for address in (f"/audience/people/{person}", f"/campaigns/{campaign}", "/campaigns/replies"):
        answer = await viewer.get(address, headers={"accept": "text/html"})
        assert answer.status_code == 200, answer.text
        assert "data-method" not in answer.text
        assert "data-reveals" not in answer.text


async def test_empty_rooms_teach_the_next_step(engine: Engine) -> None:
    assert "ese import users" in (await load_page(engine, "/campaigns")).text
    assert "ese import users" in (await load_page(engine, "/audience")).text
    assert "Build the first segment" in (await load_page(engine, "/audience/segments")).text
    assert "build a segment" in (await load_page(engine, "/campaigns/new")).text


async def test_numbers_are_masked_and_hostile_words_stay_words(engine: Engine) -> None:
    person, campaign = await make_person(engine), await make_campaign(engine)
    [(segment,)] = await engine.rows("SELECT id FROM segments")
    [(template,)] = await engine.rows("SELECT id FROM templates")
    for address in (
        "/audience",
        "/audience?search=first_name",
        f"/audience/people/{person}",
        "/audience/segments",
        f"/audience/segments/{segment}",
        "/campaigns",
        f"/campaigns/{campaign}",
        f"/campaigns/{campaign}/edit",
        "/campaigns/templates",
        f"/campaigns/templates/{template}",
        "/campaigns/new",
    ):
        page = await load_page(engine, address)
        assert HOSTILE not in page.text, address
        assert PHONE not in page.text, address
        assert page.refused == [], address
        assert len(page.ids) == len(set(page.ids)), address
        assert page.refers_to <= set(page.ids), address


async def test_ledger_is_evidence_that_prints(engine: Engine) -> None:
    person = await make_person(engine)
    text = (await load_page(engine, f"/audience/people/{person}")).text
    assert "Evidence of consent of +1 415 ••• ••34" in text
    assert re.search(r"made by entry [0-9a-f-]{36}", text)


async def test_draft_says_before_the_start_whom_it_would_reach(engine: Engine) -> None:
    await make_person(engine)
    text = (await load_page(engine, f"/campaigns/{await make_campaign(engine)}")).text
    assert "Start: write to 1<" in text
    assert "cannot be called back" in text


async def test_started_campaign_shows_its_figures_and_where_its_messages_are(engine: Engine) -> None:
    campaign = await make_campaign(engine)
    await post(engine, f"/campaigns/{campaign}/start", {})
    page = await load_page(engine, f"/campaigns/{campaign}")
    assert 'data-every-ms="1500"' in page.text
    assert page.refused == []
    assert page.refers_to <= set(page.ids)
    assert "pace-chart" in page.charts
    assert "Pause" in page.text


async def test_unknown_things_are_not_found(engine: Engine) -> None:
    missing = "00000000-0000-4000-8000-000000000000"
    for address in (
        f"/campaigns/{missing}",
        f"/audience/segments/{missing}",
        f"/campaigns/templates/{missing}",
        "/audience/people/nobody",
    ):
        answer = await engine.client.get(address, headers={"accept": "text/html"})
        assert answer.status_code == 404, address


async def test_a_preview_does_not_tell_the_number_that_lists_hide(
    engine: Engine, viewer: httpx.AsyncClient
) -> None:
    person = await make_person(engine)
    body = {"template": {"name": "x", "channel": "sms", "body": "{phone}"}, "user": person}
    answer = await viewer.post("/api/v1/templates/preview", json=body)
    assert answer.json()["text"] == "+1 415 ••• ••34"


async def test_inbound_shows_masked_what_people_wrote_and_the_audience_who_they_are(engine: Engine) -> None:
    await make_person(engine)
    for number, body in enumerate((f"hello {HOSTILE}", "HELP", "STOP")):
        form = {"From": PHONE, "To": "+14155238886", "AccountSid": ACCOUNT_SID, "Body": body}
        sid = {"MessageSid": f"SM{number:032x}"}
        assert (await engine.post_webhook("/webhooks/inbound", form | sid)).status_code == 200
    await engine.project()
    for address in ("/inbound", "/inbound?channel=sms&intent=help", "/audience/figures"):
        page = await load_page(engine, address)
        assert HOSTILE not in page.text, address
        assert PHONE not in page.text, address
        assert page.refused == [], address
        assert len(page.ids) == len(set(page.ids)), address
        assert page.refers_to <= set(page.ids), address
    inbound = await load_page(engine, "/inbound")
    assert "+1 415 ••• ••34" in inbound.text
    assert sum(row["messages"] for row in inbound.charts["week-chart"]["rows"]) == 3
    assert sum(row["messages"] for row in inbound.charts["inbound-chart"]["rows"]) == 3
    figures = await load_page(engine, "/audience/figures")
    assert sum(row["users"] for row in figures.charts["signups-chart"]["rows"]) == 1
    assert sum(row["STOP"] for row in figures.charts["consent-chart"]["rows"]) == -1


async def test_the_menu_of_periods_keeps_the_channel(engine: Engine) -> None:
    page = await load_page(engine, "/inbound?channel=sms")
    assert 'href="?channel=sms&amp;period=30d"' in page.text
    assert '<input type="hidden" name="channel" value="sms">' in page.text


async def test_an_unknown_intent_or_filter_is_refused(engine: Engine) -> None:
    for query in ("intent=hi", "channel=SMS", "country=US"):
        answer = await engine.client.get(f"/inbound?{query}", headers={"accept": "text/html"})
        assert answer.status_code == 422, query
