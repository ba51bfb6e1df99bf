"""A recommendation in a real Chromium: found by the worker, its evidence and the rows behind it, taken, dismissed, what came of it."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from playwright.async_api import Page, expect

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SystemClock
from tests.browser.running import EMAIL, RunningEngine, find_ports, make_environment, running_up, sign_in
from tests.browser.test_campaigns import page
from tests.sending import SENDER, add_campaign, add_people
from tests.sent_history import Sent, add_pace, add_sent, add_started, count_all

__all__ = ["page"]
FIRST_LOOK_MS = 60_000  # the worker looks as soon as it has started, on a machine that is busy


@pytest.fixture(scope="module")
def database_url(postgres: str) -> Iterator[str]:
    """One database for the module, because the engine lives as long."""
    name = "browser_insights"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE ese_template")
        yield postgres.replace("@/ese?", f"@/{name}?")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def engine(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    asyncio.run(plant(database_url))
    [port] = find_ports(1)
    environment = make_environment(tmp_path_factory.mktemp("insights"), port, DATABASE_URL=database_url)
    with running_up(environment, admin=EMAIL):
        yield RunningEngine(f"http://127.0.0.1:{port}", database_url)


async def plant(url: str) -> None:
    """Let a month have happened that gives reason for advice of several kinds."""
    now = SystemClock().now()
    async with await connect(url, "test") as conn:
        await add_people(conn, 2000, now - timedelta(days=100))
        body = "Hello {name}, it’s time: our sale begins today – everything must go, and members have free delivery."
        for days in (20, 12, 4):
            at = now - timedelta(days=days)
            spring = await add_started(conn, at, name=f"Spring {days}", body=body, rate=40)
            await add_sent(
                conn,
                Sent(at, 40, spring, first=0, arrive_percent=0, code=30006),
                Sent(at, 1500, spring, first=100, arrive_percent=93, code=30001),
                Sent(at, 300, spring, first=1600, arrive_percent=88, code=30034),
            )
            await add_pace(conn, spring, at, 1840, 46)
            slow = await add_started(conn, at - timedelta(days=1), name=f"News {days}", rate=8)
            await add_sent(conn, Sent(at - timedelta(days=1), 1500, slow, first=100, arrive_percent=99))
            await add_pace(conn, slow, at - timedelta(days=1), 1500, 190)
        await add_campaign(conn, now, name="Summer", rate=50)
    await count_all(url, now)


async def test_a_recommendation_leads_to_its_evidence_its_rows_and_its_action(
    engine: RunningEngine, page: Page
) -> None:
    await sign_in(page, engine)
    await page.get_by_role("link", name="Insights").click()
    advice = page.locator("#advice")
    await expect(advice).to_contain_text("Stop writing to 40 numbers", timeout=FIRST_LOOK_MS)
    await expect(advice).to_contain_text("Register the senders that write to US")
    await expect(page.locator("#looks")).to_contain_text("No sender sent 20 messages a day")
    await advice.get_by_role("link", name="Stop writing to 40 numbers").first.click()
    await expect(page.locator("#evidence")).to_contain_text("Landline or unreachable carrier")
    await expect(page.locator("#grounds")).to_contain_text(EMAIL)
    await page.get_by_role("link", name="Rows behind").click()
    rows = page.locator("#rows tbody tr")
    await expect(rows).to_have_count(40)
    await expect(rows.first).to_contain_text("•••")
    await page.wait_for_load_state("load")
    await rows.first.locator("[data-story]").click()
    await expect(page.locator("#story")).to_contain_text("Landline or unreachable carrier")
    await page.keyboard.press("Escape")
    await page.get_by_role("link", name="← Recommendations").click()
    await page.wait_for_load_state("load")  # with its modules, as below

    item = advice.locator("li").filter(has_text="Stop writing to 40 numbers")
    await item.get_by_role("button", name="Suppress 40 numbers").click()
    dialog = page.locator("dialog[open]")
    await expect(dialog).to_contain_text("no campaign writes to them")
    await dialog.get_by_role("button", name="Suppress 40 numbers").click()
    await expect(advice).not_to_contain_text("Stop writing to 40 numbers")
    await page.wait_for_load_state("load")

    item = advice.locator("li").filter(has_text="Register the senders")
    await item.get_by_role("link", name="Rows behind").click()
    await expect(page.locator("#rows")).to_contain_text("30034")
    await page.go_back(wait_until="load")
    await item.get_by_role("button", name="Dismiss").click()
    await dialog.get_by_role("button", name="Dismiss").click()
    await expect(dialog.locator("[data-fault-of=reason]")).to_contain_text("Say in 1 to 500 characters why")
    await dialog.get_by_label("Why").fill("It is being registered")
    await dialog.get_by_role("button", name="Dismiss").click()
    await expect(advice).not_to_contain_text("Register the senders")

    await page.get_by_role("link", name="dismissed").click()
    await expect(advice).to_contain_text("“It is being registered”")
    await page.get_by_role("link", name="taken").click()
    await expect(advice).to_contain_text("Measured with the next look")
    await page.wait_for_load_state("load")
    await advice.get_by_role("button", name="Take back").click()
    await expect(dialog).to_contain_text("The numbers can be written to again.")
    await dialog.get_by_role("button", name="Take back").click()
    await expect(advice).not_to_contain_text("Stop writing to 40 numbers")
    await page.set_viewport_size({"width": 360, "height": 800})
    for address in (
        "/insights",
        f"/insights/failures?code=30001&sender={SENDER.replace('+', '%2B')}",
        "/insights/unreachable/sms",
    ):
        await page.goto(f"{engine.url}{address}")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, address
