"""The live feed in a real Chromium: a lost connection under load, filters, the drawer with a message's story."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import uuid4

from playwright.async_api import Page, expect

from event_stream_engine.infra.database import connect
from event_stream_engine.ingest.callbacks import make_event
from event_stream_engine.stream.log import append_events
from tests.browser.running import RunningEngine, sign_in
from tests.browser.test_monitoring import engine, page
from tests.engine import ACCOUNT_SID

__all__ = ["engine", "page"]  # the fixtures
PER_SECOND, SECONDS, AWAY_SECONDS = 200, 8, 3
COLLECT = """
window.seen = []; window.leftOut = 0;
document.addEventListener("feed:event", ({ detail }) => window.seen.push(detail.id));
document.addEventListener("feed:sampled", ({ detail }) => { window.leftOut += detail; });
"""


class Proxy:
    """A TCP proxy on loopback that can cut every connection and let nobody in."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()
        self.is_cut = False
        self.url = ""
        self.refused = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        self.is_cut = True
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            self.refused += 1
            writer.transport.abort()
            return
        with suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
            ends = {writer, inner_writer}
            self._open |= ends
            await asyncio.gather(self._pump(reader, inner_writer), self._pump(inner_reader, writer))
            self._open -= ends

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


async def log_receipts(url: str, count: int, per_second: float, status: str = "sent") -> None:
    """Store receipts at a pace, as the intake would; the running worker projects them."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with await connect(url, "test") as conn:
        for place in range(0, count, 10):
            await asyncio.sleep(began + place / per_second - loop.time())
            now = datetime.now(UTC)
            forms = [
                {
                    "AccountSid": ACCOUNT_SID,
                    "MessageSid": f"SM{uuid4().hex}",
                    "MessageStatus": status,
                    "ErrorCode": "30003" if status == "failed" else "",
                    "To": "+14155551234",
                    "From": "+14155238886",
                }
                for _ in range(min(10, count - place))
            ]
            events = [make_event("receipt", form, now, ACCOUNT_SID) for form in forms]
            await append_events(conn, events, source=uuid4(), counted_at=now)


async def list_logged(url: str) -> list[str]:
    async with await connect(url, "test") as conn:
        rows = await conn.execute(
            "SELECT xid::text || '-' || id FROM events WHERE event_type = 'receipt.received' ORDER BY xid, id"
        )
        return [place for (place,) in await rows.fetchall()]


async def wait_until_told(page: Page, count: int) -> None:
    async with asyncio.timeout(30):
        while await page.evaluate("window.seen.length + window.leftOut") < count:
            await asyncio.sleep(0.1)


async def test_a_connection_lost_for_three_seconds_under_load_leaves_no_gap_and_no_duplicate(
    engine: RunningEngine, page: Page
) -> None:
    """One page asks for everything and gets it; the other gets a sample, and shown and left out add up."""
    before = len(await list_logged(engine.database_url))
    total = PER_SECOND * SECONDS
    async with Proxy(urlsplit(engine.url).port or 0).running() as proxy:
        await sign_in(page, RunningEngine(proxy.url))
        signed_in = await page.context.storage_state()
        await page.goto("about:blank")
        browser, pages = page.context.browser, {}
        assert browser is not None
        for sample in ("none", "auto"):
            pages[sample] = await (await browser.new_context(storage_state=signed_in)).new_page()
            await pages[sample].add_init_script(COLLECT)
            await pages[sample].goto(f"{proxy.url}/monitoring?sample={sample}")
            await expect(pages[sample].locator("#liveness")).to_have_text("live")
        sending = asyncio.create_task(log_receipts(engine.database_url, total, PER_SECOND))
        await wait_until_told(pages["none"], PER_SECOND)
        await expect(pages["auto"].locator("#sampled")).to_contain_text("1 of ")
        proxy.cut()
        await asyncio.sleep(AWAY_SECONDS)
        assert proxy.refused > 0
        proxy.is_cut = False
        await sending
        for each in pages.values():
            await wait_until_told(each, total)
        seen = {sample: await each.evaluate("window.seen") for sample, each in pages.items()}
        left_out = {sample: await each.evaluate("window.leftOut") for sample, each in pages.items()}
        logged = (await list_logged(engine.database_url))[before:]
    assert (seen["none"], left_out["none"]) == (logged, 0)
    assert len(seen["auto"]) + left_out["auto"] == total
    assert len(set(seen["auto"])) == len(seen["auto"])
    assert set(seen["auto"]) < set(logged)


async def test_a_row_opens_the_story_of_its_message_and_the_address_can_be_shared(
    engine: RunningEngine, page: Page
) -> None:
    await sign_in(page, engine)
    await log_receipts(engine.database_url, 1, 1, "failed")
    row = page.locator("#feed .event", has_text="failed").first
    await expect(row).to_contain_text("30003")
    link = row.locator("a")
    await link.focus()
    await page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog", name="Story of a message")
    await expect(drawer).to_contain_text("callback: failed")
    await expect(drawer).to_contain_text("+1 415 ••• ••34")
    await expect(page.get_by_role("button", name="Show numbers")).to_have_count(0)  # a viewer may not
    shared = page.url
    assert "#message=" in shared
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()
    await expect(link).to_be_focused()
    await expect(page).to_have_url(f"{engine.url}/monitoring")
    await page.goto("about:blank")
    await page.goto(shared)
    await expect(drawer).to_contain_text("callback: failed")


async def test_the_filter_bar_narrows_page_and_stream_and_stays_in_the_address(
    engine: RunningEngine, page: Page
) -> None:
    await page.set_viewport_size({"width": 360, "height": 800})
    await sign_in(page, engine)
    await page.get_by_role("button", name="All events").click()
    await page.get_by_role("checkbox", name="undelivered").check()
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(page).to_have_url(f"{engine.url}/monitoring?kind=message_undelivered#live")
    await expect(page.locator("#feed-empty")).to_be_visible()
    await expect(page.locator("#liveness")).to_have_text("live")
    await log_receipts(engine.database_url, 1, 1, "delivered")
    await log_receipts(engine.database_url, 1, 1, "undelivered")
    await expect(page.locator("#feed .event")).to_have_count(1)
    await expect(page.locator("#feed .event")).to_contain_text("undelivered")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.get_by_role("link", name="No longer narrow to undelivered").click()
    await expect(page).to_have_url(f"{engine.url}/monitoring?#live")


async def test_a_paused_feed_says_how_many_wait_and_shows_them_when_it_goes_on(
    engine: RunningEngine, page: Page
) -> None:
    await sign_in(page, engine)
    await expect(page.locator("#liveness")).to_have_text("live")
    await page.keyboard.press("p")
    first = await page.locator("#feed .event").first.get_attribute("data-id")
    await log_receipts(engine.database_url, 30, 200, "canceled")
    await expect(page.locator("#waiting")).to_have_text("30 waiting")
    assert await page.locator("#feed .event").first.get_attribute("data-id") == first
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator("#waiting")).to_have_text("")
    await page.mouse.move(0, 0)
    await expect(page.locator("#feed .event").first).to_contain_text("canceled")
