"""An export in a real Chromium: asked for, watched while a real worker makes it, downloaded, handed on as a link."""

import asyncio
import csv
import io
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from playwright.async_api import expect

from event_stream_engine.infra.database import connect
from tests.browser.running import (
    EMAIL,
    RunningEngine,
    find_ports,
    make_environment,
    open_page,
    running_up,
    sign_in,
)
from tests.exports import add_messages

MESSAGES = 20_000


@pytest.fixture(scope="module")
def engine(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    name = "browser_exports"
    url = postgres.replace("@/ese?", f"@/{name}?")
    (port,) = find_ports(1)
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE ese_template")
        asyncio.run(_add_messages(url))
        environment = make_environment(tmp_path_factory.mktemp("exports"), port, DATABASE_URL=url)
        with running_up(environment, admin=EMAIL):
            yield RunningEngine(f"http://127.0.0.1:{port}", url)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def _add_messages(url: str) -> None:
    async with await connect(url, "test") as conn:
        await add_messages(conn, MESSAGES, datetime.now(UTC))


async def test_file_is_asked_for_downloaded_and_handed_on(engine: RunningEngine, tmp_path: Path) -> None:
    async with open_page(is_console_watched=True) as page:
        await sign_in(page, engine, "/reports/exports?set=messages&channel=sms")
        await page.get_by_label("Phone numbers in full").check()
        await page.get_by_role("button", name="Make the file").click()
        row = page.locator("#exports tbody tr").first
        await expect(row).to_contain_text("completed", timeout=60_000)
        await expect(row).to_contain_text("sms")
        async with page.expect_download() as downloading:
            await row.get_by_role("link", name="Download").click()
        download = await downloading.value
        file = tmp_path / download.suggested_filename
        await download.save_as(file)
        assert file.suffix == ".csv"
        rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8"), newline="")))
        assert len(rows) == MESSAGES * 4 // 5
        assert {row["channel"] for row in rows} == {"sms"}
        await row.get_by_role("button", name="Link").click()
        await page.get_by_role("button", name="Make a link").click()
        await expect(page.locator("#link-made")).to_contain_text("Good until")
        link = await page.get_by_label("Link", exact=True).input_value()
        with urllib.request.urlopen(link, timeout=10) as answer:  # nobody is signed in
            assert answer.read() == file.read_bytes()
        await page.get_by_role("button", name="Close").click()
        await row.get_by_role("button", name="Delete").click()
        await expect(row).to_contain_text("file deleted")
