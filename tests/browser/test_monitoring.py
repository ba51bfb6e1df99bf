"""The console in a real Chromium, on a real engine: `ese up` as a person starts it."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from playwright.async_api import Page, async_playwright, expect

from event_stream_engine.infra.embedded import embedded_url
from event_stream_engine.messaging.webhooks import sign_request
from tests.engine import ACCOUNT_SID, TOKEN

EMAIL, PASSWORD = "grace@example.com", "correct horse battery staple"
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
TRIES = 3  # "within 2 s" on a machine that may be busy: one of three webhooks must make it


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """`database_url` is known where the engine runs the embedded server."""

    url: str
    database_url: str = ""

    def post_status(self, sid: str, status: str) -> None:
        form = {"MessageStatus": status, "To": "+14155551234", "From": "+14155238886"}
        self._post("status", 204, form | {"AccountSid": ACCOUNT_SID, "MessageSid": sid})

    def post_inbound(self, sid: str, body: str) -> None:
        form = {"Body": body, "From": "+14155551234", "To": "+14155238886"}
        self._post("inbound", 200, form | {"AccountSid": ACCOUNT_SID, "MessageSid": sid})

    def _post(self, kind: str, expected: int, form: dict[str, str]) -> None:
        address = f"{self.url}/webhooks/{kind}"
        headers = {
            "X-Twilio-Signature": sign_request(TOKEN, address, form),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        request = urllib.request.Request(address, urlencode(form).encode(), headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.status == expected


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data_dir = tmp_path_factory.mktemp("browser")
    environment = os.environ | {
        "ESE_DATA_DIR": str(data_dir),
        "ESE_PORT": str(port),
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
            [*ese, "operators", "add", EMAIL, "--password", PASSWORD, "--role", "viewer"],
            env=environment,
            check=True,
            capture_output=True,
            timeout=60,
        )
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield RunningEngine(f"http://127.0.0.1:{port}", embedded_url(data_dir))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None, "ese up has ended"
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    pytest.fail("ese up was not ready within a minute")


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    assert CHROMIUM is not None, "no Chromium: run `make test`, which installs it or says how"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = await browser.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        yield page
        await browser.close()
        assert faults == []


async def sign_in(page: Page, engine: RunningEngine) -> None:
    await page.goto(f"{engine.url}/monitoring")
    await expect(page).to_have_url(f"{engine.url}/sign-in?next=%2Fmonitoring")
    await page.get_by_label("E-mail").fill(EMAIL)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page).to_have_url(f"{engine.url}/monitoring")


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
