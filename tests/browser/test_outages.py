"""The page turns red by itself when a worker is killed, and green when one is back; it says when nobody answers."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.running import (
    RunningEngine,
    add_operator,
    make_environment,
    open_page,
    sign_in,
    start,
    wait_until_ready,
)

WITHIN_MS = 15_000  # as promised; 9 to 13 s were measured


@dataclass(slots=True)
class Processes:
    """`ese serve` and `ese work`, each started by itself, so that nobody starts them anew."""

    environment: dict[str, str]
    running: "dict[str, subprocess.Popen[bytes]]"

    def start(self, command: str) -> "subprocess.Popen[bytes]":
        self.running[command] = start(self.environment, command)
        return self.running[command]

    def kill(self, command: str) -> None:
        self.running[command].send_signal(signal.SIGKILL)
        self.running.pop(command).wait(10)


@pytest.fixture
def processes(tmp_path: Path, free_port: int) -> Iterator[Processes]:
    environment = make_environment(tmp_path, free_port)
    processes = Processes(environment, {})
    try:
        wait_until_ready(f"http://127.0.0.1:{free_port}", processes.start("serve"))
        processes.start("work")
        yield processes
    finally:
        for process in reversed(processes.running.values()):
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.fixture
async def page(processes: Processes, free_port: int) -> AsyncIterator[Page]:
    """The monitoring page of somebody signed in. What a browser logs of a server that is away is no fault of the page."""
    await asyncio.to_thread(add_operator, processes.environment, "viewer")
    async with open_page() as page:
        await sign_in(page, RunningEngine(f"http://127.0.0.1:{free_port}"))
        yield page


async def test_a_killed_worker_turns_the_page_red_and_another_one_green(
    processes: Processes, page: Page
) -> None:
    worker, outage = page.locator("#health-worker"), page.locator("#outage .outage")
    await expect(worker).to_have_attribute("data-state", "ok", timeout=30_000)
    await expect(outage).to_have_count(0)
    await asyncio.to_thread(processes.kill, "work")
    await expect(outage).to_contain_text("Workers: none is running", timeout=WITHIN_MS)
    await expect(outage).to_contain_text("Webhooks are stored, nothing is applied and nothing is sent")
    await expect(outage.locator("code")).to_have_text("ese work")
    await expect(page).to_have_title("Failed: Workers · Monitoring · Event Stream Engine")
    assert "favicon-failed" in (await page.locator("link[rel=icon]").get_attribute("href") or "")
    processes.start("work")
    await expect(outage).to_have_count(0, timeout=30_000)
    await expect(worker).to_have_attribute("data-state", "ok")
    await expect(page).to_have_title("Monitoring · Event Stream Engine")
    await asyncio.to_thread(processes.kill, "serve")
    await expect(outage).to_contain_text("nobody answers this page", timeout=WITHIN_MS)
    await expect(page.locator("#liveness")).to_have_text("retrying")
    await asyncio.to_thread(wait_until_ready, page.url.removesuffix("/monitoring"), processes.start("serve"))
    await expect(outage).to_have_count(0, timeout=30_000)
