"""Reports in a real Chromium on a real engine: the day's report is read, taken away as PDF, and subscribed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pytest
from playwright.async_api import Page, expect

from tests.browser.running import EMAIL, RunningEngine, find_ports, make_environment, running_up, sign_in
from tests.browser.test_campaigns import page
from tests.browser.test_incidents import post

__all__ = ["page"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    [port] = find_ports(1)
    with running_up(make_environment(tmp_path_factory.mktemp("reports"), port), admin=EMAIL):
        yield RunningEngine(f"http://127.0.0.1:{port}")


async def test_the_daily_report_is_read_and_downloaded_as_pdf(
    engine: RunningEngine, page: Page, tmp_path: Path
) -> None:
    for number in range(12):
        engine.post_status(f"SM{number}", "sent")
        engine.post_status(f"SM{number}", "delivered" if number % 4 else "failed")
    await sign_in(page, engine)
    await page.get_by_role("link", name="Reports", exact=True).click()
    lead = page.locator("#latest-daily .lead")
    async with asyncio.timeout(60):
        while "12 messages were sent" not in (await lead.text_content() or ""):  # until they are projected
            await page.reload()
    await page.get_by_role("link", name="Today so far").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Daily report, ")
    await expect(page.locator("#tile-daily-report_delivery_rate .value")).to_contain_text("75.00")
    await expect(page.locator("#report-volume-chart svg")).to_be_visible()
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="PDF").click()
    download = await downloading.value
    assert download.suggested_filename.startswith("daily-report-")
    assert download.suggested_filename.endswith(".pdf")
    await download.save_as(tmp_path / "report.pdf")
    pdf = pypdfium2.PdfDocument(tmp_path / "report.pdf")
    text = " ".join(pdf[0].get_textpage().get_text_bounded().split())
    assert "12 messages were sent: 9 arrived (75.00 %), 3 failed." in text
    await page.set_viewport_size({"width": 360, "height": 800})
    for address in (page.url, f"{engine.url}/reports"):
        await page.goto(address)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, address


async def test_a_report_is_subscribed_and_no_longer(engine: RunningEngine, page: Page) -> None:
    await sign_in(page, engine, "/reports/subscriptions")
    await expect(page.locator("#subscriptions")).to_contain_text("No way to send reports yet")
    # Switched off: nobody is ever told by it.
    pager = {"name": "Post room", "target": "json://93.184.215.14/", "is_enabled": False}
    await post(page, f"{engine.url}/api/v1/notifications/channels", pager)
    await page.reload()
    await page.get_by_role("button", name="Subscribe").click()
    dialog = page.locator("dialog[open]")
    await dialog.get_by_label("Report", exact=True).select_option("weekly")
    await dialog.get_by_label("Also when late callbacks change a report").check()
    await dialog.get_by_role("button", name="Subscribe").click()
    row = page.locator("#subscriptions tbody tr")
    await expect(row).to_contain_text("Weekly")
    await expect(row).to_contain_text("and when it is restated")
    await expect(row).to_contain_text("channel off")
    await page.get_by_role("button", name="Subscribe").click()
    await dialog.get_by_label("Report", exact=True).select_option("weekly")
    await dialog.get_by_role("button", name="Subscribe").click()
    await expect(dialog.locator(".form-fault")).to_contain_text("already")
    await dialog.get_by_role("button", name="Close").click()
    await row.get_by_role("button", name="Remove").click()
    await dialog.get_by_role("button", name="Remove").click()
    await expect(page.locator("#subscriptions")).to_contain_text("Nobody gets reports yet")
