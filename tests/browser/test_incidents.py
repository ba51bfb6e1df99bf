"""An incident in a real Chromium on a real engine: from the alert that fires to the report that holds all of it."""

from typing import Any

from playwright.async_api import Page, expect

from tests.browser.running import EMAIL, RunningEngine, sign_in
from tests.browser.test_alerts import TICKS_MS, engine, page

__all__ = ["engine", "page"]
RULE = {
    "name": "Too quiet",
    "metric": "spooled_events",
    "scope": "all",
    "comparison": "below",
    "threshold": 5,
    "severity": "critical",
    "opens_incident": "critical",
}


async def post(page: Page, address: str, body: dict[str, Any]) -> None:
    """Change something as the page that is open could."""
    token = await page.locator("meta[name=csrf-token]").get_attribute("content")
    answer = await page.request.post(address, headers={"x-csrf-token": token or ""}, data=body)
    assert answer.ok, await answer.text()


async def test_from_the_fire_to_the_report(engine: RunningEngine, page: Page) -> None:
    await sign_in(page, engine)
    await post(page, f"{engine.url}/api/v1/alerts/rules", RULE)
    await page.goto(f"{engine.url}/alerts")
    await expect(page.locator("#open-rows")).to_contain_text("Too quiet", timeout=TICKS_MS)
    await page.get_by_role("link", name="Incidents").click()
    banner = page.locator("#alerts")
    await expect(banner).to_contain_text("Too quiet")
    row = page.locator("#open-rows").get_by_role("row").filter(has_text="INC-0001")
    left = row.locator("[data-counts-to]")
    await expect(left).to_contain_text("left")
    shown = await left.text_content()
    await expect(left).not_to_have_text(shown or "", timeout=5000)  # it counts down by itself
    await row.get_by_role("link", name="Too quiet").click()
    await act(page, "Acknowledge", "Mine, looking at the spool.")
    await expect(page.locator("#standing")).to_contain_text("answered after")
    await expect(banner).not_to_contain_text(
        "Too quiet"
    )  # whoever has the incident in hand has its alerts, too

    await page.get_by_label("Note", exact=True).fill("The disk is empty because nobody sends.")
    await page.get_by_role("button", name="Add note").click()
    await expect(page.locator("#timeline-rows")).to_contain_text("because nobody sends")

    # Somebody else is faster: the page says what they did, and shows it when the dialog is closed.
    await page.get_by_role("button", name="Resolve").click()
    dialog = page.locator("dialog[open]")
    await dialog.get_by_label("What ended it").fill("The rule was wrong.")
    version = await page.locator("#incident-version").get_attribute("data-version")
    faster = page.url.replace("/incidents/", "/api/v1/incidents/") + "/mitigate"
    await post(page, faster, {"version": int(version or 0), "note": "Silenced."})
    await dialog.get_by_role("button", name="Resolve").click()
    await expect(dialog.locator(".form-fault")).to_contain_text(f"Mitigated ({EMAIL},")
    await dialog.get_by_role("button", name="Close").click()
    await expect(page.locator("#standing")).to_contain_text("mitigated")
    await act(page, "Resolve", "The rule was wrong.")
    await expect(page.locator("#standing")).to_contain_text("Lasted")

    await page.get_by_label("Root cause").fill("A threshold of five where zero is normal.")
    await page.get_by_role("button", name="Save report").click()
    await expect(page.locator("#timeline-rows")).to_contain_text("Report edited")
    address = await page.get_by_role("link", name="Markdown").get_attribute("href")
    report = await (await page.request.get(f"{engine.url}{address}")).text()
    for told in (
        "INC-0001 Too quiet",
        "Mine, looking at the spool.",
        "The disk is empty because nobody sends.",
        "Silenced.",
        "The rule was wrong.",
        "A threshold of five where zero is normal.",
        "15 minutes: in time",
        "| Too quiet | 0",
        f"| Acknowledged | {EMAIL} |",
        f"| Resolved | {EMAIL} |",
    ):
        assert told in report, f"{told} is not in\n{report}"
    pdf = await page.request.get(f"{engine.url}{(address or '').replace('.md', '.pdf')}")
    assert (await pdf.body()).startswith(b"%PDF")


async def act(page: Page, name: str, words: str) -> None:
    """Push a button of the incident and say something in the dialog it opens."""
    await page.get_by_role("button", name=name, exact=True).click()
    dialog = page.locator("dialog[open]")
    await dialog.locator("textarea").fill(words)
    await dialog.get_by_role("button", name=name, exact=True).click()
    await expect(page.locator("#timeline-rows")).to_contain_text(words)


async def test_an_admin_changes_the_path_of_the_escalation(engine: RunningEngine, page: Page) -> None:
    await sign_in(page, engine)
    # Switched off: nobody is ever told by it.
    pager = {"name": "Pager", "target": "json://93.184.215.14/", "is_enabled": False}
    await post(page, f"{engine.url}/api/v1/notifications/channels", pager)
    await page.set_viewport_size({"width": 360, "height": 800})
    for address in ("/incidents", "/settings/escalation"):
        await page.goto(f"{engine.url}{address}")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, address
    await page.set_viewport_size({"width": 1280, "height": 800})
    await page.get_by_label("Minutes to answer critical").fill("5")
    lead = page.locator("[data-step]").nth(1)
    await lead.get_by_role("button", name="Add a contact").click()
    await page.get_by_role("button", name="Save policy").click()
    await expect(lead.locator(".contact .fault").first).to_have_text(
        "A name of 1 to 100 characters is needed."
    )
    await lead.get_by_label("Name of the contact").fill("Ada")
    await lead.get_by_label("Pager").check()
    await page.locator("[data-step]").nth(3).get_by_role("button", name="Remove this step").click()
    await page.get_by_role("button", name="Save policy").click()
    await expect(page.locator("[data-step]")).to_have_count(3)
    await expect(page.get_by_label("Minutes to answer critical")).to_have_value("5")
    await expect(page.locator("[data-step]").nth(1).get_by_label("Name of the contact")).to_have_value("Ada")
