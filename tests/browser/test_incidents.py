"""An incident in a real Chromium on a real engine: from the alert that fires to the report that holds all of it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from playwright.async_api import Page, expect

from tests.browser.test_campaigns import find_ports, page
from tests.browser.test_monitoring import EMAIL, PASSWORD, RunningEngine, sign_in, wait_until_ready
from tests.engine import ACCOUNT_SID, TOKEN

__all__ = ["page"]
TICKS_MS = 30_000  # two evaluations, and room for a busy machine
RULE = (
    "INSERT INTO alert_rules (name, metric, scope, comparison, threshold, clear_threshold, severity, opens_incident)"
    " VALUES ('Too quiet', 'spooled_events', 'all', 'below', 5, 5, 'critical', 'critical')"
)


@pytest.fixture(scope="module")
def database_url(postgres: str) -> Iterator[str]:
    """One database for the module, because the engine lives as long."""
    name = "browser_incidents"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE ese_template")
        yield postgres.replace("@/ese?", f"@/{name}?")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def engine(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    [port] = find_ports(1)
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "ESE_DATABASE_URL": database_url,
        "ESE_DATA_DIR": str(tmp_path_factory.mktemp("incidents")),
        "ESE_PORT": str(port),
        "ESE_PUBLIC_URL": url,
        "ESE_TWILIO_AUTH_TOKEN": TOKEN,
        "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "ESE_PROVIDER": "simulator",
        "ESE_SIMULATOR_URL": "http://127.0.0.1:9",
    }
    ese = [sys.executable, "-m", "event_stream_engine.cli.main"]
    process = subprocess.Popen(
        [*ese, "up"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        subprocess.run(
            [*ese, "operators", "add", EMAIL, "--name", "Grace", "--password", PASSWORD, "--role", "admin"],
            env=environment,
            check=True,
            capture_output=True,
            timeout=60,
        )
        wait_until_ready(url, process)
        yield RunningEngine(url)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


async def test_from_the_fire_to_the_report(engine: RunningEngine, page: Page, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("UPDATE alert_rules SET is_enabled = false")
        database.execute(RULE)
        await sign_in(page, engine)
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
        await expect(banner).to_be_hidden()  # whoever has the incident in hand has its alerts, too

        await page.get_by_label("Note", exact=True).fill("The disk is empty because nobody sends.")
        await page.get_by_role("button", name="Add note").click()
        await expect(page.locator("#timeline-rows")).to_contain_text("because nobody sends")

        # Somebody else is faster: the page says what they did, and shows it when the dialog is closed.
        await page.get_by_role("button", name="Resolve").click()
        dialog = page.locator("dialog[open]")
        await dialog.get_by_label("What ended it").fill("The rule was wrong.")
        token = await page.locator("meta[name=csrf-token]").get_attribute("content")
        version = await page.locator("#incident-version").get_attribute("data-version")
        faster = await page.request.post(
            page.url.replace("/incidents/", "/api/v1/incidents/") + "/mitigate",
            headers={"x-csrf-token": token or ""},
            data={"version": int(version or 0), "note": "Silenced."},
        )
        assert faster.ok, await faster.text()
        await dialog.get_by_role("button", name="Resolve").click()
        await expect(dialog.locator(".form-fault")).to_contain_text("Mitigated (Grace,")
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
            "| Acknowledged | Grace |",
            "| Resolved | Grace |",
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


async def test_an_admin_changes_the_path_of_the_escalation(
    engine: RunningEngine, page: Page, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO notification_channels (id, name, kind, sealed_target, shown_target, is_enabled, created_at)"
            " VALUES (gen_random_uuid(), 'Pager', 'apprise', '', 'json://127.0.0.1', true, now())"
        )
    await sign_in(page, engine)
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
