"""An alert in a real Chromium: a rule is written and tried, it fires, is seen on every page, taken in hand, and over."""

from collections.abc import Iterator

import pytest
from playwright.async_api import Page, expect

from tests.browser.running import EMAIL, RunningEngine, find_ports, make_environment, running_up, sign_in
from tests.browser.test_campaigns import page
from tests.receivers import running_receiver

__all__ = ["page"]
TICKS_MS = 30_000  # two evaluations, and room for a busy machine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    [port] = find_ports(1)
    with running_up(
        make_environment(tmp_path_factory.mktemp("alerts"), port, PRIVATE_TARGETS="127.0.0.0/8"), admin=EMAIL
    ):
        yield RunningEngine(f"http://127.0.0.1:{port}")


async def test_a_rule_is_tried_fires_is_seen_everywhere_taken_in_hand_and_over(
    engine: RunningEngine, page: Page
) -> None:
    await sign_in(page, engine)
    await page.get_by_role("link", name="Alerts").click()
    await page.get_by_role("link", name="Rules").click()
    await page.get_by_role("link", name="New rule").click()
    verdict = page.locator("#tried-verdict")
    await expect(verdict).to_contain_text("0 times in the last 14 days")
    await page.get_by_label("Metric").select_option("callback_silence_minutes")
    await expect(verdict).to_contain_text("No history is kept of this metric: Silence of the provider.")
    await page.get_by_label("Name", exact=True).fill("Too quiet")
    await page.get_by_label("Value is").select_option("below")
    await page.get_by_label("Threshold").fill("5")
    await page.get_by_label("Over again at").fill("3")
    await page.get_by_role("button", name="Make rule").click()
    fault = page.locator("[data-fault-of=clear_threshold]")
    await expect(fault).to_have_text("It must be the threshold or above it: there the alert is over.")
    await page.get_by_label("Over again at").fill("5")
    await page.get_by_label("Clear for, seconds").fill("0")
    await page.get_by_role("button", name="Make rule").click()
    await expect(page.get_by_role("rowheader", name="Too quiet")).to_be_visible()

    await page.goto(f"{engine.url}/alerts")
    await expect(page.locator("#open-rows")).to_contain_text("Too quiet", timeout=TICKS_MS)
    await page.set_viewport_size({"width": 360, "height": 800})
    for address in (
        "/monitoring",
        "/campaigns",
        "/alerts",
        "/alerts/rules",
        "/alerts/rules/new",
        "/settings",
    ):
        await page.goto(f"{engine.url}{address}")
        await expect(page.locator("#alerts")).to_contain_text("Too quiet")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, address
    await page.set_viewport_size({"width": 1280, "height": 800})

    await page.locator("#alerts").get_by_role("button", name="Acknowledge").click()
    await expect(page.locator("#state")).to_contain_text("acknowledged")
    await expect(page.locator("#history")).to_contain_text("Acknowledged")
    await expect(page.locator("#alerts")).to_be_hidden()
    await page.get_by_role("button", name="Silence").click()
    await page.locator("dialog[open]").get_by_label("Why").fill("Nothing is sent at night")
    await page.locator("dialog[open]").get_by_role("button", name="Be silent").click()
    await expect(page.locator("#now")).to_contain_text("Silenced: Nothing is sent at night", timeout=TICKS_MS)

    await page.get_by_role("link", name="Too quiet").last.click()
    await page.get_by_role("link", name="Change Too quiet").click()
    await page.get_by_role("checkbox", name="Watch").uncheck()
    await page.get_by_role("button", name="Save rule").click()
    await expect(page).to_have_url(f"{engine.url}/alerts/rules")
    await page.goto(f"{engine.url}/alerts")
    await expect(page.locator("#over-rows")).to_contain_text("the rule was switched off", timeout=TICKS_MS)


async def test_a_channel_is_made_tried_and_given_a_route(
    engine: RunningEngine, page: Page, free_port: int
) -> None:
    async with running_receiver(free_port) as receiver:
        await sign_in(page, engine, "/settings/notifications")
        await page.get_by_role("button", name="New channel").click()
        dialog = page.locator("dialog[open]")
        await dialog.get_by_label("Name").fill("Pager")
        await dialog.get_by_label("Address").fill(receiver.url)
        await dialog.get_by_role("button", name="Save channel").click()
        await expect(page.locator("#channels")).not_to_contain_text("s3cret")
        await page.get_by_role("button", name="Test Pager").click()
        await page.locator("dialog[open]").get_by_role("button", name="Send test").click()
        await expect(page.locator("#deliveries")).to_contain_text("delivered", timeout=TICKS_MS)
        assert len(receiver.got) == 1

        await page.get_by_role("button", name="New route").click()
        await dialog.get_by_label("critical").check()
        await dialog.get_by_label("incident opened").check()
        await dialog.get_by_label("Only with these labels").fill("campaign is Spring")
        await dialog.get_by_role("button", name="Save route").click()
        fault = dialog.locator("[data-fault-of=matchers]")
        await expect(fault).to_contain_text("“campaign is Spring” is no condition. Write it like")
        await dialog.get_by_label("Only with these labels").fill("campaign = Spring\nhost =~ web-.*")
        await dialog.get_by_role("button", name="Save route").click()
        row = page.get_by_role("row").filter(has_text="1. critical, incident opened")
        await expect(row).to_contain_text("campaign = Spring")
        await expect(row).to_contain_text("host =~ web-.*")
        await expect(row).to_contain_text("Pager")
