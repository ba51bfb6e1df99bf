"""The page of one campaign: its figures with and without data, and what stands in its address."""

import re
from uuid import UUID, uuid4

import pytest

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from tests.engine import Engine
from tests.sending import add_campaign, add_people, fill_outbox
from tests.sent_campaigns import answer_campaign, send_campaign
from tests.web.test_room_pages import load_page

CLOCK = SystemClock()
CHARTS = {"pace-chart", "delivery-times-chart"}
PANELS = ("waterfall", "delivery-times", "statuses", "parts", "why-failed", "comparison", "messages")


@pytest.fixture
async def sent(engine: Engine) -> UUID:
    campaign_id = await send_campaign(engine, "Spring", 60)
    await answer_campaign(engine, campaign_id)
    return campaign_id


def read_text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def test_figures_of_the_page_are_those_of_the_api(engine: Engine, sent: UUID) -> None:
    page = await load_page(engine, f"/campaigns/{sent}")
    answer = await engine.get(f"/api/v1/analytics/campaigns/{sent}/performance")
    found = answer["campaign_performance"]
    assert page.refused == []
    assert len(page.ids) == len(set(page.ids))
    assert page.refers_to <= set(page.ids)
    assert set(page.charts) >= CHARTS
    assert set(PANELS) <= set(page.ids)
    text = read_text(page.text)
    for status, count in found["performance_breakdown"].items():
        if count:
            name = {"SKIPPED": "denied"}.get(status, status.lower())
            share = count * 100 / found["execution_summary"]["total_recipients"]
            assert f"{name} {count} {share:.2f}" in text
    for part in answer["by_country"]:
        assert f"country {part['country']} {part['messages_sent']} {part['messages_delivered']}" in text
    assert "Segment Spring" in text
    assert f"Replied within 72 h {answer['engagement']['messages_replied']}" in text
    retry = answer["error_analysis"]["retries"]["30001"]
    assert f"{retry['retried']} {retry['delivered']} delivered" in text


async def test_each_step_of_the_waterfall_leads_to_its_messages(engine: Engine, sent: UUID) -> None:
    page = await load_page(
        engine, f"/campaigns/{sent}?compare={await send_campaign(engine, 'Summer', 20, 1000)}"
    )
    steps = page.text.split('id="waterfall-rows"')[1].split("</ol>")[0]
    addresses = [address.replace("&amp;", "&") for address in re.findall(r'href="([^"]+)"', steps)]
    assert len(addresses) >= 5
    for address in addresses:
        assert "compare=" in address
        rows = await load_page(engine, address.split("#")[0])
        assert "No message is in this state." not in rows.text, address


async def test_campaigns_chosen_in_the_address_stand_beside_it(engine: Engine, sent: UUID) -> None:
    other = await send_campaign(engine, "Summer", 20, 1000)
    alone = await load_page(engine, f"/campaigns/{sent}")
    assert f'<option value="{other}">' in alone.text
    beside = await load_page(engine, f"/campaigns/{sent}?status=SENT&compare={other}")
    assert f'<option value="{other}">' not in beside.text
    comparison = beside.text.split('id="comparison-rows"')[1].split("</table>")[0]
    assert "Spring" in comparison
    assert f'href="/campaigns/{other}"' in comparison
    assert f'href="/campaigns/{sent}?status=SENT#comparison"' in comparison  # leaves it out again
    assert "More than chance" in beside.text  # nothing of the other one has arrived
    assert "Rates still change" in beside.text


async def test_wrong_addresses_say_what_is_wrong(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        await add_people(conn, 3, CLOCK.now())
        campaign_id = await add_campaign(conn, CLOCK.now())
        await fill_outbox(conn, campaign_id, CLOCK.now())
    path = f"/campaigns/{campaign_id}"
    for query, status in (
        ("status=GONE", 422),
        ("compare=x", 422),
        (f"compare={campaign_id}", 422),
        (f"compare={uuid4()}", 404),
        ("&".join(f"compare={uuid4()}" for _ in range(4)), 422),
    ):
        answer = await engine.client.get(f"{path}?{query}", headers={"accept": "text/html"})
        assert answer.status_code == status, query


async def test_campaign_that_has_just_begun_says_what_will_come(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        await add_people(conn, 3, CLOCK.now())
        campaign_id = await add_campaign(conn, CLOCK.now())
        await fill_outbox(conn, campaign_id, CLOCK.now())
    page = await load_page(engine, f"/campaigns/{campaign_id}")
    text = read_text(page.text)
    assert page.refused == []
    assert page.refers_to <= set(page.ids)
    for words in (
        "No delivery time has been measured yet.",
        "Nothing has been handed over yet.",
        "No message of this campaign has failed",
        "No other campaign has started yet.",
        "still going on",
        "nothing delivered yet",
    ):
        assert words in text


async def test_draft_shows_no_figures(engine: Engine) -> None:
    async with await connect(engine.url, "test") as conn:
        campaign_id = await add_campaign(conn, CLOCK.now())
    page = await load_page(engine, f"/campaigns/{campaign_id}")
    assert "comparison" not in page.ids
    assert "What will be sent" in page.text
