"""A query in a real Chromium: written with its faults, run, drawn, saved, shared and scheduled."""

import csv
import io
from collections.abc import Iterator

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.running import EMAIL, RunningEngine, find_ports, make_environment, running_up, sign_in
from tests.browser.test_campaigns import page

__all__ = ["page"]
SQL = "SELECT d AS place, d * :factor AS doubled, '=1+1' AS hostile, now() AS at FROM generate_series(1, 12) AS d"
RUN_MS = 15_000  # a connection, and room for a busy machine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    [port] = find_ports(1)
    environment = make_environment(tmp_path_factory.mktemp("queries"), port, PRIVATE_TARGETS="127.0.0.1")
    with running_up(environment, admin=EMAIL):
        yield RunningEngine(f"http://127.0.0.1:{port}")


async def open_editor(page: Page, engine: RunningEngine) -> Locator:
    await sign_in(page, engine, "/reports/queries")
    await page.get_by_role("link", name="New query").click()
    await expect(page).to_have_url(f"{engine.url}/reports/queries/new")
    await page.wait_for_load_state("load")  # with its module
    return page.get_by_role("textbox", name="SQL", exact=True)


async def give_factor(page: Page) -> None:
    await page.get_by_label("Type of factor").select_option("integer")
    await page.get_by_label("factor", exact=True).fill("2")


async def export_all(engine: RunningEngine, page: Page, name: str, values: str) -> list[list[str]]:
    """Export the query of the page by its button, and return the rows of the file."""
    await page.get_by_role("button", name="Export all").click()
    await page.get_by_role("dialog").get_by_role("button", name="Make the file").click()
    await expect(page).to_have_url(f"{engine.url}/reports/exports")
    row = page.locator("#exports tbody tr").first
    await expect(row).to_contain_text(name)
    await expect(row).to_contain_text(values)
    await expect(row).to_contain_text("completed", timeout=60_000)
    async with page.expect_download() as started:
        await row.get_by_role("link", name="Download").click()
    file = await (await started.value).path()
    return list(csv.reader(io.StringIO(file.read_text())))


async def test_a_query_is_corrected_run_drawn_and_taken_away(engine: RunningEngine, page: Page) -> None:
    editor = await open_editor(page, engine)
    fault = page.locator("[data-fault-of=sql]")

    # A fault is told where it is, and stands selected.
    await editor.fill("SELECT 'é€😀'\n  , nothing FROM users")
    await editor.press("Control+Enter")
    await expect(fault).to_contain_text("Line 2, column 5: ", timeout=RUN_MS)
    chosen = "document.getElementById('sql').value.slice(sql.selectionStart, sql.selectionEnd)"
    assert await page.evaluate(chosen) == "nothing"
    await editor.fill("DELETE FROM users")
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(fault).to_contain_text("Only a query can be run")

    # Tables and their columns are put into the text.
    await editor.fill("SELECT ")
    await page.get_by_label("Search tables and columns").fill("consent_state")
    await page.get_by_role("button", name="consent_state").first.click()
    assert await editor.input_value() == "SELECT consent_state"

    # Its parameter is asked for; the result is a table that sorts.
    await editor.fill(SQL)
    await page.get_by_label("Type of factor").select_option("integer")
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page.locator("[data-fault-of=parameters]")).to_have_text("factor needs a value.")
    await give_factor(page)
    await editor.press("Control+Enter")
    await expect(page.locator("#result-state")).to_contain_text("12 rows in", timeout=RUN_MS)
    cells = page.locator("#result-table tbody td")
    await page.get_by_role("button", name="doubled").click()
    await expect(cells.nth(1)).to_have_text("24")

    # It is drawn, and taken away as a file that a spreadsheet reads as data.
    await page.get_by_label("Kind of chart").select_option("line")
    await page.get_by_label("Column along the axis").select_option("place")
    await expect(page.locator("#result-chart svg")).to_be_visible(timeout=RUN_MS)
    async with page.expect_download() as started:
        await page.get_by_role("button", name="CSV of these rows").click()
    file = await (await started.value).path()
    rows = list(csv.reader(io.StringIO(file.read_text("utf-8-sig"))))
    assert rows[0] == ["place", "doubled", "hostile", "at"]
    assert (len(rows), rows[1][:3]) == (13, ["1", "2", "'=1+1"])


async def test_a_query_is_saved_with_its_chart_shared_and_scheduled(
    engine: RunningEngine, page: Page
) -> None:
    editor = await open_editor(page, engine)
    await editor.fill(SQL)
    await give_factor(page)
    await page.get_by_role("button", name="Run", exact=True).click()
    await page.get_by_label("Kind of chart").select_option("line", timeout=RUN_MS)

    # It is saved and shared, and comes back with its parameter and its chart.
    await page.get_by_label("Name", exact=True).fill("Doubles")
    await page.get_by_label("Share with everybody").check()
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_role("heading", name="Doubles")).to_be_visible()
    await expect(page.locator(".page-head")).to_contain_text("shared with everybody")
    await expect(page.get_by_label("factor", exact=True)).to_have_value("2")  # its module is at work
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page.get_by_label("Kind of chart")).to_have_value("line", timeout=RUN_MS)
    await expect(page.locator("#result-chart svg")).to_be_visible(timeout=RUN_MS)

    # All its rows become a file, with the values that its parameters have now.
    await page.get_by_label("factor", exact=True).fill("5")
    exported = await export_all(engine, page, "Doubles", "factor = 5")
    assert (len(exported), exported[1][:3]) == (13, ["1", "5", "'=1+1"])
    await page.go_back()
    await expect(page.get_by_role("heading", name="Doubles")).to_be_visible()

    # It is scheduled, once there is somebody to tell.
    await page.get_by_role("button", name="Schedule", exact=True).click()
    await expect(page.get_by_role("dialog")).to_contain_text("Nobody to tell")
    await page.evaluate(
        """() => fetch("/api/v1/notifications/channels", { method: "POST",
            headers: { "content-type": "application/json", "x-csrf-token": document.querySelector("meta[name=csrf-token]").content },
            body: JSON.stringify({ name: "The team", target: "json://127.0.0.1:9/hook" }) })"""
    )
    await page.reload()
    await page.get_by_role("button", name="Schedule", exact=True).click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("On", exact=True).select_option("1")
    await dialog.get_by_label("At", exact=True).fill("07:45")
    await dialog.get_by_label("factor").fill("3")
    await dialog.get_by_role("button", name="Schedule").click()
    schedules = page.locator("#schedules")
    await expect(schedules).to_contain_text("Mondays at 07:45")
    await expect(schedules).to_contain_text("factor = 3")
    await schedules.get_by_role("button", name="Change").click()
    await expect(dialog.get_by_label("factor")).to_have_value("3")
    await dialog.get_by_label("On", exact=True).select_option("")
    await dialog.get_by_role("button", name="Schedule").click()
    await expect(schedules).to_contain_text("every day at 07:45")
    await page.get_by_role("link", name="← Queries").click()
    await expect(page.locator("#group-1")).to_contain_text("every day at 07:45 → The team")

    # On a phone nothing hangs over the edge.
    await page.set_viewport_size({"width": 360, "height": 800})
    for address in ("/reports/queries", "/reports/queries/new"):
        await page.goto(f"{engine.url}{address}")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, address
