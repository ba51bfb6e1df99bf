"""The pages of alerts as a browser gets them: what fires is on every page, and who may do what."""

import re
from datetime import UTC, datetime

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from tests.engine import Engine
from tests.web.test_alerts_api import API, RULE, drive, send, tick_once
from tests.web.test_room_pages import HOSTILE, load_page

NAME = "Campaign delivery rate below threshold"


async def set_role(engine: Engine, role: Role) -> httpx.AsyncClient:
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, role.value, role, datetime.now(UTC))).key
    engine.anonymous.headers["authorization"] = f"Bearer {key}"
    return engine.anonymous


async def test_what_fires_is_on_every_page_until_somebody_has_it_in_hand(engine: Engine) -> None:
    await drive(engine, 177)
    await tick_once(engine)
    for address in ("/monitoring", "/campaigns", "/audience/segments/new", "/alerts/banner", "/alerts"):
        page = await load_page(engine, address)
        assert "1 firing" in page.text, address
        assert 'href="/alerts/ALT001"' in page.text, address
    assert (await send(engine, "POST", f"{API}/ALT001/acknowledge")).status_code == 200
    assert "1 firing" not in (await load_page(engine, "/monitoring")).text


async def test_the_banner_acknowledges_without_a_script(engine: Engine) -> None:
    await drive(engine, 177)
    await tick_once(engine)
    answer = await engine.client.post("/alerts/ALT001/acknowledge")
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts/ALT001")
    viewer = await set_role(engine, Role.viewer)
    assert (await viewer.post("/alerts/ALT001/acknowledge")).status_code == 403


async def test_an_alert_shows_value_threshold_and_history(engine: Engine) -> None:
    await drive(engine, 177)
    await tick_once(engine)
    for address in ("/alerts", "/alerts/ALT001"):
        page = await load_page(engine, address)
        assert (page.refused, len(page.ids)) == ([], len(set(page.ids))), address
        assert page.refers_to <= set(page.ids), address
        assert "88.5 %" in page.text
        assert "below 90 %" in page.text
        assert "Spring Promotion 2024" in page.text
    page = await load_page(engine, "/alerts/ALT001")
    assert "To whomever the routes name." in page.text
    [(incident_id,)] = await engine.rows("SELECT id FROM incidents")
    assert f'<a href="/incidents/{incident_id}">INC-0001</a>' in page.text
    missing = await engine.client.get("/alerts/ALT999", headers={"accept": "text/html"})
    assert missing.status_code == 404


async def test_rules_show_where_they_stand_and_the_form_what_a_rule_would_have_done(engine: Engine) -> None:
    await drive(engine, 177)
    await tick_once(engine)
    made = (
        await send(
            engine, "POST", f"{API}/rules", RULE | {"name": f"Rule {HOSTILE}", "labels": {"team": HOSTILE}}
        )
    ).json()
    page = await load_page(engine, "/alerts/rules")
    assert page.refused == []
    assert NAME in page.text
    rates = next(rule for rule in (await engine.get(f"{API}/rules"))["rules"] if rule["name"] == NAME)
    assert (await engine.get(f"{API}/rules/{rates['id']}/backtest"))["would_have_fired"] == 1
    for rule_id in (made["id"], rates["id"]):
        form = await load_page(engine, f"/alerts/rules/{rule_id}")
        assert (form.refused, len(form.ids)) == ([], len(set(form.ids)))
    assert re.search(
        r"1\s+<small>time\s+in the last 14 days",
        (await load_page(engine, f"/alerts/rules/{rates['id']}")).text,
    )
    tried = await engine.client.post(
        "/alerts/rules/tried",
        json=RULE | {"name": "New", "metric": "consent_missing", "window_seconds": 3600},
    )
    assert "<small>times in the last 14 days" in tried.text
    refused = await engine.client.post("/alerts/rules/tried", json=RULE | {"severity": "bad"})
    assert (refused.status_code, refused.json()["field"]) == (422, "severity")


@pytest.mark.parametrize("role", [Role.viewer, Role.operator])
async def test_only_an_admin_finds_what_changes_rules_and_thresholds(engine: Engine, role: Role) -> None:
    client = await set_role(engine, role)
    for address in ("/alerts/rules", "/settings"):
        answer = await client.get(address, headers={"accept": "text/html"})
        assert answer.status_code == 200
        assert "data-method" not in answer.text
        assert "/alerts/rules/new" not in answer.text
    assert (await client.get("/alerts/rules/new", headers={"accept": "text/html"})).status_code == 403
    alerts = (await client.get("/alerts", headers={"accept": "text/html"})).text
    assert ("New silence" in alerts) == (role is Role.operator)


async def test_the_line_on_the_dashboard_is_the_rules_threshold(engine: Engine) -> None:
    await send(engine, "PUT", f"{API}/configuration", {"delivery_rate_threshold": 93.5})
    assert "threshold 93.5 %" in (await load_page(engine, "/monitoring")).text
    assert 'value="93.5"' in (await load_page(engine, "/settings")).text
