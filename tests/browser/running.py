"""What the browser tests share: an engine as a person starts it, and somebody who looks at it in a real Chromium."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.async_api import Page, async_playwright, expect

from event_stream_engine.messaging.webhooks import sign_request
from tests.engine import ACCOUNT_SID, TOKEN

EMAIL, PASSWORD = "grace@example.com", "correct horse battery staple"
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
ESE = (sys.executable, "-m", "event_stream_engine.cli.main")


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


def find_ports(count: int) -> list[int]:
    """Return loopback ports nothing listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def make_environment(folder: Path, port: int, **changes: str) -> dict[str, str]:
    """Return the environment of an engine; `changes` are variables without `ESE_`. Nobody answers at its provider."""
    own = {
        "DATA_DIR": str(folder),
        "PORT": str(port),
        "TWILIO_AUTH_TOKEN": TOKEN,
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "PROVIDER": "simulator",
        "SIMULATOR_URL": "http://127.0.0.1:9",
    }
    return os.environ | {f"ESE_{name}": value for name, value in (own | changes).items()}


@contextmanager
def running_up(environment: Mapping[str, str], **operators: str) -> Iterator[None]:
    """Run `ese up` with one operator of each role named, and see it end in good order. `operators`: e-mail by role."""
    process = start(environment, "up")
    try:
        for role, email in operators.items():
            add_operator(environment, role, email)
        wait_until_ready(f"http://127.0.0.1:{environment['ESE_PORT']}", process)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def start(environment: Mapping[str, str], command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*ESE, command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def add_operator(environment: Mapping[str, str], role: str, email: str = EMAIL) -> None:
    adding = [*ESE, "operators", "add", email, "--password", PASSWORD, "--role", role]
    subprocess.run(adding, env=environment, check=True, capture_output=True, timeout=60)


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        assert process.poll() is None, "ese up has ended"
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    pytest.fail("ese up was not ready within a minute")


@asynccontextmanager
async def open_page(*, is_console_watched: bool = False) -> AsyncIterator[Page]:
    """Open a page; what goes wrong in it, and a dialog of the browser's own, fails the test."""
    assert CHROMIUM is not None, "no Chromium: run `make test`, which installs it or says how"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = await browser.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        if is_console_watched:
            page.on(
                "console", lambda message: faults.append(message.text) if message.type == "error" else None
            )
        yield page
        await browser.close()
        assert faults == []


async def sign_in(
    page: Page, engine: RunningEngine, address: str = "/monitoring", email: str = EMAIL
) -> None:
    await page.goto(f"{engine.url}{address}")
    await expect(page).to_have_url(f"{engine.url}/sign-in?{urlencode({'next': address})}")
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page).to_have_url(f"{engine.url}{address}")
    await page.wait_for_load_state("load")  # with its modules
