"""The console in a real Chromium, on a real engine: `ese up` as a person starts it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from playwright.async_api import Page, expect

from event_stream_engine.infra.embedded import embedded_url
from tests.browser.running import (
    EMAIL,
    RunningEngine,
    find_ports,
    make_environment,
    open_page,
    running_up,
    sign_in,
)

TRIES = 3  # "within 2 s" on a machine that may be busy: one of three webhooks must make it


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    [port] = find_ports(1)
    data_dir = tmp_path_factory.mktemp("browser")
    with running_up(make_environment(data_dir, port), viewer=EMAIL):
        yield RunningEngine(f"http://127.0.0.1:{port}", embedded_url(data_dir))


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with open_page(is_console_watched=True) as page:
        yield page


async def test_a_webhook_changes_a_figure_and_the_feed_within_two_seconds(
    engine: RunningEngine, page: Page
) -> None:
    await sign_in(page, engine)
    figure = page.locator("#figure-message_volume .value")
    newest = page.locator("#feed .event").first
    await expect(page.locator("#live")).to_be_visible()
    seen = []
    for _ in range(TRIES):
        sid, before = f"SM{uuid4().hex}", int((await figure.inner_text()).replace(",", ""))
        await asyncio.to_thread(engine.post_status, sid, "sent")
        try:
            await asyncio.gather(
                expect(figure).to_have_text(f"{before + 1:,}", timeout=2000),
                expect(newest).to_contain_text("+1 415 ••• ••34", timeout=2000),
            )
        except AssertionError as error:
            seen.append(str(error).splitlines()[0])
            await expect(figure).to_have_text(f"{before + 1:,}", timeout=20_000)  # late, but never wrong
        else:
            return
    pytest.fail(f"no webhook was on the page within 2 s: {seen}")


async def test_signing_out_ends_the_session(engine: RunningEngine, page: Page) -> None:
    await sign_in(page, engine)
    await page.locator("[popovertarget=operator-menu]").click()
    await page.get_by_role("button", name="Sign out").click()
    await page.goto(f"{engine.url}/monitoring")
    await expect(page).to_have_url(f"{engine.url}/sign-in?next=%2Fmonitoring")


async def test_a_figure_tells_what_it_means(engine: RunningEngine, page: Page) -> None:
    await sign_in(page, engine)
    await page.locator("#figure-delivery_rate .mark").click()
    await expect(page.locator("#about-delivery_rate")).to_contain_text("delivered / sent")


async def test_the_page_fits_a_phone(engine: RunningEngine, page: Page) -> None:
    await page.set_viewport_size({"width": 360, "height": 800})
    await sign_in(page, engine)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_inbound_and_the_figures_of_the_audience_fit_a_phone_and_draw_their_charts(
    engine: RunningEngine, page: Page
) -> None:
    await page.set_viewport_size({"width": 360, "height": 800})
    await sign_in(page, engine)
    await asyncio.to_thread(engine.post_inbound, f"SM{uuid4().hex}", "HELP")
    for address, chart in (("/inbound", "#week-chart"), ("/audience/figures", "#consent-chart")):
        await page.goto(f"{engine.url}{address}")
        await expect(page.locator(f"{chart} svg")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, address
    await page.goto(f"{engine.url}/inbound?intent=help")
    await expect(page.locator("#recent-rows")).to_contain_text("+1 415 ••• ••34")
    await page.locator("#figure-unanswered_help .mark").click()
    await expect(page.locator("#about-unanswered_help")).to_contain_text("no automatic reply")
